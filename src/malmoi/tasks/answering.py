"""From scores of beginnings and ends to the answer of a question, and when it is better to give none.

S places of a window, the first one of which stands for "not here".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malmoi.tasks.inputs import Item
from malmoi.tasks.metrics.answers import best_threshold
from malmoi.tasks.task import Metric, Question

LONGEST = 30
"""Pieces of an answer at most (Devlin et al. 2019's run_squad)."""


def answer(question: Question, items: Sequence[Item], scores: Sequence[np.ndarray]) -> tuple[str, float]:
    """(the likeliest part of the context, how much likelier it is that there is no answer: a difference of logarithms).

    scores: (S, 2) of each window. A part's likelihood is that of its beginning times that of its end in its window; that of no answer is
    the smallest one over the windows (run_squad's `score_null`).
    """
    best, text, nothing = -np.inf, "", np.inf
    for item, logits in zip(items, scores, strict=True):
        assert item.edges is not None
        begin, end = (logits - _log_sum(logits)).T
        nothing = min(nothing, float(begin[0] + end[0]))
        if not len(item.edges):
            continue
        both = begin[1:, None] + end[None, 1:]
        both = np.where(np.triu(np.ones(both.shape, bool)) & ~np.triu(np.ones(both.shape, bool), LONGEST), both, -np.inf)
        first, last = np.unravel_index(int(both.argmax()), both.shape)
        if both[first, last] > best:
            best = float(both[first, last])
            text = question.context[item.edges[first, 0] : item.edges[last, 1]]
    return text, nothing - best


def threshold(questions: Sequence[Question], texts: Sequence[str], doubts: Sequence[float], *, metric: Metric, main: str) -> float:
    """The doubt above which "" scores best on these questions (evaluate-v2.0.py's search, with the task's own metric)."""
    scores = [metric([question], [text])[main] for question, text in zip(questions, texts, strict=True)]
    return best_threshold(scores, doubts, [bool(question.answers) for question in questions], texts)[1]


def _log_sum(logits: np.ndarray) -> np.ndarray:
    top = logits.max(axis=0)
    return np.asarray(top + np.log(np.exp(logits - top).sum(axis=0)))
