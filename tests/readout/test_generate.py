"""Writing against slow readings: everything read anew for each token, filters in plain Python, every text of a small language."""

from __future__ import annotations

import itertools
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
from malmoi.core.marks import Marks
from malmoi.core.recipe import (
    AttentionSpec,
    BackboneSpec,
    CausalSpec,
    MLPSpec,
    ModelSpec,
    RowsSpec,
    RunSpec,
    SequenceSpec,
    SubwordSpec,
    TokenEmbeddingSpec,
    VocabularyHeadSpec,
)
from malmoi.nn import ForeignBackbone
from malmoi.objectives import build
from malmoi.readout.generate import Reading, Sampling, Writer, distribution, window, write
from malmoi.readout.translate import Search, Translator, beam_search, length_penalty
from malmoi.vocab import Subwords

LENGTH = 10
MARKS = Marks(pad=0, unknown=1, begin=2, end=3, mask=4)
TEXTS = ["the dictionary gathers words", "말모이는 낱말을 모은다", "a river bank", "words and words of a river"]
VOCABULARY = Subwords.train(TEXTS * 3, SubwordSpec(size=70, minimum_count=1))


def built(kind: str, *, size: int, positions: str = "learned", norm: str = "pre", seed: int = 5) -> Any:
    model = ModelSpec(
        width=16,
        dropout=0.5,
        frontend=TokenEmbeddingSpec(positions=positions, length=LENGTH),
        backbone=BackboneSpec(
            depth=2, mixer=AttentionSpec(heads=4, sees="causal" if kind == "causal" else "full"), feedforward=MLPSpec(width=32), norm=norm
        ),
        head=VocabularyHeadSpec(tied=True),
    )
    objective = CausalSpec() if kind == "causal" else SequenceSpec()
    spec = RunSpec(name="tiny", subwords=SubwordSpec(), objective=objective, stream=RowsSpec(rows=4, length=LENGTH), model=model)
    found = build(spec, words=size, characters=0, marks=MARKS).train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.25 * torch.randn(parameter.shape, generator=generator))
    return found


def row_of(ids: list[int]) -> Batch:
    ids_1T = torch.tensor([ids])
    return Batch(ids=ids_1T, segments=torch.ones_like(ids_1T), positions=torch.arange(len(ids))[None])


@torch.no_grad()
def fresh_logits(model: Any, ids: list[int]) -> torch.Tensor:
    """(V,) of what comes after `ids`, from the beginning and without memory."""
    return model.heads["words"].logits(model.encode(row_of(ids)).last[0, -1:])[0]


