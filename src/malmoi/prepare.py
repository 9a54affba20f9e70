"""From sources to what training reads: vocabulary, shards, held-out text. Stages that are done are taken as they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from malmoi.core.artifact import fingerprint, refuse_full
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress
from malmoi.core.recipe import RunSpec, SkipGramSpec, TextSpec
from malmoi.core.spec import Spec, validate
from malmoi.corpus import Document, read, source_files, source_fingerprint, text_lines, word_splitter
from malmoi.run import read_spec, record
from malmoi.shards import Shards, write_shards
from malmoi.train import checkpoint as checkpoints
from malmoi.vocab import (
    EncodedText,
    SubwordReport,
    Subwords,
    Vocabulary,
    VocabularyReport,
    count_words,
    encode_documents,
    refuse_unknown,
    report,
    text_chunks,
)

Sources = Sequence[str | Path]
HELD_OUT = 100
"""Without validation sources, one document in so many is held out (of a corpus that has at least twice as many)."""


SAMPLE = 20_000
"""Documents whose words the report on subwords counts."""


@dataclass(frozen=True)
class Prepared:
    """What training needs. `valid` is None for a corpus too small to hold anything out. Of pairs of texts `shards` and `valid` are the
    targets, what is predicted, and `source` and `valid_source` what is read."""

    vocabulary: Vocabulary | Subwords
    shards: Shards
    report: VocabularyReport | SubwordReport
    valid: EncodedText | None
    source: Shards | None = None
    valid_source: EncodedText | None = None


def prepare(
    spec: RunSpec, *, corpus: Sources, valid: Sources, out: Path, allow_unknown: bool, progress: Progress, writes: bool = True
) -> Prepared:
    """Count, number and store the corpus of a run in `out/vocab` and `out/shards`, and encode its held-out text.

    On a second start with the same sources both are taken as they are, after verification; other sources are refused (M041). A vocabulary
    that leaves too much unknown is refused (M012, M026) unless `allow_unknown`, a disk that is too full is (M045). For pairs of
    texts corpus and valid are two files each. writes: False where another process has just done all this.
    """
    if writes:
        _same_text(spec, corpus=corpus, valid=valid, out=out)
        if not (out / "shards" / "manifest.json").is_file():
            refuse_full(out, sum(file.stat().st_size for file in source_files(corpus)), what="a corpus of this size")
    if spec.objective.kind == "sequence":
        prepared = _of_pairs(spec, corpus=corpus, valid=valid, out=out, allow_unknown=allow_unknown, progress=progress)
    else:
        scored = not isinstance(spec.objective, SkipGramSpec)
        if valid and not scored:
            problem, next = "vectors of words score no text", "leave it out."
            raise MalmoiError("M009", argument="--valid", value=" ".join(map(str, valid)), problem=problem, next=next)
        documents = _Documents(corpus, spec.text, hold_out=scored and not valid, progress=progress)
        held = read(valid, spec.text) if valid else documents.held_out()
        stage = _of_words if spec.subwords is None else _of_subwords
        prepared = stage(spec, documents=documents, held=held, out=out, allow_unknown=allow_unknown, progress=progress)
    parents = {"vocabulary": prepared.vocabulary.fingerprint, "shards": prepared.shards.fingerprint}
    if prepared.source is not None:
        parents["source"] = prepared.source.fingerprint
    if writes:
        _same_parents(out, parents)
        record(out, parents=parents, vocabulary=prepared.report.model_dump(mode="json"), documents=prepared.shards.documents)
    return prepared


def _of_words(
    spec: RunSpec, *, documents: _Documents, held: Iterator[Document], out: Path, allow_unknown: bool, progress: Progress
) -> Prepared:
    split = word_splitter(spec.text.words)
    if (out / "vocab" / "manifest.json").is_file():
        vocabulary = Vocabulary.load(out / "vocab")
    else:
        progress.stage("counting words")
        vocabulary = Vocabulary.build(count_words(documents.training(), split), spec.characters)
        if len(vocabulary) <= 3:
            raise MalmoiError("M013", path=", ".join(map(str, documents.sources)))
        vocabulary.save(out / "vocab")
    if isinstance(spec.objective, SkipGramSpec):
        facts = report(vocabulary, spec.objective.known(vocabulary.counts, spec.model.head.size))
    else:
        facts = report(vocabulary, spec.model.head.size)
        if not allow_unknown:
            refuse_unknown(facts)
    if (out / "shards" / "manifest.json").is_file():
        shards = Shards.open(out / "shards", vocabulary)
    else:
        progress.stage("writing shards", facts.tokens)
        shards = write_shards(out / "shards", (split(document.text) for document in documents.training()), vocabulary)
    encoded = encode_documents((split(document.text) for document in held), vocabulary)
    return Prepared(vocabulary, shards, facts, encoded if len(encoded.ids) else None)


def _of_subwords(
    spec: RunSpec, *, documents: _Documents, held: Iterator[Document], out: Path, allow_unknown: bool, progress: Progress
) -> Prepared:
    def texts() -> Iterator[str]:
        return (document.text for document in documents.training())

    vocabulary, facts = _subwords(spec, texts, out=out, allow_unknown=allow_unknown, progress=progress)
    shards = _shards(out / "shards", texts, vocabulary, sentences=getattr(spec.objective, "pair", "none") != "none", progress=progress)
    encoded = encode_documents((document.text for document in held), vocabulary)
    return Prepared(vocabulary, shards, facts, encoded if len(encoded.ids) else None)


def _of_pairs(spec: RunSpec, *, corpus: Sources, valid: Sources, out: Path, allow_unknown: bool, progress: Progress) -> Prepared:
    """One vocabulary for both sides; `out/shards` holds the targets, `out/sources` the sources."""
    pairs = _Pairs(corpus, every=0 if valid else HELD_OUT)
    held = _Pairs(valid, every=0) if valid else pairs
    sides = (lambda: pairs.training(0)), (lambda: pairs.training(1))
    vocabulary, facts = _subwords(spec, lambda: chain(*(side() for side in sides)), out=out, allow_unknown=allow_unknown, progress=progress)
    source = _shards(out / "sources", sides[0], vocabulary, sentences=False, progress=progress)
    target = _shards(out / "shards", sides[1], vocabulary, sentences=False, progress=progress)
    encoded = [encode_documents(held.training(side) if valid else held.held_out(side), vocabulary) for side in (0, 1)]
    if not len(encoded[1].ids):
        return Prepared(vocabulary, target, facts, None, source)
    return Prepared(vocabulary, target, facts, encoded[1], source, encoded[0])


def _subwords(
    spec: RunSpec, texts: Callable[[], Iterator[str]], *, out: Path, allow_unknown: bool, progress: Progress
) -> tuple[Subwords, SubwordReport]:
    assert spec.subwords is not None
    if (out / "vocab" / "manifest.json").is_file():
        vocabulary = Subwords.load(out / "vocab")
        known = read_spec(out)[1].get("vocabulary")
        facts = validate(SubwordReport, known) if known else vocabulary.report(islice(texts(), SAMPLE))
    else:
        progress.stage("learning subwords")
        vocabulary = Subwords.train(texts(), spec.subwords)
        facts = vocabulary.report(islice(texts(), SAMPLE))
        if not facts.types:
            raise MalmoiError("M013", path=out)
        vocabulary.save(out / "vocab")
        record(out, vocabulary=facts.model_dump(mode="json"))
    if not allow_unknown:
        refuse_unknown(facts)
    return vocabulary, facts


def _shards(place: Path, texts: Callable[[], Iterator[str]], vocabulary: Subwords, *, sentences: bool, progress: Progress) -> Shards:
    if (place / "manifest.json").is_file():
        return Shards.open(place, vocabulary)
    progress.stage("writing shards")
    encode: Any = vocabulary.encode_sentences if sentences else vocabulary.encode_batch
    return write_shards(place, (document for chunk in text_chunks(texts()) for document in encode(chunk)), vocabulary)


def _same_text(spec: RunSpec, *, corpus: Sources, valid: Sources, out: Path) -> None:
    """Note in the run what its text is. Of another text, stages are thrown away while nothing is trained, and refused (M041) after."""
    files = {"corpus": source_fingerprint(corpus), "valid": source_fingerprint(valid) if valid else None}
    parts: dict[str, Spec] = {"text": spec.text}
    parts |= {"characters": spec.characters} if spec.subwords is None else {"subwords": spec.subwords}
    text = fingerprint({**files, **{name: part.model_dump(mode="json") for name, part in parts.items()}})
    known = read_spec(out)[1].get("corpus")
    if known is not None and known != text:
        if checkpoints.steps(out / "checkpoints"):
            raise MalmoiError("M041", path=out, differences="the files of the corpus are not those that the run began with")
        for stage in ("vocab", "shards", "sources"):
            shutil.rmtree(out / stage, ignore_errors=True)
    record(out, corpus=text)


def _same_parents(out: Path, parents: dict[str, str]) -> None:
    """Raise MalmoiError M041 if a run that has been trained would go on with another vocabulary or other shards."""
    known = read_spec(out)[1].get("parents")
    if known and checkpoints.steps(out / "checkpoints"):
        for name, expected in known.items():
            if parents.get(name) != expected:
                differences = (
                    f"its {name} is not the one that it was trained with (fingerprint {parents.get(name, '')[:12]}, not {expected[:12]})"
                )
                raise MalmoiError("M041", path=out, differences=differences)


def first_words(text: EncodedText, words: int) -> EncodedText:
    """The first whole documents of `text` with at least `words` words, or all of it."""
    stop = int((text.ends >= words).argmax()) + 1 if len(text.ends) and text.ends[-1] >= words else len(text.ends)
    tokens = int(text.ends[stop - 1]) if stop else 0
    share = max(1, round(text.bytes * tokens / max(len(text.ids), 1)))
    breaks = None if text.breaks is None else text.breaks[text.breaks < tokens]
    ids, ends = text.ids[:tokens], text.ends[:stop]
    return EncodedText(ids=ids, ends=ends, extra=text.extra, bytes=share, vocabulary=text.vocabulary, breaks=breaks)


def aligned(sources: Sources) -> tuple[Iterator[str], Iterator[str]]:
    """The two sides of two line-aligned files, without the pairs that have an empty side. Raises MalmoiError M009, M025."""
    pairs = _Pairs(sources, every=0)
    return pairs.training(0), pairs.training(1)


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


class _Pairs:
    """Two line-aligned files as often as they are asked for; pairs with an empty side are left out, one in `every` is held out.

    Raises MalmoiError M009 for anything but two files, M025 if they have not the same number of lines.
    """

    def __init__(self, sources: Sources, *, every: int) -> None:
        if len(sources) != 2:
            problem = "pairs of texts are two files, line by line"
            raise MalmoiError("M009", argument="the pairs", value=" ".join(map(str, sources)), problem=problem, next="give SOURCE TARGET.")
        self.files = [source_files([source]) for source in sources]
        counts = [sum(1 for _ in text_lines(files)) for files in self.files]
        if counts[0] != counts[1]:
            raise MalmoiError("M025", source=sources[0], target=sources[1], sources=counts[0], targets=counts[1])
        self.every = every if counts[0] >= 2 * HELD_OUT else 0

    def training(self, side: int) -> Iterator[str]:
        return (pair[side] for number, pair in enumerate(self._pairs()) if not self._held(number))

    def held_out(self, side: int) -> Iterator[str]:
        return (pair[side] for number, pair in enumerate(self._pairs()) if self._held(number))

    def _pairs(self) -> Iterator[tuple[str, str]]:
        both = zip(text_lines(self.files[0]), text_lines(self.files[1]), strict=True)
        return ((one.strip(), other.strip()) for one, other in both if one.strip() and other.strip())

    def _held(self, number: int) -> bool:
        return self.every > 0 and number % self.every == self.every - 1


def summary(prepared: Prepared) -> dict[str, Any]:
    """What a run prints and stores of its text."""
    facts = prepared.report.model_dump(mode="json")
    counts = {"documents": prepared.shards.documents, "valid_tokens": len(prepared.valid.ids) if prepared.valid else 0}
    return {**counts, "tokens": prepared.shards.tokens, **facts}
