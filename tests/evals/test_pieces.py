"""Perplexity and pseudo-perplexity of Transformers against slow readings of their definitions, one token at a time on a single row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.recipe import (
    AttentionSpec,
    BackboneSpec,
    CausalSpec,
    MaskedSpec,
    MLPSpec,
    ModelSpec,
    ReplacedSpec,
    RowsSpec,
    RunSpec,
    SequenceSpec,
    SubwordSpec,
    TokenEmbeddingSpec,
    VocabularyHeadSpec,
)
from malmoi.evals import evaluate_causal, evaluate_masked, evaluate_pairs, unigram_of
from malmoi.objectives import Causal, Masked, Objective, Replaced, Sequence, build
from malmoi.shards import Shards
from malmoi.vocab import EncodedText, Subwords, encode_documents

V, LENGTH = 40, 12
MARKS = Marks(pad=0, unknown=1, begin=2, end=3, mask=4)
KINDS: dict[str, Any] = {
    "causal": CausalSpec(),
    "masked": MaskedSpec(),
    "order": MaskedSpec(pair="order"),
    "replaced": ReplacedSpec(),
    "sequence": SequenceSpec(),
}
DOCUMENTS = st.lists(st.lists(st.integers(1, V - 1).filter(lambda id: id not in (2, 3, 4)), max_size=30), min_size=1, max_size=6)


def tiny(kind: str, *, positions: str = "learned") -> Any:
    """A small Transformer with weights large enough that what it reads shows."""
    sees = "causal" if kind == "causal" else "full"
    width = {"replaced": 8}.get(kind)
    model = ModelSpec(
        width=16,
        dropout=0.5,
        frontend=TokenEmbeddingSpec(width=width, positions=positions, length=LENGTH, types=2 if kind == "order" else 0, norm=True),
        backbone=BackboneSpec(depth=2, mixer=AttentionSpec(heads=4, sees=sees), feedforward=MLPSpec(width=32), norm="pre"),
        head=VocabularyHeadSpec(tied=True, transform="gelu"),
    )
    spec = RunSpec(name="tiny", subwords=SubwordSpec(), objective=KINDS[kind], stream=RowsSpec(rows=4, length=LENGTH), model=model)
    objective = build(spec, words=V, characters=0, marks=MARKS)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return objective


def text_of(documents: list[list[int]]) -> EncodedText:
    ids = np.array([id for document in documents for id in document], np.int64)
    ends = np.cumsum([len(document) for document in documents]).astype(np.int64)
    return EncodedText(ids=ids, ends=ends, extra=[], bytes=3 * len(ids) + len(ends), vocabulary=None)  # type: ignore[arg-type]


def row_of(ids: list[int]) -> Batch:
    ids_1T = torch.tensor([ids])
    return Batch(ids=ids_1T, segments=torch.ones_like(ids_1T), positions=torch.arange(len(ids))[None])


def some(*, count: int = 9, longest: int = 40, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(5, V, size=random.integers(0, longest)).tolist() for _ in range(count)]


@torch.no_grad()
def slow_causal(objective: Causal, documents: list[list[int]]) -> tuple[float, int, int]:
    """(nats, right, predictions), every prediction by a forward pass of its own that ends where it is made."""
    nats, right, count = 0.0, 0, 0
    for words in documents:
        read, predicted = [MARKS.begin, *words], [*words, MARKS.end]
        for place, target in enumerate(predicted):
            first = place // LENGTH * LENGTH
            vector = objective.model.encode(row_of(read[first : place + 1])).last[0, -1]
            logp = F.log_softmax(objective.head.logits(vector[None])[0].double(), dim=0)
            nats, right, count = nats - float(logp[target]), right + (int(logp.argmax()) == target), count + 1
    return nats, right, count


@torch.no_grad()
def slow_masked(objective: Masked | Replaced, documents: list[list[int]]) -> tuple[float, int, int]:
    model = objective.generator if isinstance(objective, Replaced) else objective.model
    nats, right, count = 0.0, 0, 0
    for words in documents:
        for first in range(0, len(words), LENGTH - 2):
            piece = words[first : first + LENGTH - 2]
            for place, target in enumerate(piece):
                gap = [MARKS.begin, *piece[:place], 4, *piece[place + 1 :], MARKS.end]
                logp = F.log_softmax(objective.head.logits(model.encode(row_of(gap)).last[0, place + 1][None])[0].double(), dim=0)
                nats, right, count = nats - float(logp[target]), right + (int(logp.argmax()) == target), count + 1
    return nats, right, count


@settings(max_examples=15)
@given(DOCUMENTS, st.integers(1, 200))
def test_perplexity_equals_the_slow_reading(documents: list[list[int]], batch_tokens: int) -> None:
    objective, text = tiny("causal").eval(), text_of(documents)
    nats, right, count = slow_causal(objective, documents)
    found = evaluate_causal(objective, text, marks=MARKS, length=LENGTH, batch_tokens=batch_tokens)
    assert found.perplexity == pytest.approx(math.exp(nats / count), rel=1e-5)
    assert found.accuracy == pytest.approx(right / count)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / text.bytes, rel=1e-5)
    assert (found.tokens, found.documents, found.scored) == (len(text.ids), len(documents), len(text.ids) + len(documents))
    assert found.unknown_rate == pytest.approx(sum(document.count(1) for document in documents) / max(len(text.ids), 1))


@settings(max_examples=12)
@given(DOCUMENTS.filter(any), st.integers(1, 200), st.sampled_from(["masked", "replaced"]))
def test_pseudo_perplexity_equals_the_slow_reading(documents: list[list[int]], batch_tokens: int, kind: str) -> None:
    objective, text = tiny(kind, positions="learned" if kind == "replaced" else "rotary").eval(), text_of(documents)
    nats, right, count = slow_masked(objective, documents)
    found = evaluate_masked(objective, text, marks=MARKS, length=LENGTH, batch_tokens=batch_tokens)
    assert count == found.tokens == len(text.ids)
    assert found.pseudo_perplexity == pytest.approx(math.exp(nats / count), rel=1e-5)
    assert found.masked_accuracy == pytest.approx(right / count)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / text.bytes, rel=1e-5)


@torch.no_grad()
def test_pairs_equal_the_slow_reading() -> None:
    objective: Sequence = tiny("sequence").eval()
    sources, targets = some(longest=LENGTH, seed=1), some(longest=LENGTH, seed=2)
    nats, count = 0.0, 0
    for source, target in zip(sources, targets, strict=True):
        memory = row_of([*source, MARKS.end])
        read = row_of([MARKS.begin, *target])
        last = objective.decode(read, objective.model.encode(memory).last, memory).last[0]
        logp = F.log_softmax(objective.head.logits(last).double(), dim=1)
        nats -= float(logp[range(len(target) + 1), [*target, MARKS.end]].sum())
        count += len(target) + 1
    for batch_tokens in (1, 50, 1000):
        both = text_of(sources), text_of(targets)
        found = evaluate_pairs(objective, *both, marks=MARKS, length=LENGTH, batch_tokens=batch_tokens)
        assert found.perplexity == pytest.approx(math.exp(nats / count), rel=1e-5)
        assert (found.scored, found.cut, found.documents) == (count, 0, len(targets))


def test_a_pair_that_is_too_long_is_counted() -> None:
    long, short = text_of([[7] * (LENGTH + 3), [8]]), text_of([[7], [8]])
    for sides, scored in (((long, short), 4), ((short, long), LENGTH + 2)):
        found = evaluate_pairs(tiny("sequence"), *sides, marks=MARKS, length=LENGTH)
        assert (found.cut, found.scored) == (1, scored)


@pytest.mark.parametrize("kind", ["causal", "masked", "order", "replaced"])
def test_nothing_but_model_and_text_decides(kind: str) -> None:
    """Batch size, order of the documents and the cut into files; dropout is off, and the mode comes back."""
    objective, documents = tiny(kind).train(), some(count=20)
    measure: Callable[..., Any] = evaluate_causal if kind == "causal" else evaluate_masked

    def score(documents: list[list[int]], batch_tokens: int = 8192) -> tuple[float, int]:
        found = measure(objective, text_of(documents), marks=MARKS, length=LENGTH, batch_tokens=batch_tokens)
        return (found.perplexity, found.scored) if kind == "causal" else (found.pseudo_perplexity, found.tokens)

    reference, count = score(documents)
    assert [score(documents, size)[0] for size in (1, 37, 300)] == pytest.approx([reference] * 3, rel=1e-6)
    assert score(documents[::-1])[0] == pytest.approx(reference, rel=1e-6)
    halves = [score(part) for part in (documents[:7], documents[7:])]
    assert sum(part for _, part in halves) == count
    assert math.exp(sum(math.log(value) * part for value, part in halves) / count) == pytest.approx(reference, rel=1e-6)
    assert objective.training and abs(reference - V) > 1


@pytest.mark.parametrize("kind", ["order", "replaced"])
def test_the_tasks_do_not_depend_on_batch_size_and_repeat(kind: str) -> None:
    objective, text = tiny(kind), text_of(some(count=20))
    found = [evaluate_masked(objective, text, marks=MARKS, length=LENGTH, batch_tokens=size) for size in (13, 50, 8192, 8192)]
    names = ["pair_accuracy"] if kind == "order" else ["replaced_accuracy", "replaced_base", "replaced_found"]
    for name in names:
        values = {getattr(each, name) for each in found}
        assert len(values) == 1 and 0.0 < values.pop() < 1.0
    absent = {"pair_accuracy", "replaced_accuracy", "replaced_base", "replaced_found"} - set(names)
    assert all(getattr(found[0], name) is None for name in absent)


def test_a_detector_that_always_says_original_has_the_base_rate() -> None:
    objective, text = tiny("replaced"), text_of(some())
    with torch.no_grad():
        head = objective.model.heads["replaced"]
        head.out.weight.zero_()
        head.out.bias.fill_(-1.0)
        found = evaluate_masked(objective, text, marks=MARKS, length=LENGTH)
        assert found.replaced_accuracy == found.replaced_base and found.replaced_found == 0.0 and found.replaced_base > 0.8
        head.out.bias.fill_(1.0)
        found = evaluate_masked(objective, text, marks=MARKS, length=LENGTH)
        assert found.replaced_accuracy == pytest.approx(1 - found.replaced_base) and found.replaced_found == 1.0


def test_the_unigram_distribution() -> None:
    shards = Shards.of(np.array([5, 6, 5, 30, 31]), np.array([2, 5]))
    found = unigram_of(shards, size=8, marks=MARKS)
    # unknown 2, end 2, 5 twice, 6 once, one more of each of eight
    assert found == pytest.approx(np.array([1, 3, 1, 3, 1, 3, 2, 1]) / 15)


def test_a_model_that_knows_only_frequencies_has_the_unigram_perplexity() -> None:
    objective, documents = tiny("causal"), some()
    text = text_of(documents)
    distribution = unigram_of(Shards.of(text.ids, text.ends), size=V, marks=MARKS)
    with torch.no_grad():
        objective.head.weight.zero_()
        objective.head.bias.copy_(torch.from_numpy(np.log(distribution)))
    found = evaluate_causal(objective, text, marks=MARKS, length=LENGTH, unigram=distribution)
    assert found.unigram_perplexity == pytest.approx(found.perplexity, rel=1e-6)


def test_nothing_to_score_is_refused() -> None:
    for measure, kind, documents in ((evaluate_causal, "causal", []), (evaluate_masked, "masked", [[], []])):
        objective: Any = tiny(kind)
        with pytest.raises(MalmoiError, match="M017"):
            measure(objective, text_of(documents), marks=MARKS, length=LENGTH)
    assert evaluate_causal(tiny("causal"), text_of([[], []]), marks=MARKS, length=LENGTH).scored == 2


def test_a_real_vocabulary_from_text_to_score() -> None:
    texts = ["말모이는 사전이다. 낱말을 모은다.", "a dictionary gathers words.", "words, 낱말, words"] * 4
    vocabulary = Subwords.train(texts, SubwordSpec(size=V, minimum_count=1))
    text = encode_documents(texts, vocabulary)
    assert text.breaks is not None and set(np.concatenate([[0], text.ends[:-1]])) < set(text.breaks.tolist())
    objective: Objective = tiny("masked")
    assert isinstance(objective, Masked)
    found = evaluate_masked(objective, text, marks=vocabulary.marks, length=LENGTH)
    assert found.tokens == len(text.ids) and found.bytes == sum(len(each.encode()) + 1 for each in texts)
