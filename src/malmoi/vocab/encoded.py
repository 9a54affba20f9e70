"""Texts that are read but not trained on: ids, with the words that the vocabulary lacks kept so that they can still be spelt."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import cast, overload

import numpy as np

from malmoi.vocab.subwords import Subwords, text_chunks
from malmoi.vocab.tokenizer_file import nfc
from malmoi.vocab.vocabulary import Vocabulary


@dataclass(frozen=True)
class EncodedText:
    """Documents as ids. V = len(vocabulary).

    ids (tokens,) int64: of all documents in a row; V + k for the word `extra[k]`, which the vocabulary lacks.
    ends (documents,) int64: where each document ends in `ids`.
    extra: the words that the vocabulary lacks, in the order in which they came; none of subwords.
    bytes: for bits per byte. Of words: their UTF-8 bytes, one more after each word (the space or the end); 1 for an empty document. Of
        subwords: UTF-8 bytes of the text in NFC, one more after each document.
    breaks: places at which sentences begin, (sentences,) int64, rising, counted through all documents, as in `Shards`; None of words.
    """

    ids: np.ndarray
    ends: np.ndarray
    extra: list[str]
    bytes: int
    vocabulary: Vocabulary | Subwords
    breaks: np.ndarray | None = None

    def spelling(self, ids: np.ndarray) -> np.ndarray:
        """Rows `(len(ids), length)` of character ids for any mixture of known and extra ids (of a vocabulary of words)."""
        assert isinstance(self.vocabulary, Vocabulary)
        known = ids < len(self.vocabulary)
        rows = self.vocabulary.spelling[np.where(known, ids, 0)]
        rows[~known] = self._extra_spelling[ids[~known] - len(self.vocabulary)]
        return rows

    @cached_property
    def _extra_spelling(self) -> np.ndarray:
        assert isinstance(self.vocabulary, Vocabulary)
        return self.vocabulary.characters.spell(self.extra)


@overload
def encode_documents(documents: Iterable[list[str]], vocabulary: Vocabulary) -> EncodedText: ...
@overload
def encode_documents(documents: Iterable[str], vocabulary: Subwords) -> EncodedText: ...
def encode_documents(documents: Iterable[list[str]] | Iterable[str], vocabulary: Vocabulary | Subwords) -> EncodedText:
    """Documents, which may be empty, as an EncodedText: lists of words for a vocabulary of words, texts for one of subwords.

    Marks among the words are `<UNK>`, marks in a text are text.
    """
    if isinstance(vocabulary, Subwords):
        return _encode_texts(cast(Iterable[str], documents), vocabulary)
    return _encode_words(cast(Iterable[list[str]], documents), vocabulary)


def _encode_words(documents: Iterable[list[str]], vocabulary: Vocabulary) -> EncodedText:
    ids, ends = array("q"), array("q")
    extra: dict[str, int] = {}
    known = vocabulary.index.get
    size = 0
    for words in documents:
        found: list[int | None] = list(map(known, words))
        if None in found:
            for place, id in enumerate(found):
                if id is None:
                    found[place] = extra.setdefault(words[place], len(vocabulary) + len(extra))
        ids.extend(found)  # type: ignore[arg-type]
        ends.append(len(ids))
        size += len(" ".join(words).encode("utf-8", "surrogatepass")) + 1
    return EncodedText(ids=np.array(ids, np.int64), ends=np.array(ends, np.int64), extra=list(extra), bytes=size, vocabulary=vocabulary)


def _encode_texts(texts: Iterable[str], vocabulary: Subwords) -> EncodedText:
    ids, ends, breaks = ([np.zeros(0, np.int64)] for _ in range(3))
    size = tokens = 0
    for chunk in text_chunks(texts):
        normal = [nfc(text) for text in chunk]
        size += sum(len(text.encode()) + 1 for text in normal)
        for found, starts in vocabulary.encode_sentences(normal):
            ids.append(found)
            breaks.append(starts[: len(found)] + tokens)
            tokens += len(found)
            ends.append(np.array([tokens]))
    flat, reach, places = map(np.concatenate, (ids, ends, breaks))
    return EncodedText(ids=flat, ends=reach, extra=[], bytes=size, vocabulary=vocabulary, breaks=places)
