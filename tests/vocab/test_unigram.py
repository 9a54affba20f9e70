"""The trainer of Unigram against slow and plain versions of its steps."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from malmoi.vocab import unigram

WORDS = st.dictionaries(st.text("abc가", min_size=1, max_size=7), st.integers(1, 9), min_size=1, max_size=8)


def opened(words: dict[str, int]) -> tuple[list[str], unigram._Text, unigram._Pieces, list[str]]:
    names = sorted(words)
    text = unigram._Text.of(names, words)
    pieces = unigram._seeds(text, 1000)
    strings = [text.characters[place : place + length] for place, length in zip(pieces.places, pieces.lengths, strict=True)]
    return names, text, pieces, strings


def cuts(word: str) -> list[list[str]]:
    """Every way to cut a word."""
    ways = []
    for count in range(len(word)):
        for inner in combinations(range(1, len(word)), count):
            edges = [0, *inner, len(word)]
            ways.append([word[start:stop] for start, stop in zip(edges[:-1], edges[1:], strict=True)])
    return ways


@given(WORDS)
def test_seeds_are_the_substrings_that_occur_twice_and_are_no_part_of_one_as_frequent(words: dict[str, int]) -> None:
    _, _, pieces, strings = opened(words)
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for stop in range(start + 1, len(word) + 1):
                counts[word[start:stop]] += count
    letters = {string for string in counts if len(string) == 1}
    hidden = {part for string in counts if len(string) > 2 for part in (string[1:], string[:-1]) if counts[part] == counts[string]}
    assert len(set(strings)) == len(strings)
    assert set(strings) == letters | {string for string, count in counts.items() if len(string) > 1 and count >= 2} - (hidden - letters)
    assert pieces.counts.tolist() == [counts[string] for string in strings]


@given(WORDS, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_expected_counts_are_those_over_all_cuts(words: dict[str, int], random: object) -> None:
    names, text, pieces, strings = opened(words)
    weights = np.array([1.0 + random.random() for _ in strings])  # type: ignore[attr-defined]
    scores = np.log(weights / weights.sum())
    drop = np.array([len(string) > 1 and random.random() < 0.3 for string in strings])  # type: ignore[attr-defined]
    scores[drop] = -np.inf
    edges = unigram._edges(text, pieces).of(np.isfinite(scores[unigram._edges(text, pieces).piece]))
    known = dict(zip(strings, scores, strict=True))
    expected: Counter[str] = Counter()
    for word in names:
        ways = [(way, math.exp(sum(known[piece] for piece in way))) for way in cuts(word) if all(piece in known for piece in way)]
        total = sum(chance for _, chance in ways)
        for way, chance in ways:
            for piece in way:
                expected[piece] += words[word] * chance / total
    found = unigram._expected(text, pieces, edges, scores)
    assert found == pytest.approx([expected[string] for string in strings], rel=1e-9, abs=1e-12)
    best = unigram._alternatives(pieces, scores)
    for string, score, value in zip(strings, scores, best, strict=True):
        if len(string) > 1 and np.isfinite(score):
            ways = [sum(known[piece] for piece in way) for way in cuts(string) if len(way) > 1 and all(piece in known for piece in way)]
            assert value == pytest.approx(max(ways))


def test_digamma_is_torchs() -> None:
    x = np.array([0.5, 0.7, 1.0, 3.3, 17.0, 1e4, 1e9])
    assert unigram._digamma(x) == pytest.approx(torch.digamma(torch.tensor(x)).numpy(), rel=1e-7)


@given(WORDS, st.integers(0, 12))
def test_characters_always_stay_and_the_size_is_kept(words: dict[str, int], size: int) -> None:
    found = unigram.learn(words, size)
    strings = [string for string, _ in found]
    characters = set("".join(words))
    assert characters <= set(strings) and len(set(strings)) == len(strings) <= max(size, len(characters))
    assert found == sorted(found, key=lambda each: (-each[1], each[0])) and found == unigram.learn(dict(reversed(words.items())), size)


def test_words_too_long_or_too_many_leave_their_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "TYPES", 2)
    found = dict(unigram.learn({"abab": 9, "aba": 8, "xy": 1, "z" * 60: 5}, 20))
    assert {"a", "b", "x", "y", "z"} <= set(found) and found["x"] == found["z"] == min(found.values())
    assert unigram.learn({"z" * 60: 5}, 20) == [("z", 0.0)] and unigram.learn({}, 20) == []


def test_it_cuts_about_as_short_as_the_trainer_of_the_engine() -> None:
    random = np.random.default_rng(0)
    stems = ["".join(random.choice(list("가나다라마바사아자차"), random.integers(1, 4))) for _ in range(150)]
    ends = ["", "는", "은", "에서", "으로", "했다", "하였다", "의"]
    drawn = [stems[int(150 * a**3)] + ends[int(8 * b**2)] for a, b in random.random((20_000, 2))]
    words = dict(Counter(drawn))
    engine = Tokenizer(models.Unigram())
    engine.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(" ")
    engine.train_from_iterator(
        [" ".join(drawn)], trainers.UnigramTrainer(vocab_size=120, unk_token="?", special_tokens=["?"], show_progress=False)
    )
    own = Tokenizer(models.Unigram([("?", 0.0), *unigram.learn(words, 119)], unk_id=0))
    own.pre_tokenizer = engine.pre_tokenizer
    lengths = [len(each.encode(" ".join(drawn)).ids) / len(drawn) for each in (own, engine)]
    assert own.get_vocab_size() == 120 and lengths[0] <= 1.03 * lengths[1], lengths
