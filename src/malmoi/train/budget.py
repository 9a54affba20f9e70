"""How far a run has come, and what depends on that: the learning rate, when to validate, when it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from malmoi.core.recipe import TrainingSpec


class Batches(Protocol):
    """Where batches come from: any one of them, at once, by its number. `unit`, if there is one, is what speed is told in."""

    tokens_per_step: int
    """Predictions of a batch (a direction), over all processes."""
    positions: int
    """Predictions of an epoch."""

    def batch(self, step: int) -> Any: ...


@dataclass(frozen=True)
class Position:
    """Where a run stands. All of it is kept in checkpoints, so that a run that goes on decides as one that never stopped.

    step: steps, of which each read `accumulate` batches (a step that was not applied counts); tokens: predictions read; seconds: spent
    over all starts; best: validation loss. broken: steps in a row that were not finite. passed: batches passed over by rollbacks,
    in steps. rollbacks: how many. losses, mean, variance: running statistics of the losses that were applied.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float | None = None
    broken: int = 0
    passed: int = 0
    rollbacks: int = 0
    losses: int = 0
    mean: float = 0.0
    variance: float = 0.0


@dataclass(frozen=True)
class Budget:
    """Where a run ends: after `steps`, or after `seconds`; one of them is None."""

    steps: int | None
    seconds: float | None

    @classmethod
    def of(cls, spec: TrainingSpec, batches: Batches) -> Budget:
        steps = total_steps(spec, batches)
        return cls(steps, None if steps is not None else 60 * (spec.minutes or 1.0))

    @property
    def total(self) -> float:
        """What `done` reaches at the end."""
        return self.steps if self.steps is not None else self.seconds or 0.0

    def done(self, at: Position) -> float:
        return float(at.step) if self.steps is not None else at.seconds

    def fraction(self, at: Position) -> float:
        return self.done(at) / self.total

    def validations(self, spec: TrainingSpec, at: Position) -> int:
        """How many validations are due by now; the last falls on the end of the run."""
        return min(int(self.fraction(at) * spec.validations + 1e-9), spec.validations)

    def affordable(self, at: Position, validating: float) -> bool:
        """Under a budget in minutes, validations on the way take a tenth of the time at most; the one at the end always takes place."""
        return self.seconds is None or validating <= 0.1 * at.seconds or at.seconds >= self.seconds


def total_steps(spec: TrainingSpec, batches: Batches) -> int | None:
    """Steps of a budget in steps, tokens or epochs; None for one in minutes."""
    step = batches.tokens_per_step * spec.accumulate
    if spec.steps is not None:
        return spec.steps
    if spec.tokens is not None:
        return max(1, math.ceil(spec.tokens / step))
    if spec.minutes is not None:
        return None
    return max(1, math.ceil((spec.epochs or 1.0) * batches.positions / step))


def schedule(spec: TrainingSpec, done: float) -> float:
    """The learning rate at share `done` of the run, as a factor: linear warm-up, then decay to `floor`.

    inverse_sqrt (Vaswani et al. 2017, section 5.3): after warm-up ~ 1 / sqrt(step), from 1 at its end.
    """
    if done < spec.warmup:
        return max(done, 1e-3) / spec.warmup
    if spec.decay == "none":
        return 1.0
    if spec.decay == "inverse_sqrt":
        return spec.floor + (1.0 - spec.floor) * math.sqrt(max(spec.warmup, 1e-3) / max(done, 1e-3))
    rest = (done - spec.warmup) / max(1.0 - spec.warmup, 1e-9)
    shape = 1.0 - rest if spec.decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * rest))
    return spec.floor + (1.0 - spec.floor) * shape
