"""Rows without padding change nothing: a document has the same vectors alone as between others, and a batch is the mean of its parts.

R rows, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.health.batches import documents_of, rows_of
from malmoi.health.bench import traces_of, undisturbed, without_dropout
from malmoi.health.finding import Finding
from malmoi.nn import Trace
from malmoi.objectives import BiLM, Objective

PACKED = 1e-5
"""Of the largest number of a layer, and at least of 1: kernels for one row and for many round differently."""
SUMMED = 1e-6
"""Of the loss and of the largest gradient: the order of a sum changes the last bits."""


def packing(objective: Objective, batch: Batch) -> list[Finding]:
    """Each document of packed rows, run alone in a row of its own, has the same vectors in every layer of every model (M135)."""
    assert not isinstance(objective, BiLM), "the rows of a biLM are streams that go on from document to document"
    compared, worst = 0, 0.0
    with undisturbed(objective), torch.no_grad():
        view = objective.view(batch)
        objective.eval()
        packed = {name: trace.layers for name, trace in _encoded(objective, view).items()}
        for row, segment, alone in documents_of(view):
            for name, trace in _encoded(objective, alone).items():
                whole = view.source if view.source is not None and name == "model" else view
                place = (whole.segments[row] == segment).nonzero().flatten()
                for layer, (together_RTD, alone_1TD) in enumerate(zip(packed[name], trace.layers, strict=True)):
                    apart = float((together_RTD[row, place] - alone_1TD[0]).abs().max() / max(1.0, float(alone_1TD.abs().max())))
                    compared, worst = compared + 1, max(worst, apart)
                    if not apart <= PACKED:
                        where = f"layer {layer}" + (f" of the {name}" if len(packed) > 1 else "")
                        problem = f"document {segment} of row {row} differs in {where} by {apart:.1e} of its size"
                        return [Finding.of("M135", "error", problem=problem)]
    return [Finding.good("packing", f"documents in packed rows and alone agree to {max(worst, 1e-9):.0e}, {compared} layers compared")]


def _encoded(objective: Objective, view: Batch) -> dict[str, Trace]:
    """The trace of each model over the view itself: what a generator would draw goes by the place in the row."""
    if view.source is not None:
        return traces_of(objective, view)
    return {name: model.encode(view) for name, model in objective.models().items()}


def accumulation(objective: Objective, batch: Batch) -> list[Finding]:
    """Loss and gradients of a batch are the mean of those of its two halves, each as heavy as its predictions (M136)."""
    with undisturbed(objective):
        without_dropout(objective)
        objective.train()
        for model in objective.models().values():
            model.heads.eval()  # the exact softmax where training samples
        whole, expected, _ = _gradients(objective, batch)
        halves = [_gradients(objective, rows_of(batch, rows)) for rows in _halves(objective, len(batch.ids))]
    count = sum(each for _, _, each in halves)
    loss = sum(each * part for part, _, each in halves) / count
    if not abs(loss - whole) <= SUMMED * max(1.0, abs(whole)):
        problem = f"one batch has a loss of {whole:.7f} nats, its halves together {loss:.7f}"
        return [Finding.of("M136", "error", problem=problem)]
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        mean = sum((each * found[name] for _, found, each in halves if name in found), torch.zeros_like(gradient)) / count
        apart = float((mean - gradient).abs().max()) / largest
        if not apart <= SUMMED:
            problem = f"the gradient of {name} is off by {apart:.1e} of the largest"
            return [Finding.of("M136", "error", problem=problem)]
    facts = f"loss and {len(expected)} gradients of one batch are the mean of its halves'"
    return [Finding.good("accumulation", facts)]


def _halves(objective: Objective, rows: int) -> list[Sequence[int]]:
    """The first and the last half of the rows; of a biLM, of each direction."""
    if not isinstance(objective, BiLM):
        return [range(rows // 2), range(rows // 2, rows)]
    one = rows // 2
    return [[*range(one // 2), *range(one, one + one // 2)], [*range(one // 2, one), *range(one + one // 2, rows)]]


def _gradients(objective: Objective, batch: Batch) -> tuple[float, dict[str, Tensor], int]:
    objective.zero_grad(set_to_none=True)
    loss = objective.loss(batch)
    loss.total.backward()
    found = {name: each.grad.to_dense().clone() for name, each in objective.named_parameters() if each.grad is not None}
    return float(loss.total.detach()), found, loss.count
