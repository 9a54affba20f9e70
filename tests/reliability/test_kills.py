"""Killed at every place inside a save: the last good checkpoint is whole, and every sample of the epoch is seen exactly once."""

import multiprocessing
import signal

import pytest
import torch
from toy_training import Samples, Toy, train, training

from malmoi.core import artifact
from malmoi.core.journal import read_journal
from malmoi.train import checkpoint as checkpoints

SPEC = training(steps=16, save_steps=3, keep=2, validations=4)
"""Sixteen batches of four samples: one epoch of 64."""
PLACES = [
    "artifact-begun",
    "model-written",
    "optimizer-written",
    "carry-written",
    "state.json-written",
    "state.json-renamed",
    "artifact-written",
    "manifest.json-written",
    "manifest.json-renamed",
    "artifact-sealed",
    "artifact-renamed",
    "best.json-written",
    "best.json-renamed",
    "pruned-aside",
    "metrics.jsonl-written",
    "metrics.jsonl-renamed",
]
EARLY = {"metrics.jsonl-written", "metrics.jsonl-renamed"}
"""Reached when a run goes on, not in a save."""


def work(directory, *, resume, place=""):
    artifact.FAILPOINT = place
    losses = iter(range(100, 0, -1))
    train(directory, SPEC, validate=lambda: {"loss": float(next(losses))}, resume=resume)


def killed(directory, *, resume, place):
    """The exit status of a start that may be killed at `place`."""
    child = multiprocessing.get_context("fork").Process(target=work, args=(directory,), kwargs={"resume": resume, "place": place})
    child.start()
    child.join(60)
    return child.exitcode


def started(directory):
    return bool(checkpoints.steps(directory / "checkpoints"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    directory = tmp_path_factory.mktemp("alone")
    work(directory, resume=False)
    return directory


def tensors(directory):
    path = checkpoints.steps(directory / "checkpoints")[-1]
    found = checkpoints.load(path)
    return {**checkpoints.load_file(path / "model.safetensors"), **found.optimizer, **{f"carry/{k}": v for k, v in found.carry.items()}}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("times", [1, 2])
def test_killed_there(tmp_path, alone, place, times):
    if place in EARLY:
        killed(tmp_path, resume=False, place="artifact-begun:3")
    resume = started(tmp_path)
    status = killed(tmp_path, resume=resume, place=f"{place}:{times}")
    assert (status == -signal.SIGKILL) or (place in EARLY and times == 2), f"{place} was not reached {times} times"
    good, problems = checkpoints.last_good(tmp_path / "checkpoints")
    assert not problems and (good is not None or not started(tmp_path))
    work(tmp_path, resume=started(tmp_path))
    expected, found = tensors(alone), tensors(tmp_path)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert torch.equal(found["seen"], torch.ones(64, dtype=torch.int64)), "every sample once"
    assert [line["step"] for line in read_journal(tmp_path / "metrics.jsonl") if "loss" in line] == list(range(1, 17))
    left = [path.name for path in tmp_path.rglob(".*")]
    assert left == [], "what the killed save left behind is gone"


def test_every_place_of_a_save_is_tried(tmp_path, monkeypatch):
    """No place was added and forgotten here."""
    met = set()
    for module in (artifact, checkpoints):
        monkeypatch.setattr(module, "reached", met.add)
    work(tmp_path, resume=False)
    work(tmp_path, resume=True)
    assert met - set(PLACES) == set() and set(PLACES) - EARLY <= met


def test_seen_counts_samples():
    """The count that the kills are judged by can fail."""
    toy = Toy().train()
    for number in (0, 1, 1):
        toy.loss(Samples().batch(number))
    assert toy.seen[:4].tolist() == [1] * 4 and toy.seen[4:8].tolist() == [2] * 4 and not toy.seen[8:].any()


def test_a_checkpoint_takes_its_place_in_one_go(tmp_path, monkeypatch):
    """If it cannot be renamed there is nothing at its place, not even a part."""
    train(tmp_path, training(steps=1))
    rename = artifact.os.replace

    def failing(source, target):
        if target.name == "step-00000002":
            raise OSError("no renaming")
        rename(source, target)

    monkeypatch.setattr(artifact.os, "replace", failing)
    with pytest.raises(OSError, match="no renaming"):
        train(tmp_path, training(steps=2), resume=True)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
