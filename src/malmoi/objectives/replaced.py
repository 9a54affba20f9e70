"""Replaced-token detection: a generator fills gaps, the model tells which tokens are not the original.

R rows, T positions, D width, N gaps.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.core.chance import uniform
from malmoi.core.marks import Marks
from malmoi.core.recipe import ReplacedSpec
from malmoi.nn.heads import VocabularyHead
from malmoi.nn.model import Model
from malmoi.nn.trace import Trace
from malmoi.objectives.base import Carry, Loss, Objective, Score, at_targets, same_document, vocabulary_head
from malmoi.objectives.causal import scored
from malmoi.objectives.corruption import DRAW, keys_of, masked


class Replaced(Objective):
    """ELECTRA (Clark et al. 2020, section 2). A small masked model draws a token for every gap; the model reads the text so filled
    and gives each token the probability that it is not the original one. A drawn token that is the original counts as original. Generator
    and model share their embeddings, and no gradient goes through the drawing. `encode` reads the model, not the generator.

    Inputs: Batch. The loss is the generator's mean over the gaps plus `weight` times the model's mean over all tokens.
    """

    target = "masked"
    visibility = "a prediction depends on the corrupted inputs of its own document in its own row"

    def __init__(self, model: Model, generator: Model, spec: ReplacedSpec, *, marks: Marks) -> None:
        super().__init__()
        self.model = model
        self.generator = generator
        self.spec = spec
        self.marks = marks

    @property
    def head(self) -> VocabularyHead:
        return vocabulary_head(self.generator)

    def models(self) -> dict[str, Model]:
        return {"model": self.model, "generator": self.generator}

    def view(self, batch: Batch) -> Batch:
        """What the generator reads and has to fill."""
        if self.target in batch.targets:
            return batch
        return masked(batch, self.marks, size=self.output_size, rate=self.spec.rate, mask=self.spec.mask, random=0.0)

    def may_see(self, batch: Batch, row: int, position: int) -> Tensor:
        return same_document(batch, row, position)

    def traces(self, batch: Batch, carry: Carry = None) -> dict[str, Trace]:
        return {"model": self.model.encode(self.view(batch))}

    def loss(self, batch: Batch, carry: Carry = None) -> Loss:
        view = self.view(batch)
        total, filled, count = self._filled(view)
        detection = self._detection(filled)
        parts = {"generator": total.detach(), "replaced": detection.detach()}
        return Loss(total=total + self.spec.weight * detection, parts=parts, count=count, carry=None)

    @torch.no_grad()
    def score(self, batch: Batch, carry: Carry = None) -> Score:
        """Likelihoods of the generator; `counts`: how often the model is right about a token, and how many tokens are original."""
        view = self.view(batch)
        found = scored(self.head, self.generator.encode(view).last, view.targets["masked"], self.marks.unknown)
        filled = self._filled(view)[1]
        read_RT = filled.segments > 0
        replaced_RT = filled.targets["replaced"][read_RT] == 1
        said_RT = self._logits(filled)[read_RT] > 0
        tokens = int(read_RT.sum())
        counts = {
            "replaced": (int((said_RT == replaced_RT).sum()), tokens),
            "replaced_base": (int((~replaced_RT).sum()), tokens),
            "replaced_found": (int((said_RT & replaced_RT).sum()), int(replaced_RT.sum())),
        }
        return Score(nll=found.nll, hit=found.hit, counts=counts)

    def _filled(self, view: Batch) -> tuple[Tensor, Batch, int]:
        """(the generator's mean loss, what the model reads with `targets["replaced"]` 0 or 1, gaps)."""
        target_RT = view.targets["masked"]
        x_ND, target_N, gap_RT = at_targets(self.generator.encode(view).last, target_RT, self.output_size, self.marks.unknown)
        draw_N = uniform(keys_of(view), view.ids.shape[1], DRAW)[gap_RT]
        total, drawn_N = self._drawn(x_ND, target_N, draw_N)
        ids = view.ids.masked_scatter(gap_RT, drawn_N)
        replaced_RT = (gap_RT & (ids != target_RT)).long().masked_fill(view.segments == 0, -1)
        return total / max(len(target_N), 1), replace(view, ids=ids, targets={**view.targets, "replaced": replaced_RT}), len(target_N)

    def _drawn(self, x_ND: Tensor, target_N: Tensor, draw_N: Tensor) -> tuple[Tensor, Tensor]:
        if self.spec.temperature == 1.0:
            total, _, drawn_N = self.head.loss_and_draw(x_ND, target_N, draw_N)
            return total, drawn_N
        with torch.no_grad():
            weights_NV = torch.softmax(self.head.logits(x_ND).float() / self.spec.temperature, dim=1).cumsum(1)
            drawn_N = torch.searchsorted(weights_NV, draw_N.float()[:, None], right=True).squeeze(1).clamp_(max=self.output_size - 1)
        return self.head.loss(x_ND, target_N)[0], drawn_N

    def _logits(self, filled: Batch) -> Tensor:
        """(R, T)."""
        found: Tensor = self.model.heads["replaced"](self.model.encode(filled).last)
        return found.float()

    def _detection(self, filled: Batch) -> Tensor:
        target_RT = filled.targets["replaced"]
        read_RT = target_RT >= 0
        total = F.binary_cross_entropy_with_logits(self._logits(filled)[read_RT], target_RT[read_RT].float(), reduction="sum")
        return total / read_RT.sum().clamp(min=1)
