"""What a run keeps on disk while it trains: its record (metrics, events) and its checkpoints."""

from __future__ import annotations

import errno
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from malmoi.core.artifact import refuse_full, sweep
from malmoi.core.errors import MalmoiError
from malmoi.core.journal import Journal
from malmoi.core.progress import Progress
from malmoi.core.recipe import TrainingSpec
from malmoi.train import checkpoint as checkpoints
from malmoi.train.budget import Position
from malmoi.train.checkpoint import Checkpoint
from malmoi.train.optimizer import Optimizer
from malmoi.train.processes import Alone

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Record:
    """metrics.jsonl, a line a step, and events.jsonl: what was out of the ordinary. Only the first process writes.

    Going on from a checkpoint drops the lines of the steps after it: they will be done again.
    """

    def __init__(self, directory: Path, *, after: int, group: Alone) -> None:
        self.directory, self.writes = directory, group.rank == 0
        if self.writes:
            self._metrics = Journal(directory / "metrics.jsonl", after=after)
            self._events = Journal(directory / "events.jsonl", after=after)
        self._flushed = time.monotonic()

    def step(self, at: Position, facts: dict[str, float]) -> None:
        """A line of numbers."""
        if self.writes:
            rounded = {name: round(value, 6) for name, value in facts.items()}
            self._metrics.write({"step": at.step, "tokens": at.tokens, "seconds": round(at.seconds, 3), **rounded})
            if time.monotonic() - self._flushed > 1.0:
                self.flush()

    def event(self, at: Position, event: str, **facts: Any) -> None:
        """Something that the user should know of afterwards."""
        if self.writes:
            self._events.write({"step": at.step, "event": event, **facts})
            self._events.flush(sync=True)

    def back(self, after: int) -> None:
        """The steps after `after` are undone."""
        if self.writes:
            self._metrics.close()
            self._metrics = Journal(self.directory / "metrics.jsonl", after=after)

    def flush(self) -> None:
        """Nothing of what was written is lost when the process is killed."""
        if self.writes:
            self._metrics.flush()
            self._flushed = time.monotonic()

    def __enter__(self) -> Record:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """No more lines. What is already going wrong is not hidden by a disk that is full."""
        if self.writes:
            for journal in (self._metrics, self._events):
                with suppress(OSError) if failure else nullcontext():
                    journal.close()


class Keeper:
    """The checkpoints of a run."""

    def __init__(self, objective: nn.Module, optimizer: Optimizer, *, directory: Path, spec: TrainingSpec, group: Alone) -> None:
        self.objective, self.optimizer, self.spec, self.group = objective, optimizer, spec, group
        self.place = directory / "checkpoints"
        self.place.mkdir(parents=True, exist_ok=True)
        if group.rank == 0:
            sweep(directory)
            sweep(self.place)
        self.saved: int | None = None
        """The step of the newest checkpoint that this process wrote."""
        recorded = checkpoints.read_best(self.place)
        self._best = recorded["loss"] if recorded else math.inf

    def bytes(self) -> int:
        """Size of a checkpoint (the carry apart)."""
        tensors = [*checkpoints.module_tensors(self.objective)[0].values(), *self.optimizer.tensors().values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def refuse_full(self) -> None:
        """Raise MalmoiError M045 if the disk cannot hold what the run will keep: `keep` checkpoints, the best, and one being written."""
        there = sum(file.stat().st_size for file in self.place.rglob("*") if file.is_file())
        count = self.spec.keep + 2
        refuse_full(self.place, count * self.bytes() - there, what=f"room for {count} checkpoints")

    def restore(self, progress: Progress, device: torch.device) -> tuple[Position, Any]:
        """Go on from the last good checkpoint: (where it stands, its carry). Raises MalmoiError M042 or M043 if there is none."""
        path, problems = checkpoints.last_good(self.place)
        for problem in problems:
            progress.note(f"passed over a damaged checkpoint: {problem}")
        if path is None:
            raise (
                MalmoiError("M043", path=self.place, problem=problems[0].message)
                if problems
                else MalmoiError("M042", path=self.place.parent)
            )
        found = checkpoints.load(path)
        with torch.no_grad():
            checkpoints.load_module(path, self.objective, verified=True)
            self.optimizer.load({name: tensor.to(device) if tensor.ndim else tensor for name, tensor in found.optimizer.items()})
        self.group.wait()  # nobody changes what another one is still reading
        carry = self.group.shared_out({name: tensor.to(device) for name, tensor in found.carry.items()})
        return Position(**found.facts), checkpoints.unflatten(carry)

    def save(self, at: Position, carry: Any) -> None:
        """A checkpoint of this step, if there is none yet; older ones are pruned."""
        if self.saved != at.step:
            self.write(at, carry)
        if self.group.rank:
            return
        if at.best is not None and at.best < self._best:
            checkpoints.name_best(self.place, self.place / f"step-{at.step:08d}", at.best)
            self._best = at.best
        checkpoints.prune(self.place, self.spec.keep)

    def write(self, at: Position, carry: Any) -> None:
        """Write the checkpoint of a step, over one that may be there. Raises MalmoiError M045 if the disk is full."""
        tensors = self.group.gathered(checkpoints.flatten(carry))
        found = Checkpoint(at.step, asdict(at), self.optimizer.tensors(), tensors)
        with self._told_if_full():
            checkpoints.save(self.place, found, self.objective, writer=self.group.rank == 0)
        self.saved = at.step

    def roll_back(self, at: Position, progress: Progress, device: torch.device) -> tuple[Position, Any]:
        """From a spike in the step after `at` to the last good checkpoint, whose next batches are those after the spike. The checkpoint
        itself says so from then on."""
        before, carry = self.restore(progress, device)
        passed = at.passed + at.step - before.step + 1
        at = replace(before, passed=passed, rollbacks=at.rollbacks + 1, seconds=at.seconds, tokens=at.tokens)
        self.write(at, carry)
        return at, carry

    @contextmanager
    def _told_if_full(self) -> Iterator[None]:
        try:
            yield
        except Exception as failure:  # safetensors has its own exceptions
            full = isinstance(failure, OSError) and failure.errno in FULL
            if not full and not any(word in str(failure) for word in ("No space left", "code: 28", "File too large", "code: 27")):
                raise
            free, needed = shutil.disk_usage(self.place).free / 1e6, self.bytes() / 1e6
            raise MalmoiError("M045", path=self.place, free=free, needed=needed, what="a checkpoint") from failure
