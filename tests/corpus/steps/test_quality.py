"""The quality classifier against slow versions: n-grams hashed in plain Python, weights by Newton's method (and scikit-learn's, if it
is there)."""

from __future__ import annotations

import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.corpus import Document
from malmoi.corpus.profiles import PROFILES
from malmoi.corpus.steps import Removal, make
from malmoi.corpus.steps.quality import SCALE, Design, _grams, auc, fit, quality, trained
from malmoi.corpus.steps.spec import QualitySpec

MASK = (1 << 32) - 1
GOOD = [
    f"{subject} {object} 자세히 {verb}."
    for subject, object, verb in product(
        "학자는 시인은 왕은 그는 우리는".split(), "말을 글을 땅을 뜻을 역사를".split(), "적었다 살폈다 모았다".split()
    )
]
BAD = [
    f"ㅋㅋ{a} {b} 클릭{c}"
    for a, b, c in product("대박 지금 무료 당장 특가".split(), "할인 쿠폰 이벤트 광고 문의".split(), ["!!", "ㄱㄱ", "~~"])
]


@pytest.fixture
def spec(tmp_path):
    for name, lines in (("good.txt", GOOD), ("bad.txt", BAD)):
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    return QualitySpec(good=str(tmp_path / "good.txt"), bad=str(tmp_path / "bad.txt"), bits=12)


def slow_grams(text, order, size):
    """The buckets of `_grams`, one n-gram at a time."""
    found = []
    for length in range(1, order + 1):
        for begin in range(len(text) - length + 1):
            value = 0
            for place, character in enumerate(text[begin : begin + length], 1):
                value = (value + ord(character) + place) * 0x9E3779B1 & MASK
                value ^= value >> 15
            found.append((value * 0x85EBCA77 & MASK) >> (33 - size.bit_length()))
    return found


@given(st.text(max_size=12), st.integers(1, 5), st.sampled_from([256, 4096]))
def test_grams(text, order, size):
    assert _grams(text, order, size).tolist() == slow_grams(text, order, size)


def features(texts, order, size):
    """Shares of n-grams times SCALE, dense."""
    rows = np.zeros((len(texts), size))
    for row, text in zip(rows, texts, strict=True):
        for gram in (grams := slow_grams(text, order, size)):
            row[gram] += SCALE / len(grams)
    return rows


def newton(rows, labels, shares, penalty):
    """The same optimum by second derivatives: weights and, last, the bias."""
    design = np.hstack([rows, np.ones((len(rows), 1))])
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 0
    point = np.zeros(design.shape[1])
    for _ in range(50):
        chances = 1 / (1 + np.exp(-design @ point))
        slope = design.T @ (shares * (chances - labels)) + ridge * point
        curve = design.T @ (design * (shares * chances * (1 - chances))[:, None]) + np.diag(ridge)
        point = point - np.linalg.solve(curve, slope)
    return point


def test_fit_finds_the_optimum(monkeypatch):
    monkeypatch.setattr("malmoi.corpus.steps.quality.BLOCK", 500)  # several blocks
    texts, size, penalty = GOOD[::3] + BAD[::2], 256, 1e-3
    labels = np.array([1.0] * len(GOOD[::3]) + [0.0] * len(BAD[::2]))
    design = Design.of((_grams(text, 3, size) for text in texts), size)
    assert len(design.blocks) > 1
    weights, bias = fit(design, labels, penalty=penalty, tolerance=1e-8)
    rows = features(texts, 3, size)
    shares = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    expected = newton(rows, labels, shares, penalty)
    np.testing.assert_allclose(np.append(weights, bias), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(design.scores(weights), rows @ weights, rtol=1e-5)
    linear = pytest.importorskip("sklearn.linear_model")
    theirs = linear.LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(rows, labels, sample_weight=shares)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-3, atol=1e-3)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc(pairs):
    scores, good = np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])
    if good.all() or not good.any():
        return
    wins = [float(a > b) + 0.5 * float(a == b) for a in scores[good] for b in scores[~good]]
    assert auc(scores, good) == pytest.approx(np.mean(wins))


def test_it_tells_good_from_bad(spec):
    classifier = trained(spec)
    report = classifier.report
    assert (report.good, report.bad, report.held_out) == (67, 67, 16)
    assert report.auc == 1.0 and report.accuracy == 1.0
    assert report.kept[0.1][0] == 1.0 and report.kept[0.9][1] == 0.0
    assert classifier.probability("학자는 역사를 자세히 적었다.") > 0.8 > 0.2 > classifier.probability("ㅋㅋ무료 쿠폰 클릭!!")
    np.testing.assert_array_equal(classifier.probabilities(["가", ""]), [classifier.probability("가"), classifier.probability("")])


def test_labels_without_meaning_are_reported_as_such(tmp_path):
    """Both sides of one kind: what is held out is judged by chance, whatever the training says."""
    lines = [f"{number} 번째 말" for number in np.random.default_rng(3).choice(100_000, 800, replace=False)]
    (tmp_path / "a.txt").write_text("\n".join(lines[::2]), encoding="utf-8")
    (tmp_path / "b.txt").write_text("\n".join(lines[1::2]), encoding="utf-8")
    report = trained(QualitySpec(good=str(tmp_path / "a.txt"), bad=str(tmp_path / "b.txt"), bits=12)).report
    assert 0.3 < report.auc < 0.7 and report.accuracy < 0.7


def test_the_step(spec):
    step = make(spec)
    assert step(Document("d", GOOD[0])) is None
    removal = step(Document("d", BAD[0]))
    assert isinstance(removal, Removal) and removal.reason == "quality"
    assert 0 <= float(removal.detail.split(" < ")[0]) < 0.5 and removal.detail.endswith("< 0.5")
    assert pickle.loads(pickle.dumps(step))(Document("d", BAD[0])) == removal
    assert quality(spec.model_copy(update={"minimum": 0.0}))(Document("d", BAD[0])) is None


def test_neither_order_nor_repetition_of_lines_matters(spec, tmp_path):
    (tmp_path / "turned.txt").write_text("\n".join([*reversed(GOOD), *GOOD]), encoding="utf-8")
    first, again = trained(spec), trained(spec.model_copy(update={"good": str(tmp_path / "turned.txt")}))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.report == again.report


def test_samples_are_bounded(spec):
    report = trained(spec.model_copy(update={"sample": 30})).report
    assert (report.good, report.bad, report.held_out) == (27, 27, 6)


@pytest.mark.parametrize(("side", "settings"), [("good", {"good": ""}), ("bad", {"bad": ""})])
def test_both_sides_are_needed(spec, side, settings):
    with pytest.raises(MalmoiError, match=f"M150.* {side} side"):
        make(spec.model_copy(update=settings))


def test_too_few(spec, tmp_path):
    (tmp_path / "few.txt").write_text("가\n나\n가\n" * 20, encoding="utf-8")
    with pytest.raises(MalmoiError, match="2 different documents"):
        make(spec.model_copy(update={"bad": str(tmp_path / "few.txt")}))


def test_it_is_in_no_profile():
    assert not any(step.kind == "quality" for make_profile in PROFILES.values() for step in make_profile().steps)


def test_hostile_texts(spec):
    classifier = trained(spec)
    assert all(0 <= classifier.probability(text) <= 1 for text in ("", "\ud800", "\0" * 1_000_000, "가" * 1_000_000, "😀"))
