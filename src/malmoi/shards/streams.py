"""The order of training as arithmetic: which position of which document stands in row r at step s.

Epoch e orders the documents by a keyed permutation. The ordered corpus, N positions long, is cut into as many contiguous
parts as there are streams; stream r reads its part over and over, `window` positions a step. So every position is read
exactly once an epoch, rows go on where they stopped (truncated back-propagation needs that), nothing is dropped at the end
of an epoch, and a batch follows from (seed, step) alone: a resume has nothing to restore.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malmoi.core.artifact import fingerprint
from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.seeds import permutation
from malmoi.shards.rows import Spelling, rows_at, segments_of
from malmoi.shards.store import Shards

CACHED_DOCUMENTS = 1 << 20


@dataclass(frozen=True)
class _Order:
    """One epoch: the documents in order, and the position at which each begins, (documents,) unsigned each."""

    documents: np.ndarray
    begins: np.ndarray


class Streams:
    """Batches for truncated back-propagation over a corpus, in both directions.

    streams: rows in each direction, over all processes; window: positions a row reads in one step.
    rank, world: this process holds the rows r with r % world == rank.
    tokens_per_step: predictions in each direction and step (words and end marks), over all processes.
    positions: predictions in each direction and epoch. fingerprint: of the order, whatever the number of processes.
    Raises MalmoiError M017 if the corpus has fewer positions than there are streams.
    """

    def __init__(
        self, shards: Shards, spelling: Spelling | None, streams: int, window: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        assert streams > 0 and window > 0 and 0 <= rank < world <= streams
        self.shards = shards
        self.positions = shards.tokens + shards.documents
        if self.positions < streams:
            counts = {"tokens": shards.tokens, "documents": shards.documents}
            raise MalmoiError("M017", **counts, needed=f"{streams} parallel streams", next="give more text, or lower stream.streams.")
        self.tokens_per_step = streams * window
        self.fingerprint = fingerprint({"shards": shards.fingerprint, "streams": streams, "window": window, "seed": seed})
        self._spelling, self._window, self._seed = spelling, window, seed
        borders = np.array([r * self.positions // streams for r in range(streams + 1)], dtype=np.int64)
        self._begin = borders[:-1][rank::world, None]
        self._length = np.diff(borders)[rank::world, None]
        self._orders: dict[int, _Order] = {}

    def batch(self, step: int) -> Batch:
        """Step `step` (from 0): ids, segments, positions and targets["next"] (2R, T), R rows of this process, T = window.

        A pure function of `step`; what it remembers between calls is only speed.
        """
        travelled = np.arange(step * self._window, (step + 1) * self._window, dtype=np.int64)
        epoch, place = np.divmod(travelled[None, :], self._length)
        place += self._begin
        document, offset = np.empty_like(place), np.empty_like(place)
        for number in range(int(epoch.min()), int(epoch.max()) + 1):
            here = epoch == number
            if here.any():
                document[here], offset[here] = self._find(number, place[here])
        return rows_at(self.shards, self._spelling, document=document, offset=offset, segments=segments_of(offset))

    def _find(self, epoch: int, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Document and position inside it of each place (n,) of an epoch's order."""
        order = self._order(epoch)
        nth = np.searchsorted(order.begins, place.astype(order.begins.dtype), side="right") - 1
        return order.documents[nth].astype(np.int64), place - order.begins[nth].astype(np.int64)

    def _order(self, epoch: int) -> _Order:
        """The order of an epoch; the latest few are kept (at least the two that a window can straddle)."""
        found = self._orders.get(epoch)
        if found is None:
            found = self._make_order(epoch)
            keep = max(2, CACHED_DOCUMENTS // self.shards.documents)
            self._orders = {**dict(list(self._orders.items())[1 - keep :]), epoch: found}
        return found

    def _make_order(self, epoch: int) -> _Order:
        documents = permutation(self.shards.documents, self._seed, "documents", epoch).astype(_unsigned(self.shards.documents))
        begins = np.zeros(len(documents), _unsigned(self.positions))
        np.cumsum(self.shards.lengths[documents[:-1]] + 1, out=begins[1:], dtype=begins.dtype)
        return _Order(documents, begins)


def _unsigned(limit: int) -> type[np.unsignedinteger]:
    """The smaller type that holds `limit`: an order of 30 million documents is 240 MB instead of 480."""
    return np.uint32 if limit < 1 << 32 else np.uint64
