"""Several processes are one run: the same batches, losses and weights; checkpoints that any number of them goes on from.

Attention is compared under Adagrad: the gradient of a key's bias is 0 but for rounding, and AdamW makes full steps of its sign.
"""

import signal

import pytest
import torch
import torch.distributed.fsdp  # so that the forked processes need not read it again
from small_runs import OBJECTIVES, AdagradSpec, AdamWSpec, StopAt, batches_of, losses, run, spec_of, state, together


def assert_same(one, other):
    """Losses within 1e-6 (relative to their size), weights, optimizer and carry within 1e-5."""
    for mine, theirs in zip(losses(one), losses(other), strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert value == pytest.approx(theirs[name], rel=2e-6, abs=2e-6), (mine["step"], name)
    mine, theirs = state(one), state(other)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("world, objective", [*((2, objective) for objective in OBJECTIVES), (4, "bilm"), (4, "masked")])
def test_copies_are_one_run(tmp_path, world, objective):
    optimizer = AdamWSpec() if objective == "bilm" else AdagradSpec()
    spec = spec_of(objective, dropout=0.0, accumulate=2 if world == 2 else 1, steps=8, optimizer=optimizer)
    run(spec, tmp_path / "one")
    assert together(world, lambda group: run(spec, tmp_path / "many", group=group)) == [0] * world
    assert_same(tmp_path / "one", tmp_path / "many")


@pytest.mark.parametrize("objective", ["bilm", "masked"])
def test_a_divided_model_is_one_run_and_goes_on_anywhere(tmp_path, objective):
    """FSDP2 at 2, resumed at 1 and at 3 (whose rows do not come out even)."""
    spec = spec_of(objective, dropout=0.0, steps=8, optimizer=AdagradSpec())
    run(spec, tmp_path / "one")
    for again in (1, 3):
        place = tmp_path / f"many-{again}"
        halfway = lambda group, place=place: run(spec, place, group=group, progress=StopAt(4))  # noqa: E731
        assert together(2, halfway, sharded=True) == [0, 0]
        assert len(losses(place)) == 5  # a group agrees on signals in its next step
        rest = lambda group, place=place: run(spec, place, group=group, resume=True)  # noqa: E731
        assert together(again, rest, sharded=True) == [0] * again
        assert_same(tmp_path / "one", place)


def test_a_signal_to_any_process_stops_all_after_the_same_step(tmp_path):
    spec = spec_of("causal", steps=10_000)

    def work(group):
        _, outcome = run(spec, tmp_path / "run", group=group, batches=Raising(spec, group))
        assert outcome.stopped == "SIGTERM" and outcome.step == 6, outcome

    assert together(2, work) == [0, 0]
    assert len(losses(tmp_path / "run")) == 6 and "optimizer/steps" in state(tmp_path / "run")


class Raising:
    """The batches of a run; the second process gets SIGTERM while it reads batch 5."""

    def __init__(self, spec, group):
        self.batches, self.rank = batches_of(spec, rank=group.rank, world=group.world), group.rank
        self.tokens_per_step, self.positions = self.batches.tokens_per_step, self.batches.positions

    def batch(self, number):
        if number == 5 and self.rank == 1:
            signal.raise_signal(signal.SIGTERM)
        return self.batches.batch(number)
