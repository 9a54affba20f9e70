"""Collapse: the measures against slow ones, and vectors that have collapsed on purpose."""

import numpy as np
import pytest
import torch
from torch import nn

from malmoi.health.collapse import collapse, constant_dimensions, effective_rank, layer_vectors, mean_cosine
from malmoi.nn import ForeignBackbone


@pytest.fixture
def vectors():
    return torch.from_numpy(np.random.default_rng(3).normal(size=(40, 12)) * np.linspace(0.1, 2.0, 12) + 0.3)


def test_mean_cosine_is_that_of_all_pairs(vectors):
    x = vectors.numpy()
    pairs = [x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for i in range(40) for j in range(40) if i != j]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_effective_rank_is_that_of_the_singular_values(vectors):
    squares = np.linalg.svd(vectors.numpy() - vectors.numpy().mean(0), compute_uv=False) ** 2
    shares = squares / squares.sum()
    assert effective_rank(vectors) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-9)
    assert effective_rank(torch.eye(6, dtype=torch.float64)) == pytest.approx(5.0)
    line = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None] * torch.ones(1, 7, dtype=torch.float64)
    assert effective_rank(line) == pytest.approx(1.0, abs=1e-6)
    assert effective_rank(torch.ones(20, 7, dtype=torch.float64)) == 0.0


def test_constant_dimensions_are_counted(vectors):
    assert constant_dimensions(vectors) == 0
    vectors[:, 3] = 5.0
    vectors[:, 7] *= 1e-9
    assert constant_dimensions(vectors) == 2
    assert constant_dimensions(torch.ones(10, 4)) == 4


def batches(streams, count=3):
    return [streams(16, 16).batch(step) for step in range(count)]


def test_vectors_that_differ_have_not_collapsed(honest, streams):
    (finding,) = collapse(with_backbone(honest, nn.Identity()), batches(streams))
    assert finding.level == "info" and "layer 1 " in finding.message


def test_fresh_weights_are_no_error(honest, streams):
    assert {finding.level for finding in collapse(honest(), batches(streams), early=True)} <= {"info", "warning"}


def test_vectors_of_both_directions_stand_side_by_side_and_the_state_goes_on(honest, streams):
    objective = honest()
    first, second = batches(streams, 2)
    found = layer_vectors(objective, [first, second])
    objective.eval()
    one = objective.traces(first)
    two = objective.traces(second, {name: trace.state for name, trace in one.items()})
    assert [tuple(x_ND.shape) for x_ND in found] == [(512, 16)] * 3
    expected = torch.cat([two[name].layers[2].flatten(0, 1) for name in ("forward", "backward")], dim=1)
    assert torch.allclose(found[2][256:].float(), expected, atol=1e-6)


class Collapsing(nn.Module):
    """A linear layer plus a bias that drowns everything."""

    def __init__(self, scale, rank=8):
        super().__init__()
        self.scale, self.rank = scale, rank

    def forward(self, x_RTD):
        mask = torch.zeros(8)
        mask[: self.rank] = 1.0
        return x_RTD * mask + self.scale


def with_backbone(honest, module):
    objective = honest(frontend="tokens")
    for model in (objective.forward_model, objective.backward_model):
        model.backbone = ForeignBackbone(module)
    return objective


@pytest.mark.parametrize(
    "scale, early, level", [(3.0, False, "warning"), (6.0, False, "error"), (6.0, True, "warning"), (50.0, True, "error")]
)
def test_vectors_that_all_point_the_same_way_are_found(honest, streams, scale, early, level):
    (finding,) = collapse(with_backbone(honest, Collapsing(scale)), batches(streams), early=early)
    assert (finding.code, finding.level) == ("M124", level) and "layer 1" in finding.message
    assert ("train on" in finding.next) == (early and level == "warning")


def test_vectors_on_a_line_are_found(honest, streams, levels):
    class Line(nn.Module):
        def forward(self, x_RTD):
            return x_RTD[..., :1].expand_as(x_RTD)

    # each direction has a line of its own, so the rank is two
    (finding,) = collapse(with_backbone(honest, Line()), batches(streams))
    assert finding.level == "warning" and "effective rank 2.0 of 16" in finding.message


def test_dead_dimensions_are_found(honest, streams, levels):
    found = collapse(with_backbone(honest, Collapsing(0.0, rank=6)), batches(streams))
    assert levels(found) == {"M125": "warning"} and "4 of 16 dimensions of layer 1 are constant" in found[0].message
    assert levels(collapse(with_backbone(honest, Collapsing(0.0, rank=4)), batches(streams)))["M125"] == "error"


def test_constant_vectors_are_an_error_at_any_time(honest, streams, levels):
    class Constant(nn.Module):
        def forward(self, x_RTD):
            return x_RTD * 0.0 + torch.arange(8.0)

    assert levels(collapse(with_backbone(honest, Constant()), batches(streams), early=True)) == {"M124": "error", "M125": "error"}
