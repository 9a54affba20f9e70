"""The task, its examples, and what is predicted for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["sentence", "pair", "regression", "tagging", "span", "choice", "context", "similarity", "sentences"]
"""What is read and predicted:

    sentence    one text                                       a label
    pair        two texts                                      a label
    regression  two texts                                      a number
    tagging     words                                          a tag for each of them
    span        a question and a context                       a part of the context, or that there is none
    choice      a context and its possible ends or answers     the number of one
    context     a word in each of two texts                    a label (the same meaning or not)
    similarity  two words                                      a number (no training: the cosine is the prediction)
    sentences   one text                                       nothing (what is alike is learned from the text alone)
"""


@dataclass(frozen=True, slots=True)
class Texts:
    """sentence, pair, regression, sentences. label: a name of a label, a number for regressions, None where it is not known."""

    id: str
    first: str
    second: str | None = None
    label: str | float | None = None


@dataclass(frozen=True, slots=True)
class Tagged:
    """tagging: a tag for each word, () where they are not known. BIO spans are tags such as B-PER, I-PER, O."""

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """span: answers as (text, where it begins in the context); several of them are all right. No answers: unanswerable, or not known."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """choice: one of `choices` goes on from, or answers, `context`."""

    id: str
    context: str
    choices: tuple[str, ...]
    label: int | None = None


@dataclass(frozen=True, slots=True)
class InContext:
    """context: the word at characters [begin, end) of each text. label None: not known."""

    id: str
    first: str
    first_span: tuple[int, int]
    second: str
    second_span: tuple[int, int]
    label: str | None = None
    word: str = ""


@dataclass(frozen=True, slots=True)
class WordPair:
    """similarity: how alike people find two words."""

    id: str
    first: str
    second: str
    score: float


Example = Texts | Tagged | Question | Choice | InContext | WordPair
Prediction = str | float | int | tuple[str, ...] | None
"""A label; a number; the number of a choice; tags; the text of an answer ("" = none)."""


@dataclass(frozen=True)
class Splits:
    """What was found in the files of a task. A split that is not there is empty. made: how a split came about that no file holds."""

    train: Sequence[Any] = ()
    dev: Sequence[Any] = ()
    test: Sequence[Any] = ()
    made: Mapping[str, str] = field(default_factory=dict)


Metric = Callable[[Sequence[Any], Sequence[Prediction]], dict[str, float]]
"""Gold examples and predictions in the same order -> named numbers as the official scorer gives them (shares in 0..1)."""


@dataclass(frozen=True)
class Task:
    """name: as in `malmoi probe RUN NAME`. read: a directory or file -> Splits; raises MalmoiError M15x for files of another task, unknown
    labels, an empty split. labels: all that there are, in the order of the official files; () where there are none, or where the training
    set decides. metric: every number; main: the one that is looked at. write: predictions in the official submission format."""

    name: str
    kind: Kind
    language: Literal["ko", "en", "any"]
    paper: str
    read: Callable[[Path], Splits]
    metric: Metric
    main: str
    labels: tuple[str, ...] = ()
    write: Callable[[Path, Sequence[Any], Sequence[Prediction]], None] | None = None
