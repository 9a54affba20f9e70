"""What a vocabulary of subwords makes of a text: how much is unknown, how many pieces a word has, how many bytes a piece."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from malmoi.core.spec import Spec
from malmoi.vocab.tokenizer_file import nfc

if TYPE_CHECKING:
    from malmoi.vocab.subwords import Subwords

HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
LATIN = re.compile("[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]")


class PieceCounts(Spec):
    """Facts of some words under a vocabulary; a word is what stands between white space, with the space after it."""

    words: int
    tokens: int
    unknown: float
    """Share of the tokens that are [UNK]."""
    tokens_per_word: float
    bytes_per_token: float
    """UTF-8 bytes, the space after each word included."""


class SubwordReport(Spec):
    """Facts of a text under a vocabulary of `size` pieces (marks included)."""

    size: int
    types: int
    """Different words of the text."""
    text: PieceCounts
    korean: PieceCounts
    """Of the words with Hangul."""
    english: PieceCounts
    """Of the words with Latin letters and no Hangul."""


def measure(vocabulary: Subwords, texts: Iterable[str]) -> SubwordReport:
    """The report of `texts`. Every word counts as it stands after a space. Memory grows with the number of different words only."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(nfc(text).split())
    words = list(counts)
    number = np.fromiter(counts.values(), np.int64, len(words))
    ids, ends = vocabulary.encode_flat([f" {word}" for word in words])
    tokens = np.diff(ends, prepend=0)
    unknown = np.bincount(np.repeat(np.arange(len(words)), tokens), ids == vocabulary.marks.unknown, len(words))
    sizes = np.fromiter((len(word.encode()) + 1 for word in words), np.int64, len(words))
    hangul = np.fromiter((HANGUL.search(word) is not None for word in words), bool, len(words))
    latin = np.fromiter((LATIN.search(word) is not None for word in words), bool, len(words)) & ~hangul

    def facts(chosen: np.ndarray) -> PieceCounts:
        all_words, all_tokens = int(number[chosen].sum()), int((number * tokens)[chosen].sum())
        return PieceCounts(
            words=all_words,
            tokens=all_tokens,
            unknown=float((number * unknown)[chosen].sum()) / max(all_tokens, 1),
            tokens_per_word=all_tokens / max(all_words, 1),
            bytes_per_token=int((number * sizes)[chosen].sum()) / max(all_tokens, 1),
        )

    everything = np.ones(len(words), bool)
    return SubwordReport(size=len(vocabulary), types=len(words), text=facts(everything), korean=facts(hangul), english=facts(latin))
