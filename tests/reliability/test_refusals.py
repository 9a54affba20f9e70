"""What cannot go well is refused before the first step, naming the file and the mend; a disk that fills up later loses nothing."""

import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import namedtuple

import pytest
import torch
from toy_training import Samples, Toy, train, training

from malmoi import api
from malmoi.core import artifact
from malmoi.core.errors import MalmoiError
from malmoi.run import locked
from malmoi.train import checkpoint as checkpoints
from malmoi.train.prefetch import Prefetched

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(f"w{n % 7} w{n % 11} and w{n % 3}" for n in range(300)) + "\n", encoding="utf-8")
    return path


def hold(path, ready):
    with locked(path):
        ready.set()
        time.sleep(60)


def test_two_runs_in_one_directory(tmp_path):
    """The second is refused with the name of the first; a lock whose process was killed is taken over at once."""
    ready = FORK.Event()
    owner = FORK.Process(target=hold, args=(tmp_path, ready))
    owner.start()
    assert ready.wait(30)
    with pytest.raises(MalmoiError, match=f"M008: .* in use by process {owner.pid} on {socket.gethostname()} since"), locked(tmp_path):
        pass
    assert (tmp_path / ".lock").is_file()
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_of_many_that_start_at_once_one_is_let_in(tmp_path):
    inside, most, lock = [], [], threading.Lock()

    def enter():
        for _ in range(50):
            try:
                with locked(tmp_path):
                    with lock:
                        inside.append(1)
                        most.append(len(inside))
                    time.sleep(0.0005)
                    with lock:
                        inside.pop()
            except MalmoiError as refusal:
                assert refusal.code == "M008"

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) > 4


def test_the_lock_of_another_machine_is_respected(tmp_path):
    (tmp_path / ".lock").write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "2026-01-01 00:00:00"}))
    with pytest.raises(MalmoiError, match="M008: .* on elsewhere since 2026"), locked(tmp_path):
        pass


def test_a_place_that_cannot_be_written(tmp_path):
    """A file where a directory should be (root may write into what is read-only, so that is tried where it can be)."""
    (tmp_path / "file").write_text("")
    with pytest.raises(MalmoiError, match="M046: .*file/run cannot be written"), locked(tmp_path / "file" / "run"):
        pass
    read_only = tmp_path / "read-only"
    read_only.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", read_only], capture_output=True).returncode:
        pytest.skip("no right to mount")
    try:
        with pytest.raises(MalmoiError, match="M046: .*run cannot be written: Read-only file system"), locked(read_only / "run"):
            pass
    finally:
        subprocess.run(["umount", read_only], check=True)


def test_a_full_disk_is_refused_before_the_first_step(tmp_path, monkeypatch):
    """Room is wanted for the checkpoints that are kept, the best, and the one being written; what is there already counts."""
    toy, usage = Toy(), namedtuple("usage", "total used free")
    one = sum(t.numel() * t.element_size() for t in toy.state_dict().values()) + 8 + 8 * 4  # Adagrad's sums; the step
    for free, spec, enough in ((one * 4 - 1, training(steps=1, keep=2), False), (one * 4, training(steps=1, keep=2), True)):
        monkeypatch.setattr(artifact.shutil, "disk_usage", lambda path, free=free: usage(0, 0, free))
        directory = tmp_path / f"{enough}"
        if enough:
            train(directory, spec)
        else:
            with pytest.raises(MalmoiError, match="M045: the disk of .*checkpoints has .* room for 4 checkpoints"):
                train(directory, spec)
            assert not checkpoints.steps(directory / "checkpoints")


