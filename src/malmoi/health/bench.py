"""The bench on which a model is examined: everything is put back as it was, and every module's input and output can be seen.

R rows (forward half, backward half), T positions, D width, W distinct words, C characters a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from malmoi.core.batch import Batch
from malmoi.nn import CharacterCNN, Model, Trace
from malmoi.objectives import BiLM


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
    random state is a fixed one and no parameter has a gradient."""
    modes = {module: module.training for module in objective.modules()}
    parameters = [(parameter, parameter.grad, parameter.requires_grad) for parameter in objective.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in objective.buffers()]
    rates = list(dropout_rates(objective))
    cuda = sorted({parameter.device.index or 0 for parameter, _, _ in parameters if parameter.is_cuda})
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(0)
        try:
            for parameter, _, _ in parameters:
                parameter.grad = None
            yield
        finally:
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
def vectors_as_leaf(objective: BiLM) -> Iterator[list[Tensor]]:
    """Cut the graph after the front-end: what it returns becomes a leaf (R, T, D) that gradients can be asked for."""
    leaves: list[Tensor] = []

    def cut(module: nn.Module, entered: Any, left: Tensor) -> Tensor:
        leaves.append(left.detach().requires_grad_())
        return leaves[-1]

    hook = objective.forward_model.frontend.register_forward_hook(cut)
    try:
        yield leaves
    finally:
        hook.remove()


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


def random_batch(objective: BiLM, *, rows: int, length: int) -> Batch:
    """A batch of random words (2 x rows, length) that fits the objective: sizes are read from its modules.

    The table of characters holds every word that the checks may put in, so that a changed word changes no shape.
    """
    generator = torch.Generator().manual_seed(20180215)  # the day of the paper
    shape = (2 * rows, length)
    count = min(objective.output_size, 2 * rows * length + 1)
    distinct = torch.randperm(objective.output_size, generator=generator)[:count]
    words = torch.randint(count, shape, generator=generator)
    target = distinct[torch.randint(count, shape, generator=generator)]
    return Batch(
        ids=distinct[words],
        segments=torch.ones(shape, dtype=torch.int64),
        positions=torch.arange(length).expand(shape).contiguous(),
        targets={"next": target},
        words=words,
        characters=_random_characters(objective, count, generator),
    ).to(device_of(objective))


def _random_characters(objective: BiLM, count: int, generator: torch.Generator) -> Tensor:
    frontend = objective.forward_model.frontend
    if not isinstance(frontend, CharacterCNN):
        return torch.zeros(count, 1, dtype=torch.int64)
    widest = max(convolution.kernel_size[0] for convolution in frontend.convolutions)  # type: ignore[index]
    long = int(widest) + 8
    characters = torch.randint(frontend.embedding.shape[0] - 1, (count, long), generator=generator)
    lengths = torch.randint(2, 9, (count, 1), generator=generator)
    return characters.masked_fill(torch.arange(long) >= lengths, frontend.pad)


def only(batch: Batch, row: int, position: int) -> Batch:
    """The batch with one target left."""
    target = torch.full_like(batch.targets["next"], -1)
    target[row, position] = batch.targets["next"][row, position]
    return replace(batch, targets={"next": target})


def window(batch: Batch, start: int, stop: int) -> Batch:
    """Positions `start` to `stop` of every row."""
    cut = {name: value[:, start:stop] for name, value in batch.targets.items()}
    words = None if batch.words is None else batch.words[:, start:stop]
    return replace(
        batch,
        ids=batch.ids[:, start:stop],
        segments=batch.segments[:, start:stop],
        positions=batch.positions[:, start:stop],
        targets=cut,
        words=words,
    )
