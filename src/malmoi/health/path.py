"""One path: what `encode` reads through is what training moves, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from malmoi.core.batch import Batch
from malmoi.health.bench import head_parameters, undisturbed, without_dropout
from malmoi.health.finding import Finding, listing
from malmoi.objectives import BiLM


def one_path(objective: BiLM, batch: Batch) -> list[Finding]:
    """Compares the parameters that a training step gives a gradient with those that the layers of `traces` depend on.

    Every parameter that `traces` (evaluation mode) reads through must be trained (M112), and every trained parameter but the
    heads' must be read (M113). What neither uses is named too (M115).
    """
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    with undisturbed(objective):
        without_dropout(objective)
        objective.train()
        objective.loss(batch).total.backward()
        trained, in_loss = _moved(objective), _reached(objective)
        objective.zero_grad(set_to_none=True)
        objective.requires_grad_(True)
        objective.eval()
        _mixed(objective, batch).backward()
        read, in_traces = _moved(objective), _reached(objective)
    found = []
    if never := read - trained:
        found.append(Finding.of("M112", "error", names=_named(never, names)))
    if lost := trained - read - head_parameters(objective):
        found.append(Finding.of("M113", "error", names=_named(lost, names)))
    if idle := names.keys() - in_loss - in_traces - never - lost:
        found.append(Finding.of("M115", "warning", names=_named(idle, names)))
    facts = f"{len(read)} parameters that `encode` reads through, every one with a gradient in a training step, and the reverse"
    return found or [Finding.good("one path", facts)]


def never_moved(objective: BiLM, fresh: BiLM, batch: Batch, *, steps: int) -> list[Finding]:
    """Parameters that `traces` reads through and that stand, bit for bit, as `fresh` (built from the same spec) has them (M114)."""
    with undisturbed(objective):
        objective.requires_grad_(True)
        objective.eval()
        _mixed(objective, batch).backward()
        read = _moved(objective)
    start = dict(fresh.named_parameters())
    same = [
        name
        for name, parameter in objective.named_parameters()
        if id(parameter) in read and name in start and torch.equal(parameter.detach().cpu(), start[name].detach().cpu())
    ]
    if same:
        return [Finding.of("M114", "error", names=listing(same), steps=steps)]
    return [Finding.good("moved", f"all {len(read)} parameters that `encode` reads through differ from their start after {steps:,} steps")]


def _mixed(objective: BiLM, batch: Batch) -> Tensor:
    """A scalar that depends on every number of every layer of both directions (a plain sum would be blind behind a norm)."""
    total = torch.zeros((), device=batch.ids.device)
    for trace in objective.traces(batch).values():
        for layer_RTD in {id(layer): layer for layer in (*trace.layers, trace.last)}.values():
            total = total + (layer_RTD.float() * torch.randn(layer_RTD.shape).to(layer_RTD.device)).sum()
    return total


def _moved(objective: nn.Module) -> set[int]:
    """Ids of the parameters with a gradient that is not 0 everywhere."""
    return {id(parameter) for parameter in objective.parameters() if parameter.grad is not None and bool(_values(parameter.grad).any())}


def _reached(objective: nn.Module) -> set[int]:
    """Ids of the parameters with a gradient, be it 0."""
    return {id(parameter) for parameter in objective.parameters() if parameter.grad is not None}


def _values(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _named(ids: set[int], names: dict[int, str]) -> str:
    return listing(name for key, name in names.items() if key in ids)
