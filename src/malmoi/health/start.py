"""The start: fresh weights know nothing, so their loss is that of guessing."""

from __future__ import annotations

import math

import torch

from malmoi.core.batch import Batch
from malmoi.health.bench import undisturbed
from malmoi.health.finding import Finding, Level
from malmoi.objectives import Objective

SHARE = 0.1
"""How far from ln K is still usual, as a share of it. The recipes start within 2 %: logits of variance v add about v/2 nats, and vectors
of usual length against rows of length 1 give v < 1. A tenth is one nat for 22,000 words, which takes logits of standard deviation 1.4."""


CHOICE = 0.25
"""Nats that the loss of a choice between two may be away from ln 2: small heads are drawn with some scatter."""


def start_loss(fresh: Objective, batch: Batch) -> list[Finding]:
    """The exact loss of `fresh` weights beside ln K for K output words, and those of its choices between two (pairs, replaced tokens)
    beside ln 2 (M120): a warning from a tenth away, an error from twice the logarithm."""
    with undisturbed(fresh), torch.no_grad():
        fresh.eval()
        view = fresh.view(batch)
        nll_RT, parts = fresh.score(view).nll, fresh.loss(view).parts
    loss = float(nll_RT.double().sum() / (view.targets[fresh.target] >= 0).sum())
    choices = [(float(parts["replaced"]), 2, CHOICE)] if "replaced" in parts else []
    if "pair" in parts and (told := float((view.targets["pair"] >= 0).any(1).float().mean())):
        choices.append((float(parts["pair"]) / told, 2, CHOICE))  # the loss counts rows without a pair as 0
    return [_beside(*each) for each in [(loss, fresh.output_size, SHARE * math.log(fresh.output_size)), *choices]]


def _beside(loss: float, size: int, away: float) -> Finding:
    expected = math.log(size)
    if abs(loss - expected) <= away:
        return Finding.good("start", f"fresh weights have a loss of {loss:.2f} nats, ln({size:,}) is {expected:.2f}")
    problem = "they are sure of what they cannot know" if loss > expected else "they know what they cannot know, so something leaks"
    level: Level = "warning" if expected < loss <= 2 * expected else "error"
    return Finding.of("M120", level, loss=loss, size=size, expected=expected, problem=problem)
