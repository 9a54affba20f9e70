"""Texts -> words. A splitter is a function from a text to its words; no word has white space in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache

from malmoi.core.errors import MalmoiError, nearest
from malmoi.core.locate import locate

Splitter = Callable[[str], list[str]]
NAMES = ("whitespace", "punctuation", "kiwi")


def word_splitter(words: str) -> Splitter:
    """The splitter called `words`.

    whitespace: `str.split`, as ELMo reads its input. punctuation: runs of letters, digits, marks and `_` are words, every other
    character that is not white space is a word by itself. kiwi: the morphemes of Korean (package kiwipiepy).
    `module:function`: a function of yours, text -> list of words.
    Raises MalmoiError M009 for a name that is none of these, M005 if kiwipiepy is missing.
    """
    if words == "whitespace":
        return str.split
    if words == "punctuation":
        return _pattern().findall
    if words == "kiwi":
        return _kiwi()
    if ":" in words:
        return _Own(words)
    problem = "there is no such way to split words" + nearest(words, NAMES)
    next = "use whitespace, punctuation, kiwi or module:function."
    raise MalmoiError("M009", argument="text.words", value=words, problem=problem, next=next)


@cache
def _pattern() -> re.Pattern[str]:
    r"""Words or single marks. Python's \w leaves out combining marks and joiners, which stand inside the words of many scripts."""
    inside = [code for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)) if unicodedata.category(chr(code))[0] == "M"]
    marks = "".join(f"{chr(first)}-{chr(last)}" for first, last in _ranges([*inside, 0x200C, 0x200D]))
    return re.compile(rf"\w[\w{marks}]*|[^\w\s]")


def _ranges(codes: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for code in sorted(codes):
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return found


def _kiwi() -> Splitter:
    try:
        from kiwipiepy import Kiwi
    except ImportError:
        raise MalmoiError("M005", what="text.words=kiwi", package="kiwipiepy", extra="ko") from None
    kiwi = Kiwi()

    def split(text: str) -> list[str]:
        return "\n".join(token.form for tokens in kiwi.tokenize(text.split("\n")) for token in tokens).split()

    return split


class _Own:
    """A user's function, held to the promise that no word has white space in it: such a word becomes two."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._function = locate(name, argument="text.words")

    def __call__(self, text: str) -> list[str]:
        words = self._function(text)
        if isinstance(words, list | tuple) and all(isinstance(word, str) for word in words):
            return "\n".join(words).split()
        next = "give module:function, a function from a text to a list of words."
        problem = f"it gave {type(words).__name__} where a list of strings is needed"
        raise MalmoiError("M009", argument="text.words", value=self._name, problem=problem, next=next)
