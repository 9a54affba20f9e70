"""Answers found by the words of their question: a sliding window over the context.

After the baseline of SQuAD (Rajpurkar et al. 2016, section 5.1; Richardson et al. 2013, MCTest), without a parser's phrases.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from malmoi.tasks.task import Question

STEM = {"ko": 2, "en": 100}
"""Characters by which words are compared: in Korean the first two, as particles follow."""
USUAL = 2
"""Words of an answer where there are none to learn from."""


def usual_length(questions: Sequence[Question]) -> int:
    """The median number of words of their answers."""
    lengths = [len(text.split()) for question in questions for text, _ in question.answers]
    return max(1, int(np.median(lengths))) if lengths else USUAL


def answer(question: Question, *, words: int, language: str) -> str:
    """The `words` words of the context that stand nearest to the words of the question, and hold none of them; "" where there are none.

    A word that both have weighs log(1 + 1 / its count in the context), divided by its distance from the answer.
    """
    places = [match.span() for match in re.finditer(r"\S+", question.context)]
    stems = [_stem(question.context[begin:end], language) for begin, end in places]
    asked = {_stem(word, language) for word in question.question.split()} - {""}
    counts = Counter(stems)
    weights = np.array([np.log1p(1 / counts[stem]) if stem in asked else 0.0 for stem in stems])
    words = min(words, len(places))
    if not words:
        return ""
    near = 1.0 / np.arange(1, len(places) + 1)
    before = np.concatenate([[0.0], np.convolve(weights, near)[: len(places) - 1]])
    behind = np.concatenate([[0.0], np.convolve(weights[::-1], near)[: len(places) - 1]])[::-1]
    starts = np.arange(len(places) - words + 1)
    scores = before[starts] + behind[starts + words - 1]
    held = np.concatenate([[0.0], np.cumsum(weights)])
    scores[held[starts + words] - held[starts] > 0] = -1.0
    best = int(np.argmax(scores))
    text = question.context[places[best][0] : places[best + words - 1][1]]
    return re.sub(r"^[^\w]+|[^\w]+$", "", text) or text


def _stem(word: str, language: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word.lower())[: STEM[language]]
