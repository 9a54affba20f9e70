"""Perplexity against a slow reading of its definition: a small recurrent model that is scored word by word in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import BackboneSpec, CharacterCNNSpec, CharacterSpec, LSTMSpec, ModelSpec, RunSpec, VocabularyHeadSpec
from malmoi.evals import Evaluation, evaluate, unigram
from malmoi.objectives import build
from malmoi.objectives.base import Score
from malmoi.vocab import BOS, EOS, UNK, EncodedText, Vocabulary, encode_documents

COUNTS = {"a": 50, "b": 30, "c": 11, "d": 10, "e": 9, "rare": 2, "seldom": 1}
VOCABULARY = Vocabulary.build(COUNTS, CharacterSpec(length=8))
WORDS = [*COUNTS, "new", "strange", "<UNK>"]
K = 8
DOCUMENTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=14), min_size=1, max_size=10)


class Table(nn.Module):
    """A bigram table with a memory: the state is half of itself plus a number of each word read, and shifts the logits."""

    output_size = K

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        random = np.random.default_rng(seed)
        self.ids = len(VOCABULARY) + 20
        self.table, self.shift = random.normal(size=(2, self.ids, K)), random.normal(size=(2, K))
        self.number = random.normal(size=(2, self.ids))
        self.somewhere = nn.Parameter(torch.zeros(1))

    def step(self, direction: int, state: float, read: int) -> tuple[float, np.ndarray]:
        """(state after a word was read, log-probabilities of the next)."""
        state = 0.5 * state + self.number[direction, read]
        logits = self.table[direction, read] + state * self.shift[direction]
        return state, logits - np.log(np.exp(logits).sum())

    def score(self, batch: Batch, carry: Any = None) -> Score:
        assert not self.training
        rows = len(batch.ids) // 2
        states = torch.cat([carry["forward"][0], carry["backward"][0]]).squeeze(1).tolist() if carry else [0.0] * 2 * rows
        nll = torch.zeros(batch.ids.shape)
        for row, (ids, targets) in enumerate(zip(batch.ids.tolist(), batch.targets["next"].tolist(), strict=True)):
            for t, (read, target) in enumerate(zip(ids, targets, strict=True)):
                states[row], logp = self.step(row // rows, states[row], read)
                nll[row, t] = -logp[target if target < K else UNK] if target >= 0 else 0.0
        after = torch.tensor(states, dtype=torch.float64)[:, None]
        return Score(nll=nll, carry={"forward": (after[:rows],), "backward": (after[rows:],)})


def slow(table: Table, text: EncodedText, *, start: tuple[float, float] = (0.0, 0.0), carried: bool = False) -> dict[str, float]:
    """The numbers of an evaluation, one word after the other."""
    ends = text.ends.tolist()
    documents = [text.ids[a:b].tolist() for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    total, known = [0.0, 0.0], [0.0, 0.0]
    scored = known_count = unknown = 0
    for direction in range(2):
        state = start[direction]
        for words in documents:
            state = state if carried else start[direction]
            ordered, marks = (words, (BOS, EOS)) if direction == 0 else (words[::-1], (EOS, BOS))
            for read, target in zip([marks[0], *ordered], [*ordered, marks[1]], strict=True):
                state, logp = table.step(direction, state, read)
                output = target if target < K else UNK
                total[direction] -= float(logp[output])
                if output != UNK:
                    known[direction] -= float(logp[output])
                if direction == 0:
                    scored, known_count, unknown = scored + 1, known_count + (output != UNK), unknown + (output == UNK)
    return {
        "perplexity": math.exp((total[0] + total[1]) / 2 / scored),
        "forward_perplexity": math.exp(total[0] / scored),
        "backward_perplexity": math.exp(total[1] / scored),
        "perplexity_known": math.exp((known[0] + known[1]) / 2 / known_count),
        "bits_per_byte": (total[0] + total[1]) / 2 / math.log(2) / text.bytes,
        "unknown_rate": unknown / max(len(text.ids), 1),
        "tokens": len(text.ids),
        "documents": len(documents),
        "scored": scored,
    }


def agrees(found: Evaluation, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6, abs=1e-12), name


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS, st.integers(1, 60), st.integers(0, 3))
def test_reset_equals_the_slow_reading(documents: list[list[str]], batch_tokens: int, seed: int) -> None:
    text, table = encode_documents(documents, VOCABULARY), Table(seed=seed)
    agrees(evaluate(table, text, batch_tokens=batch_tokens), slow(table, text))


@settings(deadline=None, max_examples=40)
@given(DOCUMENTS, st.integers(1, 60))
def test_compat_is_one_stream(documents: list[list[str]], batch_tokens: int) -> None:
    text, table = encode_documents(documents, VOCABULARY), Table()
    agrees(evaluate(table, text, state="compat", batch_tokens=batch_tokens), slow(table, text, carried=True))


@settings(deadline=None, max_examples=40)
@given(DOCUMENTS, st.integers(1, 60))
def test_warm_begins_every_document_alike(documents: list[list[str]], batch_tokens: int) -> None:
    text, table = encode_documents(documents, VOCABULARY), Table()
    warm = {"forward": (torch.tensor([[0.7]], dtype=torch.float64),), "backward": (torch.tensor([[-0.4]], dtype=torch.float64),)}
    agrees(evaluate(table, text, state="warm", warm=warm, batch_tokens=batch_tokens), slow(table, text, start=(0.7, -0.4)))


def test_the_modes_differ() -> None:
    text, table = encode_documents([["a", "b"], ["c", "a", "new"]], VOCABULARY), Table()
    numbers = {evaluate(table, text).perplexity, evaluate(table, text, state="compat").perplexity}
    warm = {"forward": (torch.ones(1, 1),), "backward": (torch.ones(1, 1),)}
    assert len(numbers | {evaluate(table, text, state="warm", warm=warm).perplexity}) == 3


@pytest.mark.parametrize("softmax", ["full", "adaptive"])
def test_a_bilm_does_not_depend_on_batch_size_order_or_split(softmax: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real objective, with dropout, left in training mode: 100 documents of 0 to 40 words, in one text and in two."""
    random = np.random.default_rng(3)
    documents = [[WORDS[k] for k in random.integers(0, len(WORDS), size=random.integers(0, 41))] for _ in range(100)]
    head = VocabularyHeadSpec.model_validate(
        {"size": K, "softmax": {"kind": softmax, **({"cutoffs": [4]} if softmax == "adaptive" else {})}}
    )
    mixer = LSTMSpec(cell=24, cell_clip=3.0, projection_clip=3.0)
    model = ModelSpec(
        width=12,
        dropout=0.5,
        frontend=CharacterCNNSpec(width=4, filters=((1, 8), (2, 16)), highway=1),
        backbone=BackboneSpec(mixer=mixer),
        head=head,
    )
    bilm = build(RunSpec(name="small", model=model), words=len(VOCABULARY), characters=VOCABULARY.characters.size).train()
    with torch.no_grad():
        for parameter in bilm.parameters():
            parameter.mul_(2.0)
    text = encode_documents(documents, VOCABULARY)
    results = [evaluate(bilm, text, batch_tokens=size) for size in (90, 400, 100_000)]
    monkeypatch.setattr("malmoi.evals.perplexity.WINDOW", 9)
    results += [evaluate(bilm, text, batch_tokens=400), evaluate(bilm, encode_documents(documents[::-1], VOCABULARY))]
    halves = [evaluate(bilm, encode_documents(part, VOCABULARY)) for part in (documents[:37], documents[37:])]
    joined = math.exp(sum(math.log(half.perplexity) * half.scored for half in halves) / sum(half.scored for half in halves))
    assert [result.perplexity for result in results] + [joined] == pytest.approx([results[0].perplexity] * 6, rel=1e-6)
    assert {result.scored for result in results} == {sum(half.scored for half in halves)} == {sum(map(len, documents)) + 100}
    assert abs(results[0].perplexity - K) > 0.5, "the model is as good as uniform: nothing would be noticed"
    assert bilm.training and bilm.forward_model.dropout.training


