"""MinHash signatures of many texts at once, by array arithmetic.

Broder 1997, "On the resemblance and containment of documents": the smallest value that a random permutation gives to the members of a set
is the same for two sets with a probability of their Jaccard similarity |A & B| / |A | B|. Here the members are the character n-grams of
a text's letters and digits, and the permutations are odd factors modulo 2^32 of a mixed hash (multiply-shift, Dietzfelbinger et al.
1997). `rows` minima make a band; texts that share a band are candidates (Leskovec et al., Mining of Massive Datasets, 3.4), and the
lowest bits of all minima say how similar they are (b-bit minwise hashing, Li and Koenig 2010).

Shapes: D texts, P positions, K = bands x rows permutations, B bands.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

FEWEST = 20
"""n-grams of the shortest text that has a signature: two shorter ones may differ in all that matters, such as a number, and be alike."""
BATCH = 1 << 16  # characters that are worked on at a time
BLOCK = 1 << 15  # n-grams: what stays in the processor's cache
PLANES = 0x20000  # code points that are looked up; beyond them stand only Han characters
LAST_HAN = 0x3FFFF


def signatures(texts: Sequence[str], *, ngram: int, bands: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """`(bands (D, B) uint64, sketches (D, K) uint8)` of texts, for `alike`. A text with fewer than FEWEST n-grams has bands of 0 and is
    like nothing."""
    keys_DB = np.zeros((len(texts), bands), np.uint64)
    sketches_DK = np.zeros((len(texts), bands * rows), np.uint8)
    factors_K = (_numbers(bands * rows, seed=1) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
    for begin, end in _batches(texts):
        letters_P, starts_D = normalized(texts[begin:end])
        counts_D = np.maximum(np.diff(starts_D) - ngram + 1, 0)
        enough = np.flatnonzero(counts_D >= FEWEST)
        if not len(enough):
            continue
        hashes_P = _ngrams(letters_P, starts_D, ngram)
        minima_DK = _minima(hashes_P, counts_D, factors_K)[enough]
        keys_DB[begin + enough] = _bands(minima_DK, bands)
        sketches_DK[begin + enough] = (minima_DK * np.uint32(0x9E3779B1)) >> np.uint32(24)
    return keys_DB, sketches_DK


def alike(left_DK: np.ndarray, right_DK: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity of sketches, pair by pair: (D,) float32. The standard error at similarity s is sqrt(s(1-s)/K)."""
    same = (left_DK == right_DK).mean(axis=-1, dtype=np.float32)
    return np.maximum((same - 1 / 256) / (1 - 1 / 256), 0)


def normalized(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The letters, marks and digits of texts, folded to lower case, each word after one 0: code points (P,) uint32 one text behind the
    other, and where each begins (D + 1)."""
    joined = "\n" + "\n".join(texts)
    letters_P = _table()[np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")]
    keep = letters_P != 0
    keep[:-1] |= keep[1:]  # what stands right before a letter is a letter or the one 0 that stays
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    ends = np.cumsum(lengths)
    before = np.concatenate([[0], np.cumsum(np.add.reduceat(keep, ends - lengths, dtype=np.int64))])
    return letters_P[keep], before


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    begin, size = 0, 0
    for number, text in enumerate(texts):
        if size and size + len(text) > BATCH:
            yield begin, number
            begin, size = number, 0
        size += len(text) + 1
    if begin < len(texts):
        yield begin, len(texts)


@cache
def _table() -> np.ndarray:
    """Code point -> its lower case if it is a letter, a mark or a digit, else 0."""
    table = np.zeros(0x110000, np.uint32)
    for code in range(PLANES):
        if unicodedata.category(chr(code))[0] in "LMN":
            folded = chr(code).casefold()
            table[code] = ord(folded) if len(folded) == 1 else code
    table[PLANES : LAST_HAN + 1] = np.arange(PLANES, LAST_HAN + 1)
    return table


def _ngrams(letters_P: np.ndarray, starts_D: np.ndarray, ngram: int) -> np.ndarray:
    """An odd 32-bit hash of every n-gram, text by text; those that would reach into the next text are left out."""
    size = len(letters_P) - ngram + 1
    hashes_P = np.zeros(size, np.uint32)
    for offset, factor in enumerate((_numbers(ngram, seed=2) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)):
        hashes_P += letters_P[offset : offset + size] * factor
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):  # MurmurHash3's finalizer
        hashes_P ^= hashes_P >> np.uint32(shift)
        hashes_P *= np.uint32(factor)
    hashes_P |= np.uint32(1)  # times an odd factor, an even number keeps its zeros at the end: 0 would be the smallest of all permutations
    whole = np.ones(len(letters_P), bool)
    for back in range(1, ngram):
        whole[np.maximum(starts_D[1:] - back, starts_D[:-1])[starts_D[1:] > starts_D[:-1]]] = False
    return hashes_P[whole[:size]]


def _minima(hashes_P: np.ndarray, counts_D: np.ndarray, factors_K: np.ndarray) -> np.ndarray:
    """The smallest value of each permutation among the hashes of each text: (D, K) uint32; all ones for a text without any."""
    ends_D = np.cumsum(counts_D)
    filled = np.flatnonzero(counts_D)
    starts = (ends_D - counts_D)[filled]
    minima = np.full((len(factors_K), len(filled)), 0xFFFFFFFF, np.uint32)
    room = np.empty(min(BLOCK, len(hashes_P)), np.uint32)
    for begin in range(0, len(hashes_P), BLOCK):
        block = hashes_P[begin : begin + BLOCK]
        first, last = np.searchsorted(starts, begin, "right") - 1, np.searchsorted(starts, begin + len(block))
        cuts, products = np.maximum(starts[first:last] - begin, 0), room[: len(block)]
        for row, factor in zip(minima, factors_K, strict=True):
            np.multiply(block, factor, out=products)
            np.minimum(row[first:last], np.minimum.reduceat(products, cuts), out=row[first:last])
    all_DK = np.full((len(counts_D), len(factors_K)), 0xFFFFFFFF, np.uint32)
    all_DK[filled] = minima.T
    return all_DK


def _bands(minima_DK: np.ndarray, bands: int) -> np.ndarray:
    """One 64-bit hash of the minima of each band, another one for each band: (D, B)."""
    grouped = minima_DK.reshape(len(minima_DK), bands, -1).astype(np.uint64)
    keys_DB = np.broadcast_to(_numbers(bands, seed=3), grouped.shape[:2]).copy()
    for row in range(grouped.shape[2]):
        keys_DB = mixed(keys_DB ^ grouped[:, :, row])
    return keys_DB


def _numbers(count: int, *, seed: int) -> np.ndarray:
    """Numbers that look random and are the same everywhere, uint64."""
    return mixed(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed << 40))


def mixed(values: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele et al. 2014): one-to-one."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
