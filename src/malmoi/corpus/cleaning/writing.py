"""The second half of a cleaning, a shard at a time: what the global steps decided, the steps after them, and the split.

What is written for a shard: train.parquet, valid.parquet, test.parquet, removed.parquet (each only if it has rows), tally.json and the
manifest (kind "corpus-part").
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from malmoi.core.artifact import reached, write_json, writing
from malmoi.corpus.cleaning.chain import Chain, Item, added, carried_out, totals_of
from malmoi.corpus.cleaning.duplicates import without
from malmoi.corpus.cleaning.phases import functions, phases, refuse_other_versions
from malmoi.corpus.document import Document
from malmoi.corpus.files.rows import KEPT, REMOVED, Rows, read_rows
from malmoi.corpus.report.tally import SPLITS, Tally
from malmoi.corpus.steps import Change, Removal, Taken
from malmoi.corpus.steps.spec import CorpusSpec

KIND = "corpus-part"


@dataclass(frozen=True)
class WriteTask:
    """One shard: its first half, what was decided about it (None: no global steps), and where the result is written."""

    first: Path
    decided: Path | None
    spec: CorpusSpec
    out: Path
    versions: dict[str, str]


def write_shard(task: WriteTask) -> None:
    """Write the artifact of a shard at `task.out`. Raises MalmoiError M143, M005, and OSError for a disk that is full."""
    refuse_other_versions(task.versions)
    begun, steps = time.process_time(), phases(task.spec)
    names = [name for name, _ in (*steps.together, *steps.after)]
    with writing(task.out, KIND) as (place, _):
        tally = Tally(names)
        with ExitStack() as files:
            removed = files.enter_context(Rows(place / "removed.parquet", REMOVED))
            splits = {name: files.enter_context(Rows(place / f"{name}.parquet", KEPT)) for name in SPLITS}
            for rows in read_rows(task.first / "removed.parquet"):
                for row in rows:
                    removed.add(*row, characters=len(row[REMOVED.index("text")]))
            together = _Together({step.kind: name for name, step in steps.together}, tally, removed)
            chain = Chain(functions(steps.after), tally=tally, removed=removed)
            tally.rest("start", time.process_time() - begun)
            decided = _Decided(task.decided)
            for items in _items(task.first):
                reached("write-batch")
                items = chain(together(items, decided))
                tally.after.add([item.document.text for item in items])
                _keep(items, splits, tally, task.spec)
        tally.rest("write", time.process_time() - begun)
        write_json(place / "tally.json", tally.json())


def split_of(id: str, *, valid: float, test: float) -> str:
    """train, valid or test, decided by the id alone. Of documents that are alike only the first is left, so none stands in two splits."""
    place = int.from_bytes(hashlib.sha256(f"split\0{id}".encode()).digest()[:8], "big") / 2**64
    return "test" if place < test else "valid" if place < test + valid else "train"


def _keep(items: list[Item], splits: dict[str, Rows], tally: Tally, spec: CorpusSpec) -> None:
    """Write documents down, each in its split."""
    shares: dict[str, list[Item]] = {name: [] for name in SPLITS}
    for item in items:
        shares[split_of(item.document.id, valid=spec.valid, test=spec.test)].append(item)
    for name, chosen in shares.items():
        add = splits[name].add
        for item in chosen:
            document = item.document
            add(document.id, document.text, _dumped(document.meta), item.told, characters=len(document.text))
        tally.splits[name] = added(tally.splits[name], totals_of(chosen))


def _items(first: Path) -> Iterator[list[Item]]:
    """What the first half kept."""
    for rows in read_rows(first / "kept.parquet"):
        yield [
            Item(Document(id, text, _loaded(meta)), len(text.split()), [story[1:-1]] if story != "[]" else [])
            for id, text, meta, story in rows
        ]


@lru_cache(maxsize=256)
def _loaded(meta: str) -> dict[str, str]:
    """The same object for the same JSON (steps do not change it)."""
    found: dict[str, str] = json.loads(meta)
    return found


def _dumped(meta: Any) -> str:
    return json.dumps(meta, ensure_ascii=False) if meta else "{}"


class _Together:
    """The global steps as decided: documents go, lines are taken out."""

    def __init__(self, names: dict[str, str], tally: Tally, removed: Rows) -> None:
        self._names, self._tally, self._removed = names, tally, removed
        self._row = 0

    def __call__(self, items: list[Item], decided: _Decided) -> list[Item]:
        """The items that are left, in order."""
        due = {id(items[row - self._row]): rest for row, *rest in decided.until(self._row + len(items))}
        self._row += len(items)
        totals = totals_of(items)
        for kind, name in self._names.items():
            record = self._tally.steps[name]
            record.before = added(record.before, totals)
            found = (
                ((place, self._answer(kind, item, *due[id(item)])) for place, item in enumerate(items) if id(item) in due) if due else ()
            )
            answers = {place: answer for place, answer in found if answer is not None}
            items, totals = carried_out(items, answers, totals=totals, record=record, removed=self._removed)
            record.after = added(record.after, totals)
        return items

    def _answer(self, kind: str, item: Item, step: str, of: str, lines: str) -> tuple[Change | Removal, str] | None:
        """What the step of that kind says of a document."""
        if kind == step:
            return Removal("duplicate" if kind == "exact" else "near_duplicate", f"of {of}"), of
        if kind != "paragraphs" or not lines:
            return None
        text, taken = without(item.document.text, [int(place) for place in lines.split()])
        return Change(text, {"lines": len(taken)}, [Taken("repeated_line", line) for line in taken]), ""


class _Decided:
    """Decisions on documents, in order."""

    def __init__(self, path: Path | None) -> None:
        self._rows = (row for rows in (read_rows(path) if path else ()) for row in rows)
        self._next = next(self._rows, None)

    def until(self, end: int) -> Iterator[tuple[Any, ...]]:
        """Those on documents before `end` that were not given yet: (row, step, duplicate_of, lines)."""
        while self._next is not None and self._next[0] < end:
            yield self._next
            self._next = next(self._rows, None)
