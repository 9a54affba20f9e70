"""Examples as heads on frozen vectors see them: which vectors are read, what is the target, how a prediction is said.

    sentence    the mean of the text                     choice      the mean of the context, and of each choice
    pair        the means of both texts                  span        the mean of the question, each word or piece of the context
    regression  the same                                 tagging     each word; of characters (KLUE-NER) each word or piece
    context     the marked word in each text

L layers, n vectors, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.nn.crf import bio_rules
from malmoi.tasks.features import Features
from malmoi.tasks.formats.columns import iob2, spelled
from malmoi.tasks.heads import ChainedTags, Choices, Ends, Head, Labels, Number, Tags
from malmoi.tasks.places import within
from malmoi.tasks.spec import ProbeSpec
from malmoi.tasks.task import Choice, InContext, Prediction, Question, Tagged, Task, Texts

Views = tuple[np.ndarray, ...]
"""The vectors of an example, (L, n, D) each, which are read one after the other."""


@dataclass(frozen=True)
class Material:
    """The examples of one split. targets: None where it is not known, or cannot be learned from these vectors. say: (which example, what
    the head predicts) -> prediction."""

    examples: Sequence[Any]
    views: list[Views]
    targets: list[Any]
    say: Callable[[int, Any], Prediction]


@dataclass(frozen=True)
class Case:
    """A task as its training examples show it. labels: of texts, or tags. none: whether a question may have no answer. numbers: mean and
    deviation of those that are to be predicted."""

    task: Task
    labels: tuple[str, ...] = ()
    none: bool = False
    numbers: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, task: Task, train: Sequence[Any]) -> Case:
        """From examples with known answers."""
        if task.kind == "tagging":
            return cls(task, task.labels or tuple(sorted({tag for example in train for tag in example.tags})))
        if task.kind == "regression":
            numbers = [float(example.label) for example in train if example.label is not None]
            return cls(task, numbers=(float(np.mean(numbers)), float(np.std(numbers))) if numbers else (0.0, 1.0))
        if task.kind == "span":
            return cls(task, none=any(not example.answers for example in train))
        if task.kind == "choice":
            return cls(task)
        return cls(task, task.labels or tuple(sorted({str(example.label) for example in train if example.label is not None})))

    def head(self, spec: ProbeSpec, width: int) -> Head:
        """A head with fresh weights. Raises MalmoiError M009 for one that is not of this kind of task."""
        kind = self.task.kind
        if spec.head != "linear" and kind != "tagging":
            problem, next = f"{self.task.name} has no tags (its kind is {kind})", "use --head linear."
            raise MalmoiError("M009", argument="head", value=spec.head, problem=problem, next=next)
        if kind == "tagging":
            chained = spec.head != "linear"
            lstm = spec.head == "bilstm-crf"
            return ChainedTags(width, labels=self.labels, lstm=lstm) if chained else Tags(width, tags=len(self.labels))
        if kind == "regression":
            return Number(width, mean=self.numbers[0], deviation=self.numbers[1])
        if kind == "choice":
            return Choices(width)
        if kind == "span":
            return Ends(width, none=self.none)
        return Labels(width, labels=len(self.labels), vectors=1 if kind == "sentence" else 2)

    def material(self, examples: Sequence[Any], features: Features) -> Material:
        """Vectors, targets and words of these examples."""
        return _BY_KIND[self.task.kind](self, examples, features)

    def number(self, label: object) -> int | None:
        """The place of a label among those that are known."""
        return self.labels.index(str(label)) if label in self.labels else None


def _texts(case: Case, examples: Sequence[Texts], features: Features) -> Material:
    sides = [features.texts([example.first for example in examples])]
    if case.task.kind != "sentence":
        sides.append(features.texts([example.second or "" for example in examples]))
    if case.task.kind == "regression":
        numbers = [None if example.label is None else float(example.label) for example in examples]
        return Material(examples, list(zip(*sides, strict=True)), numbers, lambda _, value: float(value))
    targets = [case.number(example.label) for example in examples]
    return Material(examples, list(zip(*sides, strict=True)), targets, lambda _, number: case.labels[number])


def _in_context(case: Case, examples: Sequence[InContext], features: Features) -> Material:
    firsts = features.spans([example.first for example in examples], [example.first_span for example in examples])
    seconds = features.spans([example.second for example in examples], [example.second_span for example in examples])
    targets = [case.number(example.label) for example in examples]
    return Material(examples, list(zip(firsts, seconds, strict=True)), targets, lambda _, number: case.labels[number])


def _choices(case: Case, examples: Sequence[Choice], features: Features) -> Material:
    contexts = features.texts([example.context for example in examples])
    ends = iter(features.texts([choice for example in examples for choice in example.choices]))
    views = [(context, *(next(ends) for _ in example.choices)) for context, example in zip(contexts, examples, strict=True)]
    return Material(examples, views, [example.label for example in examples], lambda _, number: int(number))


def _tagged(case: Case, examples: Sequence[Tagged], features: Features) -> Material:
    if any(word.isspace() for example in examples for word in example.words):
        return _characters(case, examples, features)
    views: list[Views] = [(view,) for view in features.words([example.words for example in examples])]
    return Material(examples, views, [_numbers(case, example.tags) for example in examples], _said_tags(case))


def _said_tags(case: Case) -> Callable[[int, Sequence[int]], tuple[str, ...]]:
    return lambda _, numbers: tuple(case.labels[number] for number in numbers)


def _numbers(case: Case, tags: Sequence[str]) -> list[int] | None:
    """An I- that continues nothing becomes a B- (of which the published files hold a few)."""
    found = [case.number(tag) for tag in (iob2(tags) if bio_rules(case.labels) else tags)]
    return None if not found or None in found else found  # type: ignore[return-value]


def _characters(case: Case, examples: Sequence[Tagged], features: Features) -> Material:
    """A word or piece has the tag of its first character; its prediction is that of all of them."""
    texts = [spelled(example.words)[0] for example in examples]
    found = features.units(texts)
    nothing = np.zeros((features.layers, 1, features.width), np.float32)
    views: list[Views] = [(view if view.shape[1] else nothing,) for view, _ in found]
    places = [edges if len(edges) else np.zeros((1, 2), np.int64) for _, edges in found]
    targets = []
    for example, edges in zip(examples, places, strict=True):
        targets.append(_numbers(case, [example.tags[begin] for begin, _ in edges.tolist()]) if example.tags else None)

    def say(index: int, numbers: Sequence[int]) -> tuple[str, ...]:
        return spread([case.labels[number] for number in numbers], places[index], len(texts[index]))

    return Material(examples, views, targets, say)


def spread(tags: Sequence[str], places: np.ndarray, count: int) -> tuple[str, ...]:
    """Tags of words or pieces -> one of each of `count` characters: behind the first one of B-X stands I-X.

    White space between two parts of an entity belongs to it; what no part touches has the tag O.
    """
    found = ["O"] * count
    done = 0
    for tag, (begin, end) in zip(tags, places.tolist(), strict=True):
        inside = "I" + tag[1:] if tag[:2] == "B-" else tag
        if tag[:2] == "I-":
            found[done:begin] = [inside] * (begin - done)
        for place in range(max(begin, done), end):
            found[place] = tag if place == begin else inside
        done = max(done, end)
    return tuple(found)


def _answered(case: Case, examples: Sequence[Question], features: Features) -> Material:
    questions = features.texts([example.question for example in examples])
    contexts = features.units([example.context for example in examples])
    views: list[Views] = [(question, view) for question, (view, _) in zip(questions, contexts, strict=True)]
    places = [edges for _, edges in contexts]
    targets = [_ends(example, edges, case) for example, edges in zip(examples, places, strict=True)]

    def say(index: int, ends: tuple[int, int]) -> str:
        first, last = ends
        return examples[index].context[places[index][first - 1, 0] : places[index][last - 1, 1]] if first else ""

    return Material(examples, views, targets, say)


def _ends(example: Question, places: np.ndarray, case: Case) -> tuple[int, int] | None:
    """First and last of the vectors that hold the first answer, the question being number 0."""
    if not example.answers:
        return (0, 0) if case.none else None
    text, begin = example.answers[0]
    inside = within(places, begin, begin + len(text))
    return (int(inside[0]) + 1, int(inside[-1]) + 1) if len(inside) else None


_BY_KIND: dict[str, Callable[[Case, Any, Features], Material]] = {
    "sentence": _texts,
    "pair": _texts,
    "regression": _texts,
    "tagging": _tagged,
    "span": _answered,
    "choice": _choices,
    "context": _in_context,
}
