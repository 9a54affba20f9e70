"""Steps that are not to be trusted: not finite, jumping losses, nothing to predict. What was learned before stays whole."""

import math

import pytest
import torch
from toy_training import Samples, Toy, train, training, without_dropout

from malmoi.core.errors import MalmoiError
from malmoi.core.journal import read_journal
from malmoi.core.progress import Silent
from malmoi.core.recipe import AdamWSpec, GuardSpec
from malmoi.train import checkpoint as checkpoints


def broken(*numbers, by=math.inf):
    batches = Samples()
    batches.broken = dict.fromkeys(numbers, by)
    return batches


def last(directory):
    path = checkpoints.steps(directory / "checkpoints")[-1]
    return checkpoints.load(path), checkpoints.load_file(path / "model.safetensors")


def events(directory):
    return read_journal(directory / "events.jsonl")


def steps(directory):
    return [line["step"] for line in read_journal(directory / "metrics.jsonl")]


class Torn(Toy):
    """A finite loss whose gradient is infinite: sqrt at 0."""

    def loss(self, batch, carry=None):
        found = super().loss(batch, carry)
        factor = (self.bias.sum() * 0.0).sqrt() if int(batch.keys[0]) == 8 else 0.0
        return type(found)(found.total + factor, found.parts, found.count, found.carry)


@pytest.mark.parametrize("kind", ["loss", "gradient norm"])
def test_a_step_that_is_not_finite_is_not_applied(tmp_path, kind):
    """Weights, moments and carry are those of before; the batch and its samples are written down; the run goes on."""
    spec = training(optimizer=AdamWSpec(), steps=2, save_steps=1, keep=9)
    toy = (lambda: without_dropout(Toy())) if kind == "loss" else (lambda: without_dropout(Torn()))
    batches = (lambda: broken(2)) if kind == "loss" else Samples
    train(tmp_path / "before", spec, batches=batches(), toy=toy())
    train(tmp_path / "after", training(optimizer=AdamWSpec(), steps=3, save_steps=1, keep=9), batches=batches(), toy=toy())
    (one, weights), (other, later) = last(tmp_path / "before"), last(tmp_path / "after")
    assert other.step == 3 and other.facts["broken"] == 1
    assert all(torch.equal(weights[name], later[name]) for name in ("weight", "bias"))
    assert all(torch.equal(tensor, other.optimizer[name]) for name, tensor in one.optimizer.items())
    assert all(torch.equal(tensor, other.carry[name]) for name, tensor in one.carry.items())
    (event,) = events(tmp_path / "after")
    value = event.pop("value")
    assert event == {"step": 3, "event": "not finite", "what": kind, "batches": [2], "keys": [8, 9, 10, 11]} and value in ("inf", "nan")
    assert steps(tmp_path / "after") == [1, 2]
    _, outcome = train(tmp_path / "on", training(optimizer=AdamWSpec()), batches=batches(), toy=toy())
    assert outcome.step == 20 and last(tmp_path / "on")[0].facts["broken"] == 0


def test_one_bad_micro_batch_spoils_its_step_alone(tmp_path):
    toy, _ = train(tmp_path, training(accumulate=2, steps=5), batches=broken(3))
    assert torch.isfinite(toy.weight).all() and steps(tmp_path) == [1, 3, 4, 5]
    assert events(tmp_path)[0]["batches"] == [2, 3]


def test_the_run_stops_after_many_in_a_row(tmp_path):
    spec = training(guard=GuardSpec(nonfinite=3), save_steps=1)
    with pytest.raises(MalmoiError, match="M040: the loss was inf at step 9, and it was not finite for 3 steps in a row"):
        train(tmp_path / "row", spec, batches=broken(2, 3, 6, 7, 8))
    assert [event["step"] for event in events(tmp_path / "row")] == [3, 4, 7, 8, 9]
    toy = Toy()
    _, outcome = train(tmp_path / "not", spec, batches=broken(2, 3, 5, 6, 8, 9), toy=toy)
    assert outcome.step == 20


def test_the_row_is_counted_over_a_resume(tmp_path):
    spec = training(guard=GuardSpec(nonfinite=3), steps=4, save_steps=1)
    train(tmp_path, spec, batches=broken(2, 3, 4))
    with pytest.raises(MalmoiError, match="M040: .* step 5, .* 3 steps"):
        train(tmp_path, training(guard=GuardSpec(nonfinite=3), steps=9), batches=broken(2, 3, 4), resume=True)


