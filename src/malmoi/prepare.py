"""From sources to what training reads: vocabulary, shards, held-out text. Stages that are done are taken as they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from malmoi.core.artifact import fingerprint
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress
from malmoi.core.recipe import RunSpec, TextSpec
from malmoi.corpus import Document, read, source_fingerprint, word_splitter
from malmoi.run import read_spec, record
from malmoi.shards import Shards, write_shards
from malmoi.train import checkpoint as checkpoints
from malmoi.vocab import EncodedText, Vocabulary, VocabularyReport, count_words, encode_documents, refuse_unknown, report

Sources = Sequence[str | Path]
HELD_OUT = 100
"""Without validation sources, one document in so many is held out (of a corpus that has at least twice as many)."""


@dataclass(frozen=True)
class Prepared:
    """What training needs. `valid` is None for a corpus too small to hold anything out."""

    vocabulary: Vocabulary
    shards: Shards
    report: VocabularyReport
    valid: EncodedText | None


def prepare(spec: RunSpec, *, corpus: Sources, valid: Sources, out: Path, allow_unknown: bool, progress: Progress) -> Prepared:
    """Count, number and store the corpus of a run in `out/vocab` and `out/shards`, and encode its held-out text.

    On a second start with the same sources both are taken as they are, after verification; other sources are refused (M041). A vocabulary
    that leaves too much unknown is refused (M012) unless `allow_unknown`.
    """
    split = word_splitter(spec.text.words)
    _same_text(spec, corpus=corpus, valid=valid, out=out)
    documents = _Documents(corpus, spec.text, hold_out=not valid, progress=progress)
    if (out / "vocab" / "manifest.json").is_file():
        vocabulary = Vocabulary.load(out / "vocab")
    else:
        progress.stage("counting words")
        vocabulary = Vocabulary.build(count_words(documents.training(), split), spec.characters)
        if len(vocabulary) <= 3:
            raise MalmoiError("M013", path=", ".join(map(str, corpus)))
        vocabulary.save(out / "vocab")
    facts = report(vocabulary, spec.model.head.size)
    if not allow_unknown:
        refuse_unknown(facts)
    if (out / "shards" / "manifest.json").is_file():
        shards = Shards.open(out / "shards", vocabulary)
    else:
        progress.stage("writing shards", facts.tokens)
        shards = write_shards(out / "shards", (split(document.text) for document in documents.training()), vocabulary)
    held = read(valid, spec.text) if valid else documents.held_out()
    encoded = encode_documents((split(document.text) for document in held), vocabulary)
    parents = {"vocabulary": vocabulary.fingerprint, "shards": shards.fingerprint}
    record(out, parents=parents, vocabulary=facts.model_dump(mode="json"), documents=shards.documents)
    return Prepared(vocabulary, shards, facts, encoded if len(encoded.ids) else None)


def _same_text(spec: RunSpec, *, corpus: Sources, valid: Sources, out: Path) -> None:
    """Note in the run what its text is. Of another text, stages are thrown away while nothing is trained, and refused (M041) after."""
    files = {"corpus": source_fingerprint(corpus), "valid": source_fingerprint(valid) if valid else None}
    text = fingerprint({**files, "text": spec.text.model_dump(mode="json"), "characters": spec.characters.model_dump(mode="json")})
    known = read_spec(out)[1].get("corpus")
    if known is not None and known != text:
        if checkpoints.steps(out / "checkpoints"):
            raise MalmoiError("M041", path=out, differences="the files of the corpus are not those that the run began with")
        for stage in ("vocab", "shards"):
            shutil.rmtree(out / stage, ignore_errors=True)
    record(out, corpus=text)


def first_words(text: EncodedText, words: int) -> EncodedText:
    """The first whole documents of `text` with at least `words` words, or all of it."""
    stop = int((text.ends >= words).argmax()) + 1 if len(text.ends) and text.ends[-1] >= words else len(text.ends)
    tokens = int(text.ends[stop - 1]) if stop else 0
    share = max(1, round(text.bytes * tokens / max(len(text.ids), 1)))
    return EncodedText(ids=text.ids[:tokens], ends=text.ends[:stop], extra=text.extra, bytes=share, vocabulary=text.vocabulary)


class _Documents:
    """The corpus as often as it is asked for, with or without what is held out."""

    def __init__(self, sources: Sources, text: TextSpec, *, hold_out: bool, progress: Progress) -> None:
        self.sources, self.text, self.progress = sources, text, progress
        enough = sum(1 for _ in islice(read(sources, text), 2 * HELD_OUT)) == 2 * HELD_OUT if hold_out else False
        self.every = HELD_OUT if enough else 0

    def training(self) -> Iterator[Document]:
        words = 0
        for number, document in enumerate(read(self.sources, self.text)):
            words += document.text.count(" ") + 1
            if number % 100 == 0:
                self.progress.advance(words)
            if not self._held(number):
                yield document

    def held_out(self) -> Iterator[Document]:
        if self.every:
            yield from (document for number, document in enumerate(read(self.sources, self.text)) if self._held(number))

    def _held(self, number: int) -> bool:
        return self.every > 0 and number % self.every == self.every - 1


def summary(prepared: Prepared) -> dict[str, Any]:
    """What a run prints and stores of its text."""
    facts = prepared.report.model_dump(mode="json")
    return {"documents": prepared.shards.documents, "valid_tokens": len(prepared.valid.ids) if prepared.valid else 0, **facts}
