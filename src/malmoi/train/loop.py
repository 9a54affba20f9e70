"""The training loop: a straight line. It never looks inside a batch, and everything random in a step is decided by (seed, step)."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress, Silent
from malmoi.core.recipe import TrainingSpec
from malmoi.core.seeds import seed_of
from malmoi.train.budget import Batches, Budget, Position, schedule, total_steps
from malmoi.train.guard import Mean, remembered, spikes, unfit
from malmoi.train.keeper import Keeper, Record
from malmoi.train.optimizer import Optimizer
from malmoi.train.processes import Alone

__all__ = ["Batches", "Outcome", "autocast", "fast_bf16", "fit", "schedule", "total_steps"]
STOPPING = ("SIGINT", "SIGTERM")
KEYS = 1024
"""At most so many keys of samples are written for one event."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `stopped` is "done", or the name of the signal."""

    step: int
    tokens: int
    seconds: float
    stopped: str
    best: float | None
    tokens_per_second: float


def fit(
    objective: nn.Module,
    *,
    batches: Batches,
    spec: TrainingSpec,
    seed: int,
    directory: Path,
    device: torch.device,
    progress: Progress,
    validate: Callable[[], dict[str, float]] | None = None,
    resume: bool = False,
    group: Alone | None = None,
) -> Outcome:
    """Train `objective` until the budget of `spec` is spent or a signal comes.

    Writes `directory/metrics.jsonl`, `events.jsonl` and `checkpoints`. `validate` returns at least `loss` (nats). With `resume` the run
    goes on from its last good checkpoint: for a budget in steps, tokens or epochs the result is the same as that of an uninterrupted run,
    bit for bit on a CPU. In a `group` every process calls this, with its own rows as `batches`.

    Raises MalmoiError M040 for losses or gradients that stay not finite, M042/M043 for nothing to resume from, M044 for a process of the
    group that was lost, M045 for a full disk, M047 for spikes that rollbacks do not cure.
    """
    group = group or Alone()
    micros = _Micros(objective, batches, spec=spec, seed=seed, device=device, group=group)
    optimizer = Optimizer(objective, spec, group)
    keeper = Keeper(objective, optimizer, directory=directory, spec=spec, group=group)
    progress = progress if group.rank == 0 else Silent()
    at, carry = keeper.restore(progress, device) if resume else (Position(), None)
    keeper.refuse_full()
    record, budget = Record(directory, after=at.step, group=group), Budget.of(spec, batches)
    clock = _Clock(at, group, save_minutes=spec.save_minutes)
    stopped, validated = "", budget.validations(spec, at)
    progress.stage("training", budget.total)
    with record, _signals() as caught, group.watched():
        while budget.fraction(at) < 1.0 and not stopped:
            rate = spec.learning_rate * schedule(spec, budget.fraction(at))
            mean, before = Mean(group), carry
            carry = micros.gradients(at, carry, mean)
            optimizer.scale(mean.rest(spec.accumulate))
            norm = optimizer.clip(spec.clip_norm)
            stopped, late = clock.agree(mean, caught)
            found = unfit(mean, norm)
            if found is None and spikes(spec.guard, mean.loss, at):
                at, carry = _back(keeper, record, mean.loss, at, progress=progress, device=device)
                validated = min(validated, budget.validations(spec, at))
                continue
            at = replace(at, step=at.step + 1, tokens=at.tokens + micros.tokens, seconds=clock.seconds)
            if found is not None:
                carry, at = before, _refuse(record, at, found, micros, limit=spec.guard.nonfinite)
                optimizer.forget()
            elif mean.count:
                optimizer.step(rate)
                at = remembered(mean.loss, replace(at, broken=0))
                facts = {"loss": mean.loss, **mean.parts, "learning_rate": rate, "gradient_norm": norm}
                record.step(at, {**facts, "tokens_per_second": round(clock.speed(at))})
            else:
                optimizer.forget()
            group.reached(at.step)
            progress.advance(budget.done(at), {"loss": f"{mean.loss:.3f}", f"{micros.unit}/s": f"{clock.speed(at):,.0f}", "step": at.step})
            due = budget.validations(spec, at) > validated and budget.affordable(at, clock.validating)
            if due and validate is not None:
                validated = budget.validations(spec, at)
                at = _validate(objective, validate, at, record, progress=progress, clock=clock)
            if late or (due and validate is not None) or (spec.save_steps and at.step % spec.save_steps == 0):
                record.flush()
                keeper.save(at, carry)
                clock.saved = time.monotonic()
            stopped = stopped or (caught[0] if caught and group.world == 1 else "")
        record.flush()
        if at.step > clock.first.step:
            keeper.save(at, carry)
    return Outcome(at.step, at.tokens, at.seconds, stopped=stopped or "done", best=at.best, tokens_per_second=clock.speed(at))


