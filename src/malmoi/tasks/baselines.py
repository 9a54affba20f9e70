"""What a task gives away without a model: the most frequent answer, letters and words, the tag that a word mostly has.

A representation that does not beat these has not shown anything. The same network with random weights is `probe`'s.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.tasks.lexical import FORMS, Form, Linear, Pair, cosines
from malmoi.tasks.metrics.spans import strict_entities
from malmoi.tasks.task import Choice, Kind, Prediction, Question, Splits, Tagged, Task
from malmoi.tasks.windows import answer, usual_length

Vectors = Callable[[str], np.ndarray | None]
"""A text (or a word) -> its static vector (D,); None where no word of it has one."""
HIGHEST = 5.0
"""What a cosine of 1 says of a pair whose scores reach from 0 to 5."""


@dataclass(frozen=True)
class Baseline:
    """said: how it predicts. scores: of the task's metric. predictions: in the order of the examples."""

    said: str
    scores: dict[str, float]
    predictions: list[Prediction]


def baselines(
    task: Task, splits: Splits, *, seed: int = 0, on: Literal["dev", "test"] | None = None, vectors: Vectors | None = None
) -> dict[str, Baseline]:
    """Every baseline that the task allows, by name, scored on one of its splits; all learn from `train` alone.

    on: None is dev, or test where there is no dev. vectors: static ones (Word2Vec), for "static-cosine". seed: decides which examples a
    linear model learns from where there are more than it can take. Without examples to learn from, what learns is left out.
    Raises MalmoiError M155 where the split is empty, M156 where its answers are not known, M005 without scikit-learn.
    """
    on = on or ("dev" if splits.dev else "test")
    examples: Sequence[Any] = getattr(splits, on)
    if not examples:
        raise MalmoiError("M155", path=task.name, problem=f"the {on} split is empty")
    said = _BY_KIND[task.kind](_Data(task, splits.train, examples, seed, vectors))
    return {name: Baseline(how, task.metric(examples, told), told) for name, (how, told) in said.items()}


@dataclass(frozen=True)
class _Data:
    task: Task
    train: Sequence[Any]
    examples: Sequence[Any]
    seed: int
    vectors: Vectors | None


Told = dict[str, tuple[str, list[Prediction]]]
"""Name -> (how, predictions)."""


