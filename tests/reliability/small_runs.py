"""A small run of every objective, in memory, and groups of processes to run them in."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch

from malmoi.core.journal import read_journal
from malmoi.core.marks import Marks
from malmoi.core.progress import Silent
from malmoi.core.recipe import (
    AdagradSpec,
    AdamWSpec,
    AttentionSpec,
    BackboneSpec,
    CausalSpec,
    LSTMSpec,
    MaskedSpec,
    MLPSpec,
    ModelSpec,
    ReplacedSpec,
    RowsSpec,
    RunSpec,
    SampledSoftmaxSpec,
    StreamSpec,
    SubwordSpec,
    TokenEmbeddingSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)
from malmoi.objectives import build
from malmoi.shards import Packed, Shards, Streams
from malmoi.train import Alone, checkpoint, fit, processes
from malmoi.train.loop import Outcome

WORDS = 50
MARKS = Marks(pad=0, unknown=1, begin=2, end=3, mask=4)
OBJECTIVES = ("bilm", "causal", "masked", "replaced")


class StopAt(Silent):
    """Sends the signal of Ctrl-C when a step is done."""

    def __init__(self, step):
        self.step = step

    def advance(self, done, facts=None):
        if done == self.step:
            signal.raise_signal(signal.SIGINT)


def spec_of(objective: str, *, dropout: float = 0.1, sampled: bool = True, **training: Any) -> RunSpec:
    """Twenty steps, four rows or streams."""
    fields = {"steps": 20, "learning_rate": 0.01, "warmup": 0.2, "decay": "linear", "validations": 0, "optimizer": AdamWSpec(), **training}
    common = {"name": objective, "training": TrainingSpec(**fields)}
    if objective == "bilm":
        softmax = {"softmax": SampledSoftmaxSpec(samples=10)} if sampled else {}
        head = VocabularyHeadSpec(size=40, **softmax)
        backbone = BackboneSpec(mixer=LSTMSpec(cell=8))
        model = ModelSpec(width=6, dropout=dropout, frontend=TokenEmbeddingSpec(), backbone=backbone, head=head)
        return RunSpec(model=model, stream=StreamSpec(streams=4, window=5), **common)
    kinds = {"causal": CausalSpec(), "masked": MaskedSpec(pair="order"), "replaced": ReplacedSpec(generator=0.5)}
    mixer = AttentionSpec(heads=2, sees="causal" if objective == "causal" else "full", dropout=dropout)
    backbone = BackboneSpec(mixer=mixer, feedforward=MLPSpec(width=16), norm="pre", residual_from=None)
    frontend = TokenEmbeddingSpec(positions="learned", length=24, types=2 if objective == "masked" else 0)
    model = ModelSpec(
        width=8, dropout=dropout, frontend=frontend, backbone=backbone, head=VocabularyHeadSpec(size=WORDS, tied=True, transform="gelu")
    )
    return RunSpec(model=model, objective=kinds[objective], subwords=SubwordSpec(size=WORDS), stream=RowsSpec(rows=4, length=24), **common)


def batches_of(spec: RunSpec, *, rank: int = 0, world: int = 1) -> Streams | Packed:
    """Sixty documents of random ids."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(4, 19, 60)
    ids, ends = generator.integers(5, WORDS, lengths.sum()), np.cumsum(lengths)
    if isinstance(spec.stream, StreamSpec):
        return Streams(Shards.of(ids, ends), None, spec.stream.streams, spec.stream.window, 3, rank, world)
    breaks = np.arange(0, int(ends[-1]), 3)
    shards = Shards.of(ids, ends, breaks=np.unique(np.concatenate([breaks, ends[:-1]])))
    layout = {"causal": "causal", "masked": "order", "replaced": "single"}[spec.name]
    options = {"rows": spec.stream.rows, "length": spec.stream.length, "seed": 3, "rank": rank, "world": world}
    return Packed(shards, marks=MARKS, layout=layout, **options)


def run(spec: RunSpec, directory: Path, *, group: Alone | None = None, batches: Any = None, **options: Any) -> tuple[Any, Outcome]:
    """`fit`; (objective, outcome)."""
    torch.set_num_threads(1)
    group = group or Alone()
    directory.mkdir(exist_ok=True)
    objective = build(spec, words=WORDS, characters=0, marks=None if spec.name == "bilm" else MARKS)
    torch.manual_seed(time.monotonic_ns() % 1000)  # what the random state was before must not matter
    batches = batches or batches_of(spec, rank=group.rank, world=group.world)
    common = {"progress": Silent(), "seed": spec.seed, "device": torch.device("cpu"), **options}
    return objective, fit(objective, batches=batches, spec=spec.training, directory=directory, group=group, **common)


def state(directory: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the last checkpoint."""
    path = checkpoint.steps(directory / "checkpoints")[-1]
    found = checkpoint.load(path)
    model = checkpoint.load_file(path / "model.safetensors")
    parts = {"model": model, "optimizer": found.optimizer, "carry": found.carry}
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def losses(directory: Path) -> list[dict[str, Any]]:
    """The record, times apart."""
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "tokens_per_second")}
        for line in read_journal(directory / "metrics.jsonl")
    ]


def together(world: int, work: Callable[[Alone], None], *, sharded: bool = False, patience: float = 60.0) -> list[int | None]:
    """`work(group)` in `world` processes; their exit statuses."""
    children = start(world, work, sharded=sharded, patience=patience)
    for child in children:
        child.join(300)
    for child in children:
        child.kill()  # nobody is left behind
    return [child.exitcode for child in children]


def start(world: int, work: Callable[[Alone], None], *, sharded: bool = False, patience: float = 60.0) -> list[Any]:
    """`world` processes that have just been started, by a server that has torch and no threads (a process forked from one with threads
    may wait forever for a lock that one of them held). `work` may be any function of a test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["torch.distributed.fsdp", "malmoi.train"])
    known = {"WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "MALMOI_PATIENCE": patience, "GLOO_SOCKET_IFNAME": "lo"}

    variables = {name: str(value) for name, value in known.items()}
    for module in (sys.modules[work.__module__], sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)  # the server knows no tests
    child = ByValue(partial(_child, variables, work, sharded))
    children = [server.Process(target=child, args=(rank,)) for rank in range(world)]
    for each in children:
        each.start()
    return children


class ByValue:
    """A function that another process gets whole, with what it refers to, and calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return cloudpickle.loads, (cloudpickle.dumps(self.function),)


def _child(variables: dict[str, str], work: Callable[[Alone], None], sharded: bool, rank: int) -> None:
    os.environ.update({**variables, "RANK": str(rank), "LOCAL_RANK": str(rank)})
    torch.set_num_threads(1)
    with processes(torch.device("cpu"), sharded=sharded) as group:
        work(group)


__all__ = ["AdagradSpec", "AdamWSpec", "OBJECTIVES", "StopAt", "batches_of", "losses", "run", "spec_of", "start", "state", "together"]
