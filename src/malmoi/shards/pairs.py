"""Pairs of texts for sequence to sequence: one pair a row, rows of similar length together. Shapes: R rows, S and T positions.

The source, of n tokens, is read as w[0] ... w[n-1] end; the target is read as begin w[0] ... w[n-1], and w[0] ... w[n-1] end is
predicted. The pairs, sorted by the lengths of target and source (equal ones in a keyed order), are divided evenly into groups of at most
`rows` pairs, once. Each epoch visits the groups in a keyed order, so every pair is read once an epoch and a batch follows from (seed,
number) alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from malmoi.core.artifact import fingerprint
from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.seeds import permutation
from malmoi.shards.draws import keys_of
from malmoi.shards.pieces import Grid, causal_rows, ended_rows
from malmoi.shards.store import Shards


class Pairs:
    """Batches of pairs: document i of `source` belongs to document i of `target`.

    length: the most positions of a row on either side: a longer source keeps its first length - 1 tokens, a longer target is predicted for
    `length` tokens, without its end. cut: how many pairs that befalls. groups: batches of an epoch.
    rank, world: this process holds the rows i with i % world == rank of each group; rows end at the longest of the whole group.
    tokens_per_step: the mean number of predictions of a step, over all processes; positions: predictions of an epoch.
    fingerprint: of pairs and order, whatever the number of processes.
    Raises MalmoiError M025 if the two have not the same number of texts, M017 if a group has fewer pairs than there are processes.
    """

    unit = "tokens"
    """What is counted."""

    def __init__(
        self, source: Shards, target: Shards, *, marks: Marks, rows: int, length: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        assert rows > 0 and length > 1 and 0 <= rank < world
        if source.documents != target.documents:
            counts = {"sources": source.documents, "targets": target.documents}
            raise MalmoiError("M025", source="the source", target="the target", **counts)
        self.source, self.target, self._marks = source, target, marks
        self._length, self._seed, self._rank, self._world = length, seed, rank, world
        self.groups = -(-source.documents // rows)
        if source.documents < world * max(1, self.groups):
            counts = {"tokens": target.tokens, "documents": target.documents}
            raise MalmoiError("M017", **counts, needed=f"{world} processes", next="give more pairs, or larger stream.rows.")
        self._sizes = np.minimum(np.stack([source.lengths, target.lengths]) + 1, length)
        self._sorted = np.lexsort((permutation(source.documents, seed, "ties"), self._sizes[0], self._sizes[1]))
        self.cut = int((np.maximum(source.lengths, target.lengths) >= length).sum())
        self.positions = int(self._sizes[1].sum())
        self.tokens_per_step = max(1, round(self.positions / self.groups))
        facts = {"source": source.fingerprint, "target": target.fingerprint, "rows": rows, "length": length, "seed": seed}
        self.fingerprint = fingerprint({**facts, "marks": [marks.begin, marks.end]})
        self._order = lru_cache(2)(self._make_order)

    def batch(self, number: int) -> Batch:
        """Batch `number` (from 0): ids, segments, positions, keys and targets["next"] (R, T), and `source` (R, S) without targets.

        Behind the end of a row segments are 0, targets -1 and ids the padding mark. A pure function of `number`.
        """
        epoch, place = divmod(number, self.groups)
        group = int(self._order(epoch)[place])
        first, last = (part * len(self._sorted) // self.groups for part in (group, group + 1))
        pairs, longest = self._sorted[first:last], self._sizes[:, self._sorted[first:last]].max(axis=1).tolist()
        pairs = pairs[self._rank :: self._world]
        keys = keys_of(keys_of(pairs, self._seed, "pair") + epoch, "epoch")
        row, zeros = np.arange(len(pairs)), np.zeros_like(pairs)
        read, predicted = (Grid(row, self._sizes[side, pairs], rows=len(pairs), length=longest[side]) for side in (0, 1))
        batch = causal_rows(self.target, self._marks, predicted, document=pairs, offset=zeros, keys=keys)
        return replace(batch, source=ended_rows(self.source, self._marks, read, document=pairs, keys=keys))

    def _make_order(self, epoch: int) -> np.ndarray:
        return permutation(self.groups, self._seed, "groups", epoch)
