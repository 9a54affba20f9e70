"""Words as rows of character ids: the spelling that a character CNN reads (Peters et al. 2018; ids of `byte` as in bilm-tf).

A row is begin, units, end, then pads up to `length`. Everything is computed for many words at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import CharacterSpec
from malmoi.vocab.marks import BOS, EOS, MARKS

Unit = Literal["byte", "codepoint", "jamo"]
CHUNK = 1 << 16  # words spelt at a time where a whole vocabulary is
_CODES = 0x110000
_FIRST, _LAST = 0xAC00, 0xD7A3  # Hangul syllables; their arithmetic is that of the Unicode Standard, section 3.12
_BOTH = np.array([0x1100, 0x1161, 0x11A7], np.uint32)


class Characters:
    """How words are spelt.

    unit: `byte` (UTF-8), `codepoint`, or `jamo` (code points, but Hangul syllables as two or three conjoining jamo).
    length: ids in a row, so `length - 2` units of a word at most.
    cut: a longer word loses its end at a `character` boundary (for jamo: of a syllable), or, bytes only, at a `byte` as in bilm-tf.
    inventory: the units of `codepoint` and `jamo` in the order of their ids, one character each; empty for `byte`.
    Ids: the units (256 bytes, or the inventory and one for all other units), then `<S>`, `</S>`, begin, end, pad.
    """

    def __init__(self, *, unit: Unit, length: int, cut: Literal["character", "byte"] = "character", inventory: str = "") -> None:
        self.unit: Unit = unit
        self.length = length
        self.cut: Literal["character", "byte"] = cut
        self.inventory = inventory
        units = 256 if unit == "byte" else len(inventory) + 1
        self.bos, self.eos, self.begin, self.end, self.pad = range(units, units + 5)
        self.size = units + 5
        self.dtype = np.dtype(np.uint16 if self.size <= 1 << 16 else np.uint32)

    @classmethod
    def of(cls, spec: CharacterSpec, words: Sequence[str], counts: np.ndarray) -> Characters:
        """The inventory of `words`, each seen `counts` times: units by falling count (ties: by code point), rare ones left out.

        Raises MalmoiError M002 if bytes are to be cut where there are none.
        """
        if spec.unit == "byte":
            return cls(unit="byte", length=spec.length, cut=spec.cut)
        if spec.cut == "byte":
            raise MalmoiError("M002", field="characters.cut", problem=f"is byte, but the unit is {spec.unit}", shown="recipes NAME")
        total = np.zeros(_CODES)
        for start in range(0, len(words), CHUNK):
            units, lengths = _codes(words[start : start + CHUNK])
            weights = np.repeat(counts[start : start + CHUNK], lengths)
            if spec.unit == "jamo":
                units, pieces = _decompose(units)
                weights = np.repeat(weights, pieces)
            total += np.bincount(units, weights, _CODES)
        total[0xD800:0xE000] = 0  # halves of surrogate pairs are not characters
        kept = np.flatnonzero(total >= spec.minimum_count)
        ranked = kept[np.argsort(-total[kept], kind="stable")]
        return cls(unit=spec.unit, length=spec.length, inventory="".join(map(chr, ranked.tolist())))

    def spell(self, words: Sequence[str]) -> np.ndarray:
        """Rows `(len(words), length)` of character ids, uint16 (uint32 for an inventory beyond it).

        `<S>` and `</S>` have a unit of their own; `<UNK>` is spelt as any word.
        """
        units, lengths = self._cut_bytes(words) if self.unit == "byte" else self._cut_units(words)
        rows = np.full((len(words), self.length), self.pad, self.dtype)
        rows[:, 0] = self.begin
        rows[:, 1:-1][np.arange(self.length - 2) < lengths[:, None]] = units
        rows[np.arange(len(words)), lengths + 1] = self.end
        for mark, unit in ((MARKS[BOS], self.bos), (MARKS[EOS], self.eos)):
            if mark in words:
                marked = [index for index, word in enumerate(words) if word == mark]
                rows[marked, 1:] = self.pad
                rows[marked, 1:3] = unit, self.end
        return rows

    def units(self, words: Sequence[str]) -> np.ndarray:
        """How many units each word has before any cut, `(len(words),)` int64."""
        if self.unit == "byte":
            return np.fromiter((len(word.encode("utf-8", "ignore")) for word in words), np.int64, len(words))
        codes, lengths = _codes(words)
        return _sums(_decompose(codes)[1], lengths) if self.unit == "jamo" else lengths

    def to_json(self) -> dict[str, Any]:
        """The whole of it as JSON values."""
        return {"unit": self.unit, "length": self.length, "cut": self.cut, "inventory": self.inventory}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Characters:
        """The inverse of `to_json`."""
        return cls(**value)

    def _cut_bytes(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        room = self.length - 2
        spelt = [word.encode("utf-8", "ignore") for word in words]
        lengths = np.fromiter(map(len, spelt), np.int64, len(spelt))
        for index in np.flatnonzero(lengths > room).tolist():
            kept = spelt[index][:room]
            spelt[index] = kept if self.cut == "byte" else kept.decode("utf-8", "ignore").encode("utf-8")
            lengths[index] = len(spelt[index])
        return np.frombuffer(b"".join(spelt), np.uint8), lengths

    def _cut_units(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        codes, lengths = _codes(words)
        units, pieces = _decompose(codes) if self.unit == "jamo" else (codes, np.ones(len(codes), np.int64))
        before = np.cumsum(pieces) - pieces
        starts = np.repeat(np.append(before, len(units))[np.cumsum(lengths) - lengths], lengths)
        kept = before + pieces - starts <= self.length - 2
        return self._ids[units[np.repeat(kept, pieces)]], _sums(pieces * kept, lengths)

    @cached_property
    def _ids(self) -> np.ndarray:
        """Code point -> id; all that is not in the inventory shares one."""
        table = np.full(_CODES, len(self.inventory), self.dtype)
        table[np.fromiter(map(ord, self.inventory), np.int64, len(self.inventory))] = np.arange(len(self.inventory))
        return table

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_ids"}


def _codes(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The code points of all words in a row, uint32, and the length of each word."""
    data = "".join(words).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(data, np.dtype("<u4")), np.fromiter(map(len, words), np.int64, len(words))


def _decompose(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hangul syllables as conjoining jamo, all other code points as they are; and how many pieces each code point became."""
    hangul = (codes >= _FIRST) & (codes <= _LAST)
    index = np.where(hangul, codes - np.uint32(_FIRST), 0)
    parts = np.stack([index // 588, index % 588 // 28, index % 28], axis=1).astype(np.uint32)
    pieces = np.where(hangul, np.where(parts[:, 2] > 0, 3, 2), 1)
    spread = np.where(hangul[:, None], parts + _BOTH, codes[:, None])
    return spread[np.arange(3) < pieces[:, None]], pieces


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sums over consecutive groups of `lengths` values (empty groups: 0)."""
    total = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(lengths)
    return total[ends] - total[ends - lengths]
