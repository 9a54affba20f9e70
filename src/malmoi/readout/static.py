"""Vectors of words that know no context: one a word type (Word2Vec), read like those of any other run.

V words with a vector, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.nn import Model
from malmoi.readout.layers import choose, pooled
from malmoi.readout.reading import evaluating
from malmoi.vocab import MARKS, Vocabulary

Line = str | Sequence[str]


class StaticEncoder:
    """The front-end's vectors, by word. Lines may come from any iterator; the order is kept.

    size: V, marks included. A word without a vector (too rare for training, or never seen) has zeros. There is one layer, 0, which every
    name of layers means; no state, and nothing depends on what is read together.
    """

    layers = 1

    def __init__(self, model: Model, vocabulary: Vocabulary, *, size: int, split: Callable[[str], list[str]] = str.split) -> None:
        self.model = model
        self.vocabulary = vocabulary
        self.split = split
        self.size = size
        ids = torch.arange(size, device=next(model.parameters()).device)[None]
        with evaluating(model):
            batch = Batch(ids=ids, segments=torch.ones_like(ids), positions=torch.zeros_like(ids))
            table = model.encode(batch).last[0].float().cpu().numpy().copy()
        table[: len(MARKS)] = 0.0
        self.table = table
        self.width = table.shape[1]

    def encode(
        self, texts: Iterable[Line], *, layer: str | int = "mix", pool: str = "none", state: str = "reset", batch_size: int = 256
    ) -> list[np.ndarray]:
        """One float32 array a line: (words, D), or (1, words, D) for layer "all"; with pooling the words' axis is gone.

        Raises MalmoiError M009 for an unknown layer, pooling, state or batch size.
        """
        return [vectors for _, vectors in self.stream(texts, layer=layer, pool=pool, state=state, batch_size=batch_size)]

    def stream(
        self, texts: Iterable[Line], *, layer: str | int = "mix", pool: str = "none", state: str = "reset", batch_size: int = 256
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """`encode` for inputs of any size: (words, array) a line, in the order of the input."""
        choice = choose(layer, self.layers)
        _check(pool=pool, state=state, batch_size=batch_size)
        return ((words, pooled(self._vectors(words, choice == "all"), pool)) for words in map(self._words, texts))

    def words(self, texts: Iterable[Line], *, layer: str | int = "top", state: str = "reset") -> Iterator[tuple[list[str], np.ndarray]]:
        """`stream`: a vector a word."""
        return self.stream(texts, layer=layer, state=state)

    def text(self, text: str) -> np.ndarray | None:
        """(D,): the mean vector of those words of a text (or of the one word) that have one; None where none has."""
        ids = self._ids(self._words(text))
        ids = ids[ids >= len(MARKS)]
        return self.table[ids].mean(axis=0) if len(ids) else None

    def _words(self, text: Line) -> list[str]:
        return self.split(text) if isinstance(text, str) else list(text)

    def _ids(self, words: list[str]) -> np.ndarray:
        """(n,): 0, a mark, for a word without a vector."""
        ids = self.vocabulary.encode(words)
        return np.where(ids < self.size, ids, 0)

    def _vectors(self, words: list[str], layers: bool) -> np.ndarray:
        vectors = self.table[self._ids(words)]
        return vectors[None] if layers else vectors


def _check(*, pool: str, state: str, batch_size: int) -> None:
    pooled(np.zeros((0, 0)), pool)
    if state != "reset":
        problem, next = "vectors without context have no state", "leave it at reset."
        raise MalmoiError("M009", argument="state", value=state, problem=problem, next=next)
    if batch_size < 1:
        raise MalmoiError("M009", argument="batch_size", value=batch_size, problem="it must be at least 1", next="256 is usual.")
