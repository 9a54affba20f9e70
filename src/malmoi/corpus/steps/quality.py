"""A quality classifier of your own good and bad samples: logistic regression over hashed character n-grams, in numpy.

It is never on by default: what is "good" decides what is left, and with the wrong samples the text gets worse (DCLM: Wikipedia as the
good side cost more than no filter at all). `trained(spec).report` says what it can tell apart before anything is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import TextSpec
from malmoi.corpus.document import Document
from malmoi.corpus.reading.readers import read
from malmoi.corpus.steps.base import Removal, Step
from malmoi.corpus.steps.spec import QualitySpec

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FEWEST = 20
"""Documents of each side."""
SCALE = 16.0
"""What the shares of n-grams in a document are multiplied by: it makes the features about as large as the bias's 1."""
BLOCK = 1 << 20
"""N-grams that are looked at together in training: what bounds the memory of one pass."""


def quality(spec: QualitySpec) -> Step:
    """Removes documents that are less probably good than `spec.minimum`; the probability stands in the detail.

    Trains first (seconds; the same files and spec give the same weights). Raises as `trained` does.
    """
    return partial(_judge, trained(spec), spec.minimum)


def _judge(classifier: Classifier, minimum: float, document: Document) -> Removal | None:
    probability = classifier.probability(document.text)
    return None if probability >= minimum else Removal("quality", f"{probability:.3f} < {minimum:g}")


@dataclass(frozen=True)
class Report:
    """What a classifier can tell apart, on documents that it was not trained with."""

    good: int
    """Documents of the good side that were trained with; `bad` likewise."""
    bad: int
    held_out: int
    accuracy: float
    """At 0.5."""
    auc: float
    """The probability that a good document is judged better than a bad one."""
    kept: dict[float, tuple[float, float]]
    """Threshold -> share of the good and of the bad held-out documents that would stay."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """Weights (2^bits,) of n-grams of 1 to `order` characters, and a bias."""

    weights: np.ndarray
    bias: float
    order: int
    characters: int
    """Only so many characters at the beginning of a document are read."""
    report: Report

    def probability(self, text: str) -> float:
        """That `text` is good, between 0 and 1. An empty text: what the bias says."""
        grams = _grams(text[: self.characters], self.order, len(self.weights))
        mean = float(self.weights[grams].mean(dtype=np.float64)) if len(grams) else 0.0
        return float(_sigmoid(np.array(mean * SCALE + self.bias)))

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """`probability` of each, (N,) float64."""
        return np.array([self.probability(text) for text in texts])


def trained(spec: QualitySpec) -> Classifier:
    """A classifier of `spec.good` and `spec.bad`; a tenth of each (by hash of the text) is held out for the report.

    Of larger samples `spec.sample` documents a side are taken, those with the smallest hashes, so that memory is bounded and the order of
    a file does not matter. Raises MalmoiError M150 for a side that is missing or too small, M010 to M019 and M024 for a file.
    """
    good, bad = _sample(spec, "good"), _sample(spec, "bad")
    texts = [text for side in (good, bad) for text in side]
    labels = np.repeat([1.0, 0.0], [len(good), len(bad)])
    held_out = np.array([place % 10 == 0 for side in (good, bad) for place in range(len(side))])
    size = 1 << spec.bits
    design = Design.of((_grams(text, spec.order, size) for text, out in zip(texts, held_out, strict=True) if not out), size)
    weights, bias = fit(design, labels[~held_out], penalty=spec.penalty)
    unreported = Classifier(weights.astype(np.float32), bias, spec.order, spec.characters, Report(0, 0, 0, 0.0, 0.0, {}))
    judged = unreported.probabilities([text for text, out in zip(texts, held_out, strict=True) if out])
    report = _report(judged, labels[held_out] == 1, labels[~held_out] == 1)
    return Classifier(unreported.weights, bias, spec.order, spec.characters, report)


def _sample(spec: QualitySpec, side: str) -> list[str]:
    """The texts of one side with the smallest hashes, in the order of the hashes, none twice."""
    source = spec.good if side == "good" else spec.bad
    if not source:
        raise MalmoiError("M150", side=side, problem="no file is named", fewest=FEWEST)
    taken: dict[bytes, str] = {}
    for document in read(source, TextSpec(document=spec.document, field=spec.field)):
        taken[hashlib.blake2b(document.text.encode(), digest_size=8).digest()] = document.text[: spec.characters]
        if len(taken) >= 2 * spec.sample:
            taken = dict(sorted(taken.items())[: spec.sample])
    texts = [text for _, text in sorted(taken.items())[: spec.sample]]
    if len(texts) < FEWEST:
        raise MalmoiError("M150", side=side, problem=f"{source} has {len(texts)} different documents", fewest=FEWEST)
    return texts


def _report(judged: np.ndarray, good: np.ndarray, trained: np.ndarray) -> Report:
    return Report(
        good=int(trained.sum()),
        bad=int((~trained).sum()),
        held_out=len(judged),
        accuracy=float(((judged >= 0.5) == good).mean()),
        auc=auc(judged, good),
        kept={level: (float((judged[good] >= level).mean()), float((judged[~good] >= level).mean())) for level in THRESHOLDS},
    )


def auc(scores: np.ndarray, good: np.ndarray) -> float:
    """The area under the ROC curve, from ranks (equal scores share their mean rank; Mann and Whitney)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive, negative = int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _grams(text: str, order: int, size: int) -> np.ndarray:
    """Buckets (G,) of all n-grams of 1 to `order` characters; `size` is a power of two."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    shift = np.uint32(33 - size.bit_length())
    found, hashes = [], np.zeros(len(codes) + 1, np.uint32)
    for length in range(1, min(order, len(codes)) + 1):
        hashes = (hashes[:-1] + codes[length - 1 :] + np.uint32(length)) * np.uint32(0x9E3779B1)
        hashes ^= hashes >> np.uint32(15)
        found.append((hashes * np.uint32(0x85EBCA77)) >> shift)
    return np.concatenate(found) if found else np.empty(0, np.uint32)


@dataclass(frozen=True)
class Design:
    """The features of documents: shares of n-grams times SCALE, sparse, in blocks of rows."""

    blocks: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
    """Of each block: buckets (E,), values (E,), where the rows begin (R,)."""
    size: int

    @classmethod
    def of(cls, grams: Iterable[np.ndarray], size: int) -> Design:
        """From the buckets of each document, none empty."""
        return cls([_block(rows) for rows in _chunks(grams)], size)

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """X w, (N,)."""
        return np.concatenate([np.add.reduceat(weights[columns] * values, starts) for columns, values, starts in self.blocks])

    def gradient(self, residuals: np.ndarray) -> np.ndarray:
        """X' r, (size,)."""
        total, done = np.zeros(self.size), 0
        for columns, values, starts in self.blocks:
            lengths = np.diff(starts, append=len(columns))
            spread = np.repeat(residuals[done : done + len(starts)], lengths)
            total += np.bincount(columns, weights=values * spread, minlength=self.size)
            done += len(starts)
        return total


