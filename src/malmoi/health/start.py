"""The start: fresh weights know nothing, so their loss is that of guessing."""

from __future__ import annotations

import math

import torch

from malmoi.core.batch import Batch
from malmoi.health.bench import undisturbed
from malmoi.health.finding import Finding, Level
from malmoi.objectives import BiLM

SHARE = 0.1
"""How far from ln K is still usual, as a share of it. The recipes start within 2 %: logits of variance v add about v/2 nats, and vectors
of usual length against rows of length 1 give v < 1. A tenth is one nat for 22,000 words, which takes logits of standard deviation 1.4."""


def start_loss(fresh: BiLM, batch: Batch) -> list[Finding]:
    """The exact loss of `fresh` weights beside ln K for K output words (M120): a warning from a tenth away, an error from twice ln K."""
    with undisturbed(fresh), torch.no_grad():
        fresh.eval()
        nll_RT = fresh.score(batch).nll
    loss = float(nll_RT.double().sum() / (batch.targets["next"] >= 0).sum())
    expected = math.log(fresh.output_size)
    if abs(loss - expected) <= SHARE * expected:
        return [Finding.good("start", f"fresh weights have a loss of {loss:.2f} nats, ln({fresh.output_size:,}) is {expected:.2f}")]
    problem = "they are sure of what they cannot know" if loss > expected else "they know what they cannot know, so something leaks"
    level: Level = "warning" if expected < loss <= 2 * expected else "error"
    return [Finding.of("M120", level, loss=loss, size=fresh.output_size, expected=expected, problem=problem)]
