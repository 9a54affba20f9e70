"""What texts say by their letters and words alone: TF-IDF vectors, their cosine, and what a linear model learns from them.

Needs scikit-learn (extra `tasks`). N texts or pairs of texts, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import chain
from typing import Any, Literal

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.core.seeds import permutation

Form = Literal["word", "char"]
FORMS: dict[Form, dict[str, Any]] = {
    "word": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\w+|[^\w\s]"},
    "char": {"analyzer": "char_wb", "ngram_range": (1, 3)},
}
"""Words, marks and pairs of them; one to three characters inside a word, its borders included. Small letters, 1 + log(count)."""
MOST = 100_000
"""Examples that a linear model learns from; of more, so many are drawn."""
STRENGTH = 4.0
"""C of the logistic regression, the inverse of its penalty."""

Pair = tuple[str, str | None]


def learn_from(module: str, name: str) -> Any:
    """A class of scikit-learn. Raises MalmoiError M005 where it is not there."""
    try:
        return getattr(import_module(f"sklearn.{module}"), name)
    except ImportError:
        raise MalmoiError("M005", what="a baseline of words and characters", package="scikit-learn", extra="tasks") from None


def tfidf(form: Form, pairs: Sequence[Pair], *, rare: int = 1) -> Any:
    """TF-IDF as fitted on every text of `pairs` (Salton and Buckley 1988; scikit-learn's smooth weights, unit vectors).

    rare: what stands in fewer texts has no feature.
    """
    vectorizer = learn_from("feature_extraction.text", "TfidfVectorizer")(sublinear_tf=True, min_df=rare, **FORMS[form])
    texts = [text for pair in pairs for text in pair if text is not None]
    try:
        return vectorizer.fit(texts)
    except ValueError:  # texts of nothing but spaces, or nothing is frequent enough
        return vectorizer.set_params(min_df=1).fit([*texts, "x"])


def cosines(form: Form, pairs: Sequence[Pair], *, fitted: Sequence[Pair]) -> np.ndarray:
    """(N,) cosines of the two texts of each pair, in 0..1; how rare a feature is, is counted in `fitted`."""
    vectorizer = tfidf(form, fitted)
    first, second = (vectorizer.transform([pair[side] or "" for pair in pairs]) for side in (0, 1))
    return np.asarray(first.multiply(second).sum(axis=1)).ravel()


def drawn(count: int, *, seed: int) -> np.ndarray:
    """Which of `count` examples a linear model learns from: all, or `MOST` of them, rising."""
    return np.sort(permutation(count, seed, "baseline")[:MOST]) if count > MOST else np.arange(count)


class Linear:
    """Linear models on TF-IDF vectors: of a text, or of pairs the features of each side and those that both have."""

    def __init__(self, form: Form, pairs: Sequence[Pair], *, seed: int) -> None:
        self.chosen = drawn(len(pairs), seed=seed)
        self._learned = [pairs[place] for place in self.chosen]
        self._vectorizer = tfidf(form, self._learned, rare=2)
        self._seed = seed

    def labels(self, labels: Sequence[Any], pairs: Sequence[Pair]) -> list[Any]:
        """The most probable label of each pair, by logistic regression; `labels` are those of the pairs it was made with."""
        known = [labels[place] for place in self.chosen]
        if len(set(known)) == 1:
            return known[:1] * len(pairs)
        return list(self._fitted(known).predict(self._features(pairs)))

    def chances(self, right: Sequence[bool], pairs: Sequence[Pair]) -> np.ndarray:
        """(N,) how probable it is that each pair is right."""
        known = [bool(right[place]) for place in self.chosen]
        assert len(set(known)) == 2, "some pairs are right and some are not"
        return self._fitted(known).predict_proba(self._features(pairs))[:, 1]

    def numbers(self, numbers: Sequence[float], pairs: Sequence[Pair]) -> list[float]:
        """A number for each pair, by ridge regression (Hoerl and Kennard 1970)."""
        known = np.array([float(numbers[place]) for place in self.chosen])
        model = learn_from("linear_model", "Ridge")(alpha=1.0, solver="sparse_cg", random_state=self._seed)
        return [float(one) for one in model.fit(self._features(self._learned), known).predict(self._features(pairs))]

    def _fitted(self, known: list[Any]) -> Any:
        model = learn_from("linear_model", "LogisticRegression")(C=STRENGTH, solver="liblinear", random_state=self._seed)
        return learn_from("multiclass", "OneVsRestClassifier")(model).fit(self._features(self._learned), known)

    def _features(self, pairs: Sequence[Pair]) -> Any:
        """(N, F) sparse; of pairs (N, 3F + 1), the last column is their cosine."""
        first = self._vectorizer.transform([pair[0] for pair in pairs])
        if not any(second is not None for _, second in chain(pairs, self._learned[:1])):
            return first
        second = self._vectorizer.transform([pair[1] or "" for pair in pairs])
        both = first.multiply(second)
        sparse = import_module("scipy.sparse")
        return sparse.hstack([first, second, both, sparse.csr_matrix(both.sum(axis=1))], format="csr")
