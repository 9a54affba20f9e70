"""Steps in a row over batches of documents: what goes is written down, what changes is counted."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from malmoi.corpus.document import Document
from malmoi.corpus.files.rows import Rows
from malmoi.corpus.report.tally import StepTally, Tally
from malmoi.corpus.steps import Change, Removal, Step

FAULT = "fault"
"""Reason of a document at which a step failed, which none should: it is kept out, and seen in the report."""


@dataclass(slots=True)
class Item:
    """A document on its way. words: eojeol of its text. story: JSON of what was done so far, an entry a step that did something."""

    document: Document
    words: int
    story: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        """The story as JSON."""
        return f"[{', '.join(self.story)}]" if self.story else "[]"


def entry(name: str, what: Any, before: int, after: int) -> str:
    """One entry of a story as JSON: the step, the counts of what it did or the reason why the document went, characters before, after."""
    return json.dumps([name, what, before, after], ensure_ascii=False)


class Chain:
    """Named steps. Counts go to `tally`, what is taken out to `removed`."""

    def __init__(self, steps: Sequence[tuple[str, Step]], *, tally: Tally, removed: Rows) -> None:
        self._steps, self._tally, self._removed = steps, tally, removed

    def __call__(self, items: list[Item]) -> list[Item]:
        """The items that are left, in order, with their new texts."""
        totals = totals_of(items)
        for name, step in self._steps:
            record = self._tally.steps[name]
            begun = time.process_time()
            results = _results(step, items)
            seconds = time.process_time() - begun
            record.seconds += seconds
            self._tally.spent("steps", seconds)
            record.before = added(record.before, totals)
            if results.count(None) < len(results):
                answers = {place: (result, "") for place, result in enumerate(results) if result is not None}
                items, totals = carried_out(items, answers, totals=totals, record=record, removed=self._removed)
            record.after = added(record.after, totals)
        return items


def carried_out(
    items: list[Item], answers: Mapping[int, tuple[Change | Removal, str]], *, totals: Sequence[int], record: StepTally, removed: Rows
) -> tuple[list[Item], list[int]]:
    """The items that are left after what a step said of some of them, and their totals. answers: by place, with the id of the document that
    stands in its place; totals: of `items`."""
    documents, characters, words = totals
    gone = set()
    for place, (answer, duplicate_of) in answers.items():
        item = items[place]
        before = len(item.document.text), item.words
        if apply(item, answer, record=record, removed=removed, duplicate_of=duplicate_of):
            characters, words = characters + len(item.document.text), words + item.words
        else:
            gone.add(place)
        characters, words = characters - before[0], words - before[1]
    left = [item for place, item in enumerate(items) if place not in gone] if gone else items
    return left, [documents - len(gone), characters, words]


def apply(item: Item, result: Change | Removal, *, record: StepTally, removed: Rows, duplicate_of: str = "") -> bool:
    """Carry out what a step said of a document, count it and write down what goes; whether the document is still there."""
    document = item.document
    if isinstance(result, Change) and not result.text.strip():
        result = Removal("empty", "nothing is left of it")
    if isinstance(result, Removal):
        item.story.append(entry(record.name, result.reason, len(document.text), 0))
        record.removed(document.id, document.text, reason=result.reason, detail=result.detail)
        row = (document.id, record.name, result.reason, result.detail, False, document.text, duplicate_of, item.told)
        removed.add(*row, characters=len(document.text))
        return False
    for taken in result.taken:
        record.took(document.id, taken.text, reason=taken.reason)
        removed.add(document.id, record.name, taken.reason, "", True, taken.text, "", "[]", characters=len(taken.text))
    record.altered(document.id, document.text, result.text, counts=result.counts, flags=result.flags)
    done = {**result.counts, **{f"flag {name}": value for name, value in result.flags.items()}}
    item.story.append(entry(record.name, done, len(document.text), len(result.text)))
    item.document = Document(document.id, result.text, {**document.meta, **result.flags} if result.flags else document.meta)
    if document.text != result.text:
        item.words = len(result.text.split())
    return True


def totals_of(items: Sequence[Item]) -> list[int]:
    """[documents, characters, words]."""
    return [len(items), sum(len(item.document.text) for item in items), sum(item.words for item in items)]


def added(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """The sums of two equally long lists."""
    return [x + y for x, y in zip(a, b, strict=True)]


def _results(step: Step, items: Sequence[Item]) -> list[Change | Removal | None]:
    try:
        return [step(item.document) for item in items]
    except MemoryError:
        raise
    except Exception:
        return [_careful(step, item.document) for item in items]


def _careful(step: Step, document: Document) -> Change | Removal | None:
    """The step's answer, or what it failed at."""
    try:
        return step(document)
    except MemoryError:
        raise
    except Exception as failure:
        return Removal(FAULT, f"{type(failure).__name__}: {failure}"[:200])
