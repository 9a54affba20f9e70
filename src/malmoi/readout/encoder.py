"""The encoder: lines of words -> contextual vectors, through the modules that were trained.

L layers, R rows (lines of one direction), T positions, D width of one direction. A vector is 2D wide: forward, then backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from malmoi.core.errors import MalmoiError
from malmoi.nn import Backbone, Model, State
from malmoi.readout.layers import Choice, choose, pooled
from malmoi.readout.reading import evaluating
from malmoi.readout.states import StateMode, spread, warm_state
from malmoi.readout.words import BOS, EOS, ROWS, UNKNOWN, WordVectors, filled
from malmoi.vocab import Vocabulary

WINDOW = 128
"""Positions that one call of a backbone reads; the state goes on from call to call."""

GROUP_FLOATS = 1 << 25
"""Results that are held at one time (128 MiB of float32), and lines that are sorted together."""
GROUP_LINES = 4096

Line = str | Sequence[str]


class Encoder:
    """Contextual vectors of a biLM. Lines may come from any iterator; memory stays bounded and the order is kept.

    layer: 0 (the words alone, twice) to the depth, "top", "mean", "mix" (the plain mean with gamma 1, until a task has learned
    its own weights: `ScalarMix`), "all".
    state: "reset" starts every line at zero; "warm" at a stored state (see `warm_state`); in both a line's vectors depend on nothing
    but the line - bit for bit on a CPU with MKL, to about 1e-6 where the matrix library chooses its algorithm by the
    number of rows. "compat" does what the original program did: zero before the first batch, lines in their order, `batch_size`
    a batch, and row k goes on from row k of the batch before, at that row's own end.
    batch_size: lines that are computed together (at most; long lines count for more).
    """

    def __init__(
        self,
        forward: Model,
        backward: Model,
        *,
        vocabulary: Vocabulary,
        split: Callable[[str], list[str]] = str.split,
        warm: dict[str, State] | None = None,
    ) -> None:
        self.models = {"forward": forward, "backward": backward}
        self.vocabulary = vocabulary
        self.split = split
        self._words = WordVectors(forward, vocabulary)
        self._warm = warm
        with evaluating(*self.models.values()):
            self._words.prepare([])
            x_RTD = self._words.table[None, 1:2].expand(ROWS, 1, -1)
            self.layers = len(forward.trace(x_RTD).layers)
        self.width = 2 * x_RTD.shape[-1]

    @property
    def warm(self) -> dict[str, State]:
        """The state at which lines start in mode "warm"."""
        if self._warm is None:
            with evaluating(*self.models.values()):
                self._warm = warm_state(self.models["forward"], self.models["backward"], vocabulary=self.vocabulary)
        return self._warm

    def encode(
        self, texts: Iterable[Line], *, layer: str | int = "mix", pool: str = "none", state: str = "reset", batch_size: int = 64
    ) -> list[np.ndarray]:
        """One float32 array a line: (tokens, 2D), or (L, tokens, 2D) for layer "all"; with pooling the tokens' axis is gone.

        texts: strings, which `split` makes into words, or words. A line without words gives (0, 2D), pooled zeros.
        Raises MalmoiError M009 for an unknown layer, pooling, state or batch size.
        """
        return [vectors for _, vectors in self.stream(texts, layer=layer, pool=pool, state=state, batch_size=batch_size)]

    def stream(
        self, texts: Iterable[Line], *, layer: str | int = "mix", pool: str = "none", state: str = "reset", batch_size: int = 64
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """`encode` for inputs of any size: (words, array) a line, in the order of the input."""
        choice = choose(layer, self.layers)
        _check(pool=pool, state=state, batch_size=batch_size)
        lines = (self.split(text) if isinstance(text, str) else list(text) for text in texts)
        work = self._in_order(lines, choice, batch_size) if state == "compat" else self._by_length(lines, choice, state, batch_size)
        return ((words, pooled(vectors, pool)) for words, vectors in work)

    def words(self, texts: Iterable[Line], *, layer: str | int = "top", state: str = "reset") -> Iterator[tuple[list[str], np.ndarray]]:
        """`stream`: a biLM gives a vector a word."""
        return self.stream(texts, layer=layer, state=state)

    def _by_length(self, lines: Iterator[list[str]], choice: Choice, state: str, batch_size: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """reset and warm: groups of lines, sorted by length inside, handed out in their order."""
        outputs = self.layers if choice == "all" else 1
        for group in _groups(lines, words=max(1, GROUP_FLOATS // (outputs * self.width))):
            found: list[np.ndarray | None] = [None] * len(group)
            order = sorted(range(len(group)), key=lambda index: len(group[index]))
            with evaluating(*self.models.values()):
                read = [[word if word not in (BOS, EOS) else UNKNOWN for word in words] for words in group]
                self._words.prepare(read)
                for chosen in _batches(
                    [(index, len(group[index])) for index in order], batch_size, GROUP_FLOATS // (self.layers * self.width)
                ):
                    states = {name: self._start(name, state, filled(len(chosen))) for name in self.models}
                    vectors, _ = self._vectors([read[index] for index in chosen], states, choice, marks=1)
                    for index, array in zip(chosen, vectors, strict=True):
                        found[index] = array
            for words, vectors_of_line in zip(group, found, strict=True):
                assert vectors_of_line is not None
                yield words, vectors_of_line

    def _in_order(self, lines: Iterator[list[str]], choice: Choice, batch_size: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """compat. The words `<S>` and `</S>` in a text are the marks here, as in the original."""
        states = {name: self._start(name, "reset", filled(batch_size)) for name in self.models}
        while batch := list(islice(lines, batch_size)):
            with evaluating(*self.models.values()):
                self._words.prepare([[word for word in words if word not in (BOS, EOS)] for words in batch])
                found, states = self._vectors(batch, states, choice, marks=2)
            yield from zip(batch, found, strict=True)

    def _start(self, name: str, state: str, rows: int) -> State:
        if state == "warm":
            return spread(self.warm[name], rows)
        return self.models[name].backbone.initial_state(rows)  # type: ignore[operator]

    def _vectors(
        self, lines: list[list[str]], states: dict[str, State], choice: Choice, *, marks: int
    ) -> tuple[list[np.ndarray], dict[str, State]]:
        """(an array a line, the states after the lines' own ends). marks 1: each direction reads its own first mark, 2: both marks."""
        table, counts = self._words.table, [len(words) for words in lines]
        rows = [self._rows_of(words) for words in lines]
        layers: dict[str, Tensor] = {}
        after: dict[str, State] = {}
        for name, first, last in (("forward", 1, 2), ("backward", 2, 1)):
            ids_RT = np.zeros((max(filled(len(lines)), _rows_in(states[name])), max(counts) + marks), dtype=np.int64)
            for row, ids in enumerate(rows):
                read = ids if name == "forward" else ids[::-1]
                ids_RT[row, : len(ids) + marks] = [first, *read, last][: len(ids) + marks]
            inputs_RT = torch.from_numpy(ids_RT).to(table.device)
            layers[name], after[name] = self._read(name, inputs_RT, states[name], choice, keep=len(lines), ends=marks == 2)
        return [_of_line(layers, row, count, choice) for row, count in enumerate(counts)], after

    def _rows_of(self, words: Sequence[str]) -> list[int]:
        marks = {BOS: 1, EOS: 2}
        plain = iter(self._words.rows([word for word in words if word not in marks]))
        return [marks[word] if word in marks else int(next(plain)) for word in words]

    def _read(self, name: str, inputs_RT: Tensor, state: State, choice: Choice, *, keep: int, ends: bool) -> tuple[Tensor, State]:
        """(the chosen layers (L or 1, keep, T, D), state). ends: the state stops where the row does."""
        model, total = self.models[name], inputs_RT.shape[1]
        window = WINDOW if isinstance(model.backbone, Backbone) else total
        wanted = [choice] if isinstance(choice, int) else list(range(self.layers))
        found_LRTD = self._words.table.new_empty(len(wanted), keep, total, self._words.table.shape[1])
        for start in range(0, total, window):
            ids = inputs_RT[:, start : start + window]
            x_RTD = torch.nn.functional.embedding(ids, self._words.table)
            if choice == 0 and not ends:
                found_LRTD[0, :, start : start + window] = x_RTD[:keep]
                continue
            trace = model.trace(x_RTD, state, ids != 0 if ends else None)
            state = trace.state
            for index, layer in enumerate(wanted):
                found_LRTD[index, :, start : start + window] = trace.layers[layer][:keep]
        return found_LRTD, state


def _of_line(layers: dict[str, Tensor], row: int, count: int, choice: Choice) -> np.ndarray:
    """(count, 2D), or (L, count, 2D) for "all": the words of a row, the backward direction turned around."""
    forward = layers["forward"][:, row, 1 : count + 1]
    backward = layers["backward"][:, row, 1 : count + 1].flip(1)
    both = torch.cat([forward, backward], dim=2).float().cpu().numpy()
    if choice == "all":
        return both
    return both.mean(axis=0) if choice == "mean" else both[0]


def _rows_in(state: State) -> int:
    return state[0][0].shape[0] if state else 0


def _groups(lines: Iterator[list[str]], *, words: int) -> Iterator[list[list[str]]]:
    """Lines in their order, about `words` words together."""
    group: list[list[str]] = []
    held = 0
    for line in lines:
        group.append(line)
        held += len(line)
        if held >= words or len(group) >= GROUP_LINES:
            yield group
            group, held = [], 0
    if group:
        yield group


def _batches(items: list[tuple[int, int]], rows: int, positions: int) -> Iterator[list[int]]:
    """(index, length) by rising length -> indices: at most `rows` a batch, and about `positions` in all."""
    batch: list[int] = []
    for index, length in items:
        if batch and (len(batch) == rows or (len(batch) + 1) * (length + 1) > positions):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _check(*, pool: str, state: str, batch_size: int) -> None:
    pooled(np.zeros((0, 0)), pool)
    if state not in get_args(StateMode):
        raise MalmoiError("M009", argument="state", value=state, problem="there is no such mode", next="use reset, warm or compat.")
    if batch_size < 1:
        raise MalmoiError("M009", argument="batch_size", value=batch_size, problem="it must be at least 1", next="64 is usual.")
