"""A process that dies or freezes ends its group within a bounded time, by its number; a fresh group goes on."""

import os
import signal
import sys
import time

import pytest
import torch
import torch.distributed.fsdp  # so that the forked processes need not read it again
from small_runs import AdagradSpec, batches_of, losses, run, spec_of, start, state, together

from malmoi.core.errors import MalmoiError
from malmoi.train.processes import LOST, NEWS, Watch

PATIENCE = 4.0
SPEC = spec_of("causal", dropout=0.0, steps=12, optimizer=AdagradSpec(), save_steps=3)


class Struck:
    """The batches of a run; process `victim` gets `blow` while it reads batch 7, and `mark` is there from then on."""

    def __init__(self, group, victim, blow, mark):
        self.mark = mark
        self.batches, self.rank, self.victim, self.blow = batches_of(SPEC, rank=group.rank, world=group.world), group.rank, victim, blow
        self.tokens_per_step, self.positions = self.batches.tokens_per_step, self.batches.positions

    def batch(self, number):
        if number == 7 and self.rank == self.victim:
            self.mark.touch()
            os.kill(os.getpid(), self.blow)
        return self.batches.batch(number)


@pytest.mark.parametrize("victim, blow", [(1, signal.SIGKILL), (2, signal.SIGSTOP), (0, signal.SIGSTOP)])
def test_the_others_end_and_name_it(tmp_path, victim, blow):
    def work(group):
        sys.stderr = open(tmp_path / f"told-{group.rank}.txt", "w", buffering=1)  # noqa: SIM115
        try:
            run(SPEC, tmp_path / "run", group=group, batches=Struck(group, victim, blow, tmp_path / "struck"))
        except MalmoiError as failure:
            sys.stderr.write(f"{failure}\n")
            os._exit(LOST)

    children = start(3, work, patience=PATIENCE)
    others = [child for rank, child in enumerate(children) if rank != victim]
    for child in others:
        child.join(60)
    spent = time.time() - (tmp_path / "struck").stat().st_mtime
    children[victim].kill()
    children[victim].join(60)
    assert [child.exitcode for child in others] == [LOST, LOST] and spent < PATIENCE + 30
    for rank in {0, 1, 2} - {victim}:
        told = (tmp_path / f"told-{rank}.txt").read_text()
        assert f"M044: process {victim} of 3 has ended or gives no sign of life at step 7" in told, told
    again = lambda group: run(SPEC, tmp_path / "run", group=group, resume=True)  # noqa: E731
    assert together(3, again) == [0, 0, 0]
    run(SPEC, tmp_path / "alone")
    expected, found = state(tmp_path / "alone"), state(tmp_path / "run")
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-5)
    assert [line["step"] for line in losses(tmp_path / "run")] == list(range(1, 13))


class Frozen:
    """A store that gave its last answer; later ones never come."""

    def __init__(self):
        self.known, self.answers = {}, True

    def clone(self):
        return self

    def set(self, key, value):
        if not self.answers:
            time.sleep(60)
        self.known[key] = value


def test_a_frozen_keeper_is_named_alone_and_not_waited_for(monkeypatch):
    """When the first process freezes nothing more is heard of the others either: they are not lost, and telling them takes bounded time."""
    monkeypatch.setenv("MALMOI_PATIENCE", "4")
    watch = Watch(store := Frozen(), rank=2, world=3)
    now = time.monotonic()
    watch._heard = {0: ("5", now - 4.9), 1: ("5", now - 4.9)}
    watch._answered = now - 3.9
    assert watch._silent(4.0) == []
    watch._answered = now - 4.1
    assert watch._silent(4.0) == [0]
    watch._answered, watch._heard = now, {0: ("5", now), 1: ("4", now - 4.1)}
    assert watch._silent(4.0) == [1]
    store.answers = False
    watch._spread([1])
    assert time.monotonic() - now < 30 and NEWS not in store.known


def test_a_failure_that_is_nobodys_is_told_as_it_is(tmp_path):
    def work(group):
        class Wrong(Struck):
            def batch(self, number):
                raise RuntimeError("a fault of its own")

        with pytest.raises(RuntimeError, match="a fault of its own"):
            run(SPEC, tmp_path / "run", group=group, batches=Wrong(group, 0, signal.SIGSTOP, tmp_path / "struck"))

    assert together(2, work) == [0, 0]
