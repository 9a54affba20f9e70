"""Pieces of documents in rows, as a Transformer reads them. Shapes: P pieces, R rows, T positions.

A piece of a text w, which may be all of it, reads

    causal     begin w[0] ... w[n-1]            and predicts  w[0] ... w[n-1] end    (any part of these n + 1 positions)
    single     begin w[a] ... w[b-1] end
    a pair     begin A end B end                types 0 up to the first end, 1 behind it

Further end marks may stand behind a piece, where a row has places left that no text fits in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.marks import Marks
from malmoi.shards.store import Shards


@dataclass(frozen=True)
class Spans:
    """What pieces read between their marks: the runs of consecutive tokens that stand one behind the other.

    begins, tokens (P, K) int64: place in the shards and length of each run. first (P,): how many tokens belong to A.
    labels (P,): what is true of A and B, -1 where there is nothing to tell; None: there is no B.
    """

    begins: np.ndarray
    tokens: np.ndarray
    first: np.ndarray
    labels: np.ndarray | None = None

    @classmethod
    def single(cls, begins: np.ndarray, tokens: np.ndarray) -> Spans:
        """One run (P,) and no B."""
        return cls(begins[:, None], tokens[:, None], tokens)

    def places(self) -> np.ndarray:
        """The places in the shards of all tokens, piece by piece."""
        tokens = self.tokens.ravel()
        before = np.cumsum(tokens) - tokens
        return np.repeat(self.begins.ravel() - before, tokens) + np.arange(tokens.sum())


class Grid:
    """Where pieces stand: piece p takes `size[p]` positions of row `row[p]`, behind the pieces before it in that row.

    row, size (P,) int64, rows rising. segment (P,): number of the piece in its row, from 1.
    piece, inside (X,): of each position that is taken, its piece and its place inside the piece, from 0.
    """

    def __init__(self, row: np.ndarray, size: np.ndarray, *, rows: int, length: int) -> None:
        self.shape = rows, length
        self.row = row
        before = np.cumsum(size) - size
        opening = np.searchsorted(row, row, side="left")
        self.segment = np.arange(len(row)) - opening + 1
        self.piece = np.repeat(np.arange(len(row)), size)
        self.inside = np.arange(len(self.piece)) - before[self.piece]
        self._begin = row * length + before - before[opening]
        self._place = self._begin[self.piece] + self.inside

    def spread(self, values: np.ndarray, fill: int) -> Tensor:
        """(R, T) int64: `values` (X,) at the positions that are taken, `fill` elsewhere."""
        return self._at(self._place, values, fill)

    def at_first(self, values: np.ndarray, fill: int) -> Tensor:
        """(R, T) int64: `values` (P,) at the first position of each piece, `fill` elsewhere."""
        return self._at(self._begin, values, fill)

    def _at(self, places: np.ndarray, values: np.ndarray, fill: int) -> Tensor:
        spread = np.full(self.shape[0] * self.shape[1], fill, np.int64)
        spread[places] = values
        return torch.from_numpy(spread.reshape(self.shape))


def causal_rows(shards: Shards, marks: Marks, grid: Grid, *, document: np.ndarray, offset: np.ndarray, keys: np.ndarray) -> Batch:
    """The pieces that begin at position `offset` (P,) of `document` (P,), with targets["next"]."""
    start, length = shards.bounds(document)
    place = offset[grid.piece] + grid.inside
    token = start[grid.piece] + place
    started, open = place > 0, place < length[grid.piece]
    ids = np.full(len(place), marks.begin, np.int64)
    targets = np.full(len(place), marks.end, np.int64)
    ids[started] = shards.take(token[started] - 1)
    targets[open] = shards.take(token[open])
    return Batch(
        ids=grid.spread(ids, marks.pad),
        segments=grid.spread(grid.segment[grid.piece], 0),
        positions=grid.spread(grid.inside, 0),
        targets={"next": grid.spread(targets, -1)},
        keys=torch.from_numpy(keys),
    )


def marked_rows(shards: Shards, marks: Marks, grid: Grid, *, spans: Spans, keys: np.ndarray) -> Batch:
    """Pieces with marks around them; with types and targets["pair"], at the first position of each, where there are labels."""
    split, last = spans.first[grid.piece] + 1, spans.tokens.sum(axis=1)[grid.piece] + 1  # the end mark behind A; the last token
    text = (grid.inside > 0) & (grid.inside != split) & (grid.inside <= last)
    ids = np.where(grid.inside == 0, marks.begin, marks.end)
    ids[text] = shards.take(spans.places())
    paired = spans.labels is not None
    return Batch(
        ids=grid.spread(ids, marks.pad),
        segments=grid.spread(grid.segment[grid.piece], 0),
        positions=grid.spread(grid.inside, 0),
        targets={"pair": grid.at_first(spans.labels, -1)} if spans.labels is not None else {},
        types=grid.spread(grid.inside > split, 0) if paired else None,
        keys=torch.from_numpy(keys),
    )


def ended_rows(shards: Shards, marks: Marks, grid: Grid, *, document: np.ndarray, keys: np.ndarray) -> Batch:
    """One text a row as an encoder of a pair reads it: the beginning of `document` (R,), as far as there is room, and the end mark."""
    last = np.append(grid.inside[1:] == 0, True)
    ids = np.full(len(last), marks.end, np.int64)
    ids[~last] = shards.take((shards.bounds(document)[0][grid.piece] + grid.inside)[~last])
    return Batch(
        ids=grid.spread(ids, marks.pad),
        segments=grid.spread(grid.segment[grid.piece], 0),
        positions=grid.spread(grid.inside, 0),
        keys=torch.from_numpy(keys),
    )
