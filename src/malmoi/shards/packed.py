"""Rows without padding, and their order as arithmetic: what stands in row i of batch k. Shapes: P pieces, R rows, T positions.

A document of n tokens takes n + c places in a stream, c = 1 for causal models (the end mark that is predicted) and as many as a
piece has marks for the others: 2 for one text, 3 for two. Each epoch orders the documents by a keyed permutation, and the epochs,
one behind the other, are one endless stream. It is cut every `length` places for causal models, every `length - c` for the others:
there a row begins with the marks of its first piece, and the c places between two documents are the marks of the next one. So
a row is full, a document that a cut divides goes on in another row, and every token of every epoch is read exactly once. Where a
cut falls between two documents, the places that are left (at most 2c) are further end marks behind the last piece of the row.

The rows that begin in an epoch, S of them or S - 1, are visited in a keyed order; the one that ends behind the epoch goes on into the
next, which begins behind it. A batch follows from (seed, number) alone: a resume has nothing to restore.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from malmoi.core.artifact import fingerprint
from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.objectives import Layout
from malmoi.core.seeds import permutation
from malmoi.shards.draws import keys_of
from malmoi.shards.pieces import Grid, Spans, causal_rows, marked_rows
from malmoi.shards.segments import Segments
from malmoi.shards.store import Shards

CACHED = 1 << 20
"""Numbers (documents, rows) of which the orders of past epochs are kept, at least those of two epochs."""


@dataclass(frozen=True)
class _Order:
    """One epoch: the documents in order, and the place in the epoch at which each begins, (documents,) unsigned each."""

    documents: np.ndarray
    begins: np.ndarray


@dataclass(frozen=True)
class _Pieces:
    """What the cuts leave of documents, (P,) int64 each: row; document; the places of its n + c that stand in the row, from `low` to
    `high` (exclusive)."""

    row: np.ndarray
    document: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Packed:
    """Batches of `rows` dense rows of `length` positions, over all processes.

    layout: `causal` (targets["next"]), `single` (one text a piece), `next` and `order` (two segments a piece, with types, and
    targets["pair"] at the first position of a piece: see `shards.segments`). Empty documents are left out but in causal rows.
    rank, world: this process holds the rows i with i % world == rank.
    tokens_per_step: predictions of a step in causal rows, positions in others, over all processes; positions: the same for an epoch.
    fingerprint: of the order, whatever the number of processes.
    Raises MalmoiError M017 if the corpus has no text; a corpus smaller than a row is read over and over.
    """

    unit = "tokens"
    """What is counted."""

    def __init__(
        self, shards: Shards, *, marks: Marks, layout: Layout, rows: int, length: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        assert rows > 0 and 0 <= rank < world <= rows
        self.shards, self._marks, self._layout = shards, marks, layout
        self._extra = {"causal": 1, "single": 2, "next": 3, "order": 3}[layout]
        self._segments = Segments(shards, layout) if layout in ("next", "order") else None
        self._rows, self._length, self._seed, self._rank, self._world = rows, length, seed, rank, world
        self._stride = length if layout == "causal" else length - self._extra
        assert layout == "causal" or length > 2 * self._extra, f"rows of {length} positions may hold nothing but marks"
        self._readable = np.flatnonzero((shards.lengths > 0) | (layout == "causal")).astype(_unsigned(shards.documents))
        if not shards.tokens:
            raise MalmoiError("M017", tokens=0, documents=shards.documents, needed="a row of text", next="give text.")
        self._stream = shards.tokens + self._extra * len(self._readable)
        self.tokens_per_step = rows * length
        self.positions = -(-self._stream * length // self._stride)
        facts = {"shards": shards.fingerprint, "layout": layout, "rows": rows, "length": length, "seed": seed}
        self.fingerprint = fingerprint({**facts, "marks": [marks.begin, marks.end]})
        self._order = lru_cache(max(2, CACHED // len(self._readable)))(self._make_order)
        self._visits = lru_cache(max(2, CACHED // (self._stream // self._stride + 1)))(self._make_visits)

    def batch(self, number: int) -> Batch:
        """Batch `number` (from 0): ids, segments, positions, keys, targets and, for two segments, types.

        A pure function of `number`; what it remembers between calls is only speed.
        """
        sample = self._samples(number * self._rows + np.arange(self._rank, self._rows, self._world))
        keys = keys_of(sample, self._seed, "row")
        pieces = self._pieces(sample * self._stride)
        shape = {"rows": len(sample), "length": self._length}
        if self._layout == "causal":
            grid = Grid(pieces.row, pieces.high - pieces.low, **shape)
            return causal_rows(self.shards, self._marks, grid, document=pieces.document, offset=pieces.low, keys=keys)
        start, length = self.shards.bounds(pieces.document)
        tokens = np.minimum(pieces.high, length) - pieces.low
        some = tokens > 0  # a row may begin behind the text of a document, among its c places
        row, start, tokens = pieces.row[some], start[some] + pieces.low[some], tokens[some]
        grid = Grid(row, self._sizes(row, tokens), **shape)
        if self._segments is None:
            spans = Spans.single(start, tokens)
        else:
            of_pieces = keys_of(keys[row] + grid.segment, "piece")
            spans = self._segments.spans(pieces.document[some], start=start, tokens=tokens, keys=of_pieces)
        return marked_rows(self.shards, self._marks, grid, spans=spans, keys=keys)

    def _sizes(self, row: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Positions of each piece: tokens, marks, and behind the last of a row whatever fills it."""
        size = tokens + self._extra
        last = np.diff(row, append=row[-1] + 1) > 0
        size[last] += self._length - np.bincount(row, weights=size).astype(np.int64)
        return size

    def _samples(self, visit: np.ndarray) -> np.ndarray:
        """Which row of the endless stream is visited as number `visit` (R,) int64."""
        epoch = visit * self._stride // self._stream
        sample = np.empty_like(visit)
        for number in np.unique(epoch).tolist():
            here = epoch == number
            first = self._first_row(number)
            sample[here] = first + self._visits(number)[visit[here] - first]
        return sample

    def _pieces(self, begin: np.ndarray) -> _Pieces:
        """What stands in the rows that begin at the places `begin` (R,) of the stream."""
        first, last = self._nth(np.stack([begin, begin + self._stride - 1]))
        counts = last - first + 1
        row = np.repeat(np.arange(len(begin)), counts)
        nth = np.arange(len(row)) + (first - np.cumsum(counts) + counts)[row]
        epoch, inside = np.divmod(nth, len(self._readable))
        document, place = np.empty_like(nth), np.empty_like(nth)
        for number in np.unique(epoch).tolist():
            here, order = epoch == number, self._order(number)
            document[here] = order.documents[inside[here]]
            place[here] = order.begins[inside[here]]
        low = begin[row] - place - epoch * self._stream
        return _Pieces(row, document, np.maximum(low, 0), np.minimum(low + self._stride, self.shards.bounds(document)[1] + self._extra))

    def _nth(self, place: np.ndarray) -> np.ndarray:
        """Which document of the stream, counted through all epochs, holds each place (any shape)."""
        epoch, inside = np.divmod(place, self._stream)
        nth = epoch * len(self._readable) - 1
        for number in np.unique(epoch).tolist():
            here, begins = epoch == number, self._order(number).begins
            nth[here] += np.searchsorted(begins, inside[here].astype(begins.dtype), side="right")
        return nth

    def _first_row(self, epoch: int) -> int:
        """The first row that begins in an epoch."""
        return -(-epoch * self._stream // self._stride)

    def _make_visits(self, epoch: int) -> np.ndarray:
        count = self._first_row(epoch + 1) - self._first_row(epoch)
        return permutation(count, self._seed, "rows", epoch).astype(_unsigned(count))

    def _make_order(self, epoch: int) -> _Order:
        documents = self._readable[permutation(len(self._readable), self._seed, "documents", epoch)]
        begins = np.zeros(len(documents), _unsigned(self._stream))
        np.cumsum(self.shards.lengths[documents[:-1]] + self._extra, out=begins[1:], dtype=begins.dtype)
        return _Order(documents, begins)


def _unsigned(limit: int) -> type[np.unsignedinteger]:
    """The smaller type that holds `limit`."""
    return np.uint32 if limit < 1 << 32 else np.uint64
