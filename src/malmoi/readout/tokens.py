"""The encoder of Transformers: texts -> a vector a token, a word or a text, through the modules that were trained.

R rows (pieces of texts), T positions, D width, L layers (layer 0 = the front-end).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.nn import Model
from malmoi.readout.layers import Choice, choose, pooled
from malmoi.readout.reading import evaluating, places, text_rows
from malmoi.vocab import Subwords

BATCH_TOKENS = 2048
"""Positions that are computed at one time, where texts are so many or so long."""
ALIKE = 0.9
"""The shortest row of a batch has at least this share of the longest one's positions: what is padded is less than a tenth."""
GROUP_FLOATS = 1 << 25
"""Results that are held at one time (128 MiB of float32), and lines that are sorted together."""
GROUP_LINES = 4096

Line = str | Sequence[str]
Layout = Literal["single", "causal", "source"]
MARKS_AROUND: dict[Layout, tuple[int, int]] = {"single": (1, 1), "causal": (1, 0), "source": (0, 1)}
"""Marks before and behind a text, as in training: begin and end; begin (a causal model never reads the end); end."""


class TokenEncoder:
    """Contextual vectors of a Transformer. Lines may come from any iterator; memory stays bounded and the order is kept.

    length: positions that the model reads at once, marks included; longer texts are read in pieces of it, none of which sees the others.
    layout: how a text was read in training: `single` (masked models), `causal`, `source` (the encoder of a sequence model).
    layer: 0 (token and position alone) to the depth, "top", "mean", "mix" (the plain mean), "all"; the last layer is that after the
        model's last norm.
    unit: "token" gives a vector a piece of a word, "word" one a white-space word, the mean of those of its pieces.
    pool: "none"; "mean" or "first" of the units; "cls", the vector of the mark at the beginning. Marks are given out by "cls" alone.
    state: always "reset": attention reads every text by itself.
    A line's vectors depend on nothing but the line, to about 1e-6: the matrix library chooses its algorithm by the number of rows.
    batch_size: rows that are computed together, at most; long ones count for more. Rows of a batch have nearly the same length.
    """

    split = staticmethod(str.split)

    def __init__(self, model: Model, vocabulary: Subwords, length: int, *, layout: Layout = "single") -> None:
        self.model = model
        self.vocabulary = vocabulary
        self.length = length
        self._before, self._behind = MARKS_AROUND[layout]
        self._room = length - self._before - self._behind
        with evaluating(self.model):
            layers = self._encoded(self._rows(np.zeros(0, np.int64), np.array([0]), np.array([0])))
        self.layers = len(layers)
        self.width = layers[-1].shape[-1]

    def encode(
        self,
        texts: Iterable[Line],
        *,
        layer: str | int = "mix",
        pool: str = "none",
        unit: str = "token",
        state: str = "reset",
        batch_size: int = 256,
    ) -> list[np.ndarray]:
        """One float32 array a line: (tokens, D), or (L, tokens, D) for layer "all"; with pooling the tokens' axis is gone.

        texts: strings, or lists of words. A line without tokens gives (0, D), pooled zeros (but "cls" its mark).
        Raises MalmoiError M009 for an unknown layer, pooling, unit, state or batch size.
        """
        found = self.stream(texts, layer=layer, pool=pool, unit=unit, state=state, batch_size=batch_size)
        return [vectors for _, vectors in found]

    def stream(
        self,
        texts: Iterable[Line],
        *,
        layer: str | int = "mix",
        pool: str = "none",
        unit: str = "token",
        state: str = "reset",
        batch_size: int = 256,
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """`encode` for inputs of any size: (tokens or words, array) a line, in the order of the input."""
        choice = choose(layer, self.layers)
        self._check(pool=pool, unit=unit, state=state, batch_size=batch_size)
        outputs = self.layers if choice == "all" else 1
        return self._lines(iter(texts), choice, pool, unit, batch_size, GROUP_FLOATS // (outputs * self.width))

    def words(self, texts: Iterable[Line], *, layer: str | int = "top", state: str = "reset") -> Iterator[tuple[list[str], np.ndarray]]:
        """`stream` with a vector a word."""
        return self.stream(texts, layer=layer, state=state, unit="word")

    def attention(self, text: str) -> np.ndarray:
        """What each position attends to: (blocks, heads, T, T) float32, row t sums to 1; marks are positions like others.

        Raises MalmoiError M009 for a text longer than the model reads at once.
        """
        ids = self.vocabulary.encode(text)
        if len(ids) > self._room:
            problem, next = f"it has {len(ids)} tokens, and the model reads {self._room}", "give a shorter text."
            raise MalmoiError("M009", argument="text", value=text[:40], problem=problem, next=next)
        with evaluating(self.model):
            trace = self.model.encode(self._rows(ids, np.array([0]), np.array([len(ids)])), scores=True)
            return torch.cat(trace.attention).float().cpu().numpy()

    def _lines(
        self, texts: Iterator[Line], choice: Choice, pool: str, unit: str, batch_size: int, tokens: int
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Groups of lines are cut into tokens together, and about `tokens` of these go through the model before any is handed out."""
        while lines := list(islice(texts, GROUP_LINES)):
            words = [self.split(line) if isinstance(line, str) else list(line) for line in lines] if unit == "word" else None
            ids, ends, counts = self._cut(lines, words)
            first = 0
            while first < len(lines):
                before = int(ends[first - 1]) if first else 0
                stop = max(first + 1, int(np.searchsorted(ends, before + tokens, side="right")))
                vectors = self._vectors(ids[before : ends[stop - 1]], ends[first:stop] - before, choice, pool == "cls", batch_size)
                for line, found in enumerate(vectors, start=first):
                    if words is not None and pool != "cls":
                        found = _means(found, counts[line])
                    units = words[line] if words is not None else self._pieces(ids[(ends[line - 1] if line else 0) : ends[line]])
                    yield units, pooled(found, "first" if pool == "cls" else pool)
                first = stop

    def _cut(self, lines: list[Line], words: list[list[str]] | None) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """(ids of all lines in a row, where each line ends, the numbers of tokens of each line's words).

        Words are cut one by one, with the space before them, which white space between them counts as.
        """
        if words is None:
            ids, ends = self.vocabulary.encode_flat([line if isinstance(line, str) else " ".join(line) for line in lines])
            return ids, ends, []
        ids, reach = self.vocabulary.encode_flat([" " * (place > 0) + word for each in words for place, word in enumerate(each)])
        numbers = np.cumsum([len(each) for each in words])
        ends = np.concatenate([[0], reach])[numbers].astype(np.int64)
        return ids, ends, np.split(np.diff(reach, prepend=0), numbers[:-1])

    def _vectors(self, ids: np.ndarray, ends: np.ndarray, choice: Choice, mark: bool, batch_size: int) -> Iterator[np.ndarray]:
        """An array for each line that ends at `ends` of `ids`: its tokens', or with `mark` the one vector of its first mark."""
        begins, lengths = np.concatenate([[0], ends[:-1]]), np.diff(ends, prepend=0)
        pieces = np.ones_like(lengths) if mark else -(-lengths // self._room)
        line = np.repeat(np.arange(len(lengths)), pieces)
        offset = (np.arange(len(line)) - (np.cumsum(pieces) - pieces)[line]) * self._room
        start, count = begins[line] + offset, np.minimum(lengths[line] - offset, self._room)
        total = len(ends) if mark else len(ids)
        found = np.empty((self.layers if choice == "all" else 1, total, self.width), np.float32)
        for chosen in _alike(count + self._before + self._behind, rows=batch_size):
            with evaluating(self.model):
                batch = self._rows(ids, start[chosen], count[chosen])
                layers = [self.model.frontend(batch)] if choice == 0 else self._encoded(batch)
                wanted = layers if choice == "all" else [_mean(layers) if choice == "mean" else layers[choice]]
                where = torch.from_numpy(places(np.zeros_like(chosen), count[chosen])).to(batch.ids.device)
                row = torch.from_numpy(np.repeat(np.arange(len(chosen)), count[chosen])).to(batch.ids.device)
                for index, x_RTD in enumerate(wanted):
                    if mark:
                        found[index, line[chosen]] = x_RTD[:, 0].float().cpu().numpy()
                    else:
                        found[index, places(start[chosen], count[chosen])] = x_RTD[row, where + self._before].float().cpu().numpy()
        edges = np.arange(len(ends) + 1) if mark else np.concatenate([[0], ends])
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            yield (found if choice == "all" else found[0])[..., low:high, :].copy()

    def _rows(self, ids: np.ndarray, start: np.ndarray, count: np.ndarray) -> Batch:
        device = next(self.model.parameters()).device
        around = self._before, self._behind
        return text_rows(ids, start=start, count=count, marks=self.vocabulary.marks, around=around, device=device)

    def _encoded(self, batch: Batch) -> Sequence[Tensor]:
        return self.model.encode(batch).layers

    def _pieces(self, ids: np.ndarray) -> list[str]:
        tokens = self.vocabulary.tokens
        return [tokens[id] for id in ids.tolist()]

    def _check(self, *, pool: str, unit: str, state: str, batch_size: int) -> None:
        problem: tuple[str, object, str, str] | None = None
        if pool == "cls" and not self._before:
            problem = "pool", pool, "this model reads no mark at the beginning", "use none, mean or first."
        elif pool not in ("none", "mean", "first", "cls"):
            problem = "pool", pool, "there is no such pooling", "use none, mean, first or cls."
        elif unit not in ("token", "word"):
            problem = "unit", unit, "there is no such unit", "use token or word."
        elif state != "reset":
            problem = "state", state, "a Transformer has no state that goes from text to text", "leave it at reset."
        elif batch_size < 1:
            problem = "batch_size", batch_size, "it must be at least 1", "256 is usual."
        if problem:
            raise MalmoiError("M009", argument=problem[0], value=problem[1], problem=problem[2], next=problem[3])


def _mean(layers: Sequence[Tensor]) -> Tensor:
    total = layers[0].float()
    for layer in layers[1:]:
        total = total + layer
    return total / len(layers)


def _means(vectors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(..., tokens, D) -> (..., words, D): means of `counts` (words,) tokens one after the other; zeros for a word without tokens."""
    found = np.zeros((*vectors.shape[:-2], len(counts), vectors.shape[-1]), np.float32)
    some = counts > 0
    if some.any():
        starts = (np.cumsum(counts) - counts)[some]
        found[..., some, :] = np.add.reduceat(vectors, starts, axis=-2) / counts[some, None].astype(np.float32)
    return found


def _alike(sizes: np.ndarray, *, rows: int) -> Iterator[np.ndarray]:
    """Indices of `sizes` in batches, the longest first: at most `rows`, BATCH_TOKENS positions or one row, and ALIKE."""
    order = np.argsort(-sizes, kind="stable")
    start = 0
    while start < len(order):
        longest = int(sizes[order[start]])
        stop = start + max(1, min(rows, BATCH_TOKENS // longest))
        near = start + int(np.searchsorted(-sizes[order[start:stop]], -ALIKE * longest, side="right"))
        yield order[start:near]
        start = near
