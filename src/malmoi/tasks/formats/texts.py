"""Tables and JSON of one or two texts with a label or a number: GLUE's, KLUE's, KorNLU's, KoBEST's, NSMC's, SNLI's, SST's."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from malmoi.tasks.formats.looks import field as at
from malmoi.tasks.formats.source import Source
from malmoi.tasks.task import Texts


@dataclass(frozen=True)
class Table:
    """Columns by name, or by `header` where the file names none. A test file may lack the label.

    labels: all that there are; () for numbers from `low` to `high`. spelled: other spellings of a label. comma: fields may stand in
    quotes, as in .csv; else a tab separates, and quotes are characters like others. skipped: a label of lines without an agreed one.
    """

    first: str
    second: str | None = None
    label: str = "label"
    id: str = ""
    labels: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 5.0
    comma: bool = False
    spelled: Mapping[str, str] = field(default_factory=dict)
    skipped: str = ""

    def __call__(self, source: Source) -> list[Texts]:
        """Raises MalmoiError M152 where columns are missing, M153 for a line of another length or a number that is none, M154."""
        found: list[Texts] = []
        for line, row in rows(source, needed=self._needed(source), header=self.header, comma=self.comma):
            text = row.get(self.label)
            if text is None or text != self.skipped:
                known = None if text is None else self._known(source, f"line {line}", text)
                second = row[self.second] if self.second else None
                found.append(Texts(row.get(self.id) or f"{source.split}-{len(found)}", row[self.first], second, known))
        return found

    def _needed(self, source: Source) -> tuple[str, ...]:
        label = () if source.split == "test" else (self.label,)
        return tuple(name for name in (self.first, self.second, *label) if name)

    def _known(self, source: Source, place: str, text: str) -> str | float:
        if self.labels:
            return source.known(place, self.spelled.get(text, text), self.labels)
        return number(source, place, text, low=self.low, high=self.high)


def number(source: Source, place: str, text: object, *, low: float, high: float) -> float:
    """A score within its bounds. Raises MalmoiError M153."""
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not low <= value <= high:
        raise source.broken(place, f"the score is {text!r}, not a number from {low:g} to {high:g}")
    return value


def rows(
    source: Source, *, needed: tuple[str, ...], header: tuple[str, ...] = (), comma: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, fields by name). header: names of the columns of a file without such a line (a test file may have one for all that);
    lines may then have more fields than named.

    Raises MalmoiError M152 where the file lacks a needed column, M153 for a line with more or fewer fields than the header.
    """
    lines = _quoted(source) if comma else ((line, text.split("\t")) for line, text in source.lines())
    names, exact = list(header), not header
    for line, fields in lines:
        if line == 1 and (not header or (source.split == "test" and needed[0] in fields)):
            names, exact = [name.strip() for name in fields], True
            missing = [name for name in needed if name not in names]
            if missing:
                raise source.of_another_task(f"it has no column {missing[0]!r}")
        elif fields == [""]:
            continue
        elif len(fields) < len(names) or (exact and len(fields) > len(names)):
            raise (
                source.broken(f"line {line}", f"it has {len(fields)} fields, not {len(names)}")
                if exact
                else _unlike(source, line, fields, names)
            )
        else:
            yield line, dict(zip(names, fields, strict=False))


def _unlike(source: Source, line: int, fields: list[str], names: list[str]) -> Exception:
    problem = f"it has {len(fields)} fields, not {len(names)}"
    return source.of_another_task("line 1: " + problem) if line == 1 else source.broken(f"line {line}", problem)


def _quoted(source: Source) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(source.text(), newline=""))
    try:
        yield from ((reader.line_num, fields) for fields in reader)
    except csv.Error as failure:
        raise source.broken(f"line {reader.line_num}", str(failure)) from None


@dataclass(frozen=True)
class Records:
    """JSON of objects; each name is the path of a key. A test file may lack the label. skipped: as in Table."""

    first: str
    second: str | None = None
    label: tuple[str, ...] = ("label",)
    id: str = "guid"
    labels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 5.0
    skipped: str = ""

    def __call__(self, source: Source) -> list[Texts]:
        """Raises MalmoiError M152 where the first record lacks a key, M153 where a later one does, M154 for a label."""
        found: list[Texts] = []
        for place, record in source.records():
            try:
                first, second = str(at(record, self.first)), str(at(record, self.second)) if self.second else None
                label = _label(record, self.label, optional=source.split == "test")
            except KeyError as missing:
                problem = f"{place} has no {missing}"
                raise source.of_another_task(problem) if not found else source.broken(place, f"it has no {missing}") from None
            if label is None or str(label) != self.skipped:
                id = str(record.get(self.id) or f"{source.split}-{len(found)}")
                found.append(Texts(id, first, second, None if label is None else self._known(source, place, label)))
        return found

    def _known(self, source: Source, place: str, label: object) -> str | float:
        if self.labels:
            return source.known(place, str(label), self.labels)
        return number(source, place, label, low=self.low, high=self.high)


def _label(record: object, path: tuple[str, ...], *, optional: bool) -> object:
    try:
        return at(record, *path)
    except KeyError:
        if optional:
            return None
        raise


def stsb(source: Source) -> list[Texts]:
    """STS-B (Cer et al. 2017): GLUE's .tsv with a header, the task's own .csv (seven columns or more, tabs), or text,text,score."""
    first = next((line for _, line in source.lines()), "")
    if "sentence1" in first.split("\t"):
        return Table("sentence1", "sentence2", "score", "index")(source)
    if first.count("\t") >= 6:
        header = ("genre", "filename", "year", "old_index", "score", "sentence1", "sentence2")
        return Table("sentence1", "sentence2", "score", header=header)(source)
    return Table("sentence1", "sentence2", "score", header=("sentence1", "sentence2", "score"), comma=True)(source)


def sst5(source: Source) -> list[Texts]:
    """SST with five labels (Socher et al. 2013): trees, of which the root is read, or lines of a label and a text."""
    labels = tuple("01234")
    found: list[Texts] = []
    for line, text in source.lines():
        if not text.strip():
            continue
        label, _, rest = text.lstrip("(").partition(" ")
        if text.startswith("("):
            rest = " ".join(piece.rstrip(")") for piece in rest.split() if not piece.startswith("("))
        if not rest.strip():
            raise source.broken(f"line {line}", "it is neither a tree nor a label and a text")
        found.append(Texts(f"{source.split}-{len(found)}", rest.strip(), label=source.known(f"line {line}", label, labels)))
    return found
