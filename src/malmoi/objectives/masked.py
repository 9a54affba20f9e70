"""The masked language model, alone or with a task on pairs of segments.

R rows, T positions, D width, N predictions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.core.marks import Marks
from malmoi.core.recipe import MaskedSpec
from malmoi.nn.model import Model
from malmoi.nn.trace import Trace
from malmoi.objectives.base import Carry, Loss, Objective, Score, at_targets, same_document
from malmoi.objectives.causal import scored
from malmoi.objectives.corruption import masked


class Masked(Objective):
    """Predicts the tokens in the gaps of a text from all that is left of it (BERT; Devlin et al. 2019, section 3.1), and with a head
    "pair" whether B follows A (BERT) or whether A and B stand in their order (ALBERT; Lan et al. 2020, section 3.1).

    Inputs: Batch; with a pair task `types` and `targets["pair"]`, a label at each pair's first mark. The loss is the mean over all gaps
    plus the mean over rows of each row's mean over its pairs (0 for a row without), so that it is the mean of the losses of any equal
    parts of a batch. The part "pair" is the mean over the rows that have one, and ln 2 for a model that guesses.
    """

    target = "masked"
    visibility = "a prediction depends on the corrupted inputs of its own document in its own row"

    def __init__(self, model: Model, spec: MaskedSpec, *, marks: Marks) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.layout = spec.layout
        self.marks = marks
        words = spec.whole_words and marks.continues is not None
        self.continues: Tensor | None
        self.register_buffer("continues", torch.from_numpy(marks.continues) if words else None, persistent=False)

    def view(self, batch: Batch) -> Batch:
        if self.target in batch.targets:
            return batch
        spec = self.spec
        return masked(
            batch, self.marks, size=self.output_size, rate=spec.rate, mask=spec.mask, random=spec.random, continues_V=self.continues
        )

    def may_see(self, batch: Batch, row: int, position: int) -> Tensor:
        return same_document(batch, row, position)

    def traces(self, batch: Batch, carry: Carry = None) -> dict[str, Trace]:
        return {"model": self.model.encode(self.view(batch))}

    def loss(self, batch: Batch, carry: Carry = None) -> Loss:
        view = self.view(batch)
        x_RTD = self.model.encode(view).last
        x_ND, target_N, _ = at_targets(x_RTD, view.targets["masked"], self.output_size, self.marks.unknown)
        total, _ = self.head.loss(x_ND, target_N)
        total = total / max(len(target_N), 1)
        parts = {"masked": total.detach()}
        if "pair" in self.model.heads and "pair" in view.targets:
            pair = pair_loss(self.model, x_RTD, view.targets["pair"])
            told = (view.targets["pair"] >= 0).any(dim=1).sum()
            total, parts["pair"] = total + pair, pair.detach() * len(x_RTD) / told.clamp(min=1)
        return Loss(total=total, parts=parts, count=len(target_N), carry=None)

    @torch.no_grad()
    def score(self, batch: Batch, carry: Carry = None) -> Score:
        view = self.view(batch)
        x_RTD = self.model.encode(view).last
        found = scored(self.head, x_RTD, view.targets["masked"], self.marks.unknown)
        if "pair" not in self.model.heads or "pair" not in view.targets:
            return found
        label_RT = view.targets["pair"]
        label_N = label_RT[label_RT >= 0]
        right = int((self.model.heads["pair"](x_RTD[label_RT >= 0]).argmax(1) == label_N).sum())
        return Score(nll=found.nll, hit=found.hit, counts={"pair": (right, len(label_N))})


def pair_loss(model: Model, x_RTD: Tensor, label_RT: Tensor) -> Tensor:
    """Mean over the rows of the mean cross-entropy over each row's pairs (0 for a row without)."""
    labelled_RT = label_RT >= 0
    logits_N2 = model.heads["pair"](x_RTD[labelled_RT]).float()
    nll_N = F.cross_entropy(logits_N2, label_RT[labelled_RT], reduction="none")
    weight_RT = labelled_RT / labelled_RT.sum(1, keepdim=True).clamp(min=1)
    return (nll_N * weight_RT[labelled_RT]).sum() / len(x_RTD)
