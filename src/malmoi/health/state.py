"""The state between windows: rows go on where they stopped, what is carried makes the cut invisible, and it has an effect.

R rows, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.health.batches import window
from malmoi.health.bench import undisturbed
from malmoi.health.finding import Finding, Level
from malmoi.objectives import BiLM
from malmoi.train.checkpoint import flatten
from malmoi.vocab import BOS, EOS

TOLERANCE = 1e-5
"""Nats, on the mean of a window, as a share where it is more than 1."""
START_WARNING, START_ERROR = 0.5, 1.0
"""Nats a word that a start from zero may cost more. The run that this check was made for differed by 0.4 to 22 (docs/log.md)."""
KEEP = "let the backbone return the state after its last position in Trace.state, and take it back as its second argument."


def continuity(objective: BiLM, batch: Batch, *, windows: int) -> list[Finding]:
    """The loss over `windows` equal windows with the carry handed on is that of one long window (M121), and the carry matters (M123).

    batch (R, T), T a multiple of `windows`. The parts are scored in evaluation mode.
    """
    length = batch.ids.shape[1] // windows
    with undisturbed(objective), torch.no_grad():
        objective.eval()
        whole_RT = objective.score(batch).nll
        carry: Any = None
        parts = []
        for index in range(windows):
            score = objective.score(window(batch, index * length, (index + 1) * length), carry)
            parts.append(score.nll)
            carry = score.carry
        second = window(batch, length, 2 * length)
        alone_RT = objective.score(second, objective.initial_carry(len(batch.ids) // 2)).nll
    if not flatten(carry):
        return [Finding.of("M123", "warning", problem="does not exist: every window starts anew", next=KEEP)]
    if torch.equal(alone_RT, parts[1]):
        return [Finding.of("M123", "error", problem="has no effect: a window scores the same with it and without it", next=KEEP)]
    for index, part_RT in enumerate(parts):
        expected_RT = whole_RT[:, index * length : (index + 1) * length]
        one, other = float(part_RT.double().mean()), float(expected_RT.double().mean())
        if not abs(one - other) <= TOLERANCE * max(1.0, abs(other)):
            problem = f"window {index + 1} of {windows} has a loss of {one:.6f} nats by itself and {other:.6f} as part of one long window"
            return [Finding.of("M121", "error", problem=problem)]
    return [Finding.good("state", f"{windows} windows of {length} with the carry have the loss of one window of {windows * length}")]


def zero_start(objective: BiLM, *, beginnings: Sequence[Batch], going_on: Batch, carry: Any) -> list[Finding]:
    """Documents that start from zero are predicted about as well as text that goes on from the carried states of training (M133).

    A model whose streams never start again may have states that it reaches from zero alone, and nothing in training shows it.
    beginnings: documents from their first position; going_on, carry: the next window of training and the states before it.
    """
    with undisturbed(objective), torch.no_grad():
        objective.eval()
        carried = _nats([(going_on, objective.score(going_on, carry).nll)])
        alone = _nats([(batch, objective.score(batch).nll) for batch in beginnings])
    found = []
    for direction, known, new in zip(("forward", "backward"), carried, alone, strict=True):
        if not new - known <= START_WARNING:
            level: Level = "error" if not new - known <= START_ERROR else "warning"
            found.append(Finding.of("M133", level, alone=new, carried=known, direction=direction))
    facts = ", ".join(f"{new:.2f} against {known:.2f} nats" for new, known in zip(alone, carried, strict=True))
    return found or [Finding.good("start of documents", f"from zero they cost about what goes on from carried states: {facts}")]


def _nats(scores: Sequence[tuple[Batch, Tensor]]) -> list[float]:
    """Mean nats a prediction, forward and backward."""
    halves = [(batch.targets["next"] >= 0).chunk(2) for batch, _ in scores]
    sums = [[float(half.double().sum()) for half in nll_RT.chunk(2)] for _, nll_RT in scores]
    return [sum(each[half] for each in sums) / sum(int(each[half].sum()) for each in halves) for half in (0, 1)]


def rows_go_on(batches: Sequence[Batch], *, first: int) -> list[Finding]:
    """Each row of a batch begins where it ended in the batch before (M122); `first` is the step of the first batch.

    Seen from the batches alone: the last target of a row is the next thing it reads, or it was an end mark and a document begins.
    """
    for step, (before, after) in enumerate(zip(batches, batches[1:], strict=False), start=first):
        problems = _breaks(before, after)
        if problems:
            row, problem = problems[0]
            return [Finding.of("M122", "error", row=row, before=step, after=step + 1, problem=problem)]
    rows, length = batches[0].ids.shape
    return [Finding.good("rows", f"{rows} rows begin where they ended, over {len(batches)} windows of {length} positions")]


def _breaks(before: Batch, after: Batch) -> list[tuple[int, str]]:
    """(row, what is wrong) for every row that does not go on."""
    rows = len(before.ids)
    half = torch.arange(rows) >= rows // 2
    end, begin = torch.where(half, BOS, EOS), torch.where(half, EOS, BOS)
    target, read = before.targets["next"][:, -1].cpu(), after.ids[:, 0].cpu()
    last, position = before.positions[:, -1].cpu(), after.positions[:, 0].cpu()
    going_on: Tensor = (target == read) & (position == last + 1)
    starting = (target == end) & (read == begin) & (position == 0)
    wrong = ~(going_on | starting)
    due = [f"id {one} at position {at + 1}" for one, at in zip(target.tolist(), last.tolist(), strict=True)]
    found = [f"id {one} at position {at}" for one, at in zip(read.tolist(), position.tolist(), strict=True)]
    return [(row, f"it was to read {due[row]} and reads {found[row]}") for row in wrong.nonzero().flatten().tolist()]
