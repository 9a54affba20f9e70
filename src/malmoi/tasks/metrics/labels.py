"""Of labels, choices and numbers: accuracy, F1, Matthews, Pearson, Spearman."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.tasks.task import Prediction


def answered(examples: Sequence[Any], predictions: Sequence[Prediction], *, gold: str = "label") -> tuple[list[Any], list[Any]]:
    """(known answers, predictions). Raises MalmoiError M156 where they are not equally many, none, or an answer is not known."""
    if len(examples) != len(predictions) or not examples:
        problem = f"there are {len(predictions)} for {len(examples)} examples"
        raise MalmoiError("M156", done="scored", problem=problem)
    golds = [getattr(example, gold) for example in examples]
    unknown = next((example.id for example, known in zip(examples, golds, strict=True) if known is None), None)
    if unknown is not None:
        raise MalmoiError("M156", done="scored", problem=f"the answer of {unknown!r} is not known")
    missing = next((example.id for example, told in zip(examples, predictions, strict=True) if told is None), None)
    if missing is not None:
        raise MalmoiError("M156", done="scored", problem=f"there is none for {missing!r}")
    return golds, list(predictions)


def accuracy(examples: Sequence[Any], predictions: Sequence[Prediction]) -> dict[str, float]:
    """The share of labels (or choices) that are right."""
    golds, told = answered(examples, predictions)
    return {"accuracy": _share(golds, told)}


def _share(golds: Sequence[Any], told: Sequence[Any]) -> float:
    return sum(gold == one for gold, one in zip(golds, told, strict=True)) / len(golds)


def f1_of(golds: Sequence[Any], told: Sequence[Any], label: object) -> float:
    """2 TP / (2 TP + FP + FN) of one label; 0 where it is neither there nor predicted (scikit-learn's f1_score)."""
    both = sum(gold == label and one == label for gold, one in zip(golds, told, strict=True))
    either = sum(gold == label for gold in golds) + sum(one == label for one in told)
    return 2 * both / either if either else 0.0


def macro_f1(examples: Sequence[Any], predictions: Sequence[Prediction]) -> dict[str, float]:
    """The mean F1 of all labels that are there or predicted (scikit-learn's average="macro"; KLUE-TC, KoBEST), and accuracy."""
    golds, told = answered(examples, predictions)
    labels = sorted({*golds, *told}, key=str)
    return {"macro_f1": sum(f1_of(golds, told, label) for label in labels) / len(labels), "accuracy": _share(golds, told)}


def accuracy_f1(examples: Sequence[Any], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Accuracy and the F1 of the label "1" (MRPC, GLUE: Wang et al. 2019, section 3.2)."""
    golds, told = answered(examples, predictions)
    return {"accuracy": _share(golds, told), "f1": f1_of(golds, told, "1")}


def matthews(examples: Sequence[Any], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Matthews' correlation of two labels (CoLA, GLUE), from -1 to 1; 0 where one side has a single label. And accuracy."""
    golds, told = answered(examples, predictions)
    told_or_known = sorted({*golds, *told}, key=str)
    one = told_or_known[-1]
    hits, truths, claims = (
        sum(gold == one and said == one for gold, said in zip(golds, told, strict=True)),
        sum(gold == one for gold in golds),
        sum(said == one for said in told),
    )
    count = len(golds)
    spread = math.sqrt(truths * (count - truths) * claims * (count - claims))
    return {"matthews": (hits * count - truths * claims) / spread if spread else 0.0, "accuracy": _share(golds, told)}


def correlations(examples: Sequence[Any], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Pearson's and Spearman's correlation with the scores that people gave; GLUE looks at their mean, KorSTS at the second."""
    golds, told = answered(examples, predictions)
    both = pearson(golds, told), spearman(golds, told)
    return {"pearson": both[0], "spearman": both[1], "mean": sum(both) / 2}


def word_similarity(examples: Sequence[Any], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Spearman over the pairs both of whose words have a vector (others are None), and the share of those pairs.

    `spearman_all` puts the mean prediction in the place of the missing ones, so that lists of words can be compared.
    """
    if len(examples) != len(predictions) or not examples:
        raise MalmoiError("M156", done="scored", problem=f"there are {len(predictions)} for {len(examples)} examples")
    golds = [example.score for example in examples]
    found = [(gold, float(one)) for gold, one in zip(golds, predictions, strict=True) if isinstance(one, (int, float))]
    mean = sum(one for _, one in found) / max(len(found), 1)
    filled = [float(one) if isinstance(one, (int, float)) else mean for one in predictions]
    known = spearman([gold for gold, _ in found], [one for _, one in found])
    return {"spearman": known, "spearman_all": spearman(golds, filled), "covered": len(found) / len(golds)}


def klue_sts(examples: Sequence[Any], predictions: Sequence[Prediction]) -> dict[str, float]:
    """KLUE-STS (Park et al. 2021, section 3.2): Pearson; F1 of "at least 3" on both sides. And Spearman, for comparison."""
    golds, told = answered(examples, predictions)
    alike = f1_of([gold >= 3 for gold in golds], [one >= 3 for one in told], True)
    return {"pearson": pearson(golds, told), "f1": alike, "spearman": spearman(golds, told)}


def pearson(golds: Sequence[float], told: Sequence[float]) -> float:
    """0 where one side does not vary, or where there are fewer than two."""
    if len(golds) < 2:
        return 0.0
    x, y = np.asarray(golds, np.float64), np.asarray(told, np.float64)
    x, y = x - x.mean(), y - y.mean()
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread > 0 else 0.0


def spearman(golds: Sequence[float], told: Sequence[float]) -> float:
    """Pearson's correlation of ranks; equal values share the mean of theirs."""
    return pearson(_ranks(golds), _ranks(told))


def _ranks(values: Sequence[float]) -> list[float]:
    _, places, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return list((ends - (counts - 1) / 2)[places])
