"""The bench on which a model is examined: everything is put back as it was, and every module's input and output can be seen.

R rows, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from malmoi.core.batch import Batch
from malmoi.nn import Model, Trace, VocabularyHead
from malmoi.objectives import Objective

SMALL = 0.02


@dataclass(frozen=True)
class Call:
    """One call of a module: its first tensor in, and its first tensor out."""

    name: str
    module: nn.Module
    entered: Tensor | None
    left: Tensor | None


@contextmanager
def undisturbed(objective: nn.Module) -> Iterator[None]:
    """Afterwards modes, gradients, `requires_grad`, dropout rates, buffers and the random state are what they were. Inside, the
    random state is a fixed one, no parameter has a gradient, and output rows that are all zeros (before word2vec's first step), which
    let no gradient through, are random numbers."""
    modes = {module: module.training for module in objective.modules()}
    parameters = [(parameter, parameter.grad, parameter.requires_grad) for parameter in objective.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in objective.buffers()]
    rates = list(dropout_rates(objective))
    silent = [head.weight for head in objective.modules() if isinstance(head, VocabularyHead) and head.adaptive is None]
    silent = [weight for weight in silent if not weight.is_meta and not weight.any()]
    cuda = sorted({parameter.device.index or 0 for parameter, _, _ in parameters if parameter.is_cuda})
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(0)
        try:
            for parameter, _, _ in parameters:
                parameter.grad = None
            with torch.no_grad():
                for weight in silent:
                    weight.normal_(std=SMALL)
            yield
        finally:
            with torch.no_grad():
                for weight in silent:
                    weight.zero_()
            for module, mode in modes.items():
                module.training = mode
            for parameter, gradient, wanted in parameters:
                parameter.grad, parameter.requires_grad = gradient, wanted
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            for module, attribute, rate in rates:
                setattr(module, attribute, rate)


def dropout_rates(objective: nn.Module) -> Iterator[tuple[nn.Module, str, float]]:
    """(module, attribute, rate) of every dropout that a module declares."""
    for module in objective.modules():
        if isinstance(module, _DropoutNd):
            yield module, "p", module.p
        elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            yield module, "dropout", module.dropout


def without_dropout(objective: nn.Module) -> None:
    """Set every declared dropout to 0 (inside of `undisturbed`). What still drops does it behind the settings."""
    for module, attribute, _ in list(dropout_rates(objective)):
        setattr(module, attribute, 0.0)


@contextmanager
def recorded(objective: nn.Module) -> Iterator[list[Call]]:
    """Every call of every module inside the block, in the order in which they end: a module comes after its parts."""
    calls: list[Call] = []

    def note(name: str) -> Any:
        return lambda module, entered, left: calls.append(Call(name, module, first_tensor(entered), first_tensor(left)))

    hooks = [module.register_forward_hook(note(name)) for name, module in objective.named_modules()]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def vectors_as_leaf(objective: Objective) -> Iterator[dict[str, Tensor]]:
    """Cut the graph after the front-ends: what each returns becomes a leaf (R, T, D) that gradients can be asked for, by the name of
    the model that it belongs to (a front-end that two models share: by the first one's)."""
    leaves: dict[str, Tensor] = {}

    def cutting(name: str) -> Any:
        def cut(module: nn.Module, entered: Any, left: Tensor) -> Tensor:
            assert name not in leaves, "an objective calls a front-end once"
            leaves[name] = left.detach().requires_grad_()
            return leaves[name]

        return cut

    distinct = {id(model.frontend): (name, model.frontend) for name, model in reversed(objective.models().items())}
    hooks = [frontend.register_forward_hook(cutting(name)) for name, frontend in distinct.values()]
    try:
        yield leaves
    finally:
        for hook in hooks:
            hook.remove()


def traces_of(objective: Objective, batch: Batch) -> dict[str, Trace]:
    """The trace of each model, as the loss of a batch reads it."""
    found: dict[str, Trace] = {}

    def noting(name: str) -> Any:
        return lambda module, entered, left: found.__setitem__(name, left)

    hooks = [model.backbone.register_forward_hook(noting(name)) for name, model in objective.models().items()]
    try:
        objective.loss(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def path_of(objective: nn.Module, module: nn.Module) -> str:
    """Where a module stands: `model.backbone.blocks.0`."""
    return next(name for name, each in objective.named_modules() if each is module)


def first_tensor(value: Any) -> Tensor | None:
    """The tensor that a module's input or output is, or begins with."""
    if isinstance(value, Trace):
        return value.last
    if isinstance(value, tuple | list) and value:
        return first_tensor(value[0])
    return value if isinstance(value, Tensor) else None


def describe(name: str, module: nn.Module) -> str:
    """`forward_model.backbone.module (LSTM, bidirectional=True)`."""
    facts = type(module).__name__ + (", bidirectional=True" if getattr(module, "bidirectional", False) else "")
    return f"{name} ({facts})" if name else facts


def head_parameters(objective: nn.Module) -> set[int]:
    """The ids of all parameters of heads."""
    heads = [module.heads for module in objective.modules() if isinstance(module, Model)]
    return {id(parameter) for head in heads for parameter in head.parameters()}


def device_of(objective: nn.Module) -> torch.device:
    """Where the objective is."""
    return next(objective.parameters()).device
