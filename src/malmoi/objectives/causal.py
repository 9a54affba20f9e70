"""The language model from left to right.

R rows, T positions, D width, N predictions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.nn.heads import VocabularyHead
from malmoi.nn.model import Model
from malmoi.nn.trace import Trace
from malmoi.objectives.base import Carry, Loss, Objective, Score, at_targets, same_document


class Causal(Objective):
    """Maximizes the likelihood of every token from what stands before it in its document (GPT; Radford et al. 2018, section 3.1).

    Inputs: Batch with `targets["next"]`. The loss is the mean over all predictions. There is no carry.
    """

    target = "next"
    layout = "causal"
    reading = "causal"
    visibility = "a prediction at position t depends on the inputs at positions <= t of its own document in its own row"

    def __init__(self, model: Model, *, unknown: int) -> None:
        super().__init__()
        self.model = model
        self.unknown = unknown

    def may_see(self, batch: Batch, row: int, position: int) -> Tensor:
        seen_RT = same_document(batch, row, position)
        seen_RT[row, position + 1 :] = False
        return seen_RT

    def traces(self, batch: Batch, carry: Carry = None) -> dict[str, Trace]:
        return {"model": self.model.encode(batch)}

    def loss(self, batch: Batch, carry: Carry = None) -> Loss:
        x_ND, target_N, _ = at_targets(self.model.encode(batch).last, batch.targets["next"], self.output_size, self.unknown)
        total, _ = self.head.loss(x_ND, target_N)
        mean = total / max(len(target_N), 1)
        return Loss(total=mean, parts={"next": mean.detach()}, count=len(target_N), carry=None)

    @torch.no_grad()
    def score(self, batch: Batch, carry: Carry = None) -> Score:
        return scored(self.head, self.model.encode(batch).last, batch.targets["next"], self.unknown)


def scored(head: VocabularyHead, x_RTD: Tensor, target_RT: Tensor, unknown: int) -> Score:
    """Exact likelihoods of all targets (-1: none)."""
    x_ND, target_N, predicted_RT = at_targets(x_RTD, target_RT, head.size, unknown)
    nll_RT = torch.zeros(predicted_RT.shape, device=x_RTD.device)
    hit_RT = torch.zeros_like(predicted_RT)
    nll_RT[predicted_RT], hit_RT[predicted_RT] = head.score(x_ND, target_N)
    return Score(nll=nll_RT, hit=hit_RT)