@pytest.mark.parametrize("positions", ["learned", "rotary", "sinusoidal", "none"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@torch.no_grad()
def test_the_memory_of_keys_and_values_changes_nothing(positions: str, norm: str) -> None:
    """Also where the text outgrows the model: the window is the same, and where it has moved everything is read anew."""
    model = built("causal", size=30, positions=positions, norm=norm).model.eval()
    ids = np.random.default_rng(0).integers(5, 30, size=(3, 27)).tolist()
    reading, read, at = Reading(model, length=LENGTH), 0, 0
    for step in (4, *[1] * 12, 5, *[1] * 6):
        read += step
        found = reading.read(torch.tensor([row[read - step : read] for row in ids]))
        start = 0
        while read - start > LENGTH:
            start += LENGTH // 2
        assert start == window(read, LENGTH)
        at += start > 0
        for row, logits in zip(ids, found, strict=True):
            torch.testing.assert_close(logits, fresh_logits(model, row[start:read]), atol=1e-5, rtol=1e-5)
    assert at > 10


class Averages(nn.Module):
    """A backbone of one's own, without state: the mean of all vectors so far."""

    def forward(self, x_RTD: torch.Tensor) -> torch.Tensor:
        return x_RTD.cumsum(1) / torch.arange(1, x_RTD.shape[1] + 1)[:, None]


@torch.no_grad()
def test_a_backbone_without_state_reads_everything_each_time() -> None:
    model = built("causal", size=30).model.eval()
    model.backbone = ForeignBackbone(Averages())
    reading, ids = Reading(model, length=LENGTH), [2, 7, 8, 9, 20, 21, 22, 23, 24, 25, 26, 27]
    for read in range(1, len(ids) + 1):
        found = reading.read(torch.tensor([[ids[read - 1]]]))[0]
        torch.testing.assert_close(found, fresh_logits(model, ids[window(read, LENGTH) : read]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [8, 9, 16])
def test_the_window_moves_by_half(length: int) -> None:
    for total in range(1, 6 * length):
        start = window(total, length)
        assert 0 <= start < total and total - start <= length
        assert start == 0 or total - start >= length // 2
        assert start % (length - length // 2) == 0


@torch.no_grad()
def test_rows_can_be_chosen_again() -> None:
    model = built("causal", size=30).model.eval()
    reading = Reading(model, length=LENGTH)
    reading.read(torch.tensor([[2, 7], [2, 8], [2, 9]]))
    reading.keep(torch.tensor([2, 0, 2]))
    for row, logits in zip([[2, 9, 11], [2, 7, 12], [2, 9, 13]], reading.read(torch.tensor([[11], [12], [13]])), strict=True):
        torch.testing.assert_close(logits, fresh_logits(model, row), atol=1e-5, rtol=1e-5)


def slow_distribution(logits: list[float], temperature: float, top_k: int | None, top_p: float | None) -> list[float]:
    weights = [math.exp(value / temperature) for value in logits]
    order = sorted(range(len(logits)), key=lambda id: (-weights[id], id))
    if top_k is not None:
        order = order[:top_k]
    if top_p is not None:
        whole, kept, held = sum(weights[id] for id in order), [], 0.0
        for id in order:
            if held >= top_p * whole:
                break
            kept.append(id)
            held += weights[id]
        order = kept
    whole = sum(weights[id] for id in order)
    return [weights[id] / whole if id in order else 0.0 for id in range(len(logits))]


@settings(max_examples=80)
@given(
    st.lists(st.integers(-3, 3), min_size=5, max_size=5),
    st.floats(0.3, 3.0),
    st.none() | st.integers(1, 7),
    st.none() | st.floats(0.05, 0.999),
)
def test_filters_equal_the_slow_ones(logits: list[int], temperature: float, top_k: int | None, top_p: float | None) -> None:
    found = distribution(torch.tensor([logits, logits[::-1]], dtype=torch.float32), Sampling(temperature, top_k, top_p))
    for row, values in zip(found, (logits, logits[::-1]), strict=True):
        assert row.tolist() == pytest.approx(slow_distribution([float(value) for value in values], temperature, top_k, top_p), abs=1e-6)


def test_greedy_takes_the_first_of_the_likeliest() -> None:
    found = distribution(torch.tensor([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0]]), Sampling(greedy=True))
    assert found.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_the_nucleus_is_the_smallest() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    assert distribution(logits, Sampling(top_p=0.75))[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert distribution(logits, Sampling(top_p=0.76))[0].tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0])
    assert distribution(logits, Sampling(top_k=2, top_p=0.6))[0].tolist() == pytest.approx([1.0, 0, 0, 0])


@torch.no_grad()
def test_greedy_writing_equals_the_slow_one_and_stops() -> None:
    model = built("causal", size=30).model.eval()
    prompts = [[2], [2, 9, 9], [2, 20, 7]]
    with torch.no_grad():
        model.heads["words"].bias[3] += 1.0  # so that some texts end
    ended = 0
    for prompt in prompts:
        ids, more = list(prompt), []
        for _ in range(25):
            logits = fresh_logits(model, ids[window(len(ids), LENGTH) :])
            logits[[0, 2, 4]] = -math.inf
            best = int(logits.argmax())
            if best == 3:
                ended += 1
                break
            ids.append(best)
            more.append(best)
        reading, keys = Reading(model, length=LENGTH), torch.zeros(1, dtype=torch.int64)
        sampling = Sampling(greedy=True)
        assert write(reading, torch.tensor([prompt]), keys_R=keys, tokens=25, sampling=sampling, marks=MARKS) == [more]
    assert ended


def test_what_is_drawn_has_the_distribution() -> None:
    model = built("causal", size=12).model.eval()
    count = 4000
    with torch.no_grad():
        keys = torch.arange(count) * 7919 + 13
        found = write(
            Reading(model, length=LENGTH), torch.full((count, 1), 2), keys_R=keys, tokens=1, sampling=Sampling(top_k=5), marks=MARKS
        )
        logits = fresh_logits(model, [2])
    logits[[0, 2, 4]] = -math.inf
    expected = distribution(logits[None], Sampling(top_k=5))[0].numpy()
    counts = np.bincount([ids[0] if ids else 3 for ids in found], minlength=12) / count
    assert np.abs(counts - expected).max() < 4 * math.sqrt(0.25 / count) and (counts[expected == 0] == 0).all()


def test_texts_depend_on_prompt_and_seed_alone() -> None:
    model = built("causal", size=len(VOCABULARY)).model.train()
    writer = Writer(model, VOCABULARY, LENGTH)
    prompts = ["the", "", "a river", "the bank of words and words of words", "the"]
    together = writer.write(prompts, tokens=15, count=3, seed=4)
    assert [len(texts) for texts in together] == [3] * 5 and together[0] == together[4]
    assert together == writer.write(prompts, tokens=15, count=3, seed=4)
    assert [writer.write([prompt], tokens=15, count=3, seed=4)[0] for prompt in prompts] == together
    assert [texts[:1] for texts in together] == writer.write(prompts, tokens=15, seed=4)
    assert writer.write(prompts, tokens=15, count=3, seed=5) != together and len(set(together[0])) > 1
    for prompt, texts in zip(prompts, together, strict=True):
        assert all(text.startswith(prompt) for text in texts)
    assert model.training
    greedy = [writer.write(prompts, tokens=15, sampling=Sampling(greedy=True), seed=seed) for seed in (1, 2)]
    assert greedy[0] == greedy[1]


def test_a_prompt_keeps_its_letters_and_spaces() -> None:
    writer = Writer(built("causal", size=len(VOCABULARY)).model, VOCABULARY, LENGTH)
    for prompt in ("a  river,bank", "a river "):
        [[text]] = writer.write([prompt], tokens=3, seed=1)
        assert text.startswith(prompt) and len(text) > len(prompt) and "river  " not in text


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"temperature": -1.0}, {"temperature": math.inf}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_numbers_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(MalmoiError, match=f"M009: {next(iter(wrong))} is"):
        Sampling(**wrong)


def test_nothing_to_write_is_refused() -> None:
    writer = Writer(built("causal", size=len(VOCABULARY)).model, VOCABULARY, LENGTH)
    for wrong in ({"tokens": 0}, {"count": 0}):
        with pytest.raises(MalmoiError, match="M009"):
            writer.write(["a"], **wrong)
    for bad in ({"beam": 0}, {"tokens": 0}, {"count": 3, "beam": 2}, {"penalty": -1.0}):
        with pytest.raises(MalmoiError, match="M009"):
            Search(**bad)  # type: ignore[arg-type]


class Slow:
    """The log-probabilities of a sequence model, everything read from the beginning for every prefix."""

    def __init__(self, objective: Any, source: list[int]) -> None:
        self.objective, self.source = objective, source
        self.memory = objective.model.encode(row_of([*source, 3])).last
        self.known: dict[tuple[int, ...], list[float]] = {}

    def after(self, ids: tuple[int, ...]) -> list[float]:
        if ids not in self.known:
            last = self.objective.decode(row_of([2, *ids]), self.memory, row_of([*self.source, 3])).last[0, -1:]
            logits = self.objective.head.logits(last)[0].double()
            logits[[0, 2, 4]] = -math.inf
            self.known[ids] = torch.log_softmax(logits, 0).tolist()
        return self.known[ids]

    def beam(self, *, beam: int, penalty: float, tokens: int, count: int) -> list[tuple[float, tuple[int, ...]]]:
        """The search of the description, never ended early, on lists."""
        live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        found: list[tuple[float, tuple[int, ...]]] = []
        for step in range(1, tokens + 1):
            lp = ((5 + step) / 6) ** penalty
            more = [(total + value, (*ids, id)) for total, ids in live for id, value in enumerate(self.after(ids)) if value > -math.inf]
            more = sorted(more, key=lambda entry: -entry[0])[: 2 * beam]
            found += [(total / lp, ids[:-1]) for total, ids in more[:beam] if ids[-1] == 3]
            live = [entry for entry in more if entry[1][-1] != 3][:beam]
            if step == tokens:
                found += [(total / lp, ids) for total, ids in live]
        return sorted(found, key=lambda entry: -entry[0])[:count]

    def everything(self, tokens: int) -> list[tuple[float, tuple[int, ...]]]:
        """Every text of at most `tokens` predictions, the likeliest first."""
        found = []
        letters = [id for id in range(len(self.after(()))) if id not in (0, 2, 3, 4)]
        for size in range(tokens + 1):
            for ids in itertools.product(letters, repeat=size):
                total = sum(self.after(ids[:place])[id] for place, id in enumerate(ids))
                if size < tokens:
                    total += self.after(ids)[3]
                found.append((total, ids))
        return sorted(found, key=lambda entry: -entry[0])


def searched(objective: Any, sources: list[list[int]], search: Search) -> Any:
    longest = max(map(len, sources)) + 1
    ids = torch.tensor([[*source, 3] + [0] * (longest - len(source) - 1) for source in sources])
    segments = torch.tensor([[1] * (len(source) + 1) + [0] * (longest - len(source) - 1) for source in sources])
    batch = Batch(ids=ids, segments=segments, positions=torch.arange(longest) * segments)
    reading = Reading(objective.decoder, length=LENGTH, memory=objective.model.encode(batch).last, segments=segments)
    return beam_search(reading, torch.full((len(sources), 1), 2), search=search, marks=MARKS)


SOURCES = [[5, 6, 7], [8], [], [5, 5, 8, 8, 6, 6]]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("beam", "penalty", "count"), [(1, 0.0, 1), (2, 0.0, 1), (3, 0.6, 2), (4, 1.0, 4), (5, 0.6, 1)])
@torch.no_grad()
def test_beam_search_equals_the_slow_one(seed: int, beam: int, penalty: float, count: int) -> None:
    objective = built("sequence", size=9, seed=seed).eval()
    search = Search(beam=beam, penalty=penalty, tokens=6, count=count)
    for source, found in zip(SOURCES, searched(objective, SOURCES, search), strict=True):
        expected = Slow(objective, source).beam(beam=beam, penalty=penalty, tokens=6, count=count)
        assert [text.score for text in found] == pytest.approx([score for score, _ in expected], abs=1e-5)
        assert [text.ids for text in found] == [ids for _, ids in expected]


