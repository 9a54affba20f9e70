"""Neighbours against all distances by brute force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from malmoi.core.errors import MalmoiError
from malmoi.readout import neighbours
from malmoi.readout.neighbours import marked_word

VECTORS = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)


class Words:
    """An encoder whose vectors are a word's own and a little of the word before it."""

    split = staticmethod(str.split)

    def stream(self, lines: Iterable[list[str]], **_: object) -> Iterator[tuple[list[str], np.ndarray]]:
        for words in lines:
            own = VECTORS[[hash_of(word) for word in words]]
            yield words, own + 0.3 * np.concatenate([np.zeros((1, 6), np.float32), own[:-1]])

    words = stream

    def encode(self, lines: list[list[str]], **_: object) -> list[np.ndarray]:
        return [vectors for _, vectors in self.stream(lines)]


def hash_of(word: str) -> int:
    return sum(map(ord, word)) % len(VECTORS)


LINES = ["key of the door", "the key was lost", "a b c", "", "press any key now", "the key was lost", "press a key", "x y z w", "door"]


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_best_occurrence_of_each_other_sentence(same: bool, count: int) -> None:
    query = "press a *key*"
    wanted = Words().encode([["press", "a", "key"]])[0][2]
    best: dict[str, tuple[float, int, int]] = {}
    for number, line in enumerate(LINES):
        for place, word in enumerate(line.split()):
            if line != "press a key" and (word == "key" or not same):
                vector = Words().encode([line.split()])[0][place]
                cosine = float(vector @ wanted / np.linalg.norm(vector) / np.linalg.norm(wanted))
                if line not in best or cosine > best[line][0] + 1e-6:
                    best[line] = (cosine, number, place)
    expected = sorted(best.values(), key=lambda entry: -entry[0])[:count]
    found = neighbours(Words(), query, among=iter(LINES), count=count, same=same)  # type: ignore[arg-type]
    assert [(each.line, each.position) for each in found] == [entry[1:] for entry in expected]
    np.testing.assert_allclose([each.similarity for each in found], [entry[0] for entry in expected], atol=1e-6)
    assert all(each.words[each.position] == each.word and list(each.words) == LINES[each.line].split() for each in found)


@pytest.mark.parametrize(
    ("text", "words", "place"),
    [
        ("the *class* of 84", ["the", "class", "of", "84"], 1),
        ("*a* b", ["a", "b"], 0),
        ("read (the *key*), now", ["read", "(the", "key),", "now"], 2),
        ("key to the *key*", ["key", "to", "the", "key"], 3),
        ("2 * 3 is *six*", ["2", "*", "3", "is", "six"], 4),
        ("이 *말* 은", ["이", "말", "은"], 1),
    ],
)
def test_finds_the_marked_word(text: str, words: list[str], place: int) -> None:
    assert marked_word(text, str.split) == (words, place)


@pytest.mark.parametrize("text", ["no mark", "", "*two words*", "*a* and *b*", "a ** b", "half *open"])
def test_one_word_must_be_marked(text: str) -> None:
    with pytest.raises(MalmoiError, match="M009"):
        marked_word(text, str.split)


def test_a_splitter_that_rewrites_words() -> None:
    words, place = marked_word("The *Key* works", lambda text: text.lower().split())
    assert words == ["the", "key", "works"] and place == 1


def test_wrong_choices_are_refused() -> None:
    with pytest.raises(MalmoiError, match="M009"):
        neighbours(Words(), "a *b*", among=[], layer="all")  # type: ignore[arg-type]
    assert neighbours(Words(), "a *b*", among=[]) == []  # type: ignore[arg-type]
