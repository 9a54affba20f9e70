"""The smallest things that can be trained: a regression whose batches may hold any number of predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from malmoi.core.progress import Silent
from malmoi.core.recipe import AdagradSpec, TrainingSpec
from malmoi.train import fit

WIDTH = 3


@dataclass(frozen=True)
class Sample:
    """x (R, WIDTH), y (R,); NaN in y: no prediction. keys (R,): which samples these are."""

    x: Tensor
    y: Tensor
    keys: Tensor

    def to(self, device: torch.device | str) -> Sample:
        return Sample(*(part.to(device) for part in (self.x, self.y, self.keys)))


@dataclass(frozen=True)
class ToyLoss:
    total: Tensor
    parts: dict[str, Tensor]
    count: int
    carry: Any


class Toy(nn.Module):
    """Least squares. `seen` counts how often each sample was trained on; the carry counts batches in each row."""

    def __init__(self, samples: int = 64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(WIDTH, 2, generator=generator))
        self.bias = nn.Parameter(torch.zeros(2))
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("seen", torch.zeros(samples, dtype=torch.int64))

    def loss(self, batch: Sample, carry: Any = None) -> ToyLoss:
        there = ~batch.y.isnan()
        found = (self.dropout(batch.x[there]) @ self.weight + self.bias).sum(1)
        error = (found - batch.y[there]).square()
        if self.training:
            self.seen.index_add_(0, batch.keys[there] % len(self.seen), torch.ones_like(batch.keys[there]))
        before = carry["rows"][0] if carry else torch.zeros(len(batch.x))
        total = error.sum() / max(len(error), 1)
        return ToyLoss(total, {"error": total}, len(error), {"rows": (before + batch.x[:, 0].detach(),)})


class Samples:
    """Batch `number` holds the samples number*rows ...; the first `counts[number % len(counts)]` of them have a target."""

    positions = 64

    def __init__(self, rows: int = 4, counts: tuple[int, ...] = (4,), *, rank: int = 0, world: int = 1) -> None:
        self.rows, self.counts, self.rank, self.world = rows, counts, rank, world
        self.tokens_per_step = rows
        self.broken: dict[int, float] = {}
        """Batch -> what is multiplied onto its targets."""
        self.asked: list[int] = []

    def batch(self, number: int) -> Sample:
        self.asked.append(number)
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(self.rows, WIDTH, generator=generator)
        y = x @ torch.tensor([1.0, -2.0, 0.5]) * self.broken.get(number, 1.0)
        y[self.counts[number % len(self.counts)] :] = torch.nan
        keys = torch.arange(number * self.rows, (number + 1) * self.rows)
        return Sample(x[self.rank :: self.world], y[self.rank :: self.world], keys[self.rank :: self.world])


def training(**fields: Any) -> TrainingSpec:
    """Twenty steps of Adagrad."""
    return TrainingSpec(**{"steps": 20, "optimizer": AdagradSpec(), "learning_rate": 0.1, "validations": 0, **fields})


def train(directory: Any, spec: TrainingSpec, *, batches: Any = None, toy: Toy | None = None, **options: Any) -> tuple[Toy, Any]:
    """`fit` of a toy; (toy, outcome)."""
    directory.mkdir(exist_ok=True)
    toy = toy or Toy()
    known = {"progress": Silent(), "device": torch.device("cpu"), "seed": 0, **options}
    return toy, fit(toy, batches=batches or Samples(), spec=spec, directory=directory, **known)


def without_dropout(toy: Toy) -> Toy:
    """The toy with dropout 0."""
    toy.dropout.p = 0.0
    return toy


def altered(spec: TrainingSpec, **fields: Any) -> TrainingSpec:
    """A spec with other fields, not validated again."""
    return spec.model_copy(update=fields)


__all__ = ["Sample", "Samples", "Toy", "altered", "replace", "train", "training", "without_dropout"]
