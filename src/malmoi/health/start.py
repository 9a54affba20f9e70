"""The start: fresh weights know nothing, so their loss is that of guessing."""

from __future__ import annotations

import math

import torch

from malmoi.core.batch import Batch
from malmoi.health.bench import undisturbed
from malmoi.health.finding import Finding, Level
from malmoi.nn import TokenEmbedding
from malmoi.objectives import Objective, SkipGram

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
    if isinstance(fresh, SkipGram):
        return [_beside_guessing(loss, fresh.guessed(view))]
    told = "pair" in view.targets and bool((view.targets["pair"] >= 0).any())
    names = [name for name in ("pair", "replaced") if name in parts and (name != "pair" or told)]
    choices = [(float(parts[name]), 2, CHOICE) for name in names]
    own = _own_token(fresh)
    usual = SHARE * math.log(fresh.output_size)
    return [_beside(loss, fresh.output_size, usual, above=max(usual, own)), *(_beside(*each, above=CHOICE) for each in choices)]


def _beside_guessing(loss: float, expected: float) -> Finding:
    """Of choices between true and drawn words."""
    if abs(loss - expected) <= SHARE * expected:
        return Finding.good("start", f"fresh weights have a loss of {loss:.2f} nats, guessing every pair costs {expected:.2f}")
    size = round(math.exp(min(expected, 700.0)))
    return Finding.of("M120", "error", loss=loss, size=size, expected=expected, problem="they are sure of what they cannot know")


def _own_token(fresh: Objective) -> float:
    """Nats that a scaled embedding (Vaswani et al. 2017, section 3.4) which is the output matrix too may cost before training: a vector of
    the root of D still points to the token that was read there, and gives it a logit of up to that."""
    for model in fresh.models().values():
        frontend, head = model.frontend, model.heads["words"] if "words" in model.heads else None
        if isinstance(frontend, TokenEmbedding) and frontend.scale and getattr(head, "weight", None) is frontend.weight:
            return math.sqrt(frontend.weight.shape[1])
    return 0.0


def _beside(loss: float, size: int, below: float, *, above: float) -> Finding:
    expected = math.log(size)
    if -below <= loss - expected <= above:
        return Finding.good("start", f"fresh weights have a loss of {loss:.2f} nats, ln({size:,}) is {expected:.2f}")
    problem = "they are sure of what they cannot know" if loss > expected else "they know what they cannot know, so something leaks"
    level: Level = "warning" if expected < loss <= 2 * expected else "error"
    return Finding.of("M120", level, loss=loss, size=size, expected=expected, problem=problem)
