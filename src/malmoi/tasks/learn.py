"""The loop in which a head, or a whole model, learns a task: some epochs over examples, the best one on the dev set is kept.

Pre-training has its own loop (`malmoi.train`), which survives crashes; a task is learned in minutes, so this one is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from malmoi.core.seeds import permutation, seed_of
from malmoi.tasks.spec import LearningSpec

B = TypeVar("B")


@dataclass(frozen=True)
class Group:
    """Parameters that learn at `rate` times the learning rate, from epoch `begins` on."""

    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    begins: int = 0


@dataclass(frozen=True)
class Learned:
    """score: the best one on the dev set, after `epoch` (from 1). curve, losses: score and mean loss of every epoch."""

    score: float
    epoch: int
    curve: tuple[float, ...]
    losses: tuple[float, ...]


def learn(
    module: nn.Module,
    *,
    examples: Sequence[B],
    loss: Callable[[list[B]], Tensor],
    score: Callable[[], float],
    spec: LearningSpec,
    seed: int,
    groups: Sequence[Group] | None = None,
    told: Callable[[float, dict[str, Any]], None] | None = None,
) -> Learned:
    """Train `module` on `examples` and leave it with the weights of its best epoch, in evaluation mode.

    loss: the mean loss of some examples, differentiable, with `module` in training mode. score: on the dev set, higher is better, called
    after each epoch in evaluation mode without gradients. Order and dropout are decided by (seed, epoch). told: (share done, facts).
    """
    parts = groups or [Group([parameter for parameter in module.parameters() if parameter.requires_grad])]
    optimizer = torch.optim.AdamW(_decayed(parts, spec), lr=spec.learning_rate, fused=True)
    total = spec.epochs * max(1, -(-len(examples) // spec.batch))
    best, kept, curve, losses, step = -float("inf"), {}, [], [], 0
    for epoch in range(spec.epochs):
        for part in parts:
            for parameter in part.parameters:
                parameter.requires_grad_(epoch >= part.begins)
        torch.manual_seed(seed_of(seed, "task", epoch))
        module.train()
        summed = 0.0
        for some in _batches(examples, spec.batch, seed=seed, epoch=epoch):
            _rate(optimizer, spec, step, total)
            value = loss(some)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_([p for part in parts for p in part.parameters], spec.clip_norm)
            optimizer.step()
            summed, step = summed + value.item() * len(some), step + 1
            if told is not None:
                told(step / total, {"loss": value.item()})
        module.eval()
        with torch.no_grad():
            curve.append(score())
        losses.append(summed / max(len(examples), 1))
        if curve[-1] > best:
            best, kept = curve[-1], {name: value.detach().clone() for name, value in module.state_dict().items()}
        if len(curve) - 1 - int(np.argmax(curve)) >= spec.patience:
            break
    if kept:
        module.load_state_dict(kept)
    return Learned(best, int(np.argmax(curve)) + 1, tuple(curve), tuple(losses))


def _batches(examples: Sequence[B], size: int, *, seed: int, epoch: int) -> Iterator[list[B]]:
    order = permutation(len(examples), seed, "order", epoch)
    for start in range(0, len(order), size):
        yield [examples[int(place)] for place in order[start : start + size]]


def _decayed(parts: Sequence[Group], spec: LearningSpec) -> list[dict[str, Any]]:
    """The optimizer's groups: matrices with decay, all else without."""
    found = []
    for part in parts:
        for decays in (True, False):
            chosen = [parameter for parameter in part.parameters if (parameter.ndim > 1) == decays]
            found.append({"params": chosen, "weight_decay": spec.weight_decay if decays else 0.0, "rate": part.rate})
    return [group for group in found if group["params"]]


def _rate(optimizer: torch.optim.Optimizer, spec: LearningSpec, step: int, total: int) -> None:
    rising = spec.warmup * total
    share = (step + 1) / rising if step < rising else (total - step) / max(total - rising, 1)
    for group in optimizer.param_groups:
        group["lr"] = spec.learning_rate * group["rate"] * min(share, 1.0)
