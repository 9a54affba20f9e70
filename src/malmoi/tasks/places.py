"""Where the pieces of a text stand in it: what answers, marked words and tagged characters need."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from malmoi.vocab import Subwords
from malmoi.vocab.tokenizer_file import engine, nfc

WORD = re.compile(r"\S+")


class Places:
    """Cuts texts as a vocabulary does, and says where each piece stands."""

    def __init__(self, vocabulary: Subwords) -> None:
        self._engine = engine(vocabulary.json)

    def of(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids (n,), edges (n, 2)) int64 of each text: piece k is made of the characters [edges[k, 0], edges[k, 1]).

        The ids are those of `Subwords.encode`. White space before a piece does not belong to it, so that a piece of nothing else has no
        characters. Several pieces may have the same characters (the bytes of one). Texts need not be in NFC: the edges are those of the
        text as it is given.
        """
        normal = [nfc(text) for text in texts]
        found = []
        for text, changed, encoding in zip(texts, normal, self._engine.encode_batch(normal, add_special_tokens=False), strict=True):
            edges = np.array(encoding.offsets, np.int64).reshape(-1, 2)
            edges = _without_space(changed, edges)
            found.append((np.array(encoding.ids, np.int64), edges if text == changed else _of_original(text, changed, edges)))
        return found


def within(edges: np.ndarray, begin: int, end: int) -> np.ndarray:
    """The pieces (numbers, int64) that have characters of [begin, end)."""
    return np.flatnonzero((edges[:, 0] < end) & (edges[:, 1] > begin) & (edges[:, 1] > edges[:, 0]))


def _without_space(text: str, edges: np.ndarray) -> np.ndarray:
    kept = edges.copy()
    for number, (begin, end) in enumerate(edges.tolist()):
        while begin < end and text[begin].isspace():
            begin += 1
        while end > begin and text[end - 1].isspace():
            end -= 1
        kept[number] = begin, end
    return kept


def _of_original(text: str, normal: str, edges: np.ndarray) -> np.ndarray:
    """Edges in `normal`, the NFC of `text`, as edges in `text`. A piece gets every character of which it has a part.

    White space never composes, so that both have the same words; a word that changes is followed character by character.
    """
    reach = np.zeros(len(text) + 1, np.int64)  # how long the NFC is of what stands before each character
    done = normal_done = 0
    for word in WORD.finditer(text):
        begin, end = word.span()
        reach[done : begin + 1] = normal_done + np.arange(begin + 1 - done)
        normal_done += begin - done
        lengths = [len(nfc(word[0][:count])) for count in range(1, end - begin + 1)]
        reach[begin + 1 : end + 1] = normal_done + np.maximum.accumulate(lengths)
        done, normal_done = end, normal_done + lengths[-1]
    reach[done:] = normal_done + np.arange(len(text) + 1 - done)
    assert reach[-1] == len(normal)
    begins = np.searchsorted(reach, edges[:, 0], side="right") - 1
    ends = np.searchsorted(reach, reach[np.searchsorted(reach, edges[:, 1], side="left")], side="right") - 1
    return np.stack([begins, np.where(edges[:, 1] > edges[:, 0], ends, begins)], axis=1)
