"""Documents that no model should learn from: too short, no prose, the same again and again, unwanted words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.corpus.document import Document
from malmoi.corpus.files.blocks import text_lines
from malmoi.corpus.steps.base import Removal, Step
from malmoi.corpus.steps.characters import made
from malmoi.corpus.steps.spec import BlocklistSpec, LengthSpec, RepetitionSpec, SymbolsSpec

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""An odd number: the base of the rolling hash over words."""


def length(spec: LengthSpec) -> Step:
    """The step that keeps documents of a certain length."""

    def step(document: Document) -> Removal | None:
        characters = len(document.text)
        if characters < spec.characters:
            return Removal("short", f"{characters} < {spec.characters} characters")
        if characters > spec.largest:
            return Removal("long", f"{characters} > {spec.largest} characters")
        words = len(document.text.split(None, spec.words))
        return Removal("few_words", f"{words} < {spec.words} words") if words < spec.words else None

    return step


def symbols(spec: SymbolsSpec) -> Step:
    """The step that keeps prose."""

    def step(document: Document) -> Removal | None:
        found = made(document.text)
        seen = sum(found) - found.space
        if not seen:
            return Removal("few_letters", f"0.00 < {spec.letters:.2f}")
        if found.letters < spec.letters * seen:
            return Removal("few_letters", f"{found.letters / seen:.2f} < {spec.letters:.2f}")
        if seen > spec.word * (found.space + 1):  # else there may be blanks side by side
            mean = seen / len(document.text.split())
            if mean > spec.word:
                return Removal("long_words", f"{mean:.1f} > {spec.word:.1f}")
        return None

    return step


def repetition(spec: RepetitionSpec) -> Step:
    """The step that takes out documents that repeat themselves."""

    def step(document: Document) -> Removal | None:
        text = document.text
        share = _lines(text)
        if share > spec.lines:
            return Removal("lines", f"{share:.2f} > {spec.lines:.2f}")
        share = _ngrams(text.split(), spec.ngram, spec.ngrams)
        return Removal("ngrams", f"{share:.2f} > {spec.ngrams:.2f}") if share > spec.ngrams else None

    return step


def _lines(text: str) -> float:
    """Share of characters in lines that occurred before."""
    if "\n" not in text:
        return 0.0
    lines = [line for line in text.split("\n") if line]
    return 1 - sum(map(len, set(lines))) / max(sum(map(len, lines)), 1)


def _ngrams(words: list[str], size: int, limit: float) -> float:
    """Share of words in n-grams that occurred before; 0 as soon as it is clear that it is no more than `limit`.

    Every such word occurred before itself, and a run of them holds almost as many pairs that did: most documents need no more than that.
    """
    total = len(words)
    if total <= size or total - len(set(words)) <= limit * total:
        return 0.0
    pairs = total - 1 - len(set(zip(words, words[1:], strict=False)))
    if pairs * size <= limit * total * (size - 1):
        return 0.0
    index: dict[str, int] = {}
    ids = np.fromiter((index.setdefault(word, len(index) + 1) for word in words), np.uint64, total)
    hashes = np.zeros(total - size + 1, np.uint64)
    for place in range(size):
        hashes = hashes * FACTOR + ids[place : place + len(hashes)]
    again = np.ones(len(hashes), bool)
    again[np.unique(hashes, return_index=True)[1]] = False
    ends = np.zeros(total + 1, np.int64)
    ends[: len(again)] += again
    ends[size : size + len(again)] -= again
    return float((np.cumsum(ends[:total]) > 0).mean())


def blocklist(spec: BlocklistSpec) -> Step:
    """The step that takes out documents with words of a list, whatever their case. Raises MalmoiError M010 to M018 for its file.

    A word of Latin letters and digits must stand alone; Korean takes particles, so other words count wherever they stand.
    """
    if spec.file and not Path(spec.file).is_file():
        raise MalmoiError("M010", path=spec.file, nearest="")
    listed = [*spec.words, *(text_lines([Path(spec.file)]) if spec.file else [])]
    words = sorted({word.strip().lower() for word in listed if word.strip()})
    if not words:
        return lambda document: None
    pattern = re.compile(_any_of(words))

    def step(document: Document) -> Removal | None:
        found = pattern.findall(document.text.lower())
        if len(found) < spec.times:
            return None
        return Removal("blocklist", f"{len(found)} >= {spec.times}: {', '.join(sorted(set(found))[:3])}")

    return step


def _any_of(words: list[str]) -> str:
    """A pattern of all words that looks at each first letter once: thousands of words cost little more than one."""
    by_first: dict[str, list[str]] = {}
    for word in sorted(words, reverse=True):  # the longer of two with the same beginning first
        by_first.setdefault(word[0], []).append(word[1:])
    return "|".join(
        (
            _apart(first, "(?<!{})")
            + re.escape(first)
            + "(?:"
            + "|".join(re.escape(rest) + _apart((first + rest)[-1], "(?!{})") for rest in rests)
            + ")"
        )
        for first, rests in by_first.items()
    )


def _apart(character: str, look: str) -> str:
    """`look` at what stands beside a Latin letter or a digit."""
    return look.format("[a-z0-9]") if re.match("[a-z0-9]", character) else ""
