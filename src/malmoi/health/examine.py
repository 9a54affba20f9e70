"""What `malmoi doctor` runs: one function for each kind of thing, over parts that are already open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import CharacterCNNSpec, RunSpec, TextSpec
from malmoi.corpus import read, word_splitter
from malmoi.evals import unigram
from malmoi.health import run as history
from malmoi.health.batches import random_batch, window
from malmoi.health.bench import device_of
from malmoi.health.collapse import collapse
from malmoi.health.data import (
    TextSurvey,
    documents_at_rest,
    empty_documents,
    indexed,
    ranks,
    size_of_text,
    unknown_flood,
    vocabulary_covers,
)
from malmoi.health.evaluation import dropout_asleep, dropout_places, training_equals_evaluation
from malmoi.health.finding import Finding
from malmoi.health.leak import visibility
from malmoi.health.path import never_moved, one_path, readout_agrees
from malmoi.health.start import start_loss
from malmoi.health.state import continuity, rows_go_on, zero_start
from malmoi.health.tying import sharing
from malmoi.objectives import BiLM, build
from malmoi.shards import Shards, Streams, document_batches
from malmoi.train import checkpoint as checkpoints
from malmoi.train import total_steps
from malmoi.vocab import Vocabulary

ROWS, LENGTH, WINDOWS = 3, 5, 3
"""Of the batches that the model is examined with: small, and all different, so that no axis can be taken for another."""
COLLAPSE_ROWS, COLLAPSE_LENGTH = 16, 32
"""512 tokens in each direction: the mean cosine over their 130,000 pairs is known to a hundredth."""
EARLY, EARLY_WORDS = 20, 200_000
"""Predictions (for each output word, and in all) up to which collapsed vectors may be those of a model that has just begun."""


def examine_corpus(
    sources: Sequence[str | Path], *, text: TextSpec | None = None, size: int = 100_000, vocabulary: Vocabulary | None = None
) -> list[Finding]:
    """A corpus: empty documents, duplicates, size, and what an output vocabulary of `size` words (or `vocabulary`) would not know.

    Reads everything once; memory grows with the number of types and of documents. Damage of a file is a finding too.
    """
    text = text or TextSpec()
    passed_over: list[MalmoiError] = []
    survey = TextSurvey(word_splitter(text.words))
    try:
        survey.read(read(sources, text, notice=passed_over.append))
    except MalmoiError as problem:
        return [Finding.of_error(problem)]
    found = size_of_text(survey.words.total(), what="the corpus")
    found += [*empty_documents(passed_over, survey.documents.count), *survey.duplicates()]
    if vocabulary is not None:
        rate = survey.unknown_rate(lambda word: vocabulary.id_of(word) > 2)
        return [*found, *vocabulary_covers(vocabulary, survey.words, rate=rate)]
    frequent = {word for word, _ in survey.words.most_common(size - 3)}
    next = "raise model.head.size, or split words (text.words=punctuation)."
    return [*found, *unknown_flood(survey.unknown_rate(frequent.__contains__), where="the corpus", size=size, next=next)]


def examine_shards(directory: str | Path, vocabulary: Vocabulary, *, size: int = 100_000) -> list[Finding]:
    """Shards and the vocabulary that they were written with: damage, flood of <unk>, a vocabulary of another text, too little text."""
    try:
        shards = Shards.open(directory, vocabulary)
    except MalmoiError as problem:
        return [Finding.of_error(problem)]
    found = [*size_of_text(shards.tokens, what="the shards"), *documents_at_rest(shards, vocabulary)]
    return [*found, *ranks(vocabulary), *indexed(shards, vocabulary, size=size)]


def examine_objective(objective: BiLM, *, batch: Batch | None = None, tied: bool | None = None, rate: float | None = None) -> list[Finding]:
    """The checks that need nothing but a model: leak, one path, evaluation, dropout, sharing, state.

    batch: rows to examine it with (default: random words). tied, rate: what the recipe says; None leaves out what needs it.
    """
    wide = batch or random_batch(objective, rows=ROWS, length=WINDOWS * LENGTH)
    short = window(wide, 0, LENGTH)
    found = [*visibility(objective, short), *one_path(objective, short)]
    found += [*dropout_asleep(objective, short), *training_equals_evaluation(objective, short)]
    if rate is not None:
        found += dropout_places(objective, short, rate=rate)
    found += sharing(objective, short, tied=bool(tied))
    return found + continuity(objective, wide, windows=WINDOWS)


def examine_run(
    spec: RunSpec,
    *,
    objective: BiLM,
    vocabulary: Vocabulary,
    shards: Shards | None,
    directory: Path,
    step: int,
    fresh: BiLM | None = None,
) -> list[Finding]:
    """A run: its model, its data, its history. `step` is where the loaded checkpoint stands, 0 for a model that was not trained here.

    shards: what it was trained on; None (an imported run) examines with random words. fresh: the objective with the weights of
    step 0; by default it is built from `spec`. Nothing of the objective is changed.
    """
    found = history_of(spec, vocabulary=vocabulary, shards=shards, directory=directory, size=objective.output_size)
    cut = _cutter(spec, vocabulary, shards)
    wide = random_batch(objective, rows=ROWS, length=WINDOWS * LENGTH)
    if cut is not None:
        wide = cut(ROWS, WINDOWS * LENGTH).batch(step).to(device_of(objective))
    found += examine_objective(objective, batch=wide, tied=spec.model.head.tied, rate=spec.model.dropout)
    if shards is None or cut is None:
        return found
    found += [*documents_at_rest(shards, vocabulary), *ranks(vocabulary), *indexed(shards, vocabulary, size=objective.output_size)]
    streams = cut(spec.stream.streams, spec.stream.window)
    found += rows_go_on([streams.batch(step + number) for number in range(3)], first=step)
    states = checkpoints.load(directory / "checkpoints" / f"step-{step:08d}").carry if step > 0 else {}
    if states:
        carry = checkpoints.unflatten({name: tensor.to(device_of(objective)) for name, tensor in states.items()})
        beginnings = [batch.to(device_of(objective)) for batch in _beginnings(shards, vocabulary, spec)]
        going_on = streams.batch(step * spec.training.accumulate).to(device_of(objective))
        found += zero_start(objective, beginnings=beginnings, going_on=going_on, carry=carry)
    found += readout_agrees(objective, vocabulary, _first_documents(shards))
    sample = cut(COLLAPSE_ROWS, COLLAPSE_LENGTH)
    seen = step * spec.training.accumulate * streams.tokens_per_step
    vectors = [sample.batch(number).to(device_of(objective)) for number in range(2)]
    found += collapse(objective, vectors, early=seen < max(EARLY * objective.output_size, EARLY_WORDS))
    if step > 0:
        fresh = fresh or build(spec, words=len(vocabulary), characters=vocabulary.characters.size)
        found += start_loss(fresh, wide.to(device_of(fresh)))
        found += never_moved(objective, fresh, window(wide, 0, LENGTH), steps=step)
    return found


def history_of(spec: RunSpec, *, vocabulary: Vocabulary, shards: Shards | None, directory: Path, size: int) -> list[Finding]:
    """What metrics.jsonl and the checkpoints of a run tell."""
    metrics, found = history.read_metrics(directory / "metrics.jsonl")
    if not metrics or shards is None:
        return found
    distribution = unigram(np.asarray(vocabulary.counts), size=size, documents=shards.documents)
    entropy = history.unigram_entropy(distribution)
    exact = spec.model.head.softmax.kind != "sampled"
    streams = _cutter(spec, vocabulary, shards)
    steps = total_steps(spec.training, streams(spec.stream.streams, spec.stream.window)) if streams else None
    found += [
        *history.finite(metrics),
        *history.ended(metrics, spec.training, steps=steps),
        *history.better_than_counting(metrics, unigram=entropy, exact=exact, size=size),
        *history.gradients(metrics, spec.training),
        *history.falling(metrics),
    ]
    return found + history.damaged(directory / "checkpoints")


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


def _cutter(spec: RunSpec, vocabulary: Vocabulary, shards: Shards | None) -> Callable[[int, int], Streams] | None:
    """(streams, window) -> Streams over the run's own shards; None where there are none."""
    if shards is None:
        return None
    spelt = isinstance(spec.model.frontend, CharacterCNNSpec)

    def cut(streams: int, length: int) -> Streams:
        rows = min(streams, shards.tokens + shards.documents)
        return Streams(shards, (lambda ids: vocabulary.spelling[ids]) if spelt else None, rows, length, spec.seed)

    return cut
