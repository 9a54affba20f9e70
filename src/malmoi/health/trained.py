"""What `malmoi doctor` runs over a trained run: its model, its data, its history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from malmoi.core.batch import Batch
from malmoi.core.recipe import (
    AttentionSpec,
    BackboneSpec,
    BiLMSpec,
    CharacterCNNSpec,
    RowsSpec,
    RunSpec,
    SequenceSpec,
    SkipGramSpec,
    StreamSpec,
)
from malmoi.evals import unigram, unigram_of
from malmoi.health import run as history
from malmoi.health.batches import SHORT, random_batch, window
from malmoi.health.bench import device_of
from malmoi.health.collapse import collapse
from malmoi.health.data import documents_at_rest
from malmoi.health.examine import ROWS, WINDOWS, examine_objective, what_ids_say
from malmoi.health.finding import Finding
from malmoi.health.path import never_moved, readout_agrees
from malmoi.health.readout import static_agrees, tokens_agree
from malmoi.health.start import start_loss
from malmoi.health.state import rows_go_on, zero_start
from malmoi.objectives import BiLM, Objective, SkipGram, build
from malmoi.shards import Contexts, Packed, Pairs, Shards, Streams, document_batches
from malmoi.train import checkpoint as checkpoints
from malmoi.train import total_steps
from malmoi.vocab import Subwords, Vocabulary

COLLAPSE_ROWS, COLLAPSE_LENGTH = 16, 32
"""512 tokens (of a biLM in each direction): the mean cosine over their 130,000 pairs is known to a hundredth."""
EARLY, EARLY_WORDS = 20, 200_000
"""Predictions (for each output word, and in all) up to which collapsed vectors may be those of a model that has just begun."""

Batches: TypeAlias = Streams | Packed | Pairs | Contexts
Cut: TypeAlias = Callable[[int, int], Batches]
"""(rows, positions) -> batches of the run's own text."""


def examine_run(
    spec: RunSpec,
    *,
    objective: Objective,
    vocabulary: Vocabulary | Subwords,
    shards: Shards | None,
    directory: Path,
    step: int,
    source: Shards | None = None,
    fresh: Objective | None = None,
) -> list[Finding]:
    """A run: its model, its data, its history. `step` is where the loaded checkpoint stands, 0 for a model that was not trained here.

    shards: what it was trained on, `source` what was translated into it; None (an imported run) examines with random words. fresh: the
    objective with the weights of step 0; by default it is built from `spec`. Nothing of the objective is changed.
    """
    found = history_of(spec, vocabulary=vocabulary, shards=shards, source=source, directory=directory, size=objective.output_size)
    cut = _cutter(spec, vocabulary, shards, source)
    wide = random_batch(objective, rows=ROWS, length=WINDOWS * SHORT) if isinstance(objective, BiLM) else None
    if isinstance(objective, BiLM) and cut is not None:
        wide = cut(ROWS, WINDOWS * SHORT).batch(step).to(device_of(objective))
    found += examine_objective(objective, batch=wide, tied=spec.model.head.tied, rate=spec.model.dropout, attention=_attention(spec))
    if shards is None or cut is None:
        return found
    size = len(vocabulary) if isinstance(objective, SkipGram) else objective.output_size  # skip-gram leaves rare words out
    found += [*documents_at_rest(shards, vocabulary), *what_ids_say(shards, vocabulary, size=size)]
    if isinstance(objective, BiLM) and isinstance(vocabulary, Vocabulary):
        found += _states(spec, objective, vocabulary, shards, directory=directory, step=step)
        found += readout_agrees(objective, vocabulary, _first_documents(shards))
    elif isinstance(vocabulary, Vocabulary):
        found += static_agrees(objective, vocabulary)
    else:
        found += tokens_agree(objective, vocabulary, _first_documents(shards if source is None else source))
    sample = cut(COLLAPSE_ROWS, COLLAPSE_LENGTH)
    seen = step * spec.training.accumulate * _own(spec, cut).tokens_per_step
    vectors = [sample.batch(number).to(device_of(objective)) for number in range(2)]
    found += collapse(objective, vectors, early=seen < max(EARLY * objective.output_size, EARLY_WORDS))
    if step > 0:
        fresh = fresh or build(spec, **vocabulary.sizes())
        small = window(wide, 0, SHORT) if wide is not None else vectors[0]
        found += start_loss(fresh, (vectors[0] if wide is None else wide).to(device_of(fresh)))
        found += never_moved(objective, fresh, small, steps=step)
    return found


