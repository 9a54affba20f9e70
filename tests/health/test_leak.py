"""Leaks are found, and the module that leaks is named."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from malmoi.core.recipe import CustomBackboneSpec
from malmoi.health.batches import random_batch
from malmoi.health.bench import recorded
from malmoi.health.leak import visibility
from malmoi.nn import ForeignBackbone, Model, Trace
from malmoi.objectives import BiLM


class Halves(nn.Module):
    """What a careless biLM does with nn.LSTM(bidirectional=True): the two directions' outputs, brought back to the width."""

    def __init__(self, width, layers=2):
        super().__init__()
        self.lstm = nn.LSTM(width, width // 2, num_layers=layers, bidirectional=True, batch_first=True)

    def forward(self, x_RTD):
        return self.lstm(x_RTD)[0]


class Peek(nn.Module):
    """Reads one word ahead, in plain tensor operations."""

    def forward(self, x_RTD):
        return x_RTD + 1e-6 * torch.roll(x_RTD, -1, dims=1)


class Neighbour(nn.Module):
    """Takes something from the row beside it."""

    def forward(self, x_RTD):
        return x_RTD + 0.1 * x_RTD.mean(0, keepdim=True)


class TimeFirst(nn.Module):
    """A causal torch LSTM that wants time first."""

    def __init__(self, width, bidirectional=False):
        super().__init__()
        size = width // 2 if bidirectional else width
        self.lstm = nn.LSTM(width, size, num_layers=2, bidirectional=bidirectional)

    def forward(self, x_RTD):
        return self.lstm(x_RTD.transpose(0, 1))[0].transpose(0, 1)


class Norm(nn.Module):
    """Statistics over rows and positions, in training mode only: a leak that evaluation never shows."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x_RTD):
        return self.norm(x_RTD.flatten(0, 1)).view_as(x_RTD)


def with_backbone(honest, module, *, other=None):
    """An honest objective whose backbones are replaced."""
    objective = honest()
    for model, part in ((objective.forward_model, module), (objective.backward_model, other or module)):
        model.backbone = ForeignBackbone(part)
    return objective


def examined(objective, rows=3, length=5):
    return visibility(objective, random_batch(objective, rows=rows, length=length))


@pytest.mark.parametrize("settings", [{}, {"frontend": "tokens"}, {"depth": 3}, {"dropout": 0.5}])
def test_an_honest_model_passes_and_says_what_was_checked(honest, settings):
    (finding,) = examined(honest(**settings))
    # 2 directions x 3 places: 30 places less 3, 1 and 4 that may be seen
    assert finding.level == "info" and "164 forbidden gradients exactly 0" in finding.message


@pytest.mark.parametrize("part", [nn.LSTM(8, 8, num_layers=2, batch_first=True), TimeFirst(8), nn.Linear(8, 8)])
def test_an_honest_backbone_of_ones_own_passes(honest, part):
    assert examined(with_backbone(honest, part))[0].level == "info"


@pytest.mark.parametrize(
    "leaky, name, klass",
    [
        (nn.LSTM(8, 4, num_layers=2, bidirectional=True, batch_first=True), "backbone.module", "LSTM, bidirectional=True"),
        (Halves(8), "backbone.module.lstm", "LSTM, bidirectional=True"),
        (TimeFirst(8, bidirectional=True), "backbone.module.lstm", "LSTM, bidirectional=True"),
        (Peek(), "backbone.module", "Peek"),
        (Neighbour(), "backbone.module", "Neighbour"),
        (nn.Sequential(nn.Linear(8, 8), Peek(), nn.Linear(8, 8)), "backbone.module.1", "Peek"),
        (Norm(8), "backbone.module", "Norm"),
    ],
    ids=["nn.LSTM", "halves", "time-first", "one ahead", "other row", "inner", "batch norm"],
)
def test_a_leak_is_found_and_named(honest, leaky, name, klass):
    findings = examined(with_backbone(honest, leaky))
    assert {finding.code for finding in findings} == {"M031"} and all(finding.level == "error" for finding in findings)
    assert f"forward_model.{name} ({klass})" in findings[0].message
    if "bidirectional" in klass:
        assert "one causal module for each direction" in findings[0].next


def test_a_leak_in_one_direction_is_found(honest):
    leaky = nn.LSTM(8, 4, num_layers=2, bidirectional=True, batch_first=True)
    (finding,) = examined(with_backbone(honest, nn.LSTM(8, 8, batch_first=True), other=leaky))
    assert "the backward prediction" in finding.message and "backward_model.backbone.module (LSTM, bidirectional=True)" in finding.message


def test_a_leak_of_the_objective_itself_is_found(honest):
    class Careless(BiLM):
        """The backward direction's vectors, turned around, beside the forward ones: the mistake of reading both for one prediction."""

        def traces(self, batch, carry=None):
            traces = super().traces(batch, carry)
            mixed = traces["forward"].last + traces["backward"].last
            return {name: Trace(last=mixed, layers=trace.layers, state=trace.state) for name, trace in traces.items()}

    fair = honest()
    (finding, *_) = examined(Careless(fair.forward_model, fair.backward_model))
    assert finding.code == "M031" and "Careless" in finding.message


def test_a_front_end_that_looks_ahead_is_found_by_changing_a_word(honest):
    objective = honest()

    class LooksAhead(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, batch):
            x_RTD = self.inner(batch)
            return x_RTD + torch.roll(x_RTD, -1, dims=1)

    frontend = LooksAhead(objective.forward_model.frontend)
    objective.forward_model.frontend = objective.backward_model.frontend = frontend
    (finding,) = visibility(objective, random_batch(honest(), rows=3, length=5))
    assert finding.code == "M110" and "LooksAhead" in finding.message


def test_a_model_that_reads_nothing_proves_nothing(honest):
    class Deaf(nn.Module):
        def forward(self, x_RTD):
            return x_RTD.detach()

    assert examined(with_backbone(honest, Deaf()))[0].code == "M111"
    broken = honest()
    with torch.no_grad():
        broken.forward_model.backbone.blocks[0].mixer.input.fill_(float("nan"))
    assert examined(broken)[0].code == "M111"


def test_the_planted_lstm_is_refused_through_the_spec_too(honest, spec, monkeypatch):
    module = ModuleType("careless_backbones")
    module.build = lambda width, layers: nn.LSTM(width, width // 2, num_layers=layers, bidirectional=True, batch_first=True)
    monkeypatch.setitem(sys.modules, "careless_backbones", module)
    custom = CustomBackboneSpec(build="careless_backbones:build", arguments={"layers": 2})
    (finding, *_) = examined(honest(backbone=custom))
    assert finding.code == "M031" and "forward_model.backbone.module (LSTM, bidirectional=True)" in finding.message


def test_one_bidirectional_layer_leaks_too(honest):
    assert examined(with_backbone(honest, nn.LSTM(8, 4, bidirectional=True, batch_first=True)))[0].code == "M031"


def test_the_objective_is_left_as_it_was(honest):
    objective = honest()
    objective.train()
    objective.forward_model.backbone.eval()
    parameter = objective.forward_model.backbone.blocks[0].mixer.bias
    parameter.grad = torch.ones_like(parameter)
    parameter.requires_grad_(False)
    modes = [module.training for module in objective.modules()]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    examined(objective)
    assert [module.training for module in objective.modules()] == modes
    assert not parameter.requires_grad and torch.equal(parameter.grad, torch.ones_like(parameter))
    assert all(other.requires_grad and other.grad is None for other in objective.parameters() if other is not parameter)
    assert torch.equal(torch.get_rng_state(), state) and objective.forward_model.dropout.p == 0.1
    assert not any(module._forward_hooks for module in objective.modules())


def test_buffers_are_put_back(honest):
    norm = nn.BatchNorm1d(8)

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, x_RTD):
            return self.norm(x_RTD.flatten(0, 1)).view_as(x_RTD)

    examined(with_backbone(honest, Rows()))
    assert not norm.running_mean.any() and int(norm.num_batches_tracked) == 0


def test_calls_are_recorded_with_parts_before_wholes(honest):
    objective = honest()
    with recorded(objective) as calls:
        objective.traces(random_batch(objective, rows=2, length=3))
    names = [call.name for call in calls]
    assert names.index("forward_model.backbone.blocks.0.mixer") < names.index("forward_model.backbone.blocks.0")
    last = calls[names.index("forward_model.backbone")]
    assert last.entered.shape == last.left.shape == (2, 3, 8) and isinstance(objective.forward_model, Model)
