"""Where the time of a training step goes: our own split by stage, and torch's profile by operator.

    python benchmarks/profile_step.py --corpus /tmp/wiki/en/train.txt --recipe elmo-small --steps 20 --table

Without --corpus the text is made up: as many words as the recipe's output vocabulary, in Zipf's proportions. The stages are those of
the real step; the backward pass is cut where the stages meet (the gradients are the same) so that each can be timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, Trainer, corpus, finish, made_up_shards, made_up_vocabulary, operators, recipe, synchronize
from torch import Tensor

from malmoi.core.recipe import RunSpec
from malmoi.core.seeds import seed_of
from malmoi.objectives import Carry
from malmoi.shards import Shards
from malmoi.train.loop import autocast
from malmoi.vocab import Vocabulary


class Clock:
    """Seconds by stage. A stage ends where the next begins."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, defaultdict[str, list[float]](list)
        self.start()

    def start(self) -> None:
        """Begin the first stage of a step."""
        synchronize(self.device)
        self.at = time.perf_counter()

    def mark(self, stage: str) -> None:
        """End `stage`."""
        before = self.at
        self.start()
        self.seconds[stage].append(self.at - before)

    def medians(self) -> dict[str, float]:
        """Milliseconds by stage."""
        return {stage: statistics.median(seconds) * 1e3 for stage, seconds in self.seconds.items()}


def leaf(tensor: Tensor) -> Tensor:
    """The same values as the beginning of a new graph."""
    return tensor.detach().requires_grad_()


def staged_step(trainer: Trainer, *, step: int, carry: Carry, clock: Clock) -> Carry:
    """`Trainer.step`, with the time of each stage."""
    objective, training = trainer.objective, trainer.spec.training
    clock.start()
    batch = trainer.streams.batch(step).to(clock.device)
    clock.mark("batch")
    torch.manual_seed(seed_of(0, "step", step))
    with autocast(training, clock.device):
        x = objective.forward_model.frontend(batch)
        clock.mark("front-end")
        x_leaf = leaf(x)
        traces = objective.traces_of(x_leaf, carry)
        clock.mark("LSTM")
        lasts = [traces[name].last for name, _ in objective.directions()]
        leaves = [leaf(last) for last in lasts]
        predicted = batch.targets["next"] >= 0
        targets = objective._output_ids(batch.targets["next"][predicted])
        total, _ = objective.head.loss(objective.forward_model.dropout(torch.cat(leaves))[predicted], targets)
        clock.mark("head")
    (total / len(targets) * training.loss_scale).backward()
    clock.mark("head backward")
    torch.autograd.backward(lasts, [leaf.grad for leaf in leaves])
    clock.mark("LSTM backward")
    x.backward(x_leaf.grad)
    clock.mark("front-end backward")
    trainer.optimizer.clip(training.clip_norm)
    clock.mark("clip")
    trainer.optimizer.step(training.learning_rate)
    clock.mark("optimizer")
    return {name: tuple(tuple(tensor.detach() for tensor in block) for block in trace.state) for name, trace in traces.items()}


def text(sources: list[str], spec: RunSpec) -> tuple[Vocabulary, Shards]:
    """A corpus, or a made-up one."""
    if sources:
        return corpus(sources, spec)
    size = spec.model.head.size
    return made_up_vocabulary(size, spec), made_up_shards(size, 1_000_000)


def profile(trainer: Trainer, *, steps: int, warmup: int, table: bool) -> dict[str, Any]:
    """Medians over `steps` steps by stage, then of whole steps, then (with `table`) the operators."""
    clock, whole, carry = Clock(trainer.device), Clock(trainer.device), None
    for step in range(warmup):
        carry = trainer.step(step, carry)
    for step in range(warmup, warmup + steps):
        carry = staged_step(trainer, step=step, carry=carry, clock=clock)
    for step in range(warmup + steps, warmup + 2 * steps):
        whole.start()
        carry = trainer.step(step, carry)
        whole.mark("step")
    stages, step_ms = clock.medians(), whole.medians()["step"]
    characters = [trainer.streams.batch(step).characters for step in range(5)]
    result = {
        "stage_ms": {stage: round(value, 3) for stage, value in stages.items()},
        "stage_share": {stage: round(value / sum(stages.values()), 4) for stage, value in stages.items()},
        "step_ms": round(step_ms, 3),
        "words_per_second": round(trainer.streams.tokens_per_step / step_ms * 1e3),
        "distinct_words_a_step": [len(rows) for rows in characters if rows is not None],
    }
    if table:
        result["operators"] = operators(trainer, carry, first=warmup + 2 * steps)
    return result


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="elmo-small")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--corpus", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", action="store_true", help="also torch's profile by operator")
    parser.add_argument("--out", type=Path, default=RESULTS / "profile_step.json")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    spec = recipe(arguments.recipe, arguments.settings)
    trainer = Trainer.of(spec, *text(arguments.corpus, spec), torch.device(arguments.device))
    result = profile(trainer, steps=arguments.steps, warmup=arguments.warmup, table=arguments.table)
    facts = {"recipe": spec.name, "settings": arguments.settings, "corpus": arguments.corpus or "made up", "steps": arguments.steps}
    finish("profile_step", {**facts, **result}, arguments.out)


if __name__ == "__main__":
    main()
