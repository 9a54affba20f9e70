"""What a step is judged by before it is applied: its losses, weighted by what each predicts; are they numbers; do they jump."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from malmoi.core.recipe import GuardSpec
from malmoi.train.budget import Position
from malmoi.train.processes import Alone

MEMORY = 0.98
"""Share of the running mean of the loss that a step keeps: about the last 50 steps."""
PATIENCE = 50
"""Losses that must be known before one of them can be a spike."""
SMALLEST = 0.01
"""Standard deviations of the loss below this (nats) count as this much: where nothing varies, everything would be a spike."""


class Mean:
    """Losses of the micro-batches of a step over all processes, each as heavy as its number of predictions.

    The weight of a gradient has to be known before all counts are: it is taken relative to the first micro-batch (`weight`), and what
    is missing to the exact mean is a factor of them all (`rest`), 1 where all counts are equal.
    """

    def __init__(self, group: Alone) -> None:
        self.group = group
        self.count = 0
        self.loss = math.nan
        self.parts: dict[str, float] = {}
        self._first = 0
        self._sums: dict[str, float] = {}

    def weight(self, loss: Any) -> float:
        """Take in the loss of a micro-batch; what its gradient has to be multiplied with. A loss over nothing weighs nothing."""
        count = int(self.group.summed([loss.count])[0])
        self._first = self._first or count
        self.count += count
        for name, value in {"": loss.total, **loss.parts}.items():
            self._sums[name] = self._sums.get(name, 0.0) + (loss.count * value.item() if loss.count else 0.0)
        return loss.count * self.group.world / self._first if self._first else 0.0

    def rest(self, micros: int) -> float:
        """The factor that makes the sum of the weighted gradients, each divided by `micros`, that of the mean over all predictions."""
        return self._first * micros / self.count if self.count else 1.0

    def agree(self, notices: list[float]) -> list[float]:
        """Know the losses of all processes; the sums of their `notices` come with them."""
        sums = self.group.summed([*self._sums.values(), *notices])
        if self.count:
            self.loss, *parts = (value / self.count for value in sums[: len(self._sums)])
            self.parts = dict(zip(list(self._sums)[1:], parts, strict=True))
        return sums[len(self._sums) :]


def unfit(mean: Mean, norm: float) -> tuple[str, float] | None:
    """What of a step is not finite, and its value."""
    if mean.count and not math.isfinite(mean.loss):
        return "loss", mean.loss
    return ("gradient norm", norm) if not math.isfinite(norm) else None


def spikes(spec: GuardSpec, loss: float, at: Position) -> bool:
    """Whether a finite loss stands out of those before it."""
    if spec.spike is None or at.losses < PATIENCE:
        return False
    return loss > at.mean + spec.spike * max(math.sqrt(at.variance), SMALLEST)


def remembered(loss: float, at: Position) -> Position:
    """The position with this loss in its running statistics (exponentially weighted; at first the plain mean)."""
    share = max(1.0 - MEMORY, 1.0 / (at.losses + 1))
    off = loss - at.mean
    variance = (1.0 - share) * (at.variance + share * off * off)
    return replace(at, losses=at.losses + 1, mean=at.mean + share * off, variance=variance)
