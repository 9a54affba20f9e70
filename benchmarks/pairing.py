"""Two programs step by step in turn: A B A B ..., each a process of its own, so that whatever else the machine does hits both alike.

A side is a process that trains as it always does, but waits at the end of each step until its turn comes again (`Turns`); the time between
two waits is the whole cycle of a step: batch, forward, backward, optimizer, and whatever its loop does beside that. `measure` runs
two of them and takes medians. Only one of the two computes at any time.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NEEDED = ("transformers", "accelerate", "datasets", "sacrebleu")


def require(*modules: str) -> None:
    """Leave with a sentence where a module is missing that only the benchmarks need."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        sys.exit(
            f"this benchmark compares malmoi with {', '.join(missing)}, which is not installed here.\n"
            f"pip install -c constraints.txt 'malmoi[bench]'   (or: pip install {' '.join(NEEDED)})"
        )


def resident(field: str = "VmRSS") -> int:
    """Memory of this process in bytes: what it holds now, or (VmHWM) the most that it has held; the latter where /proc is missing."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Turns:
    """The side of the process that trains. Make one after the imports, when the process is idle: its memory is counted from there."""

    def __init__(self) -> None:
        self.idle = resident()
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # whatever else is printed is no answer
        self.began = 0.0

    def wait(self) -> None:
        """Wait for the turn; without another one, the process ends."""
        if not sys.stdin.readline():
            self._say({"idle": self.idle, "peak": resident("VmHWM")})
            os._exit(0)
        self.began = time.perf_counter()

    def done(self, tokens: int) -> bool:
        """A step over `tokens` real tokens (no padding) is done; wait for the next. False: training goes on."""
        self._say({"seconds": time.perf_counter() - self.began, "tokens": int(tokens)})
        self.wait()
        return False

    def _say(self, facts: dict[str, Any]) -> None:
        self.answers.write(json.dumps(facts) + "\n")
        self.answers.flush()


@dataclass
class Side:
    """A process that takes turns, as its parent sees it."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    steps: list[dict[str, float]]

    @classmethod
    def start(cls, name: str, job: dict[str, Any], *, threads: int, log: Path) -> Side:
        """`sides.py` with a job; its standard error goes to `log`."""
        here = Path(__file__).resolve().parent
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        line = [sys.executable, str(here / "sides.py"), json.dumps(job)]
        with open(log, "w") as errors:
            process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True)
        return cls(name, process, log, [])

    def step(self) -> None:
        """Let it do a step, and note what it says of it."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.steps.append(self._answer())

    def end(self) -> dict[str, float]:
        """Let it end; what it says of its memory."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        facts = self._answer()
        self.process.wait()
        return facts

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            sys.exit(f"{self.name} ended with status {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        found: dict[str, float] = json.loads(line)
        return found


def measure(jobs: dict[str, dict[str, Any]], *, steps: int, warmup: int, threads: int, work: Path) -> dict[str, dict[str, Any]]:
    """name -> tokens_per_second, step_seconds (medians), peak_bytes above the idle process; every side takes one step at a time in turn."""
    sides = [Side.start(name, job, threads=threads, log=work / f"{name}.log") for name, job in jobs.items()]
    try:
        for _ in range(warmup + steps):
            for side in sides:
                side.step()
        memory = {side.name: side.end() for side in sides}
    finally:
        for side in sides:
            if side.process.poll() is None:
                side.process.kill()
    return {side.name: summary(side.steps[warmup:], memory[side.name]) for side in sides}


def summary(steps: Sequence[dict[str, float]], memory: dict[str, float]) -> dict[str, Any]:
    """Medians; the speed is the mean number of tokens over the median time, so that padding counts as it falls on average."""
    seconds = [step["seconds"] for step in steps]
    tokens = sum(step["tokens"] for step in steps) / len(steps)
    middle = statistics.median(seconds)
    return {
        "tokens_per_second": round(tokens / middle, 1),
        "step_seconds": round(middle, 4),
        "seconds_of_steps": [round(each, 3) for each in seconds],
        "steps": len(steps),
        "tokens_per_step": round(tokens, 1),
        "idle_bytes": int(memory["idle"]),
        "peak_bytes": int(memory["peak"] - memory["idle"]),
    }


def paired(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """The ratio of two speeds from steps that stood beside each other, median over the pairs: what slows both falls out."""
    ratios = [b / a for a, b in zip(ours["seconds_of_steps"], theirs["seconds_of_steps"], strict=True)]
    return round(statistics.median(ratios) * ours["tokens_per_step"] / theirs["tokens_per_step"], 3)


@dataclass(frozen=True)
class Row:
    """One line of the table: what is compared, the two values, their ratio, and what it should be (`at_least` or at most)."""

    name: str
    ours: float
    theirs: float
    unit: str
    goal: float
    at_least: bool = True

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs else float("inf")

    @property
    def passed(self) -> bool:
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        sign = ">=" if self.at_least else "<="
        return {
            "name": self.name,
            "malmoi": round(self.ours, 2),
            "other": round(self.theirs, 2),
            "unit": self.unit,
            "ratio": round(self.ratio, 3),
            "goal": f"{sign} {self.goal:g}",
            "passed": self.passed,
        }


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [f"{'comparison':58} {'malmoi':>10} {'other':>10} {'unit':9} {'ratio':>7}  goal"]
    for row in rows:
        sign, verdict = (">=" if row.at_least else "<="), ("PASS" if row.passed else "short")
        lines.append(f"{row.name:58} {row.ours:10,.1f} {row.theirs:10,.1f} {row.unit:9} {row.ratio:7.3f}  {sign} {row.goal:.3g}  {verdict}")
    return "\n".join(lines)