def history_of(
    spec: RunSpec, *, vocabulary: Vocabulary | Subwords, shards: Shards | None, source: Shards | None = None, directory: Path, size: int
) -> list[Finding]:
    """What metrics.jsonl and the checkpoints of a run tell."""
    metrics, found = history.read_metrics(directory / "metrics.jsonl")
    found += history.records(directory)
    cut = _cutter(spec, vocabulary, shards, source)
    if not metrics or shards is None or cut is None:
        return found
    if isinstance(vocabulary, Subwords):
        distribution = unigram_of(shards, size=size, marks=vocabulary.marks)
    else:
        distribution = unigram(np.asarray(vocabulary.counts), size=size, documents=shards.documents)
    exact = spec.model.head.softmax.kind != "sampled"
    likelihoods = history.likelihoods(metrics, spec.objective.kind)
    found += [
        *history.finite(metrics),
        *history.ended(metrics, spec.training, steps=total_steps(spec.training, _own(spec, cut))),
        *history.better_than_counting(likelihoods, unigram=history.unigram_entropy(distribution), exact=exact, size=size),
        *history.gradients(metrics, spec.training, weight=getattr(spec.objective, "weight", 1.0)),
        *history.falling(metrics),
    ]
    return found + history.damaged(directory / "checkpoints")


def _states(spec: RunSpec, objective: BiLM, vocabulary: Vocabulary, shards: Shards, *, directory: Path, step: int) -> list[Finding]:
    """Of a biLM: its rows go on, and a start from zero is none the worse for it."""
    cut = _cutter(spec, vocabulary, shards, None)
    assert cut is not None
    streams = _own(spec, cut)
    found = rows_go_on([streams.batch(step + number) for number in range(3)], first=step)
    states = checkpoints.load(directory / "checkpoints" / f"step-{step:08d}").carry if step > 0 else {}
    if states:
        carry = checkpoints.unflatten({name: tensor.to(device_of(objective)) for name, tensor in states.items()})
        beginnings = [batch.to(device_of(objective)) for batch in _beginnings(shards, vocabulary, spec)]
        going_on = streams.batch(step * spec.training.accumulate).to(device_of(objective))
        found += zero_start(objective, beginnings=beginnings, going_on=going_on, carry=carry)
    return found


def _first_documents(shards: Shards) -> list[np.ndarray]:
    """Up to three documents that have words, at most 12 words of each, as ids."""
    chosen = np.flatnonzero(shards.lengths > 0)[:3]
    starts, lengths = shards.bounds(chosen)
    return [shards.ids(int(start), int(start + min(length, 12))) for start, length in zip(starts, lengths, strict=True)]


def _beginnings(shards: Shards, vocabulary: Vocabulary, spec: RunSpec) -> list[Batch]:
    """Documents from their start, at most 200 words of each, 1,500 words in all: of the middle of the corpus, as batches."""
    chosen = np.arange(shards.documents // 2, shards.documents)
    chosen = chosen[np.cumsum(np.minimum(shards.lengths[chosen], 200)) <= 1500]
    starts, lengths = shards.bounds(chosen)
    parts = [shards.ids(int(start), int(start + min(length, 200))) for start, length in zip(starts, lengths, strict=True)]
    text = Shards.of(np.concatenate([np.empty(0, np.int64), *parts]), np.cumsum([len(part) for part in parts]))
    spelling = (lambda ids: vocabulary.spelling[ids]) if isinstance(spec.model.frontend, CharacterCNNSpec) else None
    return [next(chunks) for chunks, _ in document_batches(text, tokens=4096, window=201, spelling=spelling)]


def _cutter(spec: RunSpec, vocabulary: Vocabulary | Subwords, shards: Shards | None, source: Shards | None) -> Cut | None:
    """Batches of the run's own text; None where there is none."""
    if shards is None:
        return None
    text = shards
    kind = spec.objective
    if isinstance(kind, SkipGramSpec):
        size, counts = spec.model.head.size, vocabulary.sizes()["counts"]
        return lambda rows, length: Contexts(text, counts, kind, size=size, rows=rows, length=length, seed=spec.seed)
    if isinstance(vocabulary, Vocabulary):
        spelt = isinstance(spec.model.frontend, CharacterCNNSpec)

        def streams(rows: int, length: int) -> Batches:
            rows = min(rows, text.tokens + text.documents)
            return Streams(text, (lambda ids: vocabulary.spelling[ids]) if spelt else None, rows, length, spec.seed)

        return streams

    def rows(rows: int, length: int) -> Batches:
        if source is not None:
            return Pairs(source, text, marks=vocabulary.marks, rows=rows, length=length, seed=spec.seed)
        assert not isinstance(kind, BiLMSpec | SequenceSpec | SkipGramSpec)
        return Packed(text, marks=vocabulary.marks, layout=kind.layout, rows=rows, length=length, seed=spec.seed)

    return rows


def _own(spec: RunSpec, cut: Cut) -> Batches:
    """The batches of training."""
    stream: StreamSpec | RowsSpec = spec.stream
    return cut(stream.streams, stream.window) if isinstance(stream, StreamSpec) else cut(stream.rows, stream.length)


def _attention(spec: RunSpec) -> float | None:
    backbone = spec.model.backbone
    return backbone.mixer.dropout if isinstance(backbone, BackboneSpec) and isinstance(backbone.mixer, AttentionSpec) else None
