"""What a text is made of: its characters by script."""

from __future__ import annotations

import re
import sys
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

HANGUL = ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xFFA0, 0xFFDC))
WIDE = ((0xFF21, 0xFF3A), (0xFF41, 0xFF5A))
LATIN = ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF), *WIDE)
HAN = ((0x3005, 0x3005), (0x3007, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
KANA = ((0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))
SHORT = 150
"""Characters below which a pattern is faster than an array."""
REMEMBERED = 1 << 16
"""Characters of the longest text whose answer is kept (256 of them: 33 MB)."""
SPACE, HANGUL_, LATIN_, HAN_, KANA_, LETTER, OTHER = range(7)


class Made(NamedTuple):
    """Characters of a text: white space, letters by script (letter: of any other), and all other ones."""

    space: int
    hangul: int
    latin: int
    han: int
    kana: int
    letter: int
    other: int

    @property
    def letters(self) -> int:
        """All letters."""
        return self.hangul + self.latin + self.han + self.kana + self.letter


def made(text: str) -> Made:
    """The characters of `text`. Several steps ask for the texts of a batch one after the other: answers are kept for a while."""
    return _remembered(text) if len(text) <= REMEMBERED else _counted(text)


def _counted(text: str) -> Made:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return Made(*np.bincount(_classes()[codes], minlength=7).tolist())


_remembered = lru_cache(maxsize=256)(_counted)


def repeats(text: str, times: int) -> bool:
    """Whether a character stands `times` times or more side by side, `times` >= 2."""
    if len(text) < SHORT:
        return re.search(rf"(.)\1{{{times - 1}}}", text) is not None
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    equal = codes[1:] == codes[:-1]
    for _ in range(times - 2):
        equal = equal[1:] & equal[:-1]
    return bool(equal.any())


@cache
def _classes() -> np.ndarray:
    """The class of every code point, (1114112,) uint8."""
    classes = np.full(sys.maxunicode + 1, OTHER, np.uint8)
    for code in range(0x20000):
        character = chr(code)
        if character.isspace():
            classes[code] = SPACE
        elif character.isalpha():
            classes[code] = LETTER
    for ranges, number in ((HANGUL, HANGUL_), (LATIN, LATIN_), (HAN, HAN_), (KANA, KANA_)):
        for first, last in ranges:
            classes[first : last + 1] = number
    return classes
