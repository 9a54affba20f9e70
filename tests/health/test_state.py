"""The state goes on between windows, and the checks see when it does not."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from malmoi.health.batches import random_batch
from malmoi.health.state import continuity, rows_go_on, zero_start
from malmoi.nn import ForeignBackbone, Trace
from malmoi.objectives import BiLM, Score


@pytest.mark.parametrize("settings", [{}, {"frontend": "tokens", "tied": True}, {"depth": 1}])
def test_an_honest_model_goes_on(honest, streams, settings):
    objective = honest(**settings)
    (finding,) = continuity(objective, random_batch(objective, rows=3, length=15), windows=3)
    assert finding.level == "info" and "3 windows of 5" in finding.message
    assert continuity(objective, streams(3, 20).batch(4), windows=4)[0].level == "info"


def test_a_carry_that_is_mixed_up_between_rows_is_found(honest):
    class Shuffled(BiLM):
        """Hands each row the state of another."""

        def score(self, batch, carry=None):
            score = super().score(batch, carry)
            rolled = {name: tuple(tuple(part.roll(1, 0) for part in block) for block in state) for name, state in score.carry.items()}
            return Score(nll=score.nll, carry=rolled)

    fair = honest()
    objective = Shuffled(fair.forward_model, fair.backward_model)
    (finding,) = continuity(objective, random_batch(objective, rows=3, length=15), windows=3)
    assert (finding.code, finding.level) == ("M121", "error") and "window 2 of 3" in finding.message


def test_a_state_without_effect_is_found(honest):
    class Forgetful(BiLM):
        """Takes the carry and does not use it."""

        def score(self, batch, carry=None):
            return super().score(batch, None)

    fair = honest()
    objective = Forgetful(fair.forward_model, fair.backward_model)
    (finding,) = continuity(objective, random_batch(objective, rows=3, length=15), windows=3)
    assert (finding.code, finding.level) == ("M123", "error") and "no effect" in finding.message


def test_a_backbone_without_a_state_is_a_warning_and_one_with_a_state_is_well(honest):
    class Stateful(nn.Module):
        """torch's LSTM with its state handed on: rows first, as a Trace has it."""

        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 8, batch_first=True)

        def forward(self, x_RTD, state=None):
            before = None if state is None else tuple(part[None].contiguous() for part in state[0])
            y_RTD, after = self.lstm(x_RTD, before)
            return Trace(last=y_RTD, layers=(x_RTD, y_RTD), state=(tuple(part[0] for part in after),))

    objective = honest()
    for model in (objective.forward_model, objective.backward_model):
        model.backbone = ForeignBackbone(nn.LSTM(8, 8, batch_first=True))
    (finding,) = continuity(objective, random_batch(objective, rows=3, length=15), windows=3)
    assert (finding.code, finding.level) == ("M123", "warning") and "every window starts anew" in finding.message
    for model in (objective.forward_model, objective.backward_model):
        model.backbone = ForeignBackbone(Stateful())
    assert continuity(objective, random_batch(objective, rows=3, length=15), windows=3)[0].level == "info"


def test_rows_go_on_through_documents_and_epochs(streams):
    source = streams(3, 7)
    (finding,) = rows_go_on([source.batch(step) for step in range(150)], first=0)
    assert finding.level == "info" and "150 windows" in finding.message
    assert 150 * 7 > source.positions // 3, "the test crosses an epoch"


def shuffled(batches):
    order = torch.tensor([1, 2, 0, 3, 4, 5])
    rows = batches[2]
    target = {"next": rows.targets["next"][order]}
    batches[2] = replace(rows, ids=rows.ids[order], positions=rows.positions[order], segments=rows.segments[order], targets=target)


def swapped(batches):
    batches[1], batches[2] = batches[2], batches[1]


def restarted(batches):
    batches[2] = batches[0]


def jumping(batches):
    """The right words at places that do not follow."""
    positions = batches[2].positions.clone()
    positions[0, 0] = positions[0, 0] + 1 if positions[0, 0] else 5
    batches[2] = replace(batches[2], positions=positions)


@pytest.mark.parametrize("breaking", [shuffled, swapped, restarted, jumping])
def test_rows_that_are_shuffled_between_windows_are_found(streams, breaking):
    batches = [streams(3, 7).batch(step) for step in range(5)]
    breaking(batches)
    (finding,) = rows_go_on(batches, first=10)
    assert (finding.code, finding.level) == ("M122", "error")
    assert ("step 12" in finding.message or "step 11" in finding.message) and "it was to read id" in finding.message


def test_a_model_that_was_never_trained_to_start_is_found(honest, streams):
    class Lost(BiLM):
        """Forward, it costs three nats more a word where it starts from zero."""

        def score(self, batch, carry=None):
            score = super().score(batch, carry)
            forward = torch.arange(len(batch.ids))[:, None] < len(batch.ids) // 2
            return Score(nll=score.nll + 3.0 * (forward & (batch.targets["next"] >= 0) & (carry is None)), carry=score.carry)

    fair = honest()
    source = streams(3, 20)
    carry = fair.score(source.batch(0)).carry
    beginnings = [source.batch(5), source.batch(6)]
    (finding,) = zero_start(fair, beginnings=beginnings, going_on=source.batch(1), carry=carry)
    assert finding.level == "info"
    lost = Lost(fair.forward_model, fair.backward_model)
    (finding,) = zero_start(lost, beginnings=beginnings, going_on=source.batch(1), carry=carry)
    assert (finding.code, finding.level) == ("M133", "error") and "forward" in finding.message
