"""The first half of a cleaning, a shard at a time: read it, do the steps before the global ones, sign what is left.

What is written for a shard: kept.parquet, removed.parquet, signatures-NNNNN.npz, tally.json and the manifest (kind "corpus-map").
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.core.artifact import reached, write_json, writing
from malmoi.corpus.cleaning.chain import Chain, Item, added, apply, totals_of
from malmoi.corpus.cleaning.duplicates import Signatures, sign
from malmoi.corpus.cleaning.phases import READ, functions, phases, refuse_other_versions
from malmoi.corpus.document import Document
from malmoi.corpus.files.charset import decode
from malmoi.corpus.files.rows import KEPT, REMOVED, Rows
from malmoi.corpus.pages.html import Extractor, Failed
from malmoi.corpus.reading.intake import records
from malmoi.corpus.reading.planning import Shard
from malmoi.corpus.reading.raw import EXCERPT, Raw, Refused, excerpt
from malmoi.corpus.reading.spec import ReadingSpec
from malmoi.corpus.report.tally import Tally
from malmoi.corpus.steps import Removal
from malmoi.corpus.steps.spec import CorpusSpec, Global

KIND = "corpus-map"
BATCH, DOCUMENTS = 1 << 18, 128
"""Characters, and documents, that go through the steps at a time: few enough that what steps remember of a text still serves the next."""
SIGNED, SIGNED_DOCUMENTS = 8 << 20, 1 << 17
"""Characters, and documents, of one file of signatures."""


@dataclass(frozen=True)
class MapTask:
    """One shard, what is done to it, and where the result is written."""

    shard: Shard
    spec: CorpusSpec
    out: Path
    versions: dict[str, str]


def map_shard(task: MapTask) -> None:
    """Write the artifact of a shard at `task.out`. Raises MalmoiError M143, M005, and OSError for a disk that is full."""
    refuse_other_versions(task.versions)
    begun = time.process_time()
    with writing(task.out, KIND) as (place, facts):
        steps = phases(task.spec)
        tally = Tally(steps.names)
        with Rows(place / "kept.parquet", KEPT) as kept, Rows(place / "removed.parquet", REMOVED) as removed:
            signing = _Signing(place, steps.together, tally)
            chain = Chain(functions(steps.before), tally=tally, removed=removed)
            tally.rest("start", time.process_time() - begun)
            reading = _Reading(task.spec.reading, tally, removed)
            for items in reading.batches(task.shard):
                reached("map-batch")
                for item in chain(items):
                    document = item.document
                    kept.add(document.id, document.text, _json(document.meta), item.told, characters=len(document.text))
                    signing.add(document.text)
            signing.finish()
        tally.rest("write", time.process_time() - begun)
        write_json(place / "tally.json", tally.json())
        facts.update(documents=reading.documents, chunks=signing.chunks)


def _json(meta: Any) -> str:
    return json.dumps(meta, ensure_ascii=False) if meta else "{}"


class _Signing:
    """Signatures of the texts of a shard, in files of bounded size."""

    def __init__(self, place: Path, steps: Sequence[tuple[str, Global]], tally: Tally) -> None:
        self._place, self._steps, self._tally = place, steps, tally
        self._texts: list[str] = []
        self._characters = 0
        self.chunks: list[int] = []
        """Documents in each file."""

    def add(self, text: str) -> None:
        """The next text."""
        if self._steps:
            self._texts.append(text)
            self._characters += len(text)
            if self._characters >= SIGNED or len(self._texts) >= SIGNED_DOCUMENTS:
                self.finish()

    def finish(self) -> None:
        """Write what is left."""
        if not self._texts:
            return
        found = []
        for name, step in self._steps:
            begun = time.process_time()
            found.append(sign(self._texts, [step]))
            self._tally.steps[name].seconds += time.process_time() - begun
            self._tally.spent("sign", time.process_time() - begun)
        _together(found).save(self._place / f"signatures-{len(self.chunks):05d}.npz")
        self.chunks.append(len(self._texts))
        self._texts, self._characters = [], 0


def _together(found: Sequence[Signatures]) -> Signatures:
    """One object of what several steps need: of each array the one that a step filled."""
    arrays: dict[str, list[np.ndarray]] = {field.name: [getattr(each, field.name) for each in found] for field in fields(Signatures)}
    return Signatures(**{name: max(candidates, key=lambda array: array.size) for name, candidates in arrays.items()})


class _Reading:
    """Records of a shard -> documents. What cannot be read is written down as removed."""

    def __init__(self, reading: ReadingSpec, tally: Tally, removed: Rows) -> None:
        self._reading, self._tally, self._removed = reading, tally, removed
        self._record = tally.steps[READ]
        self._extractor: Extractor | None = None
        self._waited = 0.0
        """Seconds in which another process took pages apart."""
        self.documents = 0
        """What was met, whatever became of it."""

    def batches(self, shard: Shard) -> Iterator[list[Item]]:
        """The documents, some at a time."""
        with ExitStack() as resources:
            batch: list[Item] = []
            characters = 0
            begun = time.process_time()
            for raw in records(shard, self._reading):
                self.documents += 1
                found = raw if isinstance(raw, Refused) else self._document(raw, resources)
                if isinstance(found, Refused):
                    self._refuse(found)
                    continue
                batch.append(Item(found, len(found.text.split())))
                characters += len(found.text)
                if characters >= BATCH or len(batch) >= DOCUMENTS:
                    yield from self._counted(batch, begun)
                    batch, characters, begun = [], 0, time.process_time()
            yield from self._counted(batch, begun)

    def _counted(self, items: list[Item], begun: float) -> Iterator[list[Item]]:
        """The batch, counted, without documents that hold half a surrogate pair."""
        if items:
            try:
                self._tally.before.add([item.document.text for item in items])
            except UnicodeEncodeError:
                whole = [item for item in items if _is_text(item.document.text)]
                for item in items:
                    if not _is_text(item.document.text):
                        self._refuse(Refused(item.document.id, "surrogate", "half of a surrogate pair", item.document.text[:EXCERPT]))
                items = whole
                self._tally.before.add([item.document.text for item in items])
        seconds, self._waited = time.process_time() - begun + self._waited, 0.0
        totals = totals_of(items)
        self._record.before, self._record.after = added(self._record.before, totals), added(self._record.after, totals)
        self._record.seconds += seconds
        self._tally.spent("read", seconds)
        yield items

    def _refuse(self, refused: Refused) -> None:
        shown = refused.excerpt[:EXCERPT].encode("utf-8", "backslashreplace").decode()
        item = Item(Document(refused.id, shown), len(shown.split()))
        self._record.before = added(self._record.before, totals_of([item]))
        apply(item, Removal(refused.reason, refused.detail), record=self._record, removed=self._removed)

    def _document(self, raw: Raw, resources: ExitStack) -> Document | Refused:
        """Bytes become text, pages become paragraphs."""
        if raw.text is not None:
            return Document(raw.id, raw.text, raw.meta)
        data = raw.data or b""
        decoded = decode(data, declared=raw.charset, html=True)
        if decoded is None:
            return Refused(raw.id, "charset", "no character set gives text", excerpt(data))
        self._record.counts[decoded.charset] = self._record.counts.get(decoded.charset, 0) + 1
        if self._extractor is None:
            self._extractor = resources.enter_context(Extractor(self._reading))
        begun = time.perf_counter()
        page = self._extractor.extract(data, charset=decoded.charset)
        self._waited += time.perf_counter() - begun
        if isinstance(page, Failed):
            return Refused(raw.id, page.reason, page.detail, decoded.text[:EXCERPT])
        known = {"title": page.title, "charset": "" if decoded.charset == "utf-8" else decoded.charset}
        return Document(raw.id, page.text, {**raw.meta, **{name: value for name, value in known.items() if value}})


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
