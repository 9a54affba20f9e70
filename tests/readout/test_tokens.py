"""Vectors of Transformers: those of the model on one text alone, whatever stands beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import (
    AttentionSpec,
    BackboneSpec,
    CausalSpec,
    MaskedSpec,
    MLPSpec,
    ModelSpec,
    RowsSpec,
    RunSpec,
    SequenceSpec,
    SubwordSpec,
    TokenEmbeddingSpec,
    VocabularyHeadSpec,
)
from malmoi.objectives import build
from malmoi.readout import TokenEncoder, neighbours, tokens
from malmoi.vocab import Subwords

LENGTH = 12
TEXTS = [
    "the dictionary gathers words",
    "말모이는 낱말을 모은다",
    "words, words, words: 낱말!",
    "a river bank",
    "the bank raised its rates",
]
VOCABULARY = Subwords.train(TEXTS * 3, SubwordSpec(size=70, minimum_count=1))
BYTES = Subwords.train(TEXTS * 3, SubwordSpec(algorithm="byte_bpe", size=300, minimum_count=1))
LINES = [*TEXTS, "", "a", "the words of the words of the words of the words of the words of the words of a bank", "  ", "bank"]
SHORT = "a bank"
AROUND = {"single": ([2], [3]), "causal": ([2], []), "source": ([], [3])}


def model_of(layout: str = "single", *, vocabulary: Subwords = VOCABULARY, positions: str = "learned") -> Any:
    causal = layout == "causal"
    objective = {"causal": CausalSpec(), "source": SequenceSpec()}.get(layout, MaskedSpec())
    model = ModelSpec(
        width=16,
        dropout=0.5,
        frontend=TokenEmbeddingSpec(width=8, positions=positions, length=LENGTH, types=2, norm=True),
        backbone=BackboneSpec(
            depth=3,
            mixer=AttentionSpec(heads=4, sees="causal" if causal else "full", dropout=0.5),
            feedforward=MLPSpec(width=32),
            norm="pre",
        ),
        head=VocabularyHeadSpec(tied=True, transform="gelu"),
    )
    spec = RunSpec(name="tiny", subwords=SubwordSpec(), objective=objective, stream=RowsSpec(rows=4, length=LENGTH), model=model)
    built = build(spec, **vocabulary.sizes()).model.train()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return built


@torch.no_grad()
def slow(model: Any, ids: list[int], layout: str = "single") -> np.ndarray:
    """(L, tokens, D): a row for each piece, with nothing beside it."""
    before, behind = AROUND[layout]
    room = LENGTH - len(before) - len(behind)
    found = []
    was = model.training
    model.eval()
    for first in range(0, len(ids), room):
        piece = ids[first : first + room]
        row = torch.tensor([[*before, *piece, *behind]])
        trace = model.encode(Batch(ids=row, segments=torch.ones_like(row), positions=torch.arange(row.shape[1])[None]))
        found.append(torch.stack([layer[0, len(before) : len(before) + len(piece)] for layer in trace.layers]).numpy())
    model.train(was)
    return np.concatenate(found, axis=1) if found else np.zeros((4, 0, 16), np.float32)


@pytest.mark.parametrize("layout", ["single", "causal", "source"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_vectors_are_those_of_the_model_on_one_text(layout: Any, positions: str) -> None:
    model = model_of(layout, positions=positions)
    encoder = TokenEncoder(model, VOCABULARY, LENGTH, layout=layout)
    assert (encoder.layers, encoder.width) == (4, 16)
    found = {layer: encoder.encode(LINES, layer=layer) for layer in ("all", "mean", "mix", "top", 0, 1, 2, 3)}
    for number, line in enumerate(LINES):
        expected = slow(model, VOCABULARY.encode(line).tolist(), layout)
        assert found["all"][number].dtype == np.float32
        np.testing.assert_allclose(found["all"][number], expected, atol=2e-6)
        for layer, value in (("mean", expected.mean(0)), ("mix", expected.mean(0)), ("top", expected[3]), *enumerate(expected)):
            np.testing.assert_allclose(found[layer][number], value, atol=2e-6)
    assert len(VOCABULARY.encode(LINES[7])) > LENGTH
    assert model.training and model.backbone.blocks[0].attention.part.drop.training


@settings(max_examples=25)
@given(st.permutations(range(len(LINES))), st.integers(1, 12), st.integers(1, 90))
def test_a_line_depends_on_nothing_but_itself(order: list[int], batch_size: int, budget: int) -> None:
    encoder = ENCODER
    alone = [encoder.encode([line], layer="all")[0] for line in LINES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "BATCH_TOKENS", budget)
        patch.setattr(tokens, "GROUP_LINES", batch_size + 1)
        patch.setattr(tokens, "GROUP_FLOATS", budget * 64)
        together = list(encoder.stream((LINES[index] for index in order), layer="all", batch_size=batch_size))
    assert len(together) == len(LINES)
    for index, (found, vectors) in zip(order, together, strict=True):
        assert found == [VOCABULARY.tokens[id] for id in VOCABULARY.encode(LINES[index])]
        np.testing.assert_allclose(vectors, alone[index], atol=1e-6)


def test_pooling() -> None:
    single, source = TokenEncoder(model_of(), VOCABULARY, LENGTH), TokenEncoder(model_of("source"), VOCABULARY, LENGTH, layout="source")
    plain, long = single.encode(LINES, layer="all"), single.encode(LINES, layer="all", pool="mean")
    for vectors, mean, first in zip(plain, long, single.encode(LINES, layer="all", pool="first"), strict=True):
        some = vectors.shape[1] > 0
        np.testing.assert_allclose(mean, vectors.mean(1) if some else np.zeros((4, 16)), atol=1e-6)
        np.testing.assert_allclose(first, vectors[:, 0] if some else np.zeros((4, 16)), atol=1e-6)
    for line, mark in zip(LINES, single.encode(LINES, layer=1, pool="cls"), strict=True):
        row = torch.tensor([[2, *VOCABULARY.encode(line)[: LENGTH - 2], 3]])
        batch = Batch(ids=row, segments=torch.ones_like(row), positions=torch.arange(row.shape[1])[None])
        with torch.no_grad():
            expected = single.model.eval().encode(batch).layers[1][0, 0].numpy()
        assert mark.shape == (16,)
        np.testing.assert_allclose(mark, expected, atol=2e-6)
    with pytest.raises(MalmoiError, match="M009: pool is 'cls', but"):
        source.encode(["a"], pool="cls")


@pytest.mark.parametrize("vocabulary", [VOCABULARY, BYTES], ids=["wordpiece", "byte_bpe"])
def test_a_vector_a_word_is_the_mean_of_its_pieces(vocabulary: Subwords) -> None:
    encoder = TokenEncoder(model_of(vocabulary=vocabulary), vocabulary, LENGTH)
    for line, (words, vectors) in zip(LINES, encoder.stream(LINES, unit="word", layer="all"), strict=True):
        assert words == line.split() and vectors.shape == (4, len(words), 16)
        pieces = encoder.encode([" ".join(words)], layer="all")[0]
        at = 0
        for place, word in enumerate(words):
            count = len(vocabulary.encode(" " * (place > 0) + word))
            np.testing.assert_allclose(vectors[:, place], pieces[:, at : at + count].mean(1), atol=2e-6)
            at += count
        assert at == pieces.shape[1]
    [(words, given_words)] = encoder.words([["the", "bank"]])
    assert words == ["the", "bank"]
    np.testing.assert_allclose(given_words, encoder.encode(["the bank"], unit="word", layer="top")[0], atol=1e-6)


def test_words_without_pieces_and_lists_of_words() -> None:
    encoder = ENCODER
    [(words, vectors)] = encoder.words([["a", "", "bank"]])
    assert words == ["a", "", "bank"] and vectors.shape == (3, 16) and not vectors[1].any() and vectors[2].any()
    np.testing.assert_array_equal(encoder.encode([["the", "bank"]])[0], encoder.encode(["the bank"])[0])


@torch.no_grad()
def test_attention_is_that_of_every_block_and_causal_where_the_model_is() -> None:
    single, causal = TokenEncoder(model_of(), VOCABULARY, LENGTH), TokenEncoder(model_of("causal"), VOCABULARY, LENGTH, layout="causal")
    count = len(VOCABULARY.encode(SHORT))
    found = single.attention(SHORT)
    assert found.shape == (3, 4, count + 2, count + 2)
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-5)
    block = single.model.eval().backbone.blocks[0].attention
    row = torch.tensor([[2, *VOCABULARY.encode(SHORT), 3]])
    x = block.norm(single.model.frontend(Batch(ids=row, segments=torch.ones_like(row), positions=torch.arange(row.shape[1])[None])))
    q, k, _ = block.part.qkv(x)[0].unflatten(-1, (3, 4, 4)).unbind(1)
    np.testing.assert_allclose(found[0], torch.softmax(torch.einsum("thk,shk->hts", q, k) / 2.0, dim=-1).numpy(), atol=1e-5)
    assert not np.triu(causal.attention(SHORT), 1).any() and np.triu(found, 1).any()
    with pytest.raises(MalmoiError, match="M009: text is .* the model reads 10"):
        single.attention(LINES[7])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer": 4}, "layers 0 to 3"),
        ({"pool": "max"}, "no such pooling"),
        ({"unit": "letter"}, "no such unit"),
        ({"state": "warm"}, "no state"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_what_there_is_not_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(MalmoiError, match=f"M009: .*{message}"):
        ENCODER.encode(["a"], **wrong)


def test_neighbours_of_a_marked_word() -> None:
    encoder = ENCODER
    lines = ["", "a river bank", "the bank raised its rates", "the dictionary gathers words", "a river bank"]
    found = neighbours(encoder, "a *river* bank", among=lines, count=2)
    assert [each.line for each in found] != [1] and all(each.words != ("a", "river", "bank") for each in found)
    vector = encoder.encode(["a river bank"], unit="word", layer="top")[0][1]
    best = max(
        (float(each @ vector / np.linalg.norm(each) / np.linalg.norm(vector)), line, place)
        for line in (2, 3)
        for place, each in enumerate(encoder.encode([lines[line]], unit="word", layer="top")[0])
    )
    assert (found[0].line, found[0].position) == best[1:] and found[0].similarity == pytest.approx(best[0], abs=1e-5)
    same = neighbours(encoder, "a river *bank*", among=lines, same=True)
    assert [(each.line, each.word) for each in same] == [(2, "bank")]


ENCODER = TokenEncoder(model_of(), VOCABULARY, LENGTH)