class _Micros:
    """The batches of a step and the gradients of their mean loss. read, keys: batches and samples (of this process) of the last step."""

    def __init__(
        self, objective: nn.Module, batches: Batches, *, spec: TrainingSpec, seed: int, device: torch.device, group: Alone
    ) -> None:
        self.objective, self.batches, self.spec, self.seed, self.device, self.group = objective, batches, spec, seed, device, group
        self.tokens = batches.tokens_per_step * spec.accumulate
        self.unit = getattr(batches, "unit", "words")
        self.read: list[int] = []
        self.keys: list[int] = []
        self._loss = group.step(objective, spec.accumulate)

    def gradients(self, at: Position, carry: Any, mean: Mean) -> Any:
        """Leave the gradients of the step after `at` in the parameters and its losses in `mean`; the carry after it."""
        self.objective.train()
        first = (at.step + at.passed) * self.spec.accumulate
        self.read, self.keys = list(range(first, first + self.spec.accumulate)), []
        for number in self.read:
            self._seed(number)
            batch = self.batches.batch(number).to(self.device)
            with autocast(self.spec, self.device):
                loss = self._loss(batch, carry)
            weight = mean.weight(loss)
            if weight or self.group.world > 1:  # a group exchanges gradients in every backward pass, whoever has some
                (loss.total * (self.spec.loss_scale / self.spec.accumulate * weight)).backward()
            carry = loss.carry
            self.keys += [] if getattr(batch, "keys", None) is None else batch.keys[:KEYS].tolist()
        self.group.reduce_rows()
        return carry

    def _seed(self, number: int) -> None:
        """Everything that is drawn for a batch follows from its number. The processes of a group draw the same candidates (which is done on
        the CPU) and, on GPUs, dropout of their own."""
        torch.manual_seed(seed_of(self.seed, "step", number))
        if self.group.rank and self.device.type == "cuda":
            torch.cuda.manual_seed(seed_of(self.seed, "step", number, "process", self.group.rank))


class _Clock:
    """Time as the first process of a group has it, so that all decide alike."""

    def __init__(self, at: Position, group: Alone, *, save_minutes: float) -> None:
        self.first, self.group = at, group
        self.seconds = at.seconds
        self.validating = 0.0
        self.saved = time.monotonic()
        self._began = self.saved - at.seconds
        self._patience = 60 * save_minutes

    def agree(self, mean: Mean, caught: list[str]) -> tuple[str, bool]:
        """With the losses of all processes, know what any of them was told: (the signal that ends the run, whether a checkpoint is due)."""
        now = time.monotonic()
        mine = [now - self._began, float(now - self.saved > self._patience), self.validating]
        signals = [float(name in caught) for name in STOPPING]
        *raised, self.seconds, late, self.validating = mean.agree([*signals, *(mine if self.group.rank == 0 else [0.0] * len(mine))])
        return next((name for name, times in zip(STOPPING, raised, strict=True) if times), ""), late > 0

    def validated(self, seconds: float) -> float:
        """Note the time that a validation took; how many seconds the run has now."""
        self.validating += seconds
        self.seconds = self.group.told(time.monotonic() - self._began)
        return self.seconds

    def speed(self, at: Position) -> float:
        """Predictions a second since this start."""
        return (at.tokens - self.first.tokens) / max(self.seconds - self.first.seconds, 1e-9)


def _refuse(record: Record, at: Position, found: tuple[str, float], micros: _Micros, *, limit: int) -> Position:
    """Note a step that is not applied. Raises MalmoiError M040 after `limit` in a row."""
    what, value = found
    at = replace(at, broken=at.broken + 1)
    record.event(at, "not finite", what=what, value=str(value), batches=micros.read, keys=micros.keys)
    if at.broken >= limit:
        raise MalmoiError("M040", what=what, value=value, step=at.step, times=at.broken)
    return at


def _back(keeper: Keeper, record: Record, loss: float, at: Position, *, progress: Progress, device: torch.device) -> tuple[Position, Any]:
    """Undo the steps up to a spike. Raises MalmoiError M047 if that was done often enough."""
    if at.rollbacks >= keeper.spec.guard.rollbacks:
        record.event(at, "spike", loss=loss)
        raise MalmoiError("M047", loss=loss, step=at.step + 1, rollbacks=at.rollbacks)
    keeper.optimizer.forget()
    accumulate, spike = keeper.spec.accumulate, at
    at, carry = keeper.roll_back(spike, progress, device)
    record.back(at.step)
    passed = [(at.step + spike.passed) * accumulate, (at.step + at.passed) * accumulate - 1]
    record.event(at, "rolled back", loss=loss, mean=spike.mean, spike=spike.step + 1, passed=passed)
    progress.note(
        f"step {spike.step + 1:,}: the loss jumped to {loss:.3f}; back to step {at.step:,}, passing over batches {passed[0]}-{passed[1]}"
    )
    return at, carry


def _validate(
    objective: nn.Module, validate: Callable[[], dict[str, float]], at: Position, record: Record, *, clock: _Clock, progress: Progress
) -> Position:
    began = time.monotonic()
    objective.eval()
    with clock.group.unsharded():
        facts = validate()
    record.step(at, {f"valid_{name}": value for name, value in facts.items()})
    progress.note(f"step {at.step:,}: validation perplexity {math.exp(facts['loss']):,.1f}")
    best = min(facts["loss"], at.best if at.best is not None else math.inf)
    return replace(at, best=best, seconds=clock.validated(time.monotonic() - began))


def autocast(spec: TrainingSpec, device: torch.device) -> torch.autocast:
    """bf16 where the spec asks for it, or says `auto` and the machine multiplies bf16 in hardware."""
    wanted = spec.precision == "bf16" or (spec.precision == "auto" and fast_bf16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than float32 here: GPUs since Ampere, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def _signals() -> Iterator[list[str]]:
    """A list that a first SIGINT or SIGTERM puts its name into; the loop ends after the step. A second one acts as usual."""
    caught: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: Any) -> None:
        caught.append(signal.Signals(number).name)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, handle)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
