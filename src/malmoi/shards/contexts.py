"""Rows of words for skip-gram: the text as it stands, without rare words and without most of the very frequent ones.

Epoch e orders the documents by a keyed permutation; row i of it is the places [i x length, (i + 1) x length) of what stands there then,
so every word is read once an epoch, and a batch follows from its number alone. R rows, T positions, V words.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from malmoi.core.artifact import fingerprint
from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import SkipGramSpec
from malmoi.core.seeds import permutation
from malmoi.shards.draws import draws_of, keys_of
from malmoi.shards.store import Shards
from malmoi.vocab import MARKS


def staying(counts: np.ndarray, *, sample: float) -> np.ndarray:
    """(V,) the chance of each word to stay where it stands, sqrt(t / f) + t / f for its share f of these words (Mikolov et al. 2013b,
    section 2.3, as word2vec.c and gensim have it); 0 for marks, 1 for all words where `sample`, t, is 0.

    counts (V,): of the words that have a vector, by id.
    """
    chance = np.ones(len(counts))
    if sample:
        share = np.maximum(counts, 1) / max(counts[len(MARKS) :].sum(), 1)
        chance = np.minimum(np.sqrt(sample / share) + sample / share, 1.0)
    chance[: len(MARKS)] = 0.0
    return chance


class Contexts:
    """Batches of `rows` rows, each made of `length` words of the text, over all processes.

    counts: of all words, by id; the ids below `known` have a vector, the others are left out, and so are frequent ones as `spec` says. What
    stays moves together, so that those around a word are the next ones that stayed; rows of a batch are as long as the longest.
    rank, world: this process holds the rows i with i % world == rank.
    tokens_per_step: words of the text of a step, whether they stay or not, over all processes; positions: of an epoch.
    fingerprint: of the order, whatever the number of processes.
    Raises MalmoiError M017 where no word of the corpus has a vector.
    """

    unit = "words"
    """What is counted."""

    def __init__(
        self,
        shards: Shards,
        counts: np.ndarray,
        spec: SkipGramSpec,
        *,
        size: int,
        rows: int,
        length: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        assert rows > 0 and 0 <= rank < world <= rows
        self._chance = staying(np.asarray(counts[: spec.known(counts, size)], np.float64), sample=spec.sample)
        if not shards.tokens or not self._chance.any():
            next = "give more text, or lower objective.minimum_count."
            raise MalmoiError("M017", tokens=shards.tokens, documents=shards.documents, needed="words with a vector", next=next)
        self.shards, self._length, self._seed = shards, length, seed
        self._all_rows, self._rows = rows, np.arange(rank, rows, world)
        self._epoch = -(-shards.tokens // length)
        self.tokens_per_step = rows * length
        self.positions = shards.tokens
        facts = {"shards": shards.fingerprint, "rows": rows, "length": length, "seed": seed}
        self.fingerprint = fingerprint({**facts, "known": len(self._chance), "sample": spec.sample})
        self._order = lru_cache(2)(self._make_order)

    def batch(self, number: int) -> Batch:
        """Batch `number` (from 0): ids, segments (the documents of a row), positions (in the document as it was written), keys.

        A pure function of `number`; what it remembers between calls is only speed.
        """
        row = number * self._all_rows + self._rows
        epoch, inside = np.divmod(row, self._epoch)
        place = inside[:, None] * self._length + np.arange(self._length)
        ids, nth, offset = (np.zeros(place.shape, np.int64) for _ in range(3))
        for one in np.unique(epoch).tolist():
            here = (epoch == one)[:, None] & (place < self.shards.tokens)
            documents, begins = self._order(one)
            nth[here] = np.searchsorted(begins, place[here], side="right") - 1
            offset[here] = place[here] - begins[nth[here]]
            ids[here] = self.shards.take(self.shards.bounds(documents[nth[here]])[0] + offset[here])
        chance = np.where(ids < len(self._chance), self._chance[np.minimum(ids, len(self._chance) - 1)], 0.0)
        stays = (draws_of(keys_of(row, self._seed, "stay"), self._length) < chance) & (place < self.shards.tokens)
        parts = _together(stays, ids, nth - nth[:, :1] + 1, offset)
        return Batch(ids=parts[0], segments=parts[1], positions=parts[2], keys=torch.from_numpy(keys_of(row, self._seed, "row")))

    def _make_order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(documents in the order of an epoch, the place at which each begins), without empty ones."""
        documents = permutation(self.shards.documents, self._seed, "documents", epoch)
        documents = documents[self.shards.lengths[documents] > 0]
        return documents, np.cumsum(self.shards.lengths[documents]) - self.shards.lengths[documents]


def _together(stays: np.ndarray, *values: np.ndarray) -> list[torch.Tensor]:
    """What stays of each (R, length), moved to the left: (R, T), 0 behind it."""
    row, _ = np.nonzero(stays)
    counts = stays.sum(axis=1)
    column = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    found = np.zeros((len(values), len(stays), max(int(counts.max(initial=0)), 1)), np.int64)
    for packed, each in zip(found, values, strict=True):
        packed[row, column] = each[stays]
    return list(torch.from_numpy(found))
