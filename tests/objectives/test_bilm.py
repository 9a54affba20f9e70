"""The bidirectional LM against a slow one that treats each direction by itself."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.core.recipe import BackboneSpec, LSTMSpec, ModelSpec, RunSpec, TokenEmbeddingSpec, VocabularyHeadSpec
from malmoi.health.batches import random_batch
from malmoi.nn.scan import Clips, Weights, steps
from malmoi.objectives import build

K, WIDTH = 30, 6


@pytest.fixture
def objective():
    torch.set_num_threads(1)
    mixer = LSTMSpec(cell=9, cell_clip=0.2, projection_clip=0.1)
    model = ModelSpec(
        width=WIDTH,
        dropout=0.0,
        frontend=TokenEmbeddingSpec(),
        backbone=BackboneSpec(depth=2, mixer=mixer, residual_from=1),
        head=VocabularyHeadSpec(size=K),
    )
    return build(RunSpec(name="test", model=model), words=80, characters=261)


def batch_with_gaps(objective):
    """Words past the output vocabulary at input and target, and places without a target."""
    batch = random_batch(objective, rows=3, length=5)
    batch.ids[0, 1], batch.ids[4, 2] = 55, 79
    batch.targets["next"][1, 3], batch.targets["next"][5, 0] = 60, K
    batch.targets["next"][2, 4] = batch.targets["next"][3, 1] = batch.targets["next"][3, 2] = -1
    return batch


def slow(objective, batch):
    """(nll (R, T), layers of each direction) by plain steps, direction by direction."""
    nll, layers = [], {}
    for half, (name, model) in enumerate(objective.directions()):
        rows = slice(3 * half, 3 * half + 3)
        ids = batch.ids[rows].clone()
        ids[ids >= K] = 2
        x_RTD = model.frontend.weight[ids]
        found = [x_RTD]
        for index, block in enumerate(model.backbone.blocks):
            mixer = block.mixer
            bias = mixer.bias.clone()
            bias[9:18] += 1.0
            weights = Weights(mixer.input, mixer.recurrent, bias, mixer.projection)
            start = torch.zeros(3, WIDTH), torch.zeros(3, 9)
            y_RTD = steps(found[-1].transpose(0, 1), *start, weights, Clips(0.2, 0.1))[0].transpose(0, 1)
            found.append(y_RTD + found[-1] if index >= 1 else y_RTD)
        target = batch.targets["next"][rows].clone()
        target[target >= K] = 2
        logits = F.linear(found[-1], objective.head.weight, objective.head.bias)
        nll.append(F.cross_entropy(logits.transpose(1, 2), target, ignore_index=-1, reduction="none"))
        layers[name] = found
    return torch.cat(nll), layers


def test_scores_losses_and_layers_are_those_of_the_slow_one(objective):
    batch = batch_with_gaps(objective)
    nll_RT, layers = slow(objective, batch)
    torch.testing.assert_close(objective.score(batch).nll, nll_RT.detach(), rtol=1e-5, atol=1e-5)
    for name, trace in objective.traces(batch).items():
        assert len(trace.layers) == 3 and trace.last is trace.layers[-1]
        for found, expected in zip(trace.layers, layers[name], strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    loss = objective.loss(batch)
    assert loss.parts["forward"].item() == pytest.approx(nll_RT[:3].sum().item() / 14, rel=1e-5)
    assert loss.parts["backward"].item() == pytest.approx(nll_RT[3:].sum().item() / 13, rel=1e-5)
    assert loss.total.item() == pytest.approx(nll_RT.sum().item() / 27, rel=1e-5)


def test_gradients_are_those_of_the_slow_one(objective):
    batch = batch_with_gaps(objective)
    parameters = list(objective.parameters())
    found = torch.autograd.grad(objective.loss(batch).total, parameters)
    expected = torch.autograd.grad(slow(objective, batch)[0].sum() / 27, parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_carry_is_cut_from_the_graph_and_starts_at_zero(objective):
    batch = batch_with_gaps(objective)
    carry = objective.loss(batch).carry
    assert set(carry) == {"forward", "backward"} and all(not t.requires_grad for state in carry.values() for block in state for t in block)
    zeros = objective.initial_carry(3)
    assert torch.equal(objective.score(batch, zeros).nll, objective.score(batch).nll)
    assert not torch.equal(objective.score(batch, carry).nll, objective.score(batch).nll)


def test_a_batch_without_targets_costs_nothing(objective):
    batch = batch_with_gaps(objective)
    batch.targets["next"].fill_(-1)
    loss = objective.loss(batch)
    assert loss.count == 0 and loss.total.item() == 0.0 and not objective.score(batch).nll.any()


def test_dropout_zero_is_evaluation_and_dropout_is_not(objective):
    batch = batch_with_gaps(objective)
    exact = objective.eval().loss(batch).total
    assert torch.equal(objective.train().loss(batch).total, exact)
    for module in objective.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    torch.manual_seed(0)
    assert not torch.allclose(objective.loss(batch).total, exact)
    assert torch.equal(objective.eval().loss(batch).total, exact)


def test_a_document_that_begins_with_a_window_begins_from_zero_if_asked(objective):
    batch = random_batch(objective, rows=4, length=5)
    batch.positions[:] = torch.arange(5) + 7
    batch.positions[[1, 6], 0] = 0  # forward row 1, backward row 2
    carry = objective.score(random_batch(objective, rows=4, length=5)).carry
    mixed = {name: tuple(tuple(part.clone() for part in block) for block in state) for name, state in carry.items()}
    for name, row in (("forward", 1), ("backward", 2)):
        for block in mixed[name]:
            for part in block:
                part[row] = 0.0
    objective.train()
    carried = objective.loss(batch, carry).total.item()
    expected = objective.loss(batch, mixed).total.item()
    objective.start = "zero"
    assert objective.loss(batch, carry).total.item() == expected != carried
    assert objective.loss(batch, None).total.item() == objective.loss(batch, objective.initial_carry(4)).total.item()
    objective.eval()
    assert objective.loss(batch, carry).total.item() == carried  # evaluation decides for itself where it starts
