"""What is pre-training worth? Fine-tuned runs beside the same architectures from random weights, on the same examples with the same seeds.

    python benchmarks/tasks_finetune.py --data ../shared/data --runs en=runs/bert-en en=runs/gpt-en ko=runs/bert-ko --minutes 60

Tasks of the language of each run: KorSTS, NSMC, KLUE-NER; SST-2, WNUT-17, the Wikipedia part of SQuAD-shifts (divided by title). A cell is
a run, a task and a side (pre-trained or scratch). Every cell learns with each of --rates once; the rate that is best on dev is its own
from then on, so that neither side is held to the other's. Scores are of the test examples, or of dev where the answers of the test are
not known (`on`; both sides are then a little too good). Seeds go round: every cell has its first one before any has its second, and
--minutes ends between two. The result is written after each. What counts without a model (`malmoi.tasks.baselines`) stands beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, finish

from malmoi.core.devices import find_device
from malmoi.core.spec import override
from malmoi.run import Run, load_run
from malmoi.tasks import find_task
from malmoi.tasks.baselines import baselines
from malmoi.tasks.probe import known, shortened
from malmoi.tasks.spec import TuneSpec
from malmoi.tasks.table import difference, interval, table
from malmoi.tasks.task import Splits, Task
from malmoi.tasks.tune import tune

PLACES = {
    "korsts": "kornlu/KorSTS",
    "nsmc": "nsmc_raw",
    "klue-ner": "klue_dev",
    "sst2": "sst2_glue",
    "wnut17": "wnut17",
    "squad1": "squadshifts",
}
TALL = {"squad1": 4}
"""Tasks that learn with a part of --limit, as an example is several rows."""
SIDES = ("pre-trained", "scratch")


@dataclass
class Cell:
    """One run on one task, from one of two beginnings. tried: dev score of each rate with the first seed."""

    run: Run
    task: Task
    splits: Splits
    side: str
    on: str
    rate: float = 0.0
    tried: dict[str, float] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)
    dev: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    seconds: float = 0.0
    inputs: dict[str, Any] = field(default_factory=dict)

    def learn(self, seed: int, rates: Sequence[float], settings: Sequence[str]) -> None:
        """One seed; the first one also decides the rate."""
        found = {rate: self._tuned(seed, rate, settings) for rate in (rates if not self.scores else [self.rate])}
        if not self.scores:
            self.tried = {str(rate): one["mean"]["dev"]["mean"] for rate, one in found.items()}
            self.rate = max(found, key=lambda rate: self.tried[str(rate)])
        one = found[self.rate]
        self.inputs = one["inputs"]
        self.scores.append(one["mean"][self.on]["mean"])
        self.dev.append(one["mean"]["dev"]["mean"])
        self.epochs.append(one["seeds"][0]["epoch"])

    def facts(self) -> dict[str, Any]:
        """What the result keeps."""
        names = ("side", "on", "rate", "tried", "scores", "dev", "epochs", "inputs")
        return {
            "run": self.run.path.name,
            "recipe": self.run.spec.name,
            "step": self.run.step,
            "task": self.task.name,
            "metric": self.task.main,
            **{name: getattr(self, name) for name in names},
            "seconds": round(self.seconds, 1),
            "mean": asdict(interval(self.scores)),
        }

    def _tuned(self, seed: int, rate: float, settings: Sequence[str]) -> dict[str, Any]:
        spec = override(TuneSpec(), [*settings, f"learning.learning_rate={rate}"])
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="malmoi-finetune-") as folder:
            out = Path(folder) / "run"
            scratch = self.side == "scratch"
            found = tune(self.run, self.task, splits=self.splits, out=out, spec=spec, seeds=[seed], from_scratch=scratch)
        self.seconds += time.monotonic() - begun
        return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds kornlu, nsmc_raw, ...")
    parser.add_argument("--runs", nargs="+", required=True, metavar="LANGUAGE=RUN")
    parser.add_argument("--tasks", nargs="+", default=list(PLACES), choices=list(PLACES))
    parser.add_argument("--limit", type=int, default=4000, help="examples to learn from")
    parser.add_argument("--scored", type=int, default=1000, help="examples of dev, and of test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", nargs="+", type=float, default=[3e-4, 1e-3])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS / "tasks_finetune.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cells, beside = prepared(arguments)
    settings = ["learning.epochs=5", "learning.patience=2", *arguments.settings]
    begun = time.monotonic()
    for seed, cell in ((seed, cell) for seed in range(arguments.seeds) for cell in cells):
        if seed and time.monotonic() - begun > 60 * arguments.minutes:
            break
        cell.learn(seed, arguments.rates, settings)
        print(f"seed {seed}  {cell.run.path.name}  {cell.task.name}  {cell.side}  {cell.scores[-1]:.4f}", flush=True)
        done = [each for each in cells if each.scores]
        given = {name: getattr(arguments, name) for name in ("limit", "scored", "seeds", "rates", "minutes", "threads")}
        result = {"given": given, "settings": settings, "cells": [each.facts() for each in done], "baselines": beside}
        finish("tasks_finetune", {**result, "gains": list(gains(done))}, arguments.out, quiet=True)
    print(shown(cells, beside))


def prepared(arguments: argparse.Namespace) -> tuple[list[Cell], dict[str, Any]]:
    """(every cell, the baselines of each task)."""
    device = find_device(arguments.device)
    pairs = [given.split("=", 1) for given in arguments.runs]
    runs = [(language, load_run(path, device=device)) for language, path in pairs]
    cells: list[Cell] = []
    beside: dict[str, Any] = {}
    for name in arguments.tasks:
        task = find_task(name)
        mine = [run for language, run in runs if language == task.language]
        if not mine:
            continue
        read = task.read(arguments.data / PLACES[name])
        splits = replace(
            shortened(read, arguments.scored), train=shortened(read, max(1, arguments.limit // TALL.get(name, 1))).train, made=read.made
        )
        on = "test" if known(splits.test) else "dev"
        sizes = {split: len(getattr(splits, split)) for split in ("train", "dev", "test")}
        found = baselines(task, splits, on=on)  # type: ignore[arg-type]
        scores = {kind: one.scores[task.main] for kind, one in found.items()}
        beside[name] = {"on": on, "examples": sizes, "made": dict(read.made), "metric": task.main, "scores": scores}
        cells += [Cell(run, task, splits, side, on) for run in mine for side in SIDES]
    return cells, beside


def gains(cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    """Pre-trained minus scratch, seed by seed."""
    for one in (cell for cell in cells if cell.side == SIDES[0]):
        for other in (cell for cell in cells if cell.side == SIDES[1] and cell.run is one.run and cell.task is one.task):
            count = min(len(one.scores), len(other.scores))
            if count:
                gain = asdict(difference(one.scores[:count], other.scores[:count]))
                yield {"run": one.run.path.name, "task": one.task.name, "gain": gain}


def shown(cells: Sequence[Cell], beside: dict[str, Any]) -> str:
    """The table: a line for each run and task."""
    told = {(one["run"], one["task"]): one["gain"] for one in gains(cells)}
    rows = []
    for cell in (cell for cell in cells if cell.side == SIDES[0] and cell.scores):
        other = next(each for each in cells if each.side == SIDES[1] and each.run is cell.run and each.task is cell.task)
        gain = told.get((cell.run.path.name, cell.task.name))
        best = max(beside[cell.task.name]["scores"].items(), key=lambda pair: pair[1], default=("none", float("nan")))
        both = [str(interval(each.scores)) if each.scores else "-" for each in (cell, other)]
        difference_of = "-" if gain is None else f"{gain['mean']:+.4f}" + ("" if gain["half"] is None else f" ± {gain['half']:.4f}")
        where = f"{cell.task.name} ({cell.task.main}, {cell.on})"
        rows.append([where, cell.run.path.name, *both, difference_of, f"{best[0]} {best[1]:.4f}", len(cell.scores)])
    return table(["task", "run", *SIDES, "gain", "best baseline", "seeds"], rows, markdown=True)


if __name__ == "__main__":
    main()
