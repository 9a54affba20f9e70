"""Documents and lines that occur again: what is kept of each text (`sign`, shard by shard), and what goes (`decide`, over all shards).

Documents are numbered in the order of the shards, and the first of those that are alike stays, so the decisions depend on that order and
not on where it is cut into shards. Hashes are sorted in parts of their range that lie in files: memory is a few bytes a document and one
part, however many documents there are.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np

from malmoi.corpus.minhash import alike, signatures
from malmoi.corpus.steps.spec import ExactSpec, Global, NearSpec, ParagraphsSpec

EXACT, NEAR = 1, 2
"""Values of `Decisions.step_N`; 0 stays."""
PART = 64 << 20  # bytes that are sorted in memory
CLOSE = 4  # documents before one in its band that it is compared with, besides the first
PAIRS = 1 << 16  # sketches that are compared at a time

_EXACT = np.dtype([("key", "<u8"), ("more", "<u8"), ("row", "<u4")])
_BAND = np.dtype([("key", "<u8"), ("row", "<u4")])
_PAIR = np.dtype([("key", "<u8")])  # row << 32 | row of an earlier document that is like it
_LINE = np.dtype([("key", "<u8"), ("row", "<u4"), ("place", "<u4")])


@dataclass(frozen=True, eq=False)
class _Arrays:
    """Arrays that are saved under the names of the fields; equal arrays make equal bytes."""

    def save(self, path: Path) -> None:
        """Write an uncompressed .npz without times in it."""
        with zipfile.ZipFile(path, "w") as archive:
            for field in fields(self):
                with archive.open(zipfile.ZipInfo(field.name + ".npy"), "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(getattr(self, field.name)), allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})


@dataclass(frozen=True, eq=False)
class Signatures(_Arrays):
    """What is kept of N texts. An array of a step that was not asked for is empty: (N, 0), or (0,) for lines.

    exact_NE: 128 bits of the text, uint64 (N, 2). near_NB: bands (0 in all of them: too short to tell), sketch_NK: for `alike`.
    document_M, hash_M, place_M: the long lines: which text (uint32), hash (uint64), number of the line in it (uint32), in order.
    """

    exact_NE: np.ndarray
    near_NB: np.ndarray
    sketch_NK: np.ndarray
    document_M: np.ndarray
    hash_M: np.ndarray
    place_M: np.ndarray

    def __len__(self) -> int:
        return len(self.exact_NE)


@dataclass(frozen=True, eq=False)
class Decisions(_Arrays):
    """What becomes of the N documents of S shards.

    counts_S: documents a shard. step_N: 0 stays, EXACT, NEAR. first_N: the row of the document that stays in its place, int64, its own
    if it stays. offset_N (N + 1) and place_M: the lines to take out of it, see `lines`.
    """

    counts_S: np.ndarray
    step_N: np.ndarray
    first_N: np.ndarray
    offset_N: np.ndarray
    place_M: np.ndarray

    def __len__(self) -> int:
        return len(self.step_N)

    def of(self, shard: int) -> Decisions:
        """Those of one shard; `first_N` still counts over all shards."""
        begin = int(self.counts_S[:shard].sum())
        end = begin + int(self.counts_S[shard])
        low, high = self.offset_N[begin], self.offset_N[end]
        return Decisions(
            self.counts_S[shard : shard + 1],
            self.step_N[begin:end],
            self.first_N[begin:end],
            self.offset_N[begin : end + 1] - low,
            self.place_M[low:high],
        )

    def lines(self, row: int) -> list[int]:
        """The numbers of the lines (of `text.split("\\n")`) to take out of a document, in order."""
        return self.place_M[self.offset_N[row] : self.offset_N[row + 1]].tolist()


def sign(texts: Sequence[str], steps: Sequence[Global]) -> Signatures:
    """What the given steps need to know of texts."""
    exact_NE, near_NB = np.zeros((len(texts), 0), np.uint64), np.zeros((len(texts), 0), np.uint64)
    sketch_NK = np.zeros((len(texts), 0), np.uint8)
    lines = np.zeros(0, np.uint32), np.zeros(0, np.uint64), np.zeros(0, np.uint32)
    for step in steps:
        match step:
            case ExactSpec():
                exact_NE = _hashes((_plain(text) for text in texts), 16).reshape(-1, 2)
            case NearSpec():
                near_NB, sketch_NK = signatures(texts, ngram=step.ngram, bands=step.bands, rows=step.rows)
            case ParagraphsSpec():
                lines = _long_lines(texts, step.characters)
    return Signatures(exact_NE, near_NB, sketch_NK, *lines)


def without(text: str, places: Sequence[int]) -> tuple[str, list[str]]:
    """`(the text without those lines, the lines)`."""
    lines, out = text.split("\n"), set(places)
    return "\n".join(line for place, line in enumerate(lines) if place not in out), [lines[place] for place in places]


def decide(paths: Sequence[Path], steps: Sequence[Global], *, work: Path) -> Decisions:
    """What becomes of the documents of all shards, in order. paths: their `Signatures`, of the same steps. First copies go, then near
    duplicates among what is left, then lines of what is still left, whatever the order of `steps`. work: a folder for temporary files:
    about 20 bytes a document, 24 a band, and 16 a line."""
    room = work / "duplicates.tmp"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    try:
        counts_S = np.array([len(exact_NE) for _, exact_NE in _read(paths, "exact_NE")], np.int64)
        rows = int(counts_S.sum())
        assert rows < 1 << 32
        step_N, first_N, taken = np.zeros(rows, np.uint8), np.arange(rows, dtype=np.int64), np.zeros(0, _LINE)
        for step in sorted(steps, key=lambda step: ("exact", "near", "paragraphs").index(step.kind)):
            match step:
                case ExactSpec():
                    _copies(paths, step_N, first_N, room)
                case NearSpec():
                    _near(paths, step_N, first_N, room, step)
                case ParagraphsSpec():
                    taken = _lines(paths, step_N, room, step)
        offset_N = np.concatenate([[0], np.cumsum(np.bincount(taken["row"], minlength=rows))]).astype(np.int64)
        return Decisions(counts_S, step_N, first_N[first_N], offset_N, taken["place"].copy())
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _plain(text: str) -> str:
    """White space collapsed and case folded."""
    folded = text.casefold().replace("\n", " ")
    if folded.isprintable() and "  " not in folded:  # no other white space is printable: twice as fast as to split
        return folded.strip()
    return " ".join(folded.split())


def _hashes(texts: Iterable[str], size: int) -> np.ndarray:
    """BLAKE2b of texts, `size` bytes each, as uint64 one behind the other."""
    digests = b"".join(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest() for text in texts)
    return np.frombuffer(digests, "<u8")


def _long_lines(texts: Sequence[str], characters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = [
        (document, place, plain)
        for document, text in enumerate(texts)
        if len(text) >= characters
        for place, line in enumerate(text.split("\n"))
        if len(line) >= characters and len(plain := _plain(line)) >= characters
    ]
    documents, places = (np.array([line[column] for line in found], np.uint32) for column in (0, 1))
    return documents, _hashes((plain for _, _, plain in found), 8), places


def _read(paths: Sequence[Path], *names: str) -> Iterator[tuple[Any, ...]]:
    """`(row of the first document, the named arrays)` of every shard."""
    begin = 0
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            yield begin, *(arrays[name] for name in names)
            begin += len(arrays["exact_NE"])


def _parts(arrays: Iterable[np.ndarray], room: Path, kind: np.dtype, *, count: int, span: int = 1 << 32) -> Iterator[np.ndarray]:
    """The records of all arrays again, in parts of the range of the upper half of `key` (below `span`): each part has all records of a key,
    in the order in which they came. count: the largest number of records, by which the number of parts is chosen."""
    parts = min(1000, 1 + count * kind.itemsize // PART)
    files = [room / f"{kind.itemsize}-{part}" for part in range(parts)]
    with ExitStack() as stack:
        opened = [stack.enter_context(open(path, "wb")) for path in files]
        for array in arrays:
            number = (array["key"] >> np.uint64(32)) * np.uint64(parts) // np.uint64(span)
            for part, file in enumerate(opened):
                array[number == part].tofile(file)
    for path in files:
        yield np.fromfile(path, kind)
        path.unlink()


def _groups(changes: np.ndarray) -> np.ndarray:
    """Where the group of each record begins, for sorted records; changes: whether a record differs from the one before."""
    return np.maximum.accumulate(np.where(changes, np.arange(len(changes)), 0))


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Whether a record differs from the one before in one of the columns; the first does."""
    changes = np.ones(len(columns[0]), bool)
    changes[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return changes


def _records(kind: np.dtype, **columns: np.ndarray) -> np.ndarray:
    records = np.empty(len(columns["key"]), kind)
    for name, column in columns.items():
        records[name] = column
    return records


def _copies(paths: Sequence[Path], step_N: np.ndarray, first_N: np.ndarray, room: Path) -> None:
    """Equal texts: all but the first go."""
    arrays = (
        _records(_EXACT, key=exact_NE[:, 0], more=exact_NE[:, 1], row=np.arange(begin, begin + len(exact_NE)))
        for begin, exact_NE in _read(paths, "exact_NE")
    )
    for part in _parts(arrays, room, _EXACT, count=len(step_N)):
        part = part[np.lexsort((part["more"], part["key"]))]
        first = part["row"][_groups(_changes(part["key"], part["more"]))]
        again = part["row"] != first
        step_N[part["row"][again]] = EXACT
        first_N[part["row"][again]] = first[again]


def _near(paths: Sequence[Path], step_N: np.ndarray, first_N: np.ndarray, room: Path, spec: NearSpec) -> None:
    """A document goes if it is like an earlier one that stays.

    It is compared with those that share a band with it, and with those that stay in the place of these: so one document, edited twice,
    is found though the two may share no band, but no chain of small differences takes away what is unlike all that stays.
    """
    rows = len(step_N)
    bands = _parts(_banded(paths, step_N, room), room, _BAND, count=rows * spec.bands)
    sketches = _Sketches(room, rows, spec.bands * spec.rows)
    pairs = (pairs for part in bands for pairs in _pairs(part, sketches, spec.similarity))
    for part in _parts(pairs, room, _PAIR, count=rows * spec.bands, span=max(rows, 1)):
        keys = np.unique(part["key"])
        for begin in range(0, len(keys), PAIRS):
            chunk = keys[begin : begin + PAIRS]
            for row, earlier in zip((chunk >> np.uint64(32)).tolist(), (chunk & np.uint64(0xFFFFFFFF)).tolist(), strict=True):
                stays = int(first_N[earlier])
                if step_N[row] and stays >= first_N[row]:
                    continue
                if stays == earlier or sketches.alike([row], [stays])[0] >= spec.similarity:
                    step_N[row], first_N[row] = NEAR, stays


class _Sketches:
    """The sketches of all documents, in a file."""

    def __init__(self, room: Path, rows: int, width: int) -> None:
        self.path, self.shape = room / "sketches", (rows, width)

    @cached_property
    def array(self) -> np.ndarray:
        return np.memmap(self.path, np.uint8, "r", shape=self.shape)

    def alike(self, left: Any, right: Any) -> np.ndarray:
        """`minhash.alike` of rows."""
        return alike(self.array[left], self.array[right])


def _banded(paths: Sequence[Path], step_N: np.ndarray, room: Path) -> Iterator[np.ndarray]:
    """The bands of the documents that are left, and all sketches on the way into their file."""
    with open(room / "sketches", "wb") as file:
        for begin, near_NB, sketch_NK in _read(paths, "near_NB", "sketch_NK"):
            sketch_NK.tofile(file)
            row_NB = np.broadcast_to(np.arange(begin, begin + len(near_NB))[:, None], near_NB.shape)
            left_NB = (near_NB != 0) & (step_N[begin : begin + len(near_NB), None] == 0)
            yield _records(_BAND, key=near_NB[left_NB], row=row_NB[left_NB])


def _pairs(part: np.ndarray, sketches: _Sketches, similarity: float) -> Iterator[np.ndarray]:
    """Of documents with a band in common, those that are alike: each with the CLOSE before it in the band and with the first."""
    part = part[np.argsort(part["key"], kind="stable")]
    changes, row = _changes(part["key"]), part["row"].astype(np.uint64)
    start, own = _groups(changes), np.arange(len(part))
    found = [row[start != own] << np.uint64(32) | row[start[start != own]]]
    for back in range(1, CLOSE + 1):
        late = np.flatnonzero(own - start > back)
        found.append(row[late] << np.uint64(32) | row[late - back])
    keys = np.unique(np.concatenate(found))
    for begin in range(0, len(keys), PAIRS):
        chunk = keys[begin : begin + PAIRS]
        close = sketches.alike(chunk >> np.uint64(32), chunk & np.uint64(0xFFFFFFFF)) >= similarity
        yield _records(_PAIR, key=chunk[close])


def _lines(paths: Sequence[Path], step_N: np.ndarray, room: Path, spec: ParagraphsSpec) -> np.ndarray:
    """The lines to take out, by row and place. Documents that went do not count."""
    count = sum(len(document_M) for _, document_M in _read(paths, "document_M"))
    taken = [np.zeros(0, _LINE)]
    for part in _parts(_left(paths, step_N), room, _LINE, count=count):
        part = part[np.argsort(part["key"], kind="stable")]
        changes = _changes(part["key"])
        starts = np.flatnonzero(changes)
        documents = np.add.reduceat(_changes(part["key"], part["row"]), starts, dtype=np.int64) if len(part) else starts
        group = np.cumsum(changes) - 1
        taken.append(part[(documents[group] >= spec.times) & (part["row"] != part["row"][starts[group]])])
    lines = np.concatenate(taken)
    return lines[np.lexsort((lines["place"], lines["row"]))]


def _left(paths: Sequence[Path], step_N: np.ndarray) -> Iterator[np.ndarray]:
    """The long lines of the documents that are left."""
    for begin, document_M, hash_M, place_M in _read(paths, "document_M", "hash_M", "place_M"):
        row_M = document_M.astype(np.int64) + begin
        left = step_N[row_M] == 0
        yield _records(_LINE, key=hash_M[left], row=row_M[left], place=place_M[left])
