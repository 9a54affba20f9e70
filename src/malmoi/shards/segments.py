"""Two segments from a piece of text, and what is to be told of them. P pieces.

next    BERT (Devlin et al. 2019, section 3.1): label 0, B follows A; label 1, half of the time, B is from another document: as many real
        consecutive tokens, so the text that stood there is not read in this epoch. Where no other document is long enough: 0.
order   ALBERT (Lan et al. 2020, section 3.1): label 0, A and B as they follow one another; label 1, half of the time, exchanged.

A piece is cut at a place drawn evenly and, where the shards know of sentences, moved to the nearest beginning of one inside the piece;
a foreign B begins likewise. A piece out of a long document begins and ends within sentences. Were these exchanged too, the broken edges
would tell the order without the text: so A and B trade places, of whole sentences both, between the rest of a sentence before them and
the start of one behind them, which stay where they are. Where there is nothing to tell (a piece of one token; for the order, less than
two whole sentences) the label is -1.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from malmoi.shards.draws import draws_of
from malmoi.shards.pieces import Spans
from malmoi.shards.store import Shards

FAR = 1 << 62
Question: TypeAlias = Literal["next", "order"]


class Segments:
    """Cuts pieces in two and decides what is told of them, by their keys."""

    def __init__(self, shards: Shards, question: Question) -> None:
        self._shards, self._question = shards, question
        self._breaks = np.array([-1]) if shards.breaks is not None and not len(shards.breaks) else shards.breaks

    def spans(self, document: np.ndarray, *, start: np.ndarray, tokens: np.ndarray, keys: np.ndarray) -> Spans:
        """The spans of the pieces of `tokens` (P,) >= 1 tokens at the places `start` (P,) of the shards, parts of `document` (P,)."""
        cut_P, label_P, document_P, begin_P = draws_of(keys, 4).T
        stop, yes = start + tokens, label_P < 0.5
        if self._question == "order":
            low, high = self._sentences(document, start, stop)
            middle, found = nearest(self._breaks, _inside(low, high, cut_P), low=low + 1, high=high - 1)
            labels = np.where(found, yes, -1)
            middle = np.where(found, middle, _inside(start, stop, cut_P))
            low, high = (np.where(labels == 1, edge, middle) for edge in (low, high))
            begins = np.stack([start, middle, low, high], axis=1)
            runs = np.stack([low - start, high - middle, middle - low, stop - high], axis=1)
            return Spans(begins, runs, runs[:, 0] + runs[:, 1], labels)
        middle, at_sentence = nearest(self._breaks, _inside(start, stop, cut_P), low=start + 1, high=stop - 1)
        labels = np.where(tokens < 2, -1, yes)
        second, foreign = middle.copy(), np.flatnonzero(labels == 1)
        begin, found = self._elsewhere(
            document[foreign], (stop - middle)[foreign], document_P[foreign], begin_P[foreign], at_sentence[foreign]
        )
        labels[foreign] = found
        second[foreign] = np.where(found, begin, middle[foreign])
        return Spans(np.stack([start, second], axis=1), np.stack([middle - start, stop - middle], axis=1), middle - start, labels)

    def _sentences(self, document: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the first whole sentence between `start` and `stop` (P,) begins, and where the last ends (all, if nobody noted them)."""
        if self._breaks is None:
            return start, stop
        begin, length = self._shards.bounds(document)
        first, last = _neighbours(self._breaks, start)[1], _neighbours(self._breaks, stop + 1)[0]
        return np.where(start == begin, start, first), np.where(stop == begin + length, stop, last)

    def _elsewhere(
        self, document: np.ndarray, tokens: np.ndarray, which: np.ndarray, where: np.ndarray, at_sentence: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where `tokens` (P,) consecutive tokens of another document begin, and whether there are any.

        which, where (P,) in [0, 1) choose among the tokens of the documents that are long enough, and the place in the document, which is
        moved to the beginning of a sentence where `at_sentence` (P,) says so.
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
        moved, _ = nearest(self._breaks, begin, low=start, high=start + spare)
        return np.where(at_sentence, moved, begin), eligible > 0

    @cached_property
    def _by_length(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The documents from the shortest to the longest, the rank of each, and the tokens of all that are before each rank."""
        order = np.argsort(self._shards.lengths, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        lengths = self._shards.lengths[order]
        return order, rank, np.cumsum(lengths) - lengths


def nearest(breaks: np.ndarray | None, place: np.ndarray, *, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `place` (P,) the nearest of `breaks` (rising) from `low` to `high` (inclusive), the earlier of two, and whether there is
    one; the place itself where there is none. Where nobody noted breaks, every place is one."""
    if breaks is None:
        return place, low <= high
    left, right = _neighbours(breaks, np.clip(place, low, high))
    to_left = np.where((left >= low) & (left <= high), place - left, FAR)
    to_right = np.where((right >= low) & (right <= high), right - place, FAR)
    found = np.minimum(to_left, to_right) < FAR
    return np.where(found, np.where(to_right < to_left, right, left), place), found


def _neighbours(breaks: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last break before each place (P,), -1 where there is none, and the first at it or behind it, FAR where there is none."""
    after = np.searchsorted(breaks, place)
    left, right = breaks[np.maximum(after, 1) - 1], breaks[np.minimum(after, len(breaks) - 1)]
    return np.where(after > 0, left, -1), np.where(after < len(breaks), right, FAR)


def _inside(low: np.ndarray, high: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """A place between `low` and `high` (P,), exclusive, or low + 1 where there is none between."""
    return low + 1 + (chance * np.maximum(high - low - 1, 0)).astype(np.int64)
