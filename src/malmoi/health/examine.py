"""What `malmoi doctor` runs over text, shards and models: one function for each kind of thing, over parts that are already open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import TextSpec
from malmoi.corpus import read, word_splitter
from malmoi.health.batches import LONG, SHORT, random_batch, window
from malmoi.health.data import (
    FALL_BACK,
    TextSurvey,
    documents_at_rest,
    empty_documents,
    indexed,
    pieces_at_rest,
    ranks,
    size_of_text,
    unknown_flood,
    vocabulary_covers,
)
from malmoi.health.detector import detection
from malmoi.health.evaluation import dropout_asleep, dropout_places, training_equals_evaluation
from malmoi.health.finding import Finding
from malmoi.health.leak import visibility
from malmoi.health.path import one_path
from malmoi.health.rows import accumulation, packing
from malmoi.health.state import continuity
from malmoi.health.tying import sharing
from malmoi.objectives import BiLM, Objective, Replaced
from malmoi.shards import Shards
from malmoi.vocab import Subwords, Vocabulary

ROWS, EVEN_ROWS, WINDOWS = 3, 4, 3
"""Of the batches that the model is examined with: small, and all different, so that no axis can be taken for another."""


def examine_corpus(
    sources: Sequence[str | Path],
    *,
    text: TextSpec | None = None,
    size: int = 100_000,
    vocabulary: Vocabulary | Subwords | None = None,
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
    if isinstance(vocabulary, Subwords):
        rate, pieces = survey.unknown_pieces(vocabulary)
        return [*found, *unknown_flood(rate, where=f"the {pieces:,} pieces of the corpus", size=len(vocabulary), next=FALL_BACK)]
    if vocabulary is not None:
        rate = survey.unknown_rate(lambda word: vocabulary.id_of(word) > 2)
        return [*found, *vocabulary_covers(vocabulary, survey.words, rate=rate)]
    frequent = {word for word, _ in survey.words.most_common(size - 3)}
    next = "raise model.head.size, or split words (text.words=punctuation)."
    return [*found, *unknown_flood(survey.unknown_rate(frequent.__contains__), where="the corpus", size=size, next=next)]


def examine_shards(directory: str | Path, vocabulary: Vocabulary | Subwords, *, size: int = 100_000) -> list[Finding]:
    """Shards and the vocabulary that they were written with: damage, flood of <unk>, a vocabulary of another text, too little text."""
    try:
        shards = Shards.open(directory, vocabulary)
    except MalmoiError as problem:
        return [Finding.of_error(problem)]
    found = [*size_of_text(shards.tokens, what="the shards"), *documents_at_rest(shards, vocabulary)]
    return found + what_ids_say(shards, vocabulary, size=size)


def what_ids_say(shards: Shards, vocabulary: Vocabulary | Subwords, *, size: int) -> list[Finding]:
    """The checks of ids at rest beside their vocabulary. Subwords are no frequency ranks, and carry no counts."""
    if isinstance(vocabulary, Subwords):
        return pieces_at_rest(shards, vocabulary)
    return [*ranks(vocabulary), *indexed(shards, vocabulary, size=size)]


def examine_objective(
    objective: Objective,
    *,
    batch: Batch | None = None,
    tied: bool | None = None,
    rate: float | None = None,
    attention: float | None = None,
) -> list[Finding]:
    """The checks that need nothing but a model: leak, one path, evaluation, dropout, sharing; of a biLM its state, of others packed rows,
    accumulation, and of a model for replaced tokens what it reads.

    batch: rows to examine it with (default: random words). tied, rate, attention (dropout of attention weights): what the recipe says;
    None leaves out what needs it.
    """
    streams = isinstance(objective, BiLM)
    wide = batch or random_batch(objective, rows=ROWS, length=WINDOWS * SHORT if streams else LONG)
    short = window(wide, 0, SHORT) if streams else wide
    found = [*visibility(objective, short), *one_path(objective, short)]
    found += [*dropout_asleep(objective, short), *training_equals_evaluation(objective, short)]
    if rate is not None:
        found += dropout_places(objective, short, rate=rate, attention=attention)
    found += sharing(objective, short, tied=bool(tied))
    if isinstance(objective, BiLM):
        return found + continuity(objective, wide, windows=WINDOWS)
    found += detection(objective, short) if isinstance(objective, Replaced) else []
    found += packing(objective, short)
    return found + accumulation(objective, random_batch(objective, rows=EVEN_ROWS, length=LONG))