@pytest.mark.parametrize("accumulate, counts, told", [(1, (4, 0), [1, 3]), (2, (0, 4), [1, 2, 3, 4])])
def test_a_batch_without_targets_is_no_nan_even_if_its_mean_is(tmp_path, accumulate, counts, told):
    class Careless(Toy):
        def loss(self, batch, carry=None):
            found = super().loss(batch, carry)
            mean = found.total * found.count / found.count if found.count else found.total * math.nan
            return type(found)(mean, {"error": mean}, found.count, found.carry)

    toy, _ = train(tmp_path, training(steps=4, accumulate=accumulate), batches=Samples(4, counts), toy=Careless())
    assert torch.isfinite(toy.weight).all() and steps(tmp_path) == told and not events(tmp_path)


SPIKE = GuardSpec(spike=6.0, rollbacks=2)


def test_a_spike_goes_back_and_passes_over(tmp_path):
    """Batch 75 is spoilt: the run goes back to step 60 and reads on at batch 76; what it then does is what a run does that never saw
    batches 60 to 75."""
    fields = {"save_steps": 20, "keep": 9, "optimizer": AdamWSpec(), "learning_rate": 0.003}
    _, outcome = train(tmp_path / "spike", training(steps=90, guard=SPIKE, **fields), batches=broken(75, by=50.0))
    assert outcome.step == 90 and steps(tmp_path / "spike") == list(range(1, 91))
    (event,) = events(tmp_path / "spike")
    assert (event["event"], event["step"], event["spike"], event["passed"]) == ("rolled back", 60, 76, [60, 75])

    class Without(Samples):
        def batch(self, number):
            return super().batch(number if number < 60 else number + 16)

    class SameDropout(Toy):
        pass

    train(tmp_path / "without", training(steps=90, **fields), batches=Without(), toy=without_dropout(SameDropout()))
    train(tmp_path / "plain", training(steps=90, guard=SPIKE, **fields), batches=broken(75, by=50.0), toy=without_dropout(Toy()))
    (one, weights), (other, same) = last(tmp_path / "plain"), last(tmp_path / "without")
    assert all(torch.equal(weights[name], same[name]) for name in ("weight", "bias"))
    assert all(torch.equal(tensor, other.optimizer[name]) for name, tensor in one.optimizer.items())


def test_a_rollback_is_remembered_by_the_checkpoint(tmp_path):
    """Killed right after it, the resumed run is the one that was not killed, and does not go back a second time."""

    class Killed(Silent):
        def note(self, text):
            assert "back to step 60" in text
            raise KeyboardInterrupt

    fields = {"guard": SPIKE, "save_steps": 20, "keep": 9}
    train(tmp_path / "whole", training(steps=90, **fields), batches=broken(75, by=50.0))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "part", training(steps=90, **fields), batches=broken(75, by=50.0), progress=Killed())
    train(tmp_path / "part", training(steps=90, **fields), batches=broken(75, by=50.0), resume=True)
    (one, weights), (other, same) = last(tmp_path / "whole"), last(tmp_path / "part")
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert other.facts["rollbacks"] == 1 and events(tmp_path / "part") == events(tmp_path / "whole")
    timeless = [name for name in one.facts if name != "seconds"]
    assert [one.facts[name] for name in timeless] == [other.facts[name] for name in timeless]


def test_rollbacks_are_bounded(tmp_path):
    """Whatever comes after step 70 is bad: two returns, then the end."""
    with pytest.raises(MalmoiError, match="M047: the loss rose to .* after 2 returns"):
        train(tmp_path, training(steps=200, guard=SPIKE, save_steps=20), batches=broken(*range(70, 400), by=50.0))
    assert [event["event"] for event in events(tmp_path)] == ["rolled back", "rolled back", "spike"]


def test_without_the_guard_a_spike_is_taken(tmp_path):
    _, outcome = train(tmp_path, training(steps=90, save_steps=20), batches=broken(75, by=50.0))
    assert outcome.step == 90 and not events(tmp_path)


def test_what_is_not_finite_does_not_enter_the_statistics(tmp_path):
    """After it, a spike is still one, and ordinary losses are none."""
    batches = broken(60)
    batches.broken[75] = 50.0
    train(tmp_path, training(steps=90, guard=SPIKE, save_steps=20), batches=batches)
    assert [event["event"] for event in events(tmp_path)] == ["not finite", "rolled back"]
