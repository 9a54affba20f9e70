"""Texts that are read but not trained on: ids, with the words that the vocabulary lacks kept so that they can still be spelt."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from malmoi.vocab.vocabulary import Vocabulary


@dataclass(frozen=True)
class EncodedText:
    """Documents as ids. V = len(vocabulary).

    ids (tokens,) int64: of all documents in a row; V + k for the word `extra[k]`, which the vocabulary lacks.
    ends (documents,) int64: where each document ends in `ids`.
    extra: the words that the vocabulary lacks, in the order in which they came.
    bytes: UTF-8 bytes of the words, one more after each word (the space or the end); 1 for an empty document. For bits per byte.
    """

    ids: np.ndarray
    ends: np.ndarray
    extra: list[str]
    bytes: int
    vocabulary: Vocabulary

    def spelling(self, ids: np.ndarray) -> np.ndarray:
        """Rows `(len(ids), length)` of character ids for any mixture of known and extra ids."""
        known = ids < len(self.vocabulary)
        rows = self.vocabulary.spelling[np.where(known, ids, 0)]
        rows[~known] = self._extra_spelling[ids[~known] - len(self.vocabulary)]
        return rows

    @cached_property
    def _extra_spelling(self) -> np.ndarray:
        return self.vocabulary.characters.spell(self.extra)


def encode_documents(documents: Iterable[list[str]], vocabulary: Vocabulary) -> EncodedText:
    """Documents (lists of words, which may be empty) as an EncodedText. Marks among the words are `<UNK>`."""
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