def test_a_corpus_that_does_not_fit_is_refused(tmp_path, corpus, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(artifact.shutil, "disk_usage", lambda path: usage(0, 0, corpus.stat().st_size - 1))
    with pytest.raises(MalmoiError, match="M045: .* a corpus of this size"):
        api.pretrain("elmo-tiny", corpus=[corpus], out=tmp_path / "run", steps=1, device="cpu")
    assert not (tmp_path / "run" / "shards").exists()


def saves(directory, status):
    """Trains until the disk is full; notes the code of the failure."""
    try:
        train(directory, training(steps=4000, save_steps=1, keep=400))
    except MalmoiError as failure:
        status.value = failure.code.encode()


def assert_old_ones_are_whole(directory):
    found = checkpoints.steps(directory / "checkpoints")
    good, problems = checkpoints.last_good(directory / "checkpoints")
    assert len(found) > 1 and good == found[-1] and not problems
    assert not list((directory / "checkpoints").glob(".step-*")), "the half one is gone"


def test_a_disk_that_fills_up_keeps_the_old_checkpoints(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no right to mount")
    try:
        monkeypatch.setattr("malmoi.train.keeper.refuse_full", lambda *a, **b: None)  # it was free when the run began
        with pytest.raises(MalmoiError, match="M045: .* a checkpoint needs") as failure:
            train(disk / "run", training(steps=4000, save_steps=1, keep=400))
        assert "what was saved before is intact" in failure.value.next
        assert_old_ones_are_whole(disk / "run")
        newest = checkpoints.steps(disk / "run" / "checkpoints")[-1]
        for path in checkpoints.steps(disk / "run" / "checkpoints")[:-1]:
            shutil.rmtree(path)
        step = checkpoints.load_step(newest)
        _, outcome = train(disk / "run", training(steps=step + 2), resume=True)
        assert outcome.step == step + 2
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_writer_that_finds_no_room(tmp_path, monkeypatch, code):
    """The same without a disk to fill: the fourth checkpoint's third file fails."""
    calls, real = [], artifact.sync_file

    def failing(path):
        calls.append(path)
        if "step-00000004" in str(path):
            raise OSError(code, os.strerror(code), str(path))
        real(path)

    monkeypatch.setattr(artifact, "sync_file", failing)
    with pytest.raises(MalmoiError, match="M045"):
        train(tmp_path / "run", training(steps=9, save_steps=1, keep=9))
    assert_old_ones_are_whole(tmp_path / "run")


def test_a_file_that_may_not_grow(tmp_path):
    """A limit of the shell on the size of files (RLIMIT_FSIZE): safetensors' own error becomes ours."""

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        try:
            train(tmp_path / "run", training(steps=2))
        except MalmoiError as failure:
            os._exit(45 if failure.code == "M045" else 1)

    child = FORK.Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode == 45


def test_more_processes_than_rows(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr("malmoi.pretraining.processes", lambda *a, **b: _Crowd())
    with pytest.raises(MalmoiError, match=r"M048: 4 rows cannot be shared by 5 processes. next: .*raise stream.streams"):
        api.pretrain("elmo-tiny", corpus=[corpus], out=tmp_path / "run", steps=1, device="cpu", settings=["stream.streams=4"])


class _Crowd:
    rank, world = 0, 5

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


class Faulty(Samples):
    def batch(self, number):
        if number == 5:
            raise ValueError("row 3 is odd")
        if number == 9:
            time.sleep(60)
        return super().batch(number)


def test_prefetched_batches_are_the_batches():
    plain, ahead = Samples(), Prefetched(Samples(), threads=2)
    for number in (0, 1, 2, 7, 8, 3):
        assert torch.equal(plain.batch(number).x, ahead.batch(number).x)
    assert (ahead.tokens_per_step, ahead.positions, ahead.unit) == (4, 64, "words")
    ahead.close()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_run_is_the_same_with_any_number_of_threads(tmp_path, threads):
    toys = [
        train(tmp_path / name, training(), batches=batches)[0]
        for name, batches in (("plain", Samples()), ("ahead", Prefetched(Samples(), threads=threads)))
    ]
    assert all(torch.equal(one, other) for one, other in zip(toys[0].parameters(), toys[1].parameters(), strict=True))
    stopped, _ = train(tmp_path / "part", training(steps=7, decay="none"), batches=Prefetched(Samples(), threads=threads))
    resumed, _ = train(tmp_path / "part", training(), batches=Prefetched(Samples(), threads=threads), resume=True)
    assert torch.equal(resumed.weight, toys[0].weight)


def test_a_batch_that_fails_or_hangs_is_named(tmp_path):
    with pytest.raises(MalmoiError, match="M049: batch 5 could not be made: ValueError: row 3 is odd"):
        train(tmp_path, training(), batches=Prefetched(Faulty(), threads=2))
    slow, began = Prefetched(Faulty(), threads=2, patience=0.2), time.monotonic()
    with pytest.raises(MalmoiError, match="M049: batch 9 could not be made: it is not there after 0.2 seconds"):
        slow.batch(9)
    assert time.monotonic() - began < 3.0
    hanging = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    assert not hanging, "a thread that would keep the process from ending"
