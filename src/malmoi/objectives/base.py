"""What an objective is to the loop, to evaluation and to the checks; and what several of them need.

R rows, T positions, D width, N predictions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from malmoi.core.batch import Batch
from malmoi.core.objectives import Layout
from malmoi.nn.heads import VocabularyHead
from malmoi.nn.model import Model
from malmoi.nn.trace import Trace

Carry = Any
"""What goes from one window to the next: a tree of tuples and dicts of tensors, opaque to all but its objective; None at the start."""


@dataclass(frozen=True)
class Loss:
    """total: what is minimized, a differentiable mean in nats. parts: named means for the record, each over
    `count` predictions."""

    total: Tensor
    parts: dict[str, Tensor]
    count: int
    carry: Carry


@dataclass(frozen=True)
class Score:
    """nll (R, T) float32: exact negative log-likelihoods in nats, 0 where there is no target. hit (R, T) bool: the target was the most
    likely token (None where nobody counts). counts: further tasks by name, (right, of how many)."""

    nll: Tensor
    carry: Carry = None
    hit: Tensor | None = None
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)


class Objective(nn.Module):
    """Owns the models that training moves, and the loss.

    visibility: what a prediction may depend on, as a sentence; `may_see` says it in numbers.
    target: the name in `Batch.targets` under which the predictions stand that `score` scores: "next" or "masked".
    layout: how documents stand in its rows. reading: how a text by itself is read for its vectors: "single" (between two marks), "causal"
    (behind one), "source" (before one).
    A subclass has at least `loss`, `score`, `traces`, `may_see`, `head`, and one `model` or `directions` of its own.
    """

    visibility: str
    target: str
    layout: Layout = "single"
    reading: Literal["single", "causal", "source"] = "single"
    model: Model

    @property
    def head(self) -> VocabularyHead:
        """What `score` scores with."""
        return vocabulary_head(self.model)

    @property
    def output_size(self) -> int:
        """K: how many tokens the head knows."""
        return self.head.size

    def models(self) -> dict[str, Model]:
        """Every model that training moves, by name."""
        return dict(self.directions())

    def directions(self) -> Iterator[tuple[str, Model]]:
        """The models that `encode` reads: forward and backward of a biLM, one "model" of all others."""
        yield "model", self.model

    def view(self, batch: Batch) -> Batch:
        """What the model reads and has to predict, `targets[target]`, made from a batch as it lies in the corpus. Decided by
        `batch.keys`; a batch that has these targets already is its own view. Causal objectives change nothing."""
        return batch

    def may_see(self, batch: Batch, row: int, position: int) -> Tensor:
        """(R, T) bool: the places whose input the prediction at (row, position) may depend on."""
        raise NotImplementedError

    def loss(self, batch: Batch, carry: Carry = None) -> Loss:
        """The training loss of `view(batch)`."""
        raise NotImplementedError

    def score(self, batch: Batch, carry: Carry = None) -> Score:
        """Exact likelihoods of the targets of `view(batch)`. Call it in evaluation mode."""
        raise NotImplementedError

    def traces(self, batch: Batch, carry: Carry = None) -> dict[str, Trace]:
        """Every layer of each of `directions()` over `view(batch)`."""
        raise NotImplementedError

    def initial_carry(self, rows: int) -> Carry:
        """What stands before the first position of `rows` rows (a direction)."""
        return None


def vocabulary_head(model: Model) -> VocabularyHead:
    """The head "words" of a model."""
    head = model.heads["words"]
    assert isinstance(head, VocabularyHead)
    return head


def at_targets(x_RTD: Tensor, target_RT: Tensor, size: int, unknown: int) -> tuple[Tensor, Tensor, Tensor]:
    """(vectors (N, D) and ids (N,) of the places that have a target, those places (R, T)). Ids past the output vocabulary are unknown."""
    predicted_RT = target_RT >= 0
    target_N = target_RT[predicted_RT]
    return x_RTD[predicted_RT], target_N.masked_fill(target_N >= size, unknown), predicted_RT


def same_document(batch: Batch, row: int, position: int) -> Tensor:
    """(R, T) bool on the CPU: the places of the same document in the same row."""
    seen_RT = torch.zeros(batch.ids.shape, dtype=torch.bool)
    seen_RT[row] = (batch.segments[row] == batch.segments[row, position]).cpu()
    return seen_RT
