"""What a step of the loop is: exact accumulation, batches without targets, what is reported."""

import json

import pytest
import torch
from toy_training import Samples, Toy, train, training, without_dropout


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("counts", [(4, 1), (1, 4), (0, 3), (2, 0), (4, 4)])
def test_accumulated_batches_weigh_what_they_predict(tmp_path, counts):
    """Two micro-batches of different counts are one batch of both."""
    spec = training(accumulate=2, steps=10)
    halves, _ = train(tmp_path / "halves", spec, batches=Samples(4, counts), toy=without_dropout(Toy()))

    class Whole(Samples):
        def batch(self, number):
            both = [super(Whole, self).batch(2 * number + half) for half in range(2)]
            return type(both[0])(*(torch.cat([getattr(each, name) for each in both]) for name in ("x", "y", "keys")))

    class Carryless(Toy):
        def loss(self, batch, carry=None):
            return super().loss(batch, None)

    whole, _ = train(tmp_path / "whole", training(steps=10), batches=Whole(4, counts), toy=without_dropout(Carryless()))
    torch.testing.assert_close(halves.weight, whole.weight, rtol=1e-5, atol=1e-6)
    for one, other in zip(lines(tmp_path / "halves"), lines(tmp_path / "whole"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4) and one["error"] == pytest.approx(other["error"], rel=1e-4)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-4)


def test_equal_counts_are_added_up_as_ever(tmp_path):
    """Bit for bit the plain mean of the micro-batches' gradients."""
    spec = training(accumulate=2, steps=1, clip_norm=None)
    toy, _ = train(tmp_path, spec, toy=without_dropout(Toy()))
    plain = without_dropout(Toy()).train()
    for micro in range(2):
        (plain.loss(Samples().batch(micro)).total * (1.0 / 2)).backward()
    weight, gradient = plain.weight.detach(), plain.weight.grad
    assert torch.equal(toy.weight, weight.addcdiv(gradient, (1.0 + gradient * gradient).sqrt(), value=-0.1))


def test_a_batch_without_targets_is_no_update_and_no_nan(tmp_path):
    batches = Samples(4, (4, 0))
    toy, outcome = train(tmp_path, training(steps=4), batches=batches)
    assert outcome.step == 4 and torch.isfinite(toy.weight).all()
    assert [line["step"] for line in lines(tmp_path)] == [1, 3]
    once, _ = train(tmp_path / "one", training(steps=1), batches=batches)
    twice, _ = train(tmp_path / "two", training(steps=2), batches=batches)
    assert torch.equal(once.weight, twice.weight)


def test_the_reported_loss_is_what_is_minimized(tmp_path):
    """Not the mean of the parts, and not scaled."""

    class TwoParts(Toy):
        def loss(self, batch, carry=None):
            found = super().loss(batch, carry)
            return type(found)(found.total * 3.0, {"one": found.total, "two": found.total * 50.0}, found.count, found.carry)

    train(tmp_path, training(steps=2, loss_scale=20.0), toy=TwoParts())
    for line in lines(tmp_path):
        assert line["loss"] == pytest.approx(3.0 * line["one"], rel=1e-4) and line["two"] == pytest.approx(50.0 * line["one"], rel=1e-4)


def test_the_speed_is_told_in_the_unit_of_the_batches(tmp_path):
    told = []

    class Telling:
        def stage(self, name, total=None):
            pass

        def note(self, text):
            pass

        def advance(self, done, facts=None):
            told.append(facts)

    batches = Samples()
    batches.unit = "tokens"
    train(tmp_path, training(steps=1), batches=batches, progress=Telling())
    assert "tokens/s" in told[0] and "words/s" not in told[0]
