"""Texts -> ids by looking whole words up: the engine sees a word only when it has not met it before.

Exact where text may be cut at white space without a change of its ids, which holds for every vocabulary that is trained here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, islice, repeat
from threading import Lock
from typing import Literal, NamedTuple

import numpy as np
from tokenizers import Tokenizer

WORDS = 1 << 18
"""Words that are remembered, the first ones that come; the others go to the engine each time, and memory stays bounded."""
JOINED = 200
"""New words that the engine gets in one string: many short strings would cost it more than their words do."""
GPT2_PARTS = re.compile(r" ?\S+|\s+(?!\S)|\s+")
"""Parts of a text that GPT-2's pattern never reaches over."""
ODD_SPACE = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
"""White space to Python but not to every engine: such a text goes to the engine whole."""


class Table(NamedTuple):
    """Ragged ids of words: word k has `ids[starts[k] : starts[k] + lengths[k]]`."""

    starts: np.ndarray
    lengths: np.ndarray
    ids: np.ndarray

    def first(self, words: int) -> Table:
        """Of the first `words` words alone."""
        return Table(self.starts[:words], self.lengths[:words], self.ids[: int(self.lengths[:words].sum())])

    def followed_by(self, lengths: np.ndarray, ids: np.ndarray) -> Table:
        """With more words after its own."""
        starts = len(self.ids) + np.cumsum(lengths) - lengths
        return Table(*(np.concatenate(pair) for pair in zip(self, (starts, lengths, ids), strict=True)))


class Lookup:
    """The words of an engine. parts: what a text is split into, words at `white_space` or GPT-2's with the space before them."""

    def __init__(self, engine: Tokenizer, parts: Literal["white_space", "gpt2"]) -> None:
        self._engine, self._parts = engine, parts
        self._split = str.split if parts == "white_space" else GPT2_PARTS.findall
        self._lock = Lock()
        self._slot: dict[str, int] = {}
        self._table = Table(*(np.zeros(0, np.int64) for _ in Table._fields))

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts in a row, int64, and where each text ends in them."""
        parts = [[text] if ODD_SPACE.search(text) else self._split(text) for text in texts]
        words = list(chain.from_iterable(parts))
        with self._lock:
            slots, table = self._find(words)
        lengths = table.lengths[slots]
        ends = np.cumsum(lengths)
        places = np.repeat(table.starts[slots] - (ends - lengths), lengths)
        places += np.arange(len(places))
        counts = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        return table.ids[places], np.concatenate([[0], ends])[counts]

    def _find(self, words: list[str]) -> tuple[np.ndarray, Table]:
        """Where each word stands in a table, which holds the new ones too."""
        slots = np.fromiter(map(self._slot.get, words, repeat(-1)), np.int64, len(words))
        missing = np.flatnonzero(slots < 0)
        if not len(missing):
            return slots, self._table
        names = [words[place] for place in missing.tolist()]
        known = len(self._slot)
        new = {word: known + place for place, word in enumerate(dict.fromkeys(names))}
        slots[missing] = np.fromiter(map(new.__getitem__, names), np.int64, len(names))
        table = self._table.followed_by(*self._cut(list(new)))
        if known < WORDS:
            self._slot.update(islice(new.items(), WORDS - known))
            self._table = table.first(len(self._slot))
        return slots, table

    def _cut(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Pieces of each word, and their ids in a row."""
        together = " " if self._parts == "white_space" else ""
        chunks = list(self._chunks(words))
        joined = self._engine.encode_batch([together.join(chunk) for chunk in chunks], add_special_tokens=False)
        counts, ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for chunk, encoding in zip(chunks, joined, strict=True):
            found = np.array(encoding.ids, np.int64)
            if len(chunk) == 1:
                counts.append(np.array([len(found)], np.int64))
            else:  # a piece belongs to the first word that does not end before it
                reach = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * len(found))[1::2]
                ends = np.cumsum(np.fromiter(map(len, chunk), np.int64, len(chunk)) + len(together)) - len(together)
                counts.append(np.diff(np.searchsorted(reach, ends, side="right"), prepend=0))
            ids.append(found)
        return np.concatenate(counts), np.concatenate(ids)

    def _chunks(self, words: list[str]) -> list[list[str]]:
        """Words that may stand side by side: all, or of GPT-2's parts those of a space and what is none."""
        chunks: list[list[str]] = [[]]
        for word in words:
            alone = self._parts == "gpt2" and (word[0] != " " or word[-1].isspace() or ODD_SPACE.search(word) is not None)
            if alone:
                chunks.extend([[word], []])
            else:
                if len(chunks[-1]) == JOINED:
                    chunks.append([])
                chunks[-1].append(word)
        return [chunk for chunk in chunks if chunk]
