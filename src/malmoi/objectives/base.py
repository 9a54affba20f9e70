"""What an objective is to the loop, to evaluation and to the checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.nn.model import Model
from malmoi.nn.trace import Trace

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
    """nll (R, T) float32: exact negative log-likelihoods in nats, 0 where there is no target. hit (R, T) bool: the target was the most
    likely token (None where nobody counts)."""

    nll: Tensor
    carry: Carry = None
    hit: Tensor | None = None


class Objective(Protocol):
    """A torch module that owns models and a loss.

    visibility: what a prediction may depend on, as a sentence; `may_see` says it in numbers.
    target: the name in `Batch.targets` under which the predictions stand that `score` scores: "next" or "masked".
    """

    visibility: str
    target: str
    training: bool

    @property
    def output_size(self) -> int: ...

    def models(self) -> dict[str, Model]:
        """Every model that training moves, by name."""
        ...

    def directions(self) -> Iterator[tuple[str, Model]]:
        """The models that `encode` reads: forward and backward of a biLM, one "model" of all others."""
        ...

    def view(self, batch: Batch) -> Batch:
        """What the model reads and has to predict, `targets[target]`, made from a batch as it lies in the corpus. Decided by
        `batch.keys`; a batch that has these targets already is its own view. Causal objectives change nothing."""
        ...

    def may_see(self, batch: Batch, row: int, position: int) -> Tensor:
        """(R, T) bool: the places whose input the prediction at (row, position) may depend on."""
        ...

    def loss(self, batch: Batch, carry: Carry = None) -> Loss:
        """The training loss of `view(batch)`."""
        ...

    def score(self, batch: Batch, carry: Carry = None) -> Score:
        """Exact likelihoods of the targets of `view(batch)`."""
        ...

    def traces(self, batch: Batch, carry: Carry = None) -> dict[str, Trace]:
        """Every layer of each of `directions()` over `view(batch)`."""
        ...

    def initial_carry(self, rows: int) -> Carry: ...
