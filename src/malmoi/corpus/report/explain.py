"""The story of one document of a cleaned corpus, from what stands in its rows."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from malmoi.core.artifact import read_manifest, refuse_absent
from malmoi.core.errors import MalmoiError, nearest
from malmoi.corpus.files.rows import read_rows
from malmoi.corpus.report.tally import SPLITS

BEGINNING, PART = 500, 120
"""Characters of a text, and of a part of it, that are told."""
NAMED = 5
"""Duplicates that are named; the others are counted."""
CANDIDATES = 64
"""Ids that are looked at more closely when one is not there."""


@dataclass
class _Found:
    """Where something with the id stands: (folder, file, row). duplicates: ids of documents that were removed in favour of it."""

    whole: tuple[str, Path, int] | None = None
    parts: list[tuple[Path, int]] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)


def explain(directory: Path, id: str) -> dict[str, Any]:
    """Where the document `id` came from, what each step changed, and where it ended.

    Returns id, ended (train, valid, test or removed), step, reason, detail, duplicate_of, duplicates (ids), meta, changes ([step, counts,
    characters before, after]), taken ([step, reason, text]), text (its beginning), characters, and all that as `sentences`.
    Raises MalmoiError M010, M006 or M007 for a path that is no cleaned corpus, M015 for a damaged file, M144 for an id that is not there.
    """
    refuse_absent(directory)
    read_manifest(directory, "corpus", next="give the directory that `malmoi corpus --profile NAME --out` wrote.")
    found = _search(directory, id)
    if found.whole is None:
        raise MalmoiError("M144", id=id, path=directory, nearest=_nearest_id(directory, id))
    folder, path, place = found.whole
    row = _row(path, place)
    parts = [_row(path, place) for path, place in found.parts]
    facts: dict[str, Any] = {
        "id": id,
        "ended": folder,
        **{name: row.get(name, "") for name in ("step", "reason", "detail", "duplicate_of")},
        "duplicates": found.duplicates,
        "meta": json.loads(row.get("meta") or "{}"),
        "changes": [entry for entry in json.loads(row["story"]) if isinstance(entry[1], dict)],
        "taken": [[part["step"], part["reason"], part["text"]] for part in parts],
        "characters": len(row["text"]),
        "text": row["text"][:BEGINNING],
    }
    other = _search(directory, facts["duplicate_of"]).whole if facts["duplicate_of"] else None
    return {**facts, "sentences": list(_sentences(facts, other[0] if other else ""))}


def _sentences(facts: Mapping[str, Any], other: str) -> Iterator[str]:
    """other: where the document stands in whose favour this one was removed."""
    name, colon, number = facts["id"].rpartition(":")
    meta = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts["meta"].items())
    where = f"{name}, at {number}" if colon and number.isdigit() else facts["id"]
    yield f"It was read from {where}{' (' + meta + ')' if meta else ''}."
    told = dict.fromkeys([*(step for step, *_ in facts["changes"]), *(step for step, *_ in facts["taken"])])
    for step in told:
        for _, counts, before, after in (change for change in facts["changes"] if change[0] == step):
            did = "".join(f"{key.replace('_', ' ')} {value}, " for key, value in counts.items())
            yield f"{step}: {did}{_characters(before, after)}."
        for _, reason, text in (part for part in facts["taken"] if part[0] == step):
            yield f"{step} took out {len(text):,} characters ({reason.replace('_', ' ')}): “{_short(text, PART)}”."
    if facts["ended"] != "removed":
        yield f"It is kept, in {facts['ended']}, with {facts['characters']:,} characters."
    else:
        why = ", ".join(part for part in (facts["reason"].replace("_", " "), facts["detail"]) if part)
        yield f"It was removed by {facts['step']}: {why}."
    if facts["duplicate_of"]:
        yield f"{facts['duplicate_of']} stands in its place{', in ' + other if other else ''}."
    if facts["duplicates"]:
        shown, rest = facts["duplicates"][:NAMED], len(facts["duplicates"]) - NAMED
        more = f" and {rest:,} more" if rest > 0 else ""
        yield f"It stands in the place of {', '.join(shown)}{more}."


def _characters(before: int, after: int) -> str:
    return f"{before:,} characters became {after:,}" if before != after else f"still {after:,} characters"


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _search(directory: Path, id: str) -> _Found:
    """Where `id` stands. Reads the columns of ids, not of texts."""
    found = _Found()
    for folder, path in _files(directory):
        columns = ("id", "part", "duplicate_of") if folder == "removed" else ("id",)
        for place, (known, *more) in enumerate(_values(path, columns)):
            if known == id and more and more[0]:
                found.parts.append((path, place))
            elif known == id:
                found.whole = (folder, path, place)
            elif more and more[1] == id:
                found.duplicates.append(known)
    return found


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for folder in (*SPLITS, "removed"):
        for path in sorted((directory / folder).glob("*.parquet")):
            yield folder, path


def _values(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    try:
        for rows in read_rows(path, columns, size=1 << 14):
            yield from rows
    except (pa.ArrowException, OSError) as failure:
        raise MalmoiError("M015", path=path, problem=str(failure).splitlines()[0].rstrip(".")) from None


def _row(path: Path, place: int) -> dict[str, Any]:
    """One row, by reading only the group in which it stands."""
    with pq.ParquetFile(path) as file:
        group = 0
        while place >= (rows := file.metadata.row_group(group).num_rows):
            place, group = place - rows, group + 1
        row: dict[str, Any] = file.read_row_group(group).slice(place, 1).to_pylist()[0]
        return row


def _nearest_id(directory: Path, id: str) -> str:
    """The hint for an id that is not there: first those that begin and end most like it, then the closest of these."""
    ids = (known for folder, path in _files(directory) for (known,) in _values(path, ("id",)))
    return nearest(id, heapq.nlargest(CANDIDATES, ids, key=lambda known: _shared(known, id) + _shared(known[::-1], id[::-1])))


def _shared(one: str, other: str) -> int:
    """Characters that two texts begin with in common."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