def test_the_unigram_distribution() -> None:
    """Output words, the others as one, and end marks; one more of each."""
    found = unigram(VOCABULARY.counts, size=6, documents=20)
    # </S> 20, <S> never, <UNK> d e rare seldom = 22, a 50, b 30, c 11
    expected = np.array([21, 0, 23, 51, 31, 12]) / 138
    assert found == pytest.approx(expected) and found.sum() == pytest.approx(1.0)
    assert len(unigram(VOCABULARY.counts, size=100, documents=1)) == len(VOCABULARY)
    assert VOCABULARY.counts[EOS] == 0, "the counts of the vocabulary were changed"


@settings(deadline=None, max_examples=30)
@given(DOCUMENTS, st.integers(4, 12))
def test_a_model_that_knows_only_frequencies_has_the_unigram_perplexity(documents: list[list[str]], size: int) -> None:
    class Frequencies(Table):
        output_size = min(size, len(VOCABULARY))

        def score(self, batch: Batch, carry: Any = None) -> Score:
            target = batch.targets["next"].clone()
            target[target >= self.output_size] = UNK
            target[target == BOS] = EOS
            nll = -torch.from_numpy(np.log(distribution))[target.clamp(min=0)]
            return Score(nll=nll.masked_fill(target < 0, 0.0), carry=None)

    with np.errstate(divide="ignore"):
        distribution = unigram(VOCABULARY.counts, size=size, documents=9)
        found = evaluate(Frequencies(), encode_documents(documents, VOCABULARY), unigram=distribution)
    assert found.unigram_perplexity == pytest.approx(found.perplexity) == pytest.approx(found.backward_perplexity)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(MalmoiError, match="M017"):
        evaluate(Table(), encode_documents([], VOCABULARY))
    with pytest.raises(MalmoiError, match="M009: state is 'warm', but"):
        evaluate(Table(), encode_documents([["a"]], VOCABULARY), state="warm")


def test_a_text_of_empty_documents_and_a_hopeless_model() -> None:
    class Hopeless(Table):
        def score(self, batch: Batch, carry: Any = None) -> Score:
            return Score(nll=torch.full(batch.ids.shape, 1e4), carry=None)

    found = evaluate(Table(), encode_documents([[], []], VOCABULARY))
    assert (found.tokens, found.scored, found.unknown_rate, found.bytes) == (0, 2, 0.0, 2)
    assert evaluate(Hopeless(), encode_documents([["a"]], VOCABULARY)).perplexity == math.inf
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_the_mode_comes_back_after_a_failure() -> None:
    class Broken(Table):
        def score(self, batch: Batch, carry: Any = None) -> Score:
            raise RuntimeError("out of memory")

    broken = Broken().train()
    with pytest.raises(RuntimeError):
        evaluate(broken, encode_documents([["a"]], VOCABULARY))
    assert broken.training
