"""Skip-gram with negative sampling: the vector of a word tells the words around it from words that are drawn.

R rows, T positions, D width, B positions of a tile, S positions around a tile, K drawn words of a tile, N tiles, V output words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.core.chance import uniform
from malmoi.core.marks import Marks
from malmoi.core.recipe import SkipGramSpec
from malmoi.nn.model import Model
from malmoi.nn.trace import Trace
from malmoi.objectives.base import Carry, Loss, Objective, Score

TILE = 16
"""Neighbouring positions that are computed together, and share their drawn words: as many as they are, each of which counts for
`negatives` / 16 of a draw. The loss that is expected is that of draws for each pair (Ji et al. 2016, "Parallelizing word2vec in shared and
distributed memory"), and a tile is two products of matrices."""
REACH, DRAWN = 0, 1
"""Purposes of draws (see `core.chance`)."""


@dataclass(frozen=True)
class _Tiles:
    """ids (N, S) around each tile, 0 where there is no word; pairs (N, B, S): 1.0 where one predicts the other; drawn (N, K) ids, and how
    often each counts for each place (N, B, K)."""

    ids_NS: Tensor
    pairs_NBS: Tensor
    drawn_NK: Tensor
    weights_NBK: Tensor


class SkipGram(Objective):
    """Minimizes, for each word w and each word c at most b places from it in its document, -log s(v_w u_c) - sum over k drawn words n of
    log s(-v_w u_n) (Mikolov et al. 2013b, equation 4): b is drawn from 1 to `window` for each w, n in proportion to count ** power, and an
    n that is c does not count.

    v are the vectors of the front-end, which are exported; u the rows of the head. A prediction is that of all words around a place, its
    loss their sum; the loss is the mean over all predictions. Marks and unknown words neither predict nor are predicted. What is drawn
    for a row is decided by its key, so `score` is the loss itself: there is no likelihood of a text here.

    Inputs: Batch with `keys`. counts (V,): of the words, by id; None: Zipf's law, 1 / rank.
    """

    target = "around"
    cumulated: Tensor
    visibility = "the predictions of the words around a position depend on the input at that position alone"

    def __init__(self, model: Model, spec: SkipGramSpec, *, marks: Marks, counts: np.ndarray | None = None) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.marks = marks
        self.first = max(marks.ids) + 1
        known = 1.0 / np.arange(1, self.output_size + 1) if counts is None else np.asarray(counts[: self.output_size], np.float64)
        shares = np.where(np.arange(self.output_size) < self.first, 0.0, np.maximum(known, 1e-9) ** spec.power)
        cumulated = torch.from_numpy(np.cumsum(shares / max(shares.sum(), 1e-300)))
        self.register_buffer("cumulated", cumulated, persistent=False)

    def view(self, batch: Batch) -> Batch:
        """targets["around"]: the words themselves, where there are any."""
        if self.target in batch.targets:
            return batch
        return replace(batch, targets={self.target: torch.where(self._words(batch), batch.ids, -1)})

    def may_see(self, batch: Batch, row: int, position: int) -> Tensor:
        """(R, T) bool: the place itself."""
        seen_RT = torch.zeros(batch.ids.shape, dtype=torch.bool)
        seen_RT[row, position] = True
        return seen_RT

    def traces(self, batch: Batch, carry: Carry = None) -> dict[str, Trace]:
        return {"model": self.model.encode(self.view(batch))}

    def loss(self, batch: Batch, carry: Carry = None) -> Loss:
        view = self.view(batch)
        nll_RT = self._nll(view)
        count = int((view.targets[self.target] >= 0).sum())
        mean = nll_RT.sum() / max(count, 1)
        return Loss(total=mean, parts={self.target: mean.detach()}, count=count, carry=None)

    @torch.no_grad()
    def score(self, batch: Batch, carry: Carry = None) -> Score:
        return Score(nll=self._nll(self.view(batch)))

    def guessed(self, batch: Batch) -> float:
        """The loss of weights that know nothing: ln 2 for every pair and every draw."""
        tiles = self._tiles(self.view(batch))
        draws = float(tiles.pairs_NBS.sum() + tiles.weights_NBK.sum())
        return math.log(2) * draws / max(int((self.view(batch).targets[self.target] >= 0).sum()), 1)

    def _words(self, batch: Batch) -> Tensor:
        return (batch.segments > 0) & (batch.ids >= self.first) & (batch.ids < self.output_size)

    def _nll(self, view: Batch) -> Tensor:
        """(R, T) float32: the loss of each prediction."""
        x_RTD = self.model.encode(view).last
        tiles = self._tiles(view)
        rows, length = view.ids.shape
        used, place = torch.cat([tiles.ids_NS, tiles.drawn_NK], dim=1).unique(return_inverse=True)
        u_UD = F.embedding(used, self.head.weight, sparse=True)  # each row once: its gradients are added up before they are sparse
        around_NSD, drawn_NKD = F.embedding(place, u_UD).split([tiles.ids_NS.shape[1], TILE], dim=1)
        x_NBD = F.pad(x_RTD, (0, 0, 0, -length % TILE)).view(-1, TILE, x_RTD.shape[2])
        true_NBS = F.softplus(-torch.bmm(x_NBD, around_NSD.transpose(1, 2)).float()) * tiles.pairs_NBS
        drawn_NBK = F.softplus(torch.bmm(x_NBD, drawn_NKD.transpose(1, 2)).float()) * tiles.weights_NBK
        return (true_NBS.sum(2) + drawn_NBK.sum(2)).view(rows, -1)[:, :length]

    @torch.no_grad()
    def _tiles(self, view: Batch) -> _Tiles:
        """What is predicted in each tile, and what is drawn for it."""
        assert view.keys is not None, "what is drawn for a row is decided by its key"
        rows, length = view.ids.shape
        window, end = self.spec.window, -length % TILE
        # places beyond the row and words without a vector belong to document 0, which has no pairs
        segments = F.pad(view.segments.masked_fill(~self._words(view), 0), (window, end + window))
        ids = F.pad(view.ids.masked_fill(~self._words(view), 0), (window, end + window))
        segments_NS, ids_NS = (each.unfold(1, TILE + 2 * window, TILE).flatten(0, 1) for each in (segments, ids))
        reach = 1 + (uniform(view.keys, length, REACH) * window).long()
        reach = F.pad(reach.masked_fill(view.targets[self.target] < 0, 0), (0, end)).view(-1, TILE)
        apart_BS = (torch.arange(TILE + 2 * window, device=ids.device) - window - torch.arange(TILE, device=ids.device)[:, None]).abs()
        same_NBS = segments_NS[:, window : window + TILE, None] == segments_NS[:, None]
        pairs_NBS = (apart_BS > 0) & (apart_BS <= reach[:, :, None]) & same_NBS & (segments_NS[:, None] > 0)
        level = uniform(view.keys, length + end, DRAWN).view(-1, TILE)
        drawn_NK = torch.searchsorted(self.cumulated, level, right=True).clamp_(max=self.output_size - 1)
        pairs_NBS = pairs_NBS.to(torch.float32)
        other_NSK = (ids_NS[:, :, None] != drawn_NK[:, None]).float()
        weights_NBK = torch.bmm(pairs_NBS, other_NSK) * (self.spec.negatives / TILE)
        return _Tiles(ids_NS, pairs_NBS, drawn_NK, weights_NBK)
