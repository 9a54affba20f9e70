"""Leaks: a prediction that can see its own answer. Tested by gradient, where a forbidden one must be exactly 0, and by changing a word.

R rows, T positions, D width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from malmoi.core.batch import Batch
from malmoi.health.bench import Call, describe, only, recorded, undisturbed, vectors_as_leaf, without_dropout
from malmoi.health.finding import Finding
from malmoi.objectives import BiLM

BOTH_WAYS = "use one causal module for each direction: a bidirectional LSTM reads every row from its end too."
CAUSAL = "make it causal: what leaves it at a position may use what entered up to that position of the same row, and nothing else."


def visibility(objective: BiLM, batch: Batch) -> list[Finding]:
    """Holds the objective to its declaration: a prediction at t depends on inputs at positions <= t of its own row.

    The real loss in training mode, with one target at a time: the gradients at later positions and in all other rows, of both
    directions, must be exactly 0 (M031). Then a word is changed, and nothing before it and beside it may change by a bit
    (M110): that covers the front-end, whose inputs have no gradient. batch (R, T): any, best with R/2 != T and T >= 3.
    """
    rows, length = batch.ids.shape
    forbidden, found = 0, []
    with undisturbed(objective):
        objective.requires_grad_(False)
        without_dropout(objective)
        for name, first in (("forward", 0), ("backward", rows // 2)):
            places = [(first, length // 2), (first + rows // 2 - 1, 0), (first, length - 2)]
            for row, position in places:
                count, finding = _by_gradient(objective, batch, name=name, row=row, position=position)
                forbidden += count
                if finding is not None:
                    found.append(finding)
                    break
        if found:
            return found
        compared, found = _by_change(objective, batch)
    facts = f"none: {forbidden} forbidden gradients exactly 0, {compared} outputs bit-identical after a change that they may not see"
    return found or [Finding.good("leak", facts)]


def _by_gradient(objective: BiLM, batch: Batch, *, name: str, row: int, position: int) -> tuple[int, Finding | None]:
    """(gradients that had to be 0, what is wrong) for the prediction at one place."""
    objective.train()
    with vectors_as_leaf(objective) as leaves, recorded(objective) as calls:
        total = objective.loss(only(batch, row, position)).total
    assert len(leaves) == 1, "the objective calls its front-end once"
    gradient = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)[0] if total.requires_grad else None
    size_RT = torch.zeros(leaves[0].shape[:2]) if gradient is None else gradient.abs().amax(-1).cpu()
    forbidden_RT = _forbidden(size_RT, row, position)
    wrong_RT = (size_RT != 0) & forbidden_RT
    if not torch.isfinite(size_RT).all() or not torch.isfinite(total):
        problem = f"the {name} loss and its gradients are not finite"
        return 0, Finding.of("M111", "error", problem=problem, next="look at the weights: a run that diverged cannot be examined.")
    if not wrong_RT.any():
        if not size_RT.any():
            problem = f"the {name} prediction at position {position} depends on no input at all"
            return 0, Finding.of("M111", "error", problem=problem, next="look where the graph is cut (detach, no_grad, a zero weight).")
        return int(forbidden_RT.sum()), None
    other, later = divmod(int((wrong_RT * size_RT).argmax()), wrong_RT.shape[1])
    culprit = _culprit(calls, size_RT.shape[0] // 2, size_RT.shape[1])
    through = describe(*culprit) if culprit else type(objective).__name__
    where = f"the {name} prediction at position {position} of row {row}, through {through},"
    what = f"the input at position {later} of row {other}"
    next = BOTH_WAYS if culprit and getattr(culprit[1], "bidirectional", False) else CAUSAL
    return 0, Finding.of("M031", "error", where=where, what=what, gradient=float(size_RT[other, later]), next=next)


def _forbidden(like_RT: Tensor, row: int, position: int) -> Tensor:
    """True at every place that a prediction at (row, position) may not see."""
    forbidden_RT = torch.ones(like_RT.shape, dtype=torch.bool)
    forbidden_RT[row, : position + 1] = False
    return forbidden_RT


def _culprit(calls: list[Call], half: int, length: int) -> tuple[str, nn.Module] | None:
    """The innermost module whose own output at a position depends on its own input at a later one or in another row."""
    generator = torch.Generator().manual_seed(1)
    for call in calls:
        if call.entered is None or call.left is None or call.left.grad_fn is None or not call.entered.requires_grad:
            continue
        for batch_first in (True, False):
            axes = (0, 1) if batch_first else (1, 0)
            shapes = [tuple(tensor.shape[axis] for axis in axes) for tensor in (call.entered, call.left) if tensor.dim() == 3]
            if len(shapes) < 2 or any(shape not in ((half, length), (2 * half, length)) for shape in shapes):
                continue
            left_RTD, entered = call.left.transpose(0, axes[0]), call.entered
            position = length // 2
            weight = torch.randn(left_RTD.shape[2], generator=generator).to(left_RTD)
            gradient = torch.autograd.grad((left_RTD[0, position] * weight).sum(), entered, retain_graph=True, allow_unused=True)[0]
            if gradient is not None:
                size_RT = gradient.transpose(0, axes[0]).abs().amax(-1).cpu()
                if ((size_RT != 0) & _forbidden(size_RT, 0, position)).any():
                    return call.name, call.module
    return None


@torch.no_grad()
def _by_change(objective: BiLM, batch: Batch) -> tuple[int, list[Finding]]:
    """(outputs compared, what is wrong): one word of each direction becomes another one."""
    objective.eval()
    rows, length = batch.ids.shape
    before = _outputs(objective, batch)
    compared = 0
    for name, row in (("forward", 0), ("backward", rows // 2)):
        position = length // 2 + 1
        after = _outputs(objective, _changed(batch, row, position))
        fixed_RT = torch.ones(rows, length, dtype=torch.bool)
        fixed_RT[row, position:] = False
        for layer, (old_RTD, new_RTD) in enumerate(zip(before, after, strict=True)):
            moved_RT = (old_RTD != new_RTD).any(-1).cpu() & fixed_RT
            compared += int(fixed_RT.sum())
            if moved_RT.any():
                other, earlier = moved_RT.nonzero()[0].tolist()
                culprit = describe("forward_model.frontend", objective.forward_model.frontend) if layer == 0 else f"layer {layer}"
                where, what = f"{culprit} at position {earlier} of row {other}", f"the word at position {position} of {name} row {row}"
                return compared, [Finding.of("M110", "error", what=what, where=where, next=CAUSAL)]
    return compared, []


def _outputs(objective: BiLM, batch: Batch) -> list[Tensor]:
    """Every layer of both directions, (R, T, D) each."""
    traces = objective.traces(batch)
    return [torch.cat(layers) for layers in zip(traces["forward"].layers, traces["backward"].layers, strict=True)]


def _changed(batch: Batch, row: int, position: int) -> Batch:
    """The batch with the word at one place replaced by another word of the batch."""
    different = (batch.ids != batch.ids[row, position]).nonzero()
    assert len(different), "a batch of one word only"
    other = tuple(different[0].tolist())
    ids = batch.ids.clone()
    ids[row, position] = batch.ids[other]
    if batch.words is None:
        return replace(batch, ids=ids)
    words = batch.words.clone()
    words[row, position] = batch.words[other]
    return replace(batch, ids=ids, words=words)
