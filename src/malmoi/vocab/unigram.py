"""Counted words -> the pieces of a Unigram vocabulary with their log-probabilities (Kudo 2018, section 3.2; SentencePiece's trainer).

The engine has a trainer of its own, whose pieces depend on the order of a hash and on the number of threads. This one gives the same
pieces for the same words every time: seeds are the frequent substrings of words, expectation-maximization weighs them over all ways
to cut each word, and those that are missed least go, a quarter at a time.

All words stand in one row of characters. N positions, W words, K pieces. A node is a place between two characters of a word or at its
ends: word w has its nodes from `first position + w` on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TYPES = 1 << 18  # words that are learned from, the most frequent; the others are rare
LONGEST_WORD = 48
LONGEST = 16  # characters of a piece
SEEDS = 10  # pieces at the start for each that is wanted
ROUNDS = 2  # of expectation-maximization between two prunings
SHRINK = 0.75  # share of the pieces that a pruning leaves
LEAST = 0.5  # a piece that is expected less often is dropped; single characters count at least so much


def learn(words: dict[str, int], size: int) -> list[tuple[str, float]]:
    """At most `size` pieces and their log-probabilities, falling; every character of `words` is among them."""
    names = [word for word in sorted(words, key=lambda word: (-words[word], word)) if len(word) <= LONGEST_WORD][:TYPES]
    characters = set().union(*words) if words else set()
    rest = sorted(characters.difference(*names))
    if not names:
        return [(character, 0.0) for character in rest]
    text = _Text.of(names, words)
    pieces = _seeds(text, SEEDS * size)
    wanted = max(size - len(rest), text.letters)
    edges = _edges(text, pieces)
    scores = np.log(pieces.counts / pieces.counts.sum())
    while True:
        for _ in range(ROUNDS):
            expected = _expected(text, pieces, edges, scores)
            scores = _scores(expected, keep=pieces.lengths == 1)
            edges = edges.of(np.isfinite(scores[edges.piece]))
        alive = np.flatnonzero(np.isfinite(scores))
        if len(alive) <= wanted:
            break
        missed = expected[alive] * (scores[alive] - _alternatives(pieces, scores)[alive])
        loss = np.where(pieces.lengths[alive] == 1, np.inf, missed)
        left = max(wanted, int(SHRINK * len(alive)))
        scores[alive[np.argsort(-loss, kind="stable")[left:]]] = -np.inf
        edges = edges.of(np.isfinite(scores[edges.piece]))
    strings = ["".join(text.characters[pieces.places[id] : pieces.places[id] + pieces.lengths[id]]) for id in alive]
    found = [(string, round(float(score), 6)) for string, score in zip(strings, scores[alive], strict=True)]
    lowest = min(score for _, score in found)
    return sorted([*found, *((character, lowest) for character in rest)], key=lambda each: (-each[1], each[0]))


@dataclass(frozen=True)
class _Text:
    """All words in a row. characters (N,); codes (N,): their numbers, `letters` in all; word, offset, left (N,): where a position
    stands, and how many characters its word has from there on; counts (W,): of the words; starts (W,): of their first nodes."""

    characters: str
    codes: np.ndarray
    letters: int
    word: np.ndarray
    offset: np.ndarray
    left: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, names: list[str], words: dict[str, int]) -> _Text:
        characters = "".join(names)
        known, codes = np.unique(np.frombuffer(characters.encode("utf-32-le"), np.uint32), return_inverse=True)
        lengths = np.fromiter(map(len, names), np.int64, len(names))
        first = np.cumsum(lengths) - lengths
        word = np.repeat(np.arange(len(names)), lengths)
        offset = np.arange(len(codes)) - first[word]
        counts = np.fromiter((words[name] for name in names), np.float64, len(names))
        starts = first + np.arange(len(names))
        return cls(characters, codes.reshape(-1), len(known), word, offset, lengths[word] - offset, counts, starts, lengths)


@dataclass(frozen=True)
class _Pieces:
    """Seeds: their numbers `at` each length and position (LONGEST + 1, N) int32, -1 for none; one of the places (K,) where each stands,
    its length and its count there."""

    at: np.ndarray
    places: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class _Edges:
    """Every place of every piece, grouped by the offset of its end in its word, then by its length: no two of a group end at one node."""

    start: np.ndarray
    end: np.ndarray
    piece: np.ndarray
    word: np.ndarray
    group: np.ndarray

    def of(self, chosen: np.ndarray) -> _Edges:
        return _Edges(self.start[chosen], self.end[chosen], self.piece[chosen], self.word[chosen], self.group[chosen])

    def groups(self) -> list[slice]:
        bounds = [0, *(np.flatnonzero(np.diff(self.group)) + 1).tolist(), len(self.group)]
        return [slice(start, stop) for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]


def _seeds(text: _Text, most: int) -> _Pieces:
    """All characters, and the `most` substrings by count times length that occur twice and are no part of another just as frequent."""
    weights = text.counts[text.word]
    name = text.codes.astype(np.int64)  # number of the substring of this length at each position, -1 where it occurs once
    counts = np.bincount(name, weights, text.letters)
    place = np.zeros(text.letters, np.int64)
    place[name[::-1]] = np.arange(len(name))[::-1]
    levels = [(np.arange(len(name)), name, counts, np.ones(len(counts), bool), place)]
    for length in range(2, LONGEST + 1):
        positions = np.flatnonzero((name >= 0) & (text.left >= length))
        _, number = np.unique(name[positions] * text.letters + text.codes[positions + length - 1], return_inverse=True)
        number = number.reshape(-1)
        found = np.bincount(number, weights[positions])
        kept = found[number] >= 2
        positions, number = positions[kept], number[kept]
        if not len(positions):
            break
        _, first, number = np.unique(number, return_index=True, return_inverse=True)
        number = number.reshape(-1)
        found = np.bincount(number, weights[positions])
        for part in (name[positions], name[positions + 1]):  # without its last character, without its first
            levels[-1][3][part[counts[part] == found[number]]] = False
        name = np.full(len(name), -1, np.int64)
        name[positions] = number
        counts = found
        levels.append((positions, number, counts, np.ones(len(counts), bool), positions[first]))
    lengths = np.repeat(np.arange(1, len(levels) + 1), [len(level[2]) for level in levels])
    all_counts, whole, places = (np.concatenate([level[part] for level in levels]) for part in (2, 3, 4))
    longer = np.flatnonzero(whole & (lengths > 1))
    chosen = longer[np.argsort(-(all_counts * lengths)[longer], kind="stable")[:most]]
    chosen = np.concatenate([np.arange(text.letters), np.sort(chosen)])
    number_of = np.full(len(lengths), -1, np.int32)
    number_of[chosen] = np.arange(len(chosen))
    at = np.full((LONGEST + 1, len(text.codes)), -1, np.int32)
    before = 0
    for length, (positions, number, found, _, _) in enumerate(levels, 1):
        at[length, positions] = number_of[before + number]
        before += len(found)
    return _Pieces(at, places[chosen], lengths[chosen], all_counts[chosen])


def _edges(text: _Text, pieces: _Pieces) -> _Edges:
    length, position = np.nonzero(pieces.at >= 0)
    group = (text.offset[position] + length) * (LONGEST + 1) + length
    order = np.argsort(group, kind="stable")
    length, position, group = length[order], position[order], group[order]
    word = text.word[position]
    start = position + word
    return _Edges(start, start + length, pieces.at[length, position], word, group)


def _expected(text: _Text, pieces: _Pieces, edges: _Edges, scores: np.ndarray) -> np.ndarray:
    """How often each piece is expected, (K,), over all ways to cut each word.

    Probabilities are multiplied by a constant for each character, which changes no share and keeps long words from underflow.
    """
    known = np.isfinite(scores)
    mass = np.exp(scores[known])
    scale = -(mass * scores[known]).sum() / (mass * pieces.lengths[known]).sum()
    weight = np.exp(scores + scale * pieces.lengths)[edges.piece]
    groups = edges.groups()
    forward, backward = np.zeros(len(text.codes) + len(text.counts)), np.zeros(len(text.codes) + len(text.counts))
    forward[text.starts] = 1.0
    for group in groups:
        forward[edges.end[group]] += forward[edges.start[group]] * weight[group]
    last = text.starts + text.lengths
    backward[last] = text.counts / forward[last]
    for group in reversed(groups):
        backward[edges.start[group]] += backward[edges.end[group]] * weight[group]
    return np.bincount(edges.piece, forward[edges.start] * weight * backward[edges.end], len(scores))


def _scores(expected: np.ndarray, *, keep: np.ndarray) -> np.ndarray:
    """Log-probabilities (K,) by the digamma function, which makes rare pieces rarer (Kudo's Bayesian step); -inf for what is dropped."""
    expected = np.where(keep, np.maximum(expected, LEAST), expected)
    alive = expected >= LEAST
    scores = np.full(len(expected), -np.inf)
    scores[alive] = _digamma(expected[alive]) - _digamma(expected[alive].sum(keepdims=True))
    return scores


def _alternatives(pieces: _Pieces, scores: np.ndarray) -> np.ndarray:
    """The best log-probability (K,) of each piece cut into others; -inf for single characters and for dropped pieces."""
    extended = np.append(scores, -np.inf)  # what is not there has number -1
    found = np.full(len(scores), -np.inf)
    for length in range(2, LONGEST + 1):
        ids = np.flatnonzero((pieces.lengths == length) & np.isfinite(scores))
        best = [np.zeros(len(ids))]
        for end in range(1, length + 1):
            ways = [
                best[end - part] + extended[pieces.at[part, pieces.places[ids] + end - part]] for part in range(1, min(end, length - 1) + 1)
            ]
            best.append(np.max(ways, axis=0))
        found[ids] = best[length]
    return found


def _digamma(x: np.ndarray) -> np.ndarray:
    """The digamma function for x > 0: its recurrence up to x + 6, then the asymptotic series."""
    shift = sum(1.0 / (x + step) for step in range(6))
    y = x + 6.0
    square = 1.0 / (y * y)
    return np.log(y) - 0.5 / y - square * (1 / 12 - square * (1 / 120 - square / 252)) - shift