def _most(values: Sequence[Any]) -> Any:
    """The most frequent one; of equally frequent ones the first in order."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], str(value)))


def _majority(data: _Data) -> Told:
    if not data.train:
        return {}
    label = _most([example.label for example in data.train])
    return {"majority": (f"always {label}, the most frequent answer", [label] * len(data.examples))}


def _pair(example: Any) -> Pair:
    return example.first, example.second


def _classified(data: _Data) -> Told:
    """sentence, pair."""
    told = _majority(data)
    for form in FORMS if data.train else ():
        linear = Linear(form, [_pair(example) for example in data.train], seed=data.seed)
        labels = linear.labels([example.label for example in data.train], [_pair(example) for example in data.examples])
        told[f"{form}-tfidf"] = f"logistic regression on {_named(form)}", labels
    return told


def _named(form: Form) -> str:
    least, most = FORMS[form]["ngram_range"]
    return f"TF-IDF of {least} to {most} {'words' if form == 'word' else 'characters'}"


def _cosine(data: _Data, form: Form) -> np.ndarray:
    """(N,): how rare a feature is, is counted in the training texts, or in those that are asked about where there are none."""
    pairs = [_pair(example) for example in data.examples]
    return cosines(form, pairs, fitted=[_pair(example) for example in data.train] or pairs)


def _static(data: _Data, examples: Sequence[Any]) -> list[float | None]:
    """Cosines of static vectors; None where a side has none."""
    assert data.vectors is not None
    found: list[float | None] = []
    for example in examples:
        one, other = data.vectors(example.first), data.vectors(example.second)
        if one is None or other is None:
            found.append(None)
        else:
            found.append(float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12)))
    return found


def _regressed(data: _Data) -> Told:
    told: Told = {}
    if data.train:
        mean = float(np.mean([example.label for example in data.train]))
        told["mean"] = f"always {mean:.3f}, the mean", [mean] * len(data.examples)
    for form in FORMS:
        told[f"{form}-cosine"] = f"5 x cosine of {_named(form)}", [HIGHEST * float(one) for one in _cosine(data, form)]
    for form in FORMS if data.train else ():
        linear = Linear(form, [_pair(example) for example in data.train], seed=data.seed)
        numbers = linear.numbers([example.label for example in data.train], [_pair(example) for example in data.examples])
        told[f"{form}-ridge"] = f"ridge regression on {_named(form)}", list(numbers)
    if data.vectors is not None:
        told["static-cosine"] = "5 x cosine of mean word vectors", [HIGHEST * (one or 0.0) for one in _static(data, data.examples)]
    return told


def _similar(data: _Data) -> Told:
    told: Told = {"char-cosine": (f"cosine of {_named('char')}", [float(one) for one in _cosine(data, "char")])}
    if data.vectors is not None:
        told["static-cosine"] = "cosine of word vectors", list(_static(data, data.examples))
    return told


def _in_context(data: _Data) -> Told:
    """context: as pairs, and by how alike the two texts are."""
    told = _classified(data)
    if not data.train:
        return told
    labels = [example.label for example in data.train]
    alike: dict[str, tuple[str, Sequence[float], Sequence[float]]] = {}
    for form in FORMS:
        pairs = [_pair(example) for example in data.train]
        alike[f"{form}-cosine"] = f"of {_named(form)}", list(cosines(form, pairs, fitted=pairs)), list(_cosine(data, form))
    if data.vectors is not None:
        both = ([one or 0.0 for one in _static(data, examples)] for examples in (data.train, data.examples))
        alike["static-cosine"] = "of mean word vectors", *both  # type: ignore[assignment]
    for name, (how, known, asked) in alike.items():
        border, high, low = _border(known, labels)
        told[name] = f"{high} where the cosine {how} is above {border:.3f}, else {low}", [high if one > border else low for one in asked]
    return told


def _border(values: Sequence[float], labels: Sequence[str]) -> tuple[float, str, str]:
    """(border, label above, label below it) of two labels, with the most labels right."""
    low, high = min(labels), max(labels)
    order = np.argsort(values, kind="stable")
    rising = np.asarray(values, np.float64)[order]
    is_low = np.array([labels[place] == low for place in order])
    right = np.concatenate([[0], np.cumsum(is_low)]) + np.concatenate([np.cumsum(~is_low[::-1])[::-1], [0]])  # the k lowest are `low`
    cuts = np.flatnonzero(np.concatenate([[True], np.diff(rising) > 0, [True]]))  # equal values stay on one side
    turned = bool(len(labels) - right[cuts].min() > right[cuts].max())
    cut = cuts[np.argmin(right[cuts]) if turned else np.argmax(right[cuts])]
    border = float(rising[cut - 1 : cut + 1].mean()) if cut else -np.inf
    return (border, low, high) if turned else (border, high, low)


def _tagged(data: _Data) -> Told:
    if not data.train:
        return {}
    told: Told = {}
    words: dict[str, Counter[str]] = defaultdict(Counter)
    for example in data.train:
        for word, tag in zip(example.words, example.tags, strict=True):
            words[word][tag] += 1
    most = _most([tag for example in data.train for tag in example.tags])
    told["majority"] = f"always {most}, the most frequent tag", [(most,) * len(example.words) for example in data.examples]
    once = [tag for tags in words.values() if tags.total() == 1 for tag in tags]
    unseen = _most(once) if once else most
    mostly = {word: _most(list(tags.elements())) for word, tags in words.items()}
    how = f"the tag that a word mostly has; {unseen}, as most words that occur once, for others"
    told["known-words"] = how, [tuple(mostly.get(word, unseen) for word in example.words) for example in data.examples]
    if "O" in data.task.labels:
        known = known_spans(data.train)
        how = "the longest names that were entities in most of the places where they stood (as the baseline of CoNLL-2003)"
        told["known-spans"] = how, [found_spans(example.words, known) for example in data.examples]
    return told


def known_spans(sentences: Sequence[Tagged]) -> dict[tuple[str, ...], str]:
    """Words of an entity -> its most frequent kind, for those that are entities of it in most of the places where they stand."""
    kinds: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for kind, begin, end in sorted(strict_entities(sentence.tags)):
            kinds[sentence.words[begin:end]][kind] += 1
    longest = max(map(len, kinds), default=0)
    stood: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        stood.update(some for _, some in _runs(sentence.words, longest) if some in kinds)
    return {words: _most(list(found.elements())) for words, found in kinds.items() if 2 * max(found.values()) > stood[words]}


def _runs(words: Sequence[str], longest: int) -> list[tuple[int, tuple[str, ...]]]:
    count = len(words)
    return [(begin, tuple(words[begin:end])) for begin in range(count) for end in range(begin + 1, min(begin + longest, count) + 1)]


def found_spans(words: Sequence[str], known: dict[tuple[str, ...], str]) -> tuple[str, ...]:
    """Tags of a sentence: known spans from left to right, the longest first (Tjong Kim Sang and De Meulder 2003, section 2.3)."""
    longest = max(map(len, known), default=0)
    tags: list[str] = []
    while len(tags) < len(words):
        begin = len(tags)
        for end in range(min(begin + longest, len(words)), begin, -1):
            if kind := known.get(tuple(words[begin:end])):
                tags += [f"B-{kind}", *[f"I-{kind}"] * (end - begin - 1)]
                break
        else:
            tags.append("O")
    return tuple(tags)


def _answered(data: _Data) -> Told:
    questions: Sequence[Question] = data.examples
    length = usual_length(data.train)
    find = partial(answer, words=length, language=data.task.language)
    how = f"the {length} words nearest to those of the question"
    told: Told = {"sliding-window": (how, [find(question) for question in questions])}
    if any(not question.answers for question in data.train):
        told["no-answer"] = "no question has an answer", [""] * len(questions)
    return told


def _chosen(data: _Data) -> Told:
    told = _majority(data)
    asked = _rows(data.examples)
    starts = np.cumsum([0, *(len(example.choices) for example in data.examples)])
    known = _rows(data.train)
    for form in FORMS:
        alike = cosines(form, asked, fitted=known or asked)
        told[f"{form}-cosine"] = f"the choice that is most like the context, by {_named(form)}", _highest(alike, starts)
    for form in FORMS if data.train else ():
        right = [place == example.label for example in data.train for place in range(len(example.choices))]
        chances = Linear(form, known, seed=data.seed).chances(right, asked)
        told[f"{form}-tfidf"] = f"logistic regression on {_named(form)} of context and choice", _highest(chances, starts)
    return told


def _rows(examples: Sequence[Choice]) -> list[Pair]:
    return [(example.context, choice) for example in examples for choice in example.choices]


def _highest(values: np.ndarray, starts: np.ndarray) -> list[Prediction]:
    return [int(np.argmax(values[begin:end])) for begin, end in zip(starts, starts[1:], strict=False)]


_BY_KIND: dict[Kind, Callable[[_Data], Told]] = {
    "sentence": _classified,
    "pair": _classified,
    "regression": _regressed,
    "tagging": _tagged,
    "span": _answered,
    "choice": _chosen,
    "context": _in_context,
    "similarity": _similar,
}
