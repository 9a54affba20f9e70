"""The optimizers against hand-written updates; the clip; the state by name."""

import pytest
import torch
from torch import nn

from malmoi.core.recipe import AdagradSpec, AdamWSpec, SGDSpec, TrainingSpec
from malmoi.train import Optimizer
from malmoi.train.loop import schedule
from malmoi.train.optimizer import _adamw, _adamw_whole


class Rows(nn.Module):
    """A dense weight, and an embedding whose gradients are rows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(6, 3, sparse=True)
        self.dense = nn.Linear(3, 2)
        self.table.sparse = True

    def forward(self, ids):
        return self.dense(self.table(ids)).square().sum()


def test_adagrad_is_tensorflows():
    module = Rows()
    optimizer = Optimizer(module, TrainingSpec(optimizer=AdagradSpec(initial=0.5)))
    weight, sums = module.dense.weight.detach().clone().double(), torch.full((2, 3), 0.5, dtype=torch.float64)
    untouched = module.table.weight.detach()[4].clone()
    for _ in range(3):
        module(torch.tensor([0, 1, 1])).backward()
        gradient = module.dense.weight.grad.double()
        sums += gradient**2
        weight -= 0.3 * gradient / sums.sqrt()  # no epsilon
        optimizer.step(0.3)
        torch.testing.assert_close(module.dense.weight.detach().double(), weight, rtol=1e-5, atol=1e-6)
    assert torch.equal(module.table.weight.detach()[4], untouched)


def test_sgd_is_torchs_and_leaves_other_rows_alone():
    module, plain = Rows(), Rows()
    optimizer, torchs = Optimizer(module, TrainingSpec(optimizer=SGDSpec())), torch.optim.SGD(plain.parameters(), lr=0.3)
    for _ in range(3):
        for part in (module, plain):
            part(torch.tensor([0, 1, 1])).backward()
        optimizer.step(0.3)
        torchs.step()
        torchs.zero_grad()
    for mine, theirs in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert optimizer.tensors().keys() == {"steps"} and optimizer.steps == 3


def dense(gradient):
    return gradient.to_dense() if gradient.is_sparse else gradient


@pytest.mark.parametrize("largest", [None, 0.5, 1e9])
def test_the_clip_scales_all_gradients_by_one_global_norm(largest):
    module, plain = Rows(), Rows()
    optimizer = Optimizer(module, TrainingSpec())
    for part in (module, plain):
        part(torch.tensor([0, 1, 1])).backward()
    flat = torch.cat([dense(parameter.grad).flatten() for parameter in plain.parameters()])
    norm = optimizer.clip(largest)
    assert norm == pytest.approx(float(flat.norm()), rel=1e-6)
    factor = min(1.0, largest / norm) if largest else 1.0
    for mine, theirs in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(dense(mine.grad), factor * dense(theirs.grad))


@pytest.mark.parametrize("choice", [AdagradSpec(), AdamWSpec()], ids=lambda spec: spec.kind)
def test_the_state_goes_out_and_in(choice):
    spec = TrainingSpec(optimizer=choice)

    def moved(module, optimizer, times):
        for _ in range(times):
            module(torch.tensor([0, 1, 1])).backward()
            optimizer.step(0.1)

    whole, part = Rows(), Rows()
    optimizer = Optimizer(whole, spec)
    moved(whole, optimizer, 4)
    first = Optimizer(part, spec)
    moved(part, first, 2)
    second = Optimizer(part, spec)
    second.load({name: tensor.clone() for name, tensor in first.tensors().items()})
    moved(part, second, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), part.parameters(), strict=True))
    assert any(name.startswith("table.weight/") for name in first.tensors())


def test_the_schedule_rises_and_falls():
    spec = TrainingSpec(warmup=0.1, decay="linear", floor=0.2)
    assert schedule(spec, 0.05) == pytest.approx(0.5) and schedule(spec, 0.1) == pytest.approx(1.0)
    assert schedule(spec, 0.55) == pytest.approx(0.6) and schedule(spec, 1.0) == pytest.approx(0.2)
    cosine = TrainingSpec(decay="cosine")
    assert schedule(cosine, 0.0) == 1.0 and schedule(cosine, 0.5) == pytest.approx(0.5) and schedule(cosine, 1.0) == pytest.approx(0.0)
    assert schedule(TrainingSpec(), 0.7) == 1.0
    root = TrainingSpec(warmup=0.04, decay="inverse_sqrt")
    assert schedule(root, 0.02) == pytest.approx(0.5) and schedule(root, 0.04) == pytest.approx(1.0)
    assert schedule(root, 0.16) == pytest.approx(0.5) and schedule(root, 1.0) == pytest.approx(0.2)  # ~ 1 / sqrt(step)


def moved_by(choice, times=5):
    """The dense part of `Rows` after some updates, and the same in double precision as algorithm 2 of the paper has it."""
    module = Rows()
    optimizer = Optimizer(module, TrainingSpec(optimizer=choice))
    expected = {name: parameter.detach().double() for name, parameter in module.dense.named_parameters()}
    moments = {name: [torch.zeros_like(value), torch.zeros_like(value)] for name, value in expected.items()}
    first, second = choice.betas
    for step in range(1, times + 1):
        module(torch.tensor([0, 1, 1])).backward()
        for name, parameter in module.dense.named_parameters():
            gradient, (mean, square) = parameter.grad.double(), moments[name]
            decay = choice.weight_decay if choice.decayed == "all" or gradient.ndim > 1 else 0.0
            expected[name] -= 0.1 * decay * expected[name]
            mean += (1 - first) * (gradient - mean)
            square += (1 - second) * (gradient**2 - square)
            expected[name] -= 0.1 * mean / (1 - first**step) / ((square / (1 - second**step)).sqrt() + choice.epsilon)
        optimizer.step(0.1)
    return dict(module.dense.named_parameters()), expected


@pytest.mark.parametrize("decayed", ["all", "matrices"])
def test_adamw_is_the_papers_and_decays_what_it_should(decayed):
    found, expected = moved_by(AdamWSpec(decayed=decayed, weight_decay=0.3))
    for name, value in expected.items():
        torch.testing.assert_close(found[name].detach().double(), value, rtol=1e-5, atol=1e-7)
    bias = {kind: moved_by(AdamWSpec(decayed=kind, weight_decay=0.3))[0]["bias"] for kind in ("all", "matrices")}
    assert not torch.equal(bias["all"], bias["matrices"])


def test_the_fast_adamw_is_the_slow_one():
    """Within two roundings (1e-7 relative each), over steps of very different gradients."""
    choice, generator = AdamWSpec(weight_decay=0.1), torch.Generator().manual_seed(0)
    one = torch.randn(50, 40, generator=generator)
    other = one.clone()
    states = [{"mean": torch.zeros(50, 40), "square": torch.zeros(50, 40)} for _ in range(2)]
    for step in range(1, 30):
        gradient = torch.randn(50, 40, generator=generator) * 10.0 ** ((step % 7) - 3)
        before = other.clone()
        _adamw_whole([(one, gradient, states[0])], 1e-3, choice=choice, steps=step, decay=0.1)
        _adamw(other, gradient, states[1], 1e-3, choice=choice, steps=step)
        torch.testing.assert_close(one, other, rtol=2.5e-7, atol=1e-9)
        assert not torch.equal(before, other)
        one.copy_(other)
        for key, value in states[0].items():
            torch.testing.assert_close(value, states[1][key], rtol=2.5e-7, atol=1e-12)
            value.copy_(states[1][key])
