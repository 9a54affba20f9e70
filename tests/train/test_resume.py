"""A run that was stopped and resumed is the run that was not, bit for bit."""

import json
import signal

import numpy as np
import pytest
import torch

from malmoi.core.progress import Silent
from malmoi.core.recipe import (
    AdagradSpec,
    AdamWSpec,
    BackboneSpec,
    LSTMSpec,
    ModelSpec,
    RunSpec,
    SampledSoftmaxSpec,
    TokenEmbeddingSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)
from malmoi.objectives import build
from malmoi.shards import Shards, Streams
from malmoi.train import checkpoint as checkpoints
from malmoi.train import fit

STEPS = 20


class StopAt(Silent):
    """Sends the signal of Ctrl-C when a step is done."""

    def __init__(self, step):
        self.step = step

    def advance(self, done, facts=None):
        if done == self.step:
            signal.raise_signal(signal.SIGINT)


def spec_of(optimizer, accumulate, **training):
    head = VocabularyHeadSpec(size=40, softmax=SampledSoftmaxSpec(samples=10))
    model = ModelSpec(width=6, dropout=0.3, frontend=TokenEmbeddingSpec(), backbone=BackboneSpec(mixer=LSTMSpec(cell=8)), head=head)
    fields = {"steps": STEPS, "optimizer": optimizer, "accumulate": accumulate, "learning_rate": 0.05, "warmup": 0.2, "decay": "linear"}
    return RunSpec(name="test", model=model, training=TrainingSpec(**{**fields, **training}))


def batches():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 9, 60)
    return Streams(Shards.of(generator.integers(3, 50, lengths.sum()), np.cumsum(lengths)), None, 4, 5, 3)


def run(spec, directory, *, progress=None, resume=False, validate=None):
    torch.set_num_threads(1)
    objective = build(spec, words=50, characters=261)
    torch.manual_seed(int(directory.stat().st_ino) % 1000)  # what the random state was before must not matter
    outcome = fit(
        objective,
        batches=batches(),
        spec=spec.training,
        seed=spec.seed,
        directory=directory,
        device=torch.device("cpu"),
        progress=progress or Silent(),
        resume=resume,
        validate=validate,
    )
    return objective, outcome


def final(directory):
    """Every tensor of the last checkpoint: weights, optimizer, carry."""
    path = checkpoints.steps(directory / "checkpoints")[-1]
    found = checkpoints.load(path)
    return {**{f"o/{k}": v for k, v in found.optimizer.items()}, **{f"c/{k}": v for k, v in found.carry.items()}}


def losses(directory):
    keep = ("step", "tokens", "loss", "gradient_norm", "learning_rate")
    return [{key: line[key] for key in keep} for line in map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())]


@pytest.mark.parametrize("optimizer", [AdagradSpec(), AdamWSpec()], ids=lambda spec: spec.kind)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, optimizer, accumulate):
    spec = spec_of(optimizer, accumulate)
    (tmp_path / "whole").mkdir()
    whole, outcome = run(spec, tmp_path / "whole")
    assert (outcome.stopped, outcome.step) == ("done", STEPS)
    for stop in (1, 7, 19):
        place = tmp_path / f"stop-{stop}"
        place.mkdir()
        _, outcome = run(spec, place, progress=StopAt(stop))
        assert (outcome.stopped, outcome.step) == ("SIGINT", stop)
        resumed, outcome = run(spec, place, resume=True)
        assert (outcome.stopped, outcome.step, outcome.tokens) == ("done", STEPS, 20 * STEPS * accumulate)
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True)), stop
        expected, found = final(tmp_path / "whole"), final(place)
        assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
        assert losses(place) == losses(tmp_path / "whole")


def test_a_step_that_was_lost_is_taken_again(tmp_path):
    """Killed after step 13 with a checkpoint at 12: the lines after it are dropped and written once."""
    spec = spec_of(AdagradSpec(), 1, save_steps=4, keep=5)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    run(spec, tmp_path / "whole")

    class Killed(StopAt):
        def advance(self, done, facts=None):
            if done == self.step:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, tmp_path / "killed", progress=Killed(13))
    assert [path.name[-2:] for path in checkpoints.steps(tmp_path / "killed" / "checkpoints")] == ["04", "08", "12"]
    run(spec, tmp_path / "killed", resume=True)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    expected, found = final(tmp_path / "whole"), final(tmp_path / "killed")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("validations, expected", [(4, [5, 10, 15, 20]), (0, [20])])
def test_a_checkpoint_is_written_at_every_validation_and_no_oftener(tmp_path, validations, expected):
    calls = []
    spec = spec_of(AdagradSpec(), 1, validations=validations, keep=9)
    run(spec, tmp_path, validate=lambda: calls.append(None) or {"loss": 1.0})
    written = [int(path.name[-2:]) for path in checkpoints.steps(tmp_path / "checkpoints")]
    assert written == expected and len(calls) == validations
    (tmp_path / "silent").mkdir()
    run(spec, tmp_path / "silent")
    assert [int(path.name[-2:]) for path in checkpoints.steps(tmp_path / "silent" / "checkpoints")] == [20]


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    spec = spec_of(AdagradSpec(), 1, save_steps=4, keep=5)
    notes = []

    class Noting(Silent):
        def note(self, text):
            notes.append(text)

    run(spec, tmp_path, progress=StopAt(13))
    weights = tmp_path / "checkpoints" / "step-00000013" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    _, outcome = run(spec, tmp_path, resume=True, progress=Noting())
    assert outcome.step == STEPS and any("step-00000013" in note and "M020" in note for note in notes)
    assert [line["step"] for line in losses(tmp_path)] == list(range(1, STEPS + 1))
