"""From one text to another: an encoder, and a decoder that is a language model with the encoder's vectors before its eyes.

R rows (one pair each), T positions of the target, S of the source, D width, N predictions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.nn.heads import VocabularyHead
from malmoi.nn.model import Model
from malmoi.nn.trace import State, Trace
from malmoi.objectives.base import Carry, Loss, Objective, Score, at_targets, same_document, vocabulary_head
from malmoi.objectives.causal import scored


class Sequence(Objective):
    """Maximizes the likelihood of a target text given its source (Vaswani et al. 2017), with label smoothing in training.

    Inputs: Batch of the targets with `targets["next"]` and `source`. The loss is the mean over all predictions. `encode` reads the encoder.
    """

    target = "next"
    reading = "source"
    visibility = "a prediction at position t depends on the inputs at positions <= t of its own text, and on all of its source"

    def __init__(self, encoder: Model, decoder: Model, *, smoothing: float, unknown: int) -> None:
        super().__init__()
        self.model = encoder
        self.decoder = decoder
        self.smoothing = smoothing
        self.unknown = unknown

    @property
    def head(self) -> VocabularyHead:
        return vocabulary_head(self.decoder)

    def models(self) -> dict[str, Model]:
        return {"model": self.model, "decoder": self.decoder}

    def may_see(self, batch: Batch, row: int, position: int) -> Tensor:
        """Of the target side; of the source the text that belongs to it, the same segment of the same row, is seen whole."""
        seen_RT = same_document(batch, row, position)
        seen_RT[row, position + 1 :] = False
        return seen_RT

    def traces(self, batch: Batch, carry: Carry = None) -> dict[str, Trace]:
        """Of the encoder, over the source."""
        return {"model": self.model.encode(batch if batch.source is None else batch.source)}

    def decode(self, batch: Batch, memory_RSD: Tensor, source: Batch, state: State | None = None) -> Trace:
        """The decoder over target rows, given what the encoder made of `source`."""
        return self.decoder.encode(batch, state, memory=memory_RSD, memory_segments=source.segments)

    def loss(self, batch: Batch, carry: Carry = None) -> Loss:
        x_ND, target_N, _ = at_targets(self._read(batch), batch.targets["next"], self.output_size, self.unknown)
        total, nll_N = self.head.loss(x_ND, target_N, smoothing=self.smoothing if self.training else 0.0)
        parts = {"next": nll_N.sum() / max(len(target_N), 1)}
        return Loss(total=total / max(len(target_N), 1), parts=parts, count=len(target_N), carry=None)

    @torch.no_grad()
    def score(self, batch: Batch, carry: Carry = None) -> Score:
        return scored(self.head, self._read(batch), batch.targets["next"], self.unknown)

    def _read(self, batch: Batch) -> Tensor:
        assert batch.source is not None, "a pair needs its source"
        return self.decode(batch, self.model.encode(batch.source).last, batch.source).last
