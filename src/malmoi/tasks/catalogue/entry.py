"""How a task is entered: its published files by split, its numbers, and what all tasks of a kind share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from malmoi.tasks import submission
from malmoi.tasks.formats.questions import by_title
from malmoi.tasks.formats.reader import Reader, by_first, by_id
from malmoi.tasks.formats.source import Source
from malmoi.tasks.metrics import labels
from malmoi.tasks.submission import Writer
from malmoi.tasks.task import Kind, Metric, Task

SPLITS = ("train", "dev", "test")
Language = Literal["ko", "en"]
Score = tuple[Metric, str]
"""Every number of a task, and the one that is looked at."""

ACCURACY: Score = (labels.accuracy, "accuracy")
MACRO_F1: Score = (labels.macro_f1, "macro_f1")

KLUE = "Park et al. 2021, KLUE, section "
KOBEST = "Kim et al. 2022, KoBEST"


def _words(example: Any) -> str:
    """A sentence that occurs twice stays in one split."""
    return " ".join(example.words)


def _context(example: Any) -> str:
    """So do choices that go on from the same words."""
    return str(example.context)


GROUPS: dict[Kind, Callable[[Any], str]] = {"tagging": _words, "span": by_title, "choice": _context, "context": by_id}
"""What belongs together where a split is made; texts by the first one of them."""
WRITERS: dict[Kind, Writer] = {"tagging": submission.conll, "span": submission.squad, "similarity": submission.similarity}
"""The usual forms of predictions; GLUE's for the others."""


def entry(
    name: str,
    kind: Kind,
    language: Language,
    paper: str,
    parse: Callable[[Source], Sequence[Any]],
    names: Mapping[str, str],
    score: Score,
    known: tuple[str, ...] = (),
    *,
    write: Writer | None = None,
    divides: bool = True,
    joined: bool = False,
    said: Mapping[str, str] | None = None,
) -> Task:
    """A task whose splits stand in files of their own. known: its labels; parse, names, divides, joined, said: see `Reader`."""
    reader = Reader(name, parse, names, group=GROUPS.get(kind, by_first), divides=divides, joined=joined, said=said or {})
    return Task(name, kind, language, paper, reader, *score, known, write or WRITERS.get(kind, submission.glue))


def files(train: str, dev: str, test: str) -> dict[str, str]:
    """The name of each split's file."""
    return {"train": train, "dev": dev, "test": test}


def alike(pattern: str) -> dict[str, str]:
    """Names that differ in the name of the split, which stands for `{}`."""
    return {split: pattern.replace("{}", split) for split in SPLITS}


def klue(name: str, ending: str = "json") -> dict[str, str]:
    """KLUE's names."""
    return alike(name + r"-v1(\.1)?_{}\." + ending + "$")


def kobest(name: str) -> dict[str, str]:
    """KoBEST's names: in a folder of the task, or given by itself."""
    return alike(rf"(^|{name}/){{}}\.tsv$")
