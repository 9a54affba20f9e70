"""Texts -> ids by looking whole words up: the engine sees a word only when it has not met it before.

Exact where text may be cut at white space without a change of its ids, which holds for every vocabulary that is trained here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from threading import Lock

import numpy as np
from tokenizers import Tokenizer

WORDS = 1 << 18
"""Words that are remembered; when there are more, all are forgotten and memory stays bounded."""
GPT2_PARTS = re.compile(r" ?\S+|\s+(?!\S)|\s+")
"""Parts of a text that GPT-2's pattern never reaches over."""
ODD_SPACE = re.compile("[\x1c-\x1f]")
"""White space to Python but not to the engine: such a text goes to the engine whole."""


class Lookup:
    """Remembered words of an engine: `starts` and `lengths` say where the ids of a word stand in `ids`."""

    def __init__(self, engine: Tokenizer, split: Callable[[str], list[str]]) -> None:
        self._engine, self._split = engine, split
        self._lock = Lock()
        self._slot: dict[str, int] = {}
        self._starts = self._lengths = self._ids = np.zeros(0, np.int64)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts in a row, int64, and where each text ends in them."""
        parts = [[text] if ODD_SPACE.search(text) else self._split(text) for text in texts]
        words = list(chain.from_iterable(parts))
        with self._lock:
            self._learn(words)
            slots = np.fromiter(map(self._slot.__getitem__, words), np.int64, len(words))
            starts, lengths, ids = self._starts[slots], self._lengths[slots], self._ids
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        places = np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
        counts = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        return ids[places], np.concatenate([[0], ends]).astype(np.int64)[counts]

    def _learn(self, words: list[str]) -> None:
        new = [word for word in dict.fromkeys(words) if word not in self._slot]
        if not new:
            return
        if len(self._slot) + len(new) > WORDS and self._slot:
            self._forget()
            new = list(dict.fromkeys(words))
        found = [encoding.ids for encoding in self._engine.encode_batch_fast(new, add_special_tokens=False)]
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        ids = np.fromiter(chain.from_iterable(found), np.int64, int(lengths.sum()))
        self._slot.update(zip(new, range(len(self._slot), len(self._slot) + len(new)), strict=True))
        self._starts = np.concatenate([self._starts, len(self._ids) + np.cumsum(lengths) - lengths])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._ids = np.concatenate([self._ids, ids])

    def _forget(self) -> None:
        self._slot = {}
        self._starts = self._lengths = self._ids = np.zeros(0, np.int64)