def _chunks(grams: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    chunk: list[np.ndarray] = []
    held = 0
    for row in grams:
        chunk.append(row)
        held += len(row)
        if held >= BLOCK:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _block(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    columns, values, lengths = [], [], []
    for row in rows:
        buckets, counts = np.unique(row, return_counts=True)
        columns.append(buckets.astype(np.int32))
        values.append((counts * (SCALE / len(row))).astype(np.float32))
        lengths.append(len(buckets))
    return np.concatenate(columns), np.concatenate(values), np.cumsum([0, *lengths[:-1]])


def fit(design: Design, labels: np.ndarray, *, penalty: float, steps: int = 200, tolerance: float = 1e-6) -> tuple[np.ndarray, float]:
    """Weights and bias that minimise the mean log loss plus `penalty` / 2 times the squared weights (the bias is free).

    Both sides weigh the same whatever their sizes. L-BFGS (Nocedal and Wright, algorithms 7.4 and 7.5), from zero, until no slope is
    larger than `tolerance`.
    """
    share = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (len(labels) - labels.sum()))

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        scores = design.scores(point[:-1]) + point[-1]
        residuals = (_sigmoid(scores) - labels) * share
        value = float((share * (np.logaddexp(0, scores) - labels * scores)).sum() + penalty / 2 * (point[:-1] @ point[:-1]))
        return value, np.append(design.gradient(residuals) + penalty * point[:-1], residuals.sum())

    point = _minimise(loss, np.zeros(design.size + 1), steps=steps, tolerance=tolerance)
    return point[:-1], float(point[-1])


Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]


def _minimise(loss: Loss, point: np.ndarray, *, steps: int, tolerance: float, memory: int = 10) -> np.ndarray:
    value, slope = loss(point)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(steps):
        if np.abs(slope).max() <= tolerance:
            break
        direction = -_descent(slope, pairs)
        gain, stride = float(slope @ direction), 1.0
        while True:
            moved = point + stride * direction
            moved_value, moved_slope = loss(moved)
            if moved_value <= value + 1e-4 * stride * gain or stride < 1e-10:
                break
            stride /= 2
        step, turn = moved - point, moved_slope - slope
        if step @ turn > 1e-12:
            pairs = [*pairs, (step, turn)][-memory:]
        point, value, slope = moved, moved_value, moved_slope
    return point


def _descent(slope: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The slope times an estimate of the inverse Hessian (the two loops)."""
    found, shares = slope.copy(), []
    for step, turn in reversed(pairs):
        share = (step @ found) / (step @ turn)
        found -= share * turn
        shares.append(share)
    if pairs:
        step, turn = pairs[-1]
        found *= (step @ turn) / (turn @ turn)
    for (step, turn), share in zip(pairs, reversed(shares), strict=True):
        found += (share - (turn @ found) / (step @ turn)) * step
    return found


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -scores))
