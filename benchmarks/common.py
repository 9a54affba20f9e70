"""What the benchmarks share: texts as malmoi reads them, made-up texts of natural proportions, the machine, results as JSON."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malmoi.core.artifact import versions
from malmoi.core.recipe import RunSpec
from malmoi.core.seeds import seed_of
from malmoi.core.spec import override
from malmoi.corpus import read, word_splitter
from malmoi.objectives import BiLM, Carry, build
from malmoi.recipes import find
from malmoi.shards import Shards, Streams
from malmoi.train import Optimizer
from malmoi.train.loop import autocast
from malmoi.vocab import MARKS, Vocabulary, count_words

RESULTS = Path(__file__).resolve().parent / "results"
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def recipe(name: str, settings: Sequence[str]) -> RunSpec:
    """The spec of a recipe with `--set` applied."""
    return override(find(name), settings, shown=f"recipes {name}")


def corpus(sources: Sequence[str | Path], spec: RunSpec) -> tuple[Vocabulary, Shards]:
    """Vocabulary and shards (in memory) of a corpus, by the same functions as `malmoi pretrain`."""
    split = word_splitter(spec.text.words)
    vocabulary = Vocabulary.build(count_words(read(sources, spec.text), split), spec.characters)
    parts = [vocabulary.encode(split(document.text)) for document in read(sources, spec.text)]
    return vocabulary, Shards.of(np.concatenate(parts), np.cumsum([len(part) for part in parts]))


def made_up_vocabulary(size: int, spec: RunSpec, *, seed: int = 0) -> Vocabulary:
    """`size` words, marks included, of random letters, rarer ones longer; made without a sort over millions of strings."""
    random = np.random.default_rng(seed)
    count = size - len(MARKS)
    lengths = np.clip(random.poisson(1 + np.log2(np.arange(1, count + 1)) / 2.4), 1, 40)
    letters = random.choice(list(LETTERS), int(lengths.sum()))
    text, ends = "".join(letters), np.cumsum(lengths)
    words = [*MARKS, *(f"{text[end - length : end]}{rank}" for rank, (end, length) in enumerate(zip(ends, lengths, strict=True)))]
    vocabulary = Vocabulary.build({}, spec.characters)
    return Vocabulary(words=words, counts=np.zeros(size, np.int64), characters=vocabulary.characters)


def made_up_shards(size: int, tokens: int, *, seed: int = 0) -> Shards:
    """Documents of 25 words on average whose ids follow Zipf's law (exponent 1) over `size` words."""
    random = np.random.default_rng(seed)
    ranks = np.exp(random.random(tokens) * np.log(size - 2)).astype(np.int64) - 1
    lengths = random.geometric(1 / 25, tokens // 25 + 1)
    ends = np.cumsum(lengths)
    ends = np.append(ends[ends < tokens], tokens)
    return Shards.of(np.minimum(ranks, size - 4) + len(MARKS), ends)


@dataclass(frozen=True)
class Trainer:
    """What the loop trains with, one step at a time, without files, validation or checkpoints."""

    spec: RunSpec
    objective: BiLM
    optimizer: Optimizer
    streams: Streams
    device: torch.device

    @classmethod
    def of(cls, spec: RunSpec, vocabulary: Vocabulary, shards: Shards, device: torch.device) -> Trainer:
        """Fresh weights on `device`, and the streams of `shards`."""
        objective = build(spec, words=len(vocabulary), characters=vocabulary.characters.size).to(device).train()
        spelling = vocabulary.spelling
        streams = Streams(shards, lambda ids: spelling[ids], spec.stream.streams, spec.stream.window, spec.seed)
        return cls(spec, objective, Optimizer(objective, spec.training), streams, device)

    def step(self, number: int, carry: Carry) -> Carry:
        """One step as `malmoi.train.fit` does it; the carry for the next."""
        torch.manual_seed(seed_of(0, "step", number))
        with autocast(self.spec.training, self.device):
            loss = self.objective.loss(self.streams.batch(number).to(self.device), carry)
        (loss.total * self.spec.training.loss_scale).backward()
        self.optimizer.clip(self.spec.training.clip_norm)
        self.optimizer.step(self.spec.training.learning_rate)
        return loss.carry


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def operators(trainer: Trainer, carry: Carry, *, first: int, steps: int = 5, rows: int = 25) -> list[dict[str, Any]]:
    """torch's profile of some steps: operators by their own time, in milliseconds a step (on the device, if it is not the CPU)."""
    cuda = trainer.device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as profile:
        for number in range(first, first + steps):
            carry = trainer.step(number, carry)
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    table = sorted(((getattr(event, key), event.key, event.count) for event in profile.key_averages()), reverse=True)[:rows]
    return [{"name": name, "self_ms_a_step": round(time / steps / 1e3, 3), "calls_a_step": count / steps} for time, name, count in table]


def peak_rss() -> int:
    """The most memory that this process has held so far, in bytes."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def machine() -> dict[str, Any]:
    """What decides a speed."""
    facts: dict[str, Any] = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        facts["cpu"] = names[0] if names else facts["cpu"]
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return {**facts, "python": platform.python_version(), "versions": versions()}


def finish(name: str, result: dict[str, Any], out: Path | None, *, quiet: bool = False) -> None:
    """Print the result as JSON (unless `quiet`), and write it to `out` (`benchmarks/results/NAME.json` is the place of those that are
    committed)."""
    result = {"benchmark": name, "machine": machine(), **result}
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if not quiet:
        print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
