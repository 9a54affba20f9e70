"""Two segments from a piece of text, and what is to be told of them. P pieces.

next    BERT (Devlin et al. 2019, section 3.1): label 0, B follows A; label 1, half of the time, B is from another document: as many real
        consecutive tokens, so the text that stood there is not read in this epoch. Where no other document is long enough: 0.
order   ALBERT (Lan et al. 2020, section 3.1): label 0, A and B as they follow one another; label 1, half of the time, exchanged.

The piece is cut at a place drawn evenly and moved to the nearest beginning of a sentence inside the piece, where the shards know of one;
a foreign B begins likewise. Of a piece of one token there is nothing to tell: label -1.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from malmoi.shards.draws import draws_of
from malmoi.shards.pieces import Spans
from malmoi.shards.store import Shards

Question: TypeAlias = Literal["next", "order"]


class Segments:
    """Cuts pieces in two and decides what is told of them, by their keys."""

    def __init__(self, shards: Shards, question: Question) -> None:
        self._shards, self._question = shards, question

    def spans(self, document: np.ndarray, *, start: np.ndarray, tokens: np.ndarray, keys: np.ndarray) -> Spans:
        """The spans of the pieces of `tokens` (P,) >= 1 tokens at the places `start` (P,) of the shards, parts of `document` (P,)."""
        cut_P, label_P, document_P, begin_P = draws_of(keys, 4).T
        middle = start + 1 + (cut_P * (tokens - 1)).astype(np.int64)
        middle = nearest(self._shards.breaks, middle, low=start + 1, high=start + tokens - 1)
        first, second = middle - start, tokens - (middle - start)
        labels = np.where(tokens < 2, -1, label_P < 0.5)
        if self._question == "order":
            swapped = labels == 1
            return Spans(
                np.where(swapped, middle, start),
                np.where(swapped, second, first),
                np.where(swapped, start, middle),
                np.where(swapped, first, second),
                labels,
            )
        foreign = np.flatnonzero(labels == 1)
        begin, found = self._elsewhere(document[foreign], second[foreign], document_P[foreign], begin_P[foreign])
        labels[foreign] = found
        middle[foreign] = np.where(found, begin, middle[foreign])
        return Spans(start, first, middle, second, labels)

    def _elsewhere(self, document: np.ndarray, tokens: np.ndarray, which: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where `tokens` (P,) consecutive tokens of another document begin, and whether there are any.

        which, where (P,) in [0, 1) choose among the tokens of the documents that are long enough, and the place in the document.
        """
        by_length, rank, before = self._by_length
        skipped = before[np.searchsorted(self._shards.lengths, tokens, sorter=by_length)]
        own = self._shards.lengths[document]
        eligible = self._shards.tokens - skipped - own
        token = skipped + (which * eligible).astype(np.int64)
        token += np.where(token >= before[rank[document]], own, 0)
        nth = np.minimum(np.searchsorted(before, token, side="right") - 1, len(by_length) - 1)
        start, length = self._shards.bounds(by_length[nth])
        spare = np.maximum(length - tokens, 0)
        begin = start + (where * (spare + 1)).astype(np.int64)
        return nearest(self._shards.breaks, begin, low=start, high=start + spare), eligible > 0

    @cached_property
    def _by_length(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The documents from the shortest to the longest, the rank of each, and the tokens of all that are before each rank."""
        order = np.argsort(self._shards.lengths, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        lengths = self._shards.lengths[order]
        return order, rank, np.cumsum(lengths) - lengths


def nearest(breaks: np.ndarray | None, place: np.ndarray, *, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """For each of `place` (P,) the nearest of `breaks` (rising) from `low` to `high` (inclusive), the earlier of two; itself if none is."""
    if breaks is None or not len(breaks):
        return place
    after = np.searchsorted(breaks, place)
    right, left = breaks[np.minimum(after, len(breaks) - 1)], breaks[np.maximum(after, 1) - 1]
    far = np.iinfo(np.int64).max
    to_right = np.where((right >= place) & (right <= high), right - place, far)
    to_left = np.where((left <= place) & (left >= low), place - left, far)
    moved = np.where(to_right < to_left, right, left)
    return np.where(np.minimum(to_left, to_right) < far, moved, place)
