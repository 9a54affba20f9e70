"""What an objective is to the loop, to evaluation and to the checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from malmoi.core.batch import Batch

Carry = Any
"""What goes from one window to the next: a tree of tuples and dicts of tensors, opaque to all but its objective; None at the start."""


@dataclass(frozen=True)
class Loss:
    """total: what is minimized, a differentiable mean in nats. parts: named means for the record, each over
    `count` predictions."""

    total: Tensor
    parts: dict[str, Tensor]
    count: int
    carry: Carry


@dataclass(frozen=True)
class Score:
    """nll (R, T) float32: exact negative log-likelihoods in nats, 0 where there is no target."""

    nll: Tensor
    carry: Carry


class Objective(Protocol):
    """A torch module that owns models and a loss."""

    visibility: str

    def loss(self, batch: Batch, carry: Carry = None) -> Loss: ...

    def initial_carry(self, rows: int) -> Carry: ...
