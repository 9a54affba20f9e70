"""What safety costs: memory over many steps, and the share of the time that goes into checkpoints.

    python benchmarks/reliability_cost.py --recipe elmo-tiny --steps 10000

Both on made-up text. Memory: resident bytes every 100 steps of a run of small steps (validation and checkpoints included), and the slope
of a line through those after the first fifth. Time: seconds spent in writing checkpoints every 100 steps, as a share of a run of
the recipe as it stands.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from common import RESULTS, finish, made_up_shards, made_up_vocabulary, recipe

from malmoi.core.devices import resident
from malmoi.core.progress import Silent
from malmoi.core.recipe import RunSpec
from malmoi.objectives import build
from malmoi.shards import Streams
from malmoi.train import fit
from malmoi.train.keeper import Keeper

SMALL = [
    "model.width=16",
    "model.backbone.mixer.cell=16",
    "model.frontend.filters=[[1,8],[2,8]]",
    "model.head.size=500",
    "stream.streams=4",
    "stream.window=5",
]


class Resident(Silent):
    """Resident bytes every 100 steps."""

    def __init__(self) -> None:
        self.found: list[tuple[float, int]] = []

    def advance(self, done: float, facts: object = None) -> None:
        """See core.progress."""
        if done % 100 == 0:
            self.found.append((done, resident()))


def train(spec: RunSpec, folder: Path, progress: Silent) -> float:
    """A run over made-up text; its seconds."""
    vocabulary = made_up_vocabulary(spec.model.head.size + 100, spec)
    shards = made_up_shards(len(vocabulary), 200_000)
    objective = build(spec, words=len(vocabulary), characters=vocabulary.characters.size)
    spelling = vocabulary.spelling
    batches = Streams(shards, lambda ids: spelling[ids], spec.stream.streams, spec.stream.window, spec.seed)
    began = time.monotonic()
    common: dict[str, Any] = {"seed": spec.seed, "directory": folder, "device": torch.device("cpu"), "progress": progress}
    fit(objective, batches=batches, spec=spec.training, validate=lambda: {"loss": 1.0}, **common)
    return time.monotonic() - began


def memory(steps: int, name: str) -> dict[str, Any]:
    """Slope of the resident memory over `steps` small steps, in MB per 1,000 steps."""
    progress = Resident()
    with tempfile.TemporaryDirectory(prefix="malmoi-reliability-") as folder:
        settings = [*SMALL, f"training.steps={steps}", "training.minutes=null", "training.save_steps=500", "training.validations=20"]
        seconds = train(recipe(name, settings), Path(folder), progress)
    late = np.array(progress.found[len(progress.found) // 5 :], dtype=np.float64)
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0]) * 1000 / 1e6
    ends = {"first_mb": round(progress.found[0][1] / 1e6, 1), "last_mb": round(progress.found[-1][1] / 1e6, 1)}
    return {"steps": steps, "seconds": round(seconds, 1), "mb_per_1000_steps": round(slope, 4), **ends}


def checkpoints(steps: int, name: str) -> dict[str, Any]:
    """Share of the time of a run that checkpoints every 100 steps take."""
    spent: list[float] = []
    real = Keeper.save

    def timed(self: Keeper, *arguments: Any) -> None:
        began = time.monotonic()
        real(self, *arguments)
        spent.append(time.monotonic() - began)

    with tempfile.TemporaryDirectory(prefix="malmoi-reliability-") as folder, mock.patch.object(Keeper, "save", timed):
        settings = [f"training.steps={steps}", "training.minutes=null", "training.save_steps=100", "training.validations=0"]
        seconds = train(recipe(name, settings), Path(folder), Silent())
        size = sum(file.stat().st_size for file in max(Path(folder, "checkpoints").glob("step-*")).iterdir())
    facts = {"steps": steps, "seconds": round(seconds, 1), "checkpoints": len(spent), "megabytes": round(size / 1e6, 1)}
    return {**facts, "seconds_a_checkpoint": round(sum(spent) / len(spent), 3), "share": round(sum(spent) / seconds, 4)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="elmo-tiny")
    parser.add_argument("--steps", type=int, default=10_000, help="small steps of the measure of memory")
    parser.add_argument("--timed-steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS / "reliability_cost.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {"recipe": arguments.recipe, "memory": memory(arguments.steps, arguments.recipe)}
    print(found, file=sys.stderr)
    found["checkpoints"] = checkpoints(arguments.timed_steps, arguments.recipe)
    finish("reliability_cost", found, arguments.out)
    if found["memory"]["mb_per_1000_steps"] >= 1.0 or found["checkpoints"]["share"] >= 0.03:
        sys.exit(1)


if __name__ == "__main__":
    main()
