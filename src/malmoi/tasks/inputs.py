"""Examples -> rows of ids, as the papers transform them: two texts between marks (Devlin et al. 2019, figure 4), or start, delimiter and
extract tokens (Radford et al. 2018, section 3.3 and figure 1).

    sentence    ( A )                      regression  ( A | B ), of causal models both orders
    pair        ( A | B )                  choice      ( context | choice ), a row a choice
    tagging     ( words ), some rows       span        ( question | part of the context ), a row a window
                                           context     ( A | B ), each cut around its word
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.core.spec import Spec
from malmoi.tasks.places import Places, within
from malmoi.tasks.task import Choice, InContext, Kind, Question, Tagged, Task, Texts
from malmoi.vocab import MARKS, UNK, Subwords

QUESTION = 64
"""Pieces of a question that are read at most (Devlin et al. 2019's run_squad), and at most half of a row."""
ALIKE = ("mrpc",)
"""Tasks of pairs in which neither text comes first (Radford et al. 2018, section 3.3: similarity)."""


class Form(Spec):
    """What a model must know of its task: kept with it."""

    task: str
    kind: Kind
    labels: tuple[str, ...] = ()
    both: bool = False
    """Texts are read in both orders, and the vectors added."""
    characters: bool = False
    """Words are characters, spaces included (KLUE-NER): tags belong to pieces, and a piece's tag to all its characters."""
    mean: float = 0.0
    spread: float = 1.0
    """Of the numbers that are predicted: the head learns (number - mean) / spread."""
    unanswerable: bool = False
    """Whether a question may have no answer."""
    stride: int = 64
    """Pieces that two windows share."""

    @classmethod
    def of(cls, task: Task, examples: Sequence[Any], *, both: bool, stride: int) -> Form:
        """The form of a task as its training examples show it. both: for models that read an order (causal ones)."""
        found: dict[str, Any] = {"task": task.name, "kind": task.kind, "labels": task.labels, "stride": stride}
        if task.kind in ("sentence", "pair", "context") and not task.labels:
            found["labels"] = tuple(sorted({str(example.label) for example in examples}))
        elif task.kind == "tagging":
            found["labels"] = task.labels or tuple(sorted({tag for example in examples for tag in example.tags}))
            found["characters"] = any(word.isspace() for example in examples for word in example.words)
        elif task.kind == "regression":
            numbers = np.array([example.label for example in examples], np.float64)
            found |= {"mean": float(numbers.mean()), "spread": float(numbers.std()) or 1.0}
        elif task.kind == "span":
            found["unanswerable"] = any(not example.answers for example in examples)
        return cls(both=both and (task.kind == "regression" or task.name in ALIKE), **found)


@dataclass(frozen=True)
class Frame:
    """The marks of a row: before the first text, between two, behind the last one. last: what stands for the whole is read there (the
    extract token), not at the first mark."""

    before: int
    between: int
    behind: int
    last: bool


@dataclass(frozen=True, slots=True)
class Row:
    """ids (n,). split: positions up to the mark behind the first text. parts: the positions that the head reads, by what they are for."""

    ids: np.ndarray
    split: int
    parts: tuple[np.ndarray, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """What is learned or answered at one time: an example, or a part of one that is too long for a row.

    target: number of the label or choice; a number; numbers of tags; (first, last) of the places of
    `parts[0]` (span: 0 says that the answer is not here); None where it is not known.
    of_word: tagging: the place in `parts[0]` of each word of this part, -1 for a space. edges: span: (S, 2) characters of the pieces.
    """

    example: int
    rows: tuple[Row, ...]
    target: Any = None
    of_word: np.ndarray | None = None
    edges: np.ndarray | None = None


@dataclass
class Cuts:
    """What did not fit, of some examples: `cut` of them lost `pieces` pieces; `missed`: answers that stand in no window whole."""

    examples: int = 0
    rows: int = 0
    cut: int = 0
    pieces: int = 0
    missed: int = 0

    def lost(self, pieces: int) -> None:
        """An example has lost so many."""
        if pieces > 0:
            self.cut, self.pieces = self.cut + 1, self.pieces + pieces


@dataclass
class Inputs:
    """`inputs.items(examples)`: rows of at most `length` positions for one form of task. cuts: what was cut so far."""

    vocabulary: Subwords
    form: Form
    frame: Frame
    length: int
    cuts: Cuts = field(default_factory=Cuts)

    def items(self, examples: Sequence[Any]) -> list[Item]:
        """In the order of the examples. Raises MalmoiError M154 for a label that the form does not know."""
        read: dict[str, Callable[[Sequence[Any]], Iterator[Item]]] = {
            "sentence": self._texts,
            "pair": self._texts,
            "regression": self._texts,
            "tagging": self._tagged,
            "span": self._questions,
            "choice": self._choices,
            "context": self._contexts,
        }
        found = list(read[self.form.kind](examples))
        self.cuts.examples += len(examples)
        self.cuts.rows += sum(len(item.rows) for item in found)
        return found

    def _texts(self, examples: Sequence[Texts]) -> Iterator[Item]:
        first = self.vocabulary.encode_batch([example.first for example in examples])
        second = self.vocabulary.encode_batch([example.second or "" for example in examples])
        for number, (example, a, b) in enumerate(zip(examples, first, second, strict=True)):
            rows = [self._row(a, b if example.second is not None else None)]
            if self.form.both:
                rows.append(self._row(b, a, again=True))
            yield Item(number, tuple(rows), told(example, self.form))

    def _choices(self, examples: Sequence[Choice]) -> Iterator[Item]:
        contexts = self.vocabulary.encode_batch([example.context for example in examples])
        choices = iter(self.vocabulary.encode_batch([choice for example in examples for choice in example.choices]))
        for number, (example, context) in enumerate(zip(examples, contexts, strict=True)):
            rows = tuple(self._row(context, next(choices)) for _ in example.choices)
            yield Item(number, rows, example.label)

    def _row(self, a: np.ndarray, b: np.ndarray | None, *, again: bool = False) -> Row:
        """One or two texts; the longer one is cut first, at its end (Devlin et al. 2019's program). again: the cut was counted before."""
        room = self.length - (2 if b is None else 3)
        left = room if b is None else shared(len(a), len(b), room)[0]
        right = 0 if b is None else shared(len(a), len(b), room)[1]
        if not again:
            self.cuts.lost(max(len(a) - left, 0) + (0 if b is None else len(b) - right))
        return self._framed(a[:left], None if b is None else b[:right])

    def _framed(self, a: np.ndarray, b: np.ndarray | None) -> Row:
        """Read where the whole is."""
        frame = self.frame
        before, between, behind = (np.array([mark], np.int64) for mark in (frame.before, frame.between, frame.behind))
        ids = np.concatenate([before, a, behind] if b is None else [before, a, between, b, behind])
        whole = np.array([len(ids) - 1 if frame.last else 0])
        return Row(ids, len(ids) if b is None else len(a) + 2, (whole,))

    def _tagged(self, examples: Sequence[Tagged]) -> Iterator[Item]:
        """Sentences too long for a row are read in several, cut between words. Of a word the first piece is read; by a causal model
        the last one, which has seen the others."""
        room = self.length - 2
        for number, (example, pieces, of_word) in enumerate(self._units(examples)):
            self.cuts.lost(sum(max(len(unit) - room, 0) for unit in pieces))
            pieces = [unit[:room] for unit in pieces]
            tags = [tagged(example, tag, self.form) for tag in example.tags]
            known = np.flatnonzero(of_word >= 0)
            owners = known[np.unique(of_word[known], return_index=True)[1]]  # the first word of each unit
            for low, high in divided([len(unit) for unit in pieces], room):
                begin = 0 if low == 0 else int(owners[low])
                end = len(of_word) if high == len(pieces) else int(owners[high])
                sizes = np.array([len(unit) for unit in pieces[low:high]])
                read = np.cumsum(sizes) - (0 if self.frame.last else sizes - 1)  # behind the first mark
                row = self._framed(np.concatenate(pieces[low:high]), None)
                row = Row(row.ids, row.split, (read,))
                mine = of_word[begin:end]
                target = np.array([tags[owner] for owner in owners[low:high]]) if tags else None
                yield Item(number, (row,), target, of_word=np.where(mine < 0, -1, mine - low))

    def _units(self, examples: Sequence[Tagged]) -> Iterator[tuple[Tagged, list[np.ndarray], np.ndarray]]:
        """(example, pieces of each unit that has a tag, the unit of each word or -1)."""
        unknown = np.array([self.vocabulary.marks.unknown])
        if self.form.characters:
            placed = Places(self.vocabulary).of(["".join(example.words) for example in examples])
            for example, (ids, edges) in zip(examples, placed, strict=True):
                yield example, *_character_units(example.words, ids, edges, unknown)
            return
        spaced = [" " * (place > 0) + word for example in examples for place, word in enumerate(example.words)]
        words = iter(self.vocabulary.encode_batch(spaced))
        for example in examples:
            pieces = [next(words) for _ in example.words]
            yield example, [unit if len(unit) else unknown for unit in pieces] or [unknown], np.arange(len(pieces))

    def _questions(self, examples: Sequence[Question]) -> Iterator[Item]:
        """Windows over a long context, each with the question before it (Devlin et al. 2019's run_squad)."""
        questions = self.vocabulary.encode_batch([example.question for example in examples])
        contexts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        texts = list(dict.fromkeys(example.context for example in examples))
        contexts.update(zip(texts, Places(self.vocabulary).of(texts), strict=True))
        for number, (example, question) in enumerate(zip(examples, questions, strict=True)):
            kept = question[: min(QUESTION, (self.length - 3) // 2)]
            self.cuts.lost(len(question) - len(kept))
            ids, edges = contexts[example.context]
            room, reached = self.length - 3 - len(kept), not example.answers
            answer = _answer(example, edges)
            for low, high in windows(len(ids), room, min(self.form.stride, room // 2)):
                here = answer is not None and low <= answer[0] and answer[1] < high
                reached |= here
                target = (answer[0] - low + 1, answer[1] - low + 1) if here and answer else (0, 0)
                row = self._framed(kept, ids[low:high])
                places = np.append(row.parts[0], row.split + np.arange(high - low))
                yield Item(number, (Row(row.ids, row.split, (places,)),), target, edges=edges[low:high])
            self.cuts.missed += not reached

    def _contexts(self, examples: Sequence[InContext]) -> Iterator[Item]:
        """Each text is cut around its word, which stays."""
        placed = Places(self.vocabulary).of([text for example in examples for text in (example.first, example.second)])
        for number, example in enumerate(examples):
            sides = placed[2 * number], placed[2 * number + 1]
            sizes = shared(len(sides[0][0]), len(sides[1][0]), self.length - 3)
            self.cuts.lost(sum(len(ids) - size for (ids, _), size in zip(sides, sizes, strict=True)))
            texts, marked = [], []
            for (ids, edges), size, span in zip(sides, sizes, (example.first_span, example.second_span), strict=True):
                word = within(edges, *span)
                middle = int(word.mean()) if len(word) else 0
                begin = int(np.clip(middle - size // 2, 0, len(ids) - size))
                texts.append(ids[begin : begin + size])
                marked.append(word[(word >= begin) & (word < begin + size)] - begin)
            places = (marked[0] + 1, marked[1] + len(texts[0]) + 2)
            row = self._framed(*texts)
            # a word without pieces of its own is read where the whole is
            row = Row(row.ids, row.split, (row.parts[0], *(place if len(place) else row.parts[0] for place in places)))
            yield Item(number, (row,), told(example, self.form))


def told(example: Any, form: Form) -> Any:
    """The target of an example with one label or number, None where it is not known. Raises MalmoiError M154."""
    if example.label is None:
        return None
    return (example.label - form.mean) / form.spread if form.kind == "regression" else tagged(example, str(example.label), form)


def tagged(example: Any, label: str, form: Form) -> int:
    """The number of a label. Raises MalmoiError M154 for one that the form does not know."""
    if label not in form.labels:
        labels = ", ".join(form.labels)
        raise MalmoiError("M154", path="example", place=repr(example.id), label=label, task=form.task, labels=labels)
    return form.labels.index(label)


def shared(a: int, b: int, room: int) -> tuple[int, int]:
    """How much of two texts stays in `room`: the longer one gives first, the second one where they are equal."""
    over = a + b - room
    if over <= 0:
        return a, b
    short = min(a, b)
    if short <= room // 2:
        return (a, room - a) if a <= b else (room - b, b)
    return room - room // 2, room // 2


def divided(sizes: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Neighbours together, as many as there is room for: (first, behind the last) of each part; at least one part."""
    low = taken = 0
    for place, size in enumerate(sizes):
        if taken + size > room and place > low:
            yield low, place
            low, taken = place, 0
        taken += size
    yield low, len(sizes)


def windows(count: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Parts of `count` places that overlap by `stride`; the last one ends where they end."""
    low = 0
    while low + room < count:
        yield low, low + room
        low += room - stride
    yield low, count


def _answer(example: Question, edges: np.ndarray) -> tuple[int, int] | None:
    """(first, last) piece of the first answer that has pieces."""
    for text, begin in example.answers:
        found = within(edges, begin, begin + len(text))
        if len(found):
            return int(found[0]), int(found[-1])
    return None


def _character_units(words: Sequence[str], ids: np.ndarray, edges: np.ndarray, unknown: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Pieces that begin somewhere new are units; what goes on inside of the same character belongs to the unit before it."""
    of_word = np.full(len(words), -1, np.int64)
    edge = np.cumsum([0, *map(len, words)])
    units: list[list[int]] = []
    for id, (begin, end) in zip(ids.tolist(), edges.tolist(), strict=True):
        mine = [place for place in range(*np.searchsorted(edge, [begin, end]).tolist()) if of_word[place] < 0] if end > begin else []
        if mine:
            of_word[mine] = len(units)
            units.append([id])
        elif units:
            units[-1].append(id)
    if not units:
        return [unknown], np.where(np.arange(len(words)) == 0, 0, of_word)
    return [np.array(unit) for unit in units], of_word


@dataclass
class WordInputs:
    """As `Inputs`, for models that read words: sentences, and words that get tags. A text longer than `length` words is cut."""

    split: Callable[[str], list[str]]
    form: Form
    length: int
    cuts: Cuts = field(default_factory=Cuts)

    def items(self, examples: Sequence[Any]) -> list[Item]:
        """In the order of the examples. Raises MalmoiError M154 for a label that the form does not know."""
        found = list(self._tagged(examples) if self.form.kind == "tagging" else self._texts(examples))
        self.cuts.examples += len(examples)
        self.cuts.rows += len(found)
        return found

    def _texts(self, examples: Sequence[Texts]) -> Iterator[Item]:
        for number, example in enumerate(examples):
            words = self.split(example.first)
            self.cuts.lost(len(words) - self.length)
            yield Item(number, (_of_words(words[: self.length]),), told(example, self.form))

    def _tagged(self, examples: Sequence[Tagged]) -> Iterator[Item]:
        for number, example in enumerate(examples):
            for low in range(0, max(len(example.words), 1), self.length):
                words = example.words[low : low + self.length]
                tags = np.array([tagged(example, tag, self.form) for tag in example.tags[low : low + self.length]])
                yield Item(number, (_of_words(words),), tags if len(tags) else None, of_word=np.arange(len(words)))


def _of_words(words: Sequence[str]) -> Row:
    """Every word is read; a text without words is one that nobody knows."""
    kept = tuple(words) or (MARKS[UNK],)
    return Row(np.zeros(0, np.int64), 0, (np.arange(len(kept)),), kept)
