"""Vectors that are kept: those of the encoder, computed once."""

import unicodedata

import numpy as np
import pytest
import torch
from made import run_of

from malmoi.core.errors import MalmoiError
from malmoi.tasks import features as module
from malmoi.tasks.features import Features, found_words, touched, weights_of
from malmoi.use import encoder_of

TEXTS = ["the old bank, there", "서울에서 바람은 노래", "", "the old bank, there", "good"]


@pytest.fixture(params=["elmo", "bert", "gpt"])
def run(request, tmp_path):
    torch.manual_seed(0)
    return run_of(request.param, tmp_path)


def close(one, other):
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_words_are_those_of_the_encoder(run):
    sentences = [["the", "old", "bank"], ["서울", "에서"], ["the", "old", "bank"], ["good"]]
    features = Features(run)
    found = features.words(sentences)
    for view, words in zip(found, sentences, strict=True):
        [(_, expected)] = encoder_of(run).words([words], layer="all")
        assert view.shape == (features.layers, len(words), features.width) and view.dtype == np.float32
        close(view, expected)
    assert np.shares_memory(found[0], found[2]), "a sentence is kept once"


def test_texts_are_means_and_units_know_their_places(run):
    features = Features(run)
    for text, mean, (view, places) in zip(TEXTS, features.texts(TEXTS), features.units(TEXTS), strict=True):
        [(units, expected)] = encoder_of(run).stream([text], layer="all")
        close(view, expected)
        assert len(places) == len(units) == view.shape[1]
        close(mean[:, 0], view.mean(axis=1) if len(units) else np.zeros_like(mean[:, 0]))
        for (begin, end), unit in zip(places.tolist(), units, strict=True):
            part = text[begin:end]
            assert part == part.strip() and (unit.strip("#▁") in (part, "[UNK]", "") or unit.startswith("<0x"))


def test_parts_of_texts_are_means_of_what_they_touch(run):
    features, text = Features(run), "the old bank, there"
    [(view, places)] = features.units([text])
    first, again, whole, nothing = features.spans([text, text, text, ""], [(8, 12), (8, 12), (0, 19), (0, 1)])
    assert text[8:12] == "bank"
    close(first[:, 0], view[:, touched(places, (8, 12))].mean(axis=1))
    close(whole[:, 0], view.mean(axis=1))
    assert np.array_equal(first, again) and not nothing.any() and not np.allclose(first, whole)


def test_decomposed_text_has_the_vectors_of_the_composed(run):
    text = "서울에서 바람은"
    decomposed = unicodedata.normalize("NFD", text)
    begin = decomposed.index(unicodedata.normalize("NFD", "바람"))
    features = Features(run)
    close(features.spans([text], [(5, 7)])[0], features.spans([decomposed], [(begin, len(decomposed) - 3)])[0])
    close(features.texts([text])[0], features.texts([decomposed])[0])


def test_read_again_nothing_is_computed(run, monkeypatch):
    before = Features(run).texts(TEXTS)
    again = Features(run)
    monkeypatch.setattr(again, "_encoder", None)
    monkeypatch.setattr(Features, "layers", before[0].shape[0])
    monkeypatch.setattr(Features, "width", before[0].shape[2])
    for one, other in zip(before, again.texts(TEXTS), strict=True):
        assert np.array_equal(one, other) and not other.flags.writeable


def test_other_weights_or_texts_are_other_files(run, tmp_path):
    names = set()
    for texts in (["a"], ["b"], ["a", "b"]):
        Features(run, cache=tmp_path / "c").texts(texts)
        Features(run, cache=tmp_path / "c").units(texts)
    names = {path.name for path in (tmp_path / "c").iterdir()}
    assert len(names) == 6
    before = weights_of(run)
    parameter = next(run.objective.parameters())
    with torch.no_grad():
        parameter.view(-1)[0] += 1e-6
    assert weights_of(run) != before
    Features(run, cache=tmp_path / "c").texts(["a"])
    assert len(list((tmp_path / "c").iterdir())) == 7


def test_what_was_cut_short_is_not_kept(run, monkeypatch):
    features = Features(run)

    def broken(*_, **__):
        yield [], np.zeros((features.layers, features.width), np.float32)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(features._encoder, "stream", broken)
        with pytest.raises(KeyboardInterrupt):
            features.texts(["a b", "c"])
    assert list(features.cache.iterdir()) == []
    assert len(features.texts(["a b", "c"])) == 2


def test_a_full_disk_is_told_before(run, monkeypatch):
    def full(path, needed, *, what):
        raise MalmoiError("M045", path=path, free=0, needed=needed / 1e6, what=what)

    monkeypatch.setattr(module, "refuse_full", full)
    with pytest.raises(MalmoiError, match="M045"):
        Features(run).texts(["a"])


def test_known_words(tmp_path):
    assert Features(run_of("elmo", tmp_path)).known(["bank", "zebra", ""]) == [True, True, False]
    assert Features(run_of("bert", tmp_path)).known(["bank", "☃", ""]) == [True, False, False]


def test_units_that_a_part_touches():
    places = np.array([[0, 3], [4, 7], [7, 8], [9, 9]])
    for span, expected in {(4, 7): [1], (2, 5): [0, 1], (7, 8): [2], (3, 4): [0], (8, 20): [3], (0, 0): [0]}.items():
        assert touched(places, span).tolist() == expected, span
    assert touched(np.zeros((0, 2), np.int64), (0, 3)).tolist() == []


def test_words_are_found_one_after_the_other():
    assert found_words(["a", "a", "b"], "a ba b").tolist() == [[0, 1], [3, 4], [5, 6]]
    assert found_words(["the", "x", "cat"], "the cat").tolist() == [[0, 3], [3, 3], [4, 7]]