@torch.no_grad()
def test_a_wide_beam_finds_the_likeliest_text_and_one_beam_is_greedy() -> None:
    objective = built("sequence", size=7).eval()
    slow = Slow(objective, [5, 6])
    [[best]] = searched(objective, [[5, 6]], Search(beam=60, penalty=0.0, tokens=4, count=1))
    total, ids = slow.everything(4)[0]
    assert best.ids == ids and best.log_probability == pytest.approx(total, abs=1e-5) == pytest.approx(best.score)
    objective, ids = built("sequence", size=9, seed=4).eval(), ()
    slow = Slow(objective, [5, 6])
    while len(ids) < 6 and (id := int(np.argmax(slow.after(ids)))) != 3:
        ids = (*ids, id)
    [[greedy]] = searched(objective, [[5, 6]], Search(beam=1, penalty=0.0, tokens=6))
    assert greedy.ids == ids


def test_the_length_penalty() -> None:
    assert length_penalty(1, 0.6) == 1.0 and length_penalty(7, 1.0) == 2.0 and length_penalty(50, 0.0) == 1.0


def test_a_translation_depends_on_its_source_alone() -> None:
    objective = built("sequence", size=len(VOCABULARY), seed=7).train()
    translator = Translator(objective.model, objective.decoder, VOCABULARY, LENGTH)
    sources = ["the words", "", "a river bank", "the dictionary gathers words and words", "a river bank"]
    together = translator.translate(sources, beam=3, count=2)
    assert [len(texts) for texts in together] == [2] * 5 and together[2] == together[4]
    assert [translator.translate([source], beam=3, count=2)[0] for source in sources] == together
    assert objective.model.training and objective.decoder.training
    for texts in translator.translate(sources, beam=1, penalty=0.0, tokens=10**6):
        assert len(VOCABULARY.encode(texts[0])) <= 4 * LENGTH
    assert translator.translate([]) == []
