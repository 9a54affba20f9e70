"""Vectors without context: those that were trained, by word."""

import numpy as np
import pytest
import torch

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import CharacterSpec
from malmoi.objectives import build
from malmoi.readout import StaticEncoder, neighbours
from malmoi.recipes import find
from malmoi.vocab import Vocabulary


@pytest.fixture(scope="module")
def encoder():
    vocabulary = Vocabulary.build({"a": 9, "b": 8, "c": 7, "d": 1}, CharacterSpec())
    objective = build(find("word2vec-tiny"), **vocabulary.sizes())
    assert objective.output_size == 6
    return StaticEncoder(objective.model, vocabulary, size=objective.output_size), objective.model.frontend.weight.detach().numpy()


def test_words_have_the_vectors_of_the_table_and_others_zeros(encoder):
    encoder, weight = encoder
    (found,) = encoder.encode(["b d zzz a <S>"])
    np.testing.assert_array_equal(found, [weight[4], np.zeros(50), np.zeros(50), weight[3], np.zeros(50)])
    assert found.dtype == np.float32 and encoder.layers == 1 and encoder.width == 50
    for layer in ("mix", "top", "mean", 0, "0"):
        np.testing.assert_array_equal(encoder.encode(["b d zzz a <S>"], layer=layer)[0], found)
    np.testing.assert_array_equal(encoder.encode([["b", "a"]], layer="all")[0], weight[None, [4, 3]])


def test_pooling_streams_and_texts(encoder):
    encoder, weight = encoder
    mean, empty = encoder.encode(["a b", ""], pool="mean")
    np.testing.assert_allclose(mean, weight[3:5].mean(0), rtol=1e-6)
    assert not empty.any() and encoder.encode([""])[0].shape == (0, 50)
    [(words, vectors)] = encoder.words(iter(["a d"]))
    assert words == ["a", "d"] and vectors.shape == (2, 50)
    np.testing.assert_allclose(encoder.text("a zzz b"), weight[3:5].mean(0), rtol=1e-6)
    assert encoder.text("zzz d") is None and encoder.text("") is None


@pytest.mark.parametrize("wrong", [{"layer": 1}, {"pool": "cls"}, {"state": "warm"}, {"batch_size": 0}])
def test_what_it_does_not_know_is_refused(encoder, wrong):
    with pytest.raises(MalmoiError, match="M009"):
        encoder[0].encode(["a"], **wrong)


def test_neighbours_are_told_by_it(encoder):
    found = neighbours(encoder[0], "the *b* here", among=["c d", "a b", "d d"], count=1)
    assert found[0].word == "b" and found[0].similarity == pytest.approx(1.0)


def test_the_table_is_on_the_cpu_whatever_happens_to_the_model(encoder):
    assert isinstance(encoder[0].table, np.ndarray) and not torch.from_numpy(encoder[0].table).requires_grad
