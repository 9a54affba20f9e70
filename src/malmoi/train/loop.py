"""The training loop: a straight line. It never looks inside a batch, and everything random in a step is decided by (seed, step)."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from malmoi.core.artifact import write_json, write_text
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress
from malmoi.core.recipe import TrainingSpec
from malmoi.core.seeds import seed_of
from malmoi.train import checkpoint as checkpoints
from malmoi.train.checkpoint import Checkpoint
from malmoi.train.optimizer import Optimizer


class Batches(Protocol):
    """Where batches come from: any one of them, at once, by its number."""

    tokens_per_step: int
    """Predictions of a batch (a direction)."""
    positions: int
    """Predictions of an epoch."""

    def batch(self, step: int) -> Any: ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `stopped` is "done", or the name of the signal."""

    step: int
    tokens: int
    seconds: float
    stopped: str
    best: float | None
    tokens_per_second: float


@dataclass(frozen=True)
class Position:
    """Where a run stands: optimizer steps, predictions seen, seconds spent (over all starts), best validation loss."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float | None = None


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
) -> Outcome:
    """Train `objective` until the budget of `spec` is spent or a signal comes.

    Writes `directory/metrics.jsonl` and `directory/checkpoints`. `validate` returns at least `loss` (nats). With `resume` the run goes on
    from its last good checkpoint: for a budget in steps, tokens or epochs the result is the same as that of an uninterrupted
    run, bit for bit on a CPU. Raises MalmoiError M040 for a loss that is not finite, M042/M043 for nothing to resume from.
    """
    place = directory / "checkpoints"
    place.mkdir(parents=True, exist_ok=True)
    optimizer = Optimizer(objective, spec)
    at, carry = _restore(objective, optimizer, place, device=device, progress=progress) if resume else (Position(), None)
    metrics = _Metrics(directory / "metrics.jsonl", after=at.step)
    began, earlier = time.monotonic(), at.seconds
    saved, validated = began, _validations(spec, batches, at)
    first_step, first_time, validating = at.step, began, 0.0
    unit = getattr(batches, "unit", "words")
    progress.stage("training", _total(spec, batches))
    with _signals() as stop:
        while (done := _fraction(spec, batches, at)) < 1.0 and not stop:
            rate = spec.learning_rate * schedule(spec, done)
            objective.train()
            mean = _Mean()
            for micro in range(spec.accumulate):
                number = at.step * spec.accumulate + micro
                torch.manual_seed(seed_of(seed, "step", number))
                with autocast(spec, device):
                    loss = objective.loss(batches.batch(number).to(device), carry)  # type: ignore[operator]
                if loss.count:
                    share = mean.add(loss)
                    (loss.total * (spec.loss_scale / spec.accumulate * share)).backward()
                carry = loss.carry
            optimizer.scale(mean.rest(spec.accumulate))
            norm = optimizer.clip(spec.clip_norm)
            if not (math.isfinite(mean.loss) and math.isfinite(norm)):
                value = mean.loss if not math.isfinite(mean.loss) else f"{mean.loss} with gradient norm {norm}"
                raise MalmoiError("M040", value=value, step=at.step + 1)
            if mean.counts:
                optimizer.step(rate)
            now = time.monotonic()
            tokens = at.tokens + batches.tokens_per_step * spec.accumulate
            at = replace(at, step=at.step + 1, tokens=tokens, seconds=earlier + now - began)
            speed = (at.step - first_step) * batches.tokens_per_step * spec.accumulate / (now - first_time)
            if mean.counts:
                facts = {"loss": mean.loss, **mean.parts, "learning_rate": rate, "gradient_norm": norm}
                metrics.write(at, {**facts, "tokens_per_second": round(speed)})
            progress.advance(_done(spec, at), {"loss": f"{mean.loss:.3f}", f"{unit}/s": f"{speed:,.0f}", "step": at.step})
            due = _validations(spec, batches, at) > validated and _affordable(spec, at, validating)
            if due and validate is not None:
                validated = _validations(spec, batches, at)
                at = _validate(objective, validate, at, metrics, progress=progress)
                at = replace(at, seconds=earlier + time.monotonic() - began)
                validating += time.monotonic() - now
            late = time.monotonic() - saved > 60 * spec.save_minutes
            if late or (due and validate is not None) or (spec.save_steps and at.step % spec.save_steps == 0):
                metrics.flush()
                _save(objective, optimizer, at, carry, place, spec)
                saved = time.monotonic()
    metrics.close()
    if at.step > first_step:
        _save(objective, optimizer, at, carry, place, spec)
    spent = max(at.seconds - earlier, 1e-9)
    speed = (at.step - first_step) * batches.tokens_per_step * spec.accumulate / spent
    return Outcome(
        step=at.step, tokens=at.tokens, seconds=at.seconds, stopped=stop[0] if stop else "done", best=at.best, tokens_per_second=speed
    )


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


def autocast(spec: TrainingSpec, device: torch.device) -> torch.autocast:
    """bf16 where the spec asks for it, or says `auto` and the machine multiplies bf16 in hardware."""
    wanted = spec.precision == "bf16" or (spec.precision == "auto" and fast_bf16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than float32 here: GPUs since Ampere, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def total_steps(spec: TrainingSpec, batches: Batches) -> int | None:
    """Optimizer steps of a budget in steps, tokens or epochs; None for one in minutes."""
    step = batches.tokens_per_step * spec.accumulate
    if spec.steps is not None:
        return spec.steps
    if spec.tokens is not None:
        return max(1, math.ceil(spec.tokens / step))
    if spec.minutes is not None:
        return None
    return max(1, math.ceil((spec.epochs or 1.0) * batches.positions / step))


def _fraction(spec: TrainingSpec, batches: Batches, at: Position) -> float:
    steps = total_steps(spec, batches)
    return at.step / steps if steps is not None else at.seconds / (60 * (spec.minutes or 1.0))


def _total(spec: TrainingSpec, batches: Batches) -> float:
    """What `_done` reaches at the end: steps, or seconds for a budget in minutes."""
    steps = total_steps(spec, batches)
    return steps if steps is not None else 60 * (spec.minutes or 1.0)


def _done(spec: TrainingSpec, at: Position) -> float:
    timed = spec.minutes is not None and spec.steps is None and spec.tokens is None
    return at.seconds if timed else float(at.step)


def _validations(spec: TrainingSpec, batches: Batches, at: Position) -> int:
    """How many validations are due by now; the last falls on the end of the run."""
    return min(int(_fraction(spec, batches, at) * spec.validations + 1e-9), spec.validations)


def _affordable(spec: TrainingSpec, at: Position, validating: float) -> bool:
    """Under a budget in minutes, validations on the way take a tenth of the time at most; the one at the end always takes place."""
    timed = spec.minutes is not None and spec.steps is None and spec.tokens is None
    return not timed or validating <= 0.1 * at.seconds or at.seconds >= 60 * (spec.minutes or 0.0)


def _validate(
    objective: nn.Module, validate: Callable[[], dict[str, float]], at: Position, metrics: _Metrics, *, progress: Progress
) -> Position:
    objective.eval()
    facts = validate()
    metrics.write(at, {f"valid_{name}": value for name, value in facts.items()})
    progress.note(f"step {at.step:,}: validation perplexity {math.exp(facts['loss']):,.1f}")
    return replace(at, best=min(facts["loss"], at.best if at.best is not None else math.inf))


def _save(objective: nn.Module, optimizer: Optimizer, at: Position, carry: Any, place: Path, spec: TrainingSpec) -> None:
    path = place / f"step-{at.step:08d}"
    if not (path / "manifest.json").is_file():
        facts = {"step": at.step, "tokens": at.tokens, "seconds": at.seconds, "best": at.best}
        checkpoints.save(place, Checkpoint(at.step, facts, optimizer.tensors(), checkpoints.flatten(carry)), objective)
    recorded = checkpoints.best(place)
    known = json.loads((place / "best.json").read_text())["loss"] if recorded else math.inf
    if at.best is not None and at.best < known:
        write_json(place / "best.json", {"checkpoint": path.name, "loss": at.best})
    checkpoints.prune(place, spec.keep)


def _restore(objective: nn.Module, optimizer: Optimizer, place: Path, *, device: torch.device, progress: Progress) -> tuple[Position, Any]:
    path, problems = checkpoints.last_good(place)
    for problem in problems:
        progress.note(f"passed over a damaged checkpoint: {problem}")
    if path is None:
        raise MalmoiError("M043", path=place, problem=problems[0].message) if problems else MalmoiError("M042", path=place.parent)
    found = checkpoints.load(path)
    checkpoints.load_module(path, objective, verified=True)
    optimizer.load({name: tensor.to(device) if tensor.ndim else tensor for name, tensor in found.optimizer.items()})
    carry = checkpoints.unflatten({name: tensor.to(device) for name, tensor in found.carry.items()})
    return Position(**found.facts), carry


class _Mean:
    """Losses of the micro-batches of a step, each as heavy as its number of predictions.

    The weight of a gradient has to be known before all counts are: it is taken relative to the first micro-batch (`add`), and what is
    missing to the exact mean is a factor of them all (`rest`), 1 where all counts are equal.
    """

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.loss = 0.0
        self.parts: dict[str, float] = {}

    def add(self, loss: Any) -> float:
        """Take in a loss over at least one prediction; its weight relative to the first."""
        self.counts.append(loss.count)
        share = loss.count / sum(self.counts)
        self.loss += share * (loss.total.item() - self.loss)
        for name, value in loss.parts.items():
            before = self.parts.get(name, 0.0)
            self.parts[name] = before + share * (value.item() - before)
        return float(loss.count / self.counts[0])

    def rest(self, micros: int) -> float:
        """The factor that makes the sum of the weighted gradients, each divided by `micros`, that of the mean over all predictions."""
        return self.counts[0] * micros / sum(self.counts) if self.counts else 1.0


class _Metrics:
    """metrics.jsonl: one object a line. Going on from a checkpoint drops the lines of steps that will be done again."""

    def __init__(self, path: Path, *, after: int) -> None:
        if path.exists():
            lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.endswith("}")]
            write_text(path, "".join(line + "\n" for line in lines if json.loads(line)["step"] <= after))
        self.file = open(path, "a", encoding="utf-8")
        self.flushed = time.monotonic()

    def write(self, at: Position, facts: dict[str, float]) -> None:
        rounded = {name: round(value, 6) for name, value in facts.items()}
        self.file.write(json.dumps({"step": at.step, "tokens": at.tokens, "seconds": round(at.seconds, 3), **rounded}) + "\n")
        if time.monotonic() - self.flushed > 1.0:
            self.file.flush()
            self.flushed = time.monotonic()

    def flush(self) -> None:
        """Nothing of what was written is lost when the process is killed."""
        self.file.flush()

    def close(self) -> None:
        self.file.close()


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
