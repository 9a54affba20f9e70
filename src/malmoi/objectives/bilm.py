"""The bidirectional language model: two causal models, one over each stream and one over the same stream reversed.

R rows (the first half forward, the second backward), T positions, D width, N predictions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.nn.heads import VocabularyHead
from malmoi.nn.model import Model
from malmoi.nn.trace import Layout, State, Trace
from malmoi.objectives.base import Loss, Objective, Score

UNKNOWN = 2
"""Id of <unk>: where targets past the output vocabulary go."""


class BiLM(Objective):
    """Maximizes the log-likelihood of every word from its left context and, separately, from its right (ELMo section 3.1).

    The two models share front-end and head (the same modules, so there is one set of weights) and have backbones of their own;
    nothing computed for one direction reaches the other. The loss is the mean of the two directions' means.

    Inputs: Batch with `targets["next"]` and the rows in two halves.
    """

    target = "next"
    visibility = "a prediction at position t depends on the inputs at positions <= t of its own row"

    def __init__(self, forward_model: Model, backward_model: Model, *, start: Literal["carried", "zero"] = "carried") -> None:
        super().__init__()
        self.start = start
        assert forward_model.frontend is backward_model.frontend, "the directions share one front-end"
        assert forward_model.heads["words"] is backward_model.heads["words"], "the directions share one head"
        self.forward_model = forward_model
        self.backward_model = backward_model

    @property
    def head(self) -> VocabularyHead:
        head = self.forward_model.heads["words"]
        assert isinstance(head, VocabularyHead)
        return head

    def directions(self) -> Iterator[tuple[str, Model]]:
        """("forward", model), ("backward", model)."""
        yield "forward", self.forward_model
        yield "backward", self.backward_model

    def initial_carry(self, rows: int) -> dict[str, State]:
        """Zero states for `rows` rows a direction."""
        return {name: model.initial_state(rows) for name, model in self.directions()}

    def traces(self, batch: Batch, carry: dict[str, State] | None = None) -> dict[str, Trace]:
        """Every layer of both directions, each (R/2, T, D); the backward rows stay in their own (reversed) order."""
        x_RTD = self.forward_model.frontend(batch)
        halves = zip(self.directions(), x_RTD.chunk(2), batch.segments.chunk(2), batch.positions.chunk(2), strict=True)
        return {
            name: model.trace(half_RTD, carry[name] if carry else None, None, Layout(segments, positions))
            for (name, model), half_RTD, segments, positions in halves
        }

    def may_see(self, batch: Batch, row: int, position: int) -> Tensor:
        """(R, T) bool: the places up to `position` of the row itself; the state carries what came before."""
        seen_RT = torch.zeros(batch.ids.shape, dtype=torch.bool)
        seen_RT[row, : position + 1] = True
        return seen_RT

    def loss(self, batch: Batch, carry: dict[str, State] | None = None) -> Loss:
        """The training loss of a batch; the carry that comes back is detached (truncated back-propagation)."""
        if self.start == "zero" and self.training and carry is not None:
            carry = self._restarted(carry, batch.positions[:, 0] == 0)
        traces = self.traces(batch, carry)
        x_RTD = torch.cat([traces[name].last for name, _ in self.directions()])
        predicted_RT = batch.targets["next"] >= 0
        target_N = self._output_ids(batch.targets["next"][predicted_RT])
        total, nll_N = self.head.loss(self.forward_model.dropout(x_RTD)[predicted_RT], target_N)
        forward = int(predicted_RT[: len(predicted_RT) // 2].sum())
        parts = {"forward": nll_N[:forward].mean(), "backward": nll_N[forward:].mean()}
        return Loss(total=total / max(len(target_N), 1), parts=parts, count=len(target_N) // 2, carry=_carry(traces))

    @torch.no_grad()
    def score(self, batch: Batch, carry: dict[str, State] | None = None) -> Score:
        """Exact likelihoods, with the full softmax whatever the training used. Call it in evaluation mode."""
        traces = self.traces(batch, carry)
        x_RTD = torch.cat([traces[name].last for name, _ in self.directions()])
        predicted_RT = batch.targets["next"] >= 0
        nll_RT = torch.zeros(predicted_RT.shape, device=x_RTD.device)
        nll_RT[predicted_RT] = self.head.nll(x_RTD[predicted_RT], self._output_ids(batch.targets["next"][predicted_RT]))
        return Score(nll=nll_RT, carry=_carry(traces))

    def _restarted(self, carry: dict[str, State], begins_R: Tensor) -> dict[str, State]:
        """The carry with zeros in the rows whose document begins here; `begins_R` is of both halves."""
        halves = zip(self.directions(), (~begins_R).chunk(2), strict=True)
        return {name: tuple(tuple(each * goes_on[:, None] for each in block) for block in carry[name]) for (name, _), goes_on in halves}

    def _output_ids(self, ids: Tensor) -> Tensor:
        return ids.masked_fill(ids >= self.output_size, UNKNOWN)


def _carry(traces: dict[str, Trace]) -> dict[str, State]:
    return {name: tuple(tuple(tensor.detach() for tensor in block) for block in trace.state) for name, trace in traces.items()}
