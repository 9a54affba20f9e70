"""Replaced-token detection reads what the generator wrote, and is told the truth about it.

R rows, T positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.health.bench import first_tensor, undisturbed, without_dropout
from malmoi.health.finding import Finding
from malmoi.objectives import Replaced

TOLERANCE = 1e-5
"""Nats, as a share where the loss is more than 1."""
READS = "let the generator fill the gaps, and give the model the text so filled."
LABELS = "label a token 1 where it is not the original one, 0 everywhere else, and leave out what is no document."


def detection(objective: Replaced, batch: Batch) -> list[Finding]:
    """The model reads the original tokens outside of the gaps and the generator's in them - not the masks, which an argmax over nothing
    but labels would leave there - and its loss is that of "is not the original" for every token that it reads (M134)."""
    read: list[Batch] = []
    said: list[Tensor] = []

    def note_read(module: Any, entered: tuple[Batch, ...]) -> None:
        read.append(entered[0])

    def note_said(module: Any, entered: Any, left: Any) -> None:
        logits = first_tensor(left)
        assert logits is not None
        said.append(logits.detach().float())

    hooks = [
        objective.model.frontend.register_forward_pre_hook(note_read),
        objective.model.heads["replaced"].register_forward_hook(note_said),
    ]
    try:
        with undisturbed(objective), torch.no_grad():
            view = objective.view(batch)
            without_dropout(objective)
            objective.train()
            parts = objective.loss(view).parts
    finally:
        for hook in hooks:
            hook.remove()
    problem, next = _problem(objective, view, read, said, float(parts["replaced"]))
    if problem:
        return [Finding.of("M134", "error", problem=problem, next=next)]
    gaps = int((view.targets["masked"] >= 0).sum())
    return [Finding.good("detector", f"it reads what the generator wrote into {gaps} gaps, and is told what is not the original")]


def _problem(objective: Replaced, view: Batch, read: list[Batch], said: list[Tensor], loss: float) -> tuple[str, str]:
    target_RT = view.targets["masked"]
    gap_RT = target_RT >= 0
    if len(read) != 1 or len(said) != 1:
        return f"the model reads a batch {len(read)} times and judges it {len(said)} times", READS
    ids = read[0].ids
    if wrong := int(((ids != view.ids) & ~gap_RT).sum()):
        return f"{wrong} tokens outside of the gaps are not those of the text", READS
    masked_RT = gap_RT & (view.ids == objective.marks.mask)
    if masked_RT.any() and torch.equal(ids[masked_RT], view.ids[masked_RT]):
        return f"it reads the mask at all {int(masked_RT.sum())} gaps, not what the generator wrote there", READS
    original_RT = torch.where(gap_RT, target_RT, view.ids)
    counted_RT = view.segments > 0
    label_N = (ids != original_RT)[counted_RT].float()
    expected = float(F.binary_cross_entropy_with_logits(said[0][counted_RT], label_N))
    if not abs(loss - expected) <= TOLERANCE * max(1.0, expected):
        return f"its loss is {loss:.6f} nats, that of telling what is not the original {expected:.6f}", LABELS
    return "", ""
