"""Contextual neighbours: where else a word stands as it stands here (the demonstration of ELMo section 5.3, table 4)."""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.readout.encoder import Encoder
from malmoi.readout.static import StaticEncoder
from malmoi.readout.tokens import TokenEncoder

MARKED = re.compile(r"\*(?=\S)([^*]*?)(?<=\S)\*")


@dataclass(frozen=True)
class Neighbour:
    """An occurrence: cosine similarity, line and place in it (both from 0), the word and the words of its line."""

    similarity: float
    line: int
    position: int
    word: str
    words: tuple[str, ...]


def neighbours(
    encoder: Encoder | TokenEncoder | StaticEncoder,
    query: str,
    *,
    among: Iterable[str],
    layer: str | int = "top",
    count: int = 5,
    same: bool = False,
    state: str = "reset",
) -> list[Neighbour]:
    """The `count` occurrences in the lines of `among` that are nearest to the word between asterisks in `query`, best first.

    Every word of every line is a candidate, or only the same word if `same`; a sentence appears once, with its best word, and
    the query's own sentence never. Lines are read once and not kept.
    layer: one vector a word, so not "all". Raises MalmoiError M009 for a query without exactly one marked word.
    """
    words, marked = marked_word(query, encoder.split)
    if layer == "all" or count < 1:
        argument, value = ("layer", layer) if layer == "all" else ("count", count)
        raise MalmoiError(
            "M009", argument=argument, value=value, problem="neighbours cannot be told by it", next="use --layer top, --count 5."
        )
    [(_, vectors_of_query)] = encoder.words([words], layer=layer, state=state)
    wanted = _unit(vectors_of_query)[marked]
    best: list[tuple[float, int, Neighbour]] = []
    kept: set[tuple[str, ...]] = set()
    numbers: deque[int] = deque()
    lines = _lines(encoder, among, words[marked] if same else None, numbers)
    for found, vectors in encoder.words(lines, layer=layer, state=state):
        number, sentence = numbers.popleft(), tuple(found)
        if not found or sentence == tuple(words) or sentence in kept:
            continue
        similarities = _unit(vectors) @ wanted
        if same:
            similarities[[word != words[marked] for word in found]] = -np.inf
        place = int(similarities.argmax())
        similarity = float(similarities[place])
        if len(best) < count or similarity > best[0][0]:
            kept.add(sentence)
            candidate = (similarity, -number, Neighbour(similarity, number, place, found[place], sentence))
            if len(best) < count:
                heapq.heappush(best, candidate)
            else:
                kept.discard(heapq.heapreplace(best, candidate)[2].words)
    return [neighbour for *_, neighbour in sorted(best, key=lambda entry: (-entry[0], -entry[1]))]


def marked_word(query: str, split: Callable[[str], list[str]]) -> tuple[list[str], int]:
    """The words of `query` without the asterisks, and which of them they stood around. MalmoiError M009 if that is not one word."""
    found = list(MARKED.finditer(query))
    plain = MARKED.sub(lambda match: match[1], query)
    words = split(plain)
    problem = "no word of it stands between asterisks" if not found else "more than one word of it stands between asterisks"
    if len(found) == 1:
        start, end = found[0].start(), found[0].start() + len(found[0][1])
        places = _places(words, plain)
        covering = [index for index, (first, last) in enumerate(places) if first < end and last > start]
        if not places:
            covering = list(range(len(split(plain[:start])), len(split(plain[:end]))))
        if len(covering) == 1:
            return words, covering[0]
    raise MalmoiError("M009", argument="the text", value=query, problem=problem, next='mark one, as in "the *class* of 1984".')


def _places(words: list[str], text: str) -> list[tuple[int, int]]:
    """Where each word stands in the text; nothing if the splitter has rewritten a word, so that it cannot be found again."""
    places, at = [], 0
    for word in words:
        start = text.find(word, at)
        if start < 0:
            return []
        at = start + len(word)
        places.append((start, at))
    return places


def _lines(
    encoder: Encoder | TokenEncoder | StaticEncoder, among: Iterable[str], word: str | None, numbers: deque[int]
) -> Iterable[list[str]]:
    """The words of each line worth reading; `numbers` is told which lines these are, until they are taken from it."""
    for number, line in enumerate(among):
        words = encoder.split(line)
        if words and (word is None or word in words):
            numbers.append(number)
            yield words


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
