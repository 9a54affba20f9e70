"""Word vectors without context, each distinct word once.

W words, C characters a word, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from malmoi import vocab
from malmoi.core.batch import Batch
from malmoi.nn import CharacterCNN, Model

ROWS = 16
"""Everything is computed for a multiple of so many rows. With fewer, BLAS picks kernels by the number of rows, which add up in
another order, and with others a vectorized loop ends in a scalar one, which rounds differently. With a multiple (measured: MKL, AVX2 and
AVX-512, float32, one thread and two) a row's bits do not depend on the other rows."""

CHUNK = 512
"""Words that go through the character CNN at one time."""

TABLE_FLOATS = 1 << 26
"""Size of the cache (256 MiB)."""

BOS, EOS, UNKNOWN = (vocab.MARKS[id] for id in (vocab.BOS, vocab.EOS, vocab.UNK))


def filled(rows: int) -> int:
    """The next multiple of `ROWS`."""
    return -(-rows // ROWS) * ROWS


class WordVectors:
    """The front-end's vectors of words, kept while they fit.

    Row 0 of the table is zeros (no word), rows 1 and 2 are the marks BOS and EOS.
    """

    def __init__(self, model: Model, vocabulary: vocab.Vocabulary) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._rows: dict[str, int] = {}
        self.table = torch.empty(0)

    def rows(self, words: Sequence[str]) -> np.ndarray:
        """(n,) int64 rows of `table`, for words that `prepare` has seen."""
        return np.fromiter((self._rows[word] for word in words), dtype=np.int64, count=len(words))

    def prepare(self, lines: Sequence[Sequence[str]]) -> None:
        """Put the words of `lines` into `table`; earlier words stay if there is room for all."""
        wanted = dict.fromkeys(word for line in lines for word in line)
        fresh = [word for word in wanted if word not in self._rows]
        if not len(self.table):
            self._start()
        elif (len(self._rows) + len(fresh)) * self.table.shape[1] > TABLE_FLOATS:
            self._start()
            fresh = list(wanted)
        if fresh:
            self._rows.update({word: len(self.table) + index for index, word in enumerate(fresh)})
            self.table = torch.cat([self.table, self._vectors(fresh)])

    def _start(self) -> None:
        marks_2D = self._vectors([BOS, EOS])
        self._rows = {}
        self.table = torch.cat([torch.zeros_like(marks_2D[:1]), marks_2D])

    def _vectors(self, words: list[str]) -> Tensor:
        """(W, D). The bits of a word's vector do not depend on the words beside it, as far as `ROWS` holds."""
        frontend = self._model.frontend
        device = next(self._model.parameters()).device
        if not isinstance(frontend, CharacterCNN):
            marks = {BOS: vocab.BOS, EOS: vocab.EOS}
            ids = torch.tensor([[marks[word] if word in marks else self._vocabulary.id_of(word) for word in words]], device=device)
            return frontend(Batch(ids=ids, segments=torch.ones_like(ids), positions=torch.zeros_like(ids)))[0]
        vectors = None
        for chosen, spelt_WC in _chunks(self._vocabulary.characters.spell(words).astype(np.int64), pad=frontend.pad):
            x_WD = frontend.spell(torch.from_numpy(spelt_WC).to(device))[: len(chosen)]
            vectors = x_WD.new_empty(len(words), x_WD.shape[1]) if vectors is None else vectors
            vectors[torch.from_numpy(chosen).to(device)] = x_WD
        assert vectors is not None
        return vectors


def _chunks(spelt_WC: np.ndarray, *, pad: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(which words, their spelling and rows of padding up to a full number): words of about the same length together.

    The front-end drops columns of nothing but padding, so short words do not pay for long ones.
    """
    lengths_W = -(-(spelt_WC != pad).sum(axis=1) // 8)
    for length in np.unique(lengths_W):
        same = np.flatnonzero(lengths_W == length)
        for start in range(0, len(same), CHUNK):
            chosen = same[start : start + CHUNK]
            rows = np.full((filled(len(chosen)), spelt_WC.shape[1]), pad, dtype=np.int64)
            rows[: len(chosen)] = spelt_WC[chosen]
            yield chosen, rows
