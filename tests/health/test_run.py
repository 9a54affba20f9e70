"""The history of a run, and a whole small run under the doctor's eyes."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from malmoi.core.journal import Journal
from malmoi.core.progress import Silent
from malmoi.core.recipe import AdamWSpec, SampledSoftmaxSpec, TrainingSpec
from malmoi.health import examine_run
from malmoi.health import run as history
from malmoi.health.batches import random_batch
from malmoi.health.start import start_loss
from malmoi.train import fit


def lines(losses, **fields):
    return [{"step": step, "tokens": 100 * step, "seconds": float(step), "loss": loss, **fields} for step, loss in enumerate(losses, 1)]


def one(findings):
    (finding,) = findings
    return finding.code, finding.level


def test_numbers_that_are_none_are_found():
    assert one(history.finite(lines([3.0, 2.0]))) == ("M100", "info")
    for bad in (math.nan, math.inf, None):
        (finding,) = history.finite(lines([3.0]) + [{"step": 2, "loss": bad}])
        assert (finding.code, finding.level) == ("M127", "error") and "the loss at step 2" in finding.message
    assert "gradient norm" in history.finite([{"step": 7, "loss": 1.0, "gradient_norm": math.nan}])[0].message


def test_the_unigram_entropy_is_that_of_the_counts():
    assert history.unigram_entropy(np.array([0.5, 0.25, 0.25, 0.0])) == pytest.approx(1.5 * math.log(2))


@pytest.mark.parametrize(
    "loss, tokens, size, expected",
    [
        (3.9, 300_000, 100, ("M100", "info")),
        (4.2, 190_000, 100, ("M126", "warning")),
        (4.2, 300_000, 10_000, ("M126", "warning")),
        (4.05, 300_000, 100, ("M126", "warning")),
        (4.2, 300_000, 100, ("M126", "error")),
    ],
)
def test_a_run_is_held_against_counting_words(loss, tokens, size, expected):
    metrics = [{"step": 9, "tokens": tokens, "valid_loss": loss}]
    (finding,) = history.better_than_counting(metrics, unigram=4.0, exact=False, size=size)
    assert (finding.code, finding.level) == expected


def test_a_validation_loss_is_held_against_its_own_text():
    metrics = [{"step": 9, "tokens": 300_000, "valid_loss": 4.2, "valid_unigram": 4.5}]
    (finding,) = history.better_than_counting(metrics, unigram=4.0, exact=False, size=100)
    assert finding.level == "info" and "0.300 below" in finding.message


def test_sampled_training_losses_are_never_compared():
    metrics = lines([0.5] * 40)
    (finding,) = history.better_than_counting(metrics, unigram=4.0, exact=False, size=10)
    assert finding.level == "info" and "cannot be compared" in finding.message
    assert "below counting words" in history.better_than_counting(metrics, unigram=4.0, exact=True, size=10)[0].message


def test_an_early_end_is_found():
    spec = TrainingSpec(steps=50)
    assert one(history.ended(lines([1.0] * 50), spec, steps=50)) == ("M100", "info")
    (finding,) = history.ended(lines([1.0] * 30), spec, steps=50)
    assert (finding.code, finding.level) == ("M128", "warning") and "step 30 of 50" in finding.message
    assert one(history.ended(lines([1.0] * 30), TrainingSpec(minutes=1), steps=None)) == ("M128", "warning")
    assert one(history.ended(lines([1.0] * 60), TrainingSpec(minutes=1), steps=None)) == ("M100", "info")


def test_gradients_that_vanish_or_are_always_cut_are_found():
    spec = TrainingSpec(optimizer=AdamWSpec(), clip_norm=1.0)
    assert one(history.gradients(lines([1.0] * 200, gradient_norm=1e-9), spec)) == ("M129", "warning")
    assert one(history.gradients(lines([1.0] * 200, gradient_norm=5.0), spec)) == ("M129", "warning")
    assert one(history.gradients(lines([1.0] * 200, gradient_norm=0.5), spec)) == ("M100", "info")
    assert history.gradients(lines([1.0] * 20, gradient_norm=1e-9), spec) == []


def test_a_rising_loss_is_found():
    assert one(history.falling(lines(np.linspace(5, 3, 200)))) == ("M100", "info")
    assert one(history.falling(lines(np.linspace(3, 5, 200)))) == ("M130", "warning")


def test_metrics_are_read_and_damage_is_found(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert history.read_metrics(path) == ([], [])
    journal = Journal(path, after=0)
    for step in (1, 2):
        journal.write({"step": step, "loss": 2.0})
    journal.close()
    path.write_text(path.read_text() + '{"step": 3, "lo')
    assert history.read_metrics(path) == ([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 2.0}], [])
    path.write_text(path.read_text().replace('"step": 2', '"step": 3'))
    (finding,) = history.read_metrics(path)[1]
    assert (finding.code, finding.level) == ("M131", "error") and "line 2" in finding.message


@pytest.mark.parametrize("settings", [{}, {"frontend": "tokens"}, {"softmax": SampledSoftmaxSpec(samples=10)}])
def test_fresh_weights_start_at_the_logarithm(honest, settings):
    objective = honest(**settings)
    assert one(start_loss(objective, random_batch(objective, rows=8, length=10))) == ("M100", "info")


@pytest.mark.parametrize("factor, level", [(8.0, "warning"), (100.0, "error")])
def test_fresh_weights_that_are_too_sure_are_found(honest, factor, level):
    objective = honest()
    with torch.no_grad():
        objective.head.bias.normal_(std=factor / 3)
    (finding,) = start_loss(objective, random_batch(objective, rows=8, length=10))
    assert (finding.code, finding.level) == ("M120", level) and "ln(63)" in finding.message


def test_a_start_that_knows_the_answer_is_an_error(honest):
    objective = honest()
    batch = random_batch(objective, rows=8, length=10)
    with torch.no_grad():
        objective.head.bias.fill_(-50.0)
        objective.head.bias[batch.targets["next"][0, 0]] = 0.0
    batch.targets["next"].fill_(batch.targets["next"][0, 0].item())
    (finding,) = start_loss(objective, batch)
    assert (finding.code, finding.level) == ("M120", "error") and "something leaks" in finding.message


@pytest.fixture(scope="module")
def trained(spec, text, tmp_path_factory):
    """A run of 120 steps over the small corpus, as `fit` leaves it."""
    from malmoi.objectives import build
    from malmoi.shards import Streams

    torch.set_num_threads(1)
    directory = tmp_path_factory.mktemp("run")
    chosen = spec(frontend="characters", steps=120, learning_rate=0.3, validations=0)
    objective = build(chosen, words=len(text.vocabulary), characters=text.vocabulary.characters.size)
    streams = Streams(text.shards, text.vocabulary.spelling.__getitem__, 4, 6, chosen.seed)
    device = torch.device("cpu")
    fit(objective, batches=streams, spec=chosen.training, seed=0, directory=directory, device=device, progress=Silent())
    return SimpleNamespace(spec=chosen, objective=objective.eval(), directory=directory)


def examined(trained, text, **changes):
    parts = {"objective": trained.objective, "directory": trained.directory, "step": 120, "spec": trained.spec, **changes}
    return examine_run(parts.pop("spec"), vocabulary=text.vocabulary, shards=text.shards, **parts)


def test_a_healthy_run_is_healthy(trained, text):
    before = {name: tensor.clone() for name, tensor in trained.objective.state_dict().items()}
    state = torch.get_rng_state()
    findings = examined(trained, text)
    assert [finding for finding in findings if finding.level == "error"] == []
    said = " ".join(finding.message for finding in findings)
    for check in "leak: none,one path,evaluation,dropout,sharing,state,rows,readout,moved,start,checkpoints,documents".split(","):
        assert check in said, check
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.objective.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and not any(module.training for module in trained.objective.modules())


def test_weights_that_never_moved_are_found_in_the_run(trained, text, honest):
    fresh = honest()
    with torch.no_grad():
        fresh.forward_model.frontend.projection.weight.copy_(trained.objective.forward_model.frontend.projection.weight)
    found = {finding.code: finding for finding in examined(trained, text, fresh=fresh)}
    assert "forward_model.frontend.projection.weight" in found["M114"].message and found["M114"].level == "error"


def test_a_readout_of_its_own_is_found(trained, text, monkeypatch):
    from malmoi.readout import Encoder

    given = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, *args, **kwargs: [1.01 * layers for layers in given(self, *args, **kwargs)])
    assert {finding.code for finding in examined(trained, text) if finding.level == "error"} == {"M132"}


def test_an_imported_run_is_examined_without_its_text(trained, text, tmp_path):
    findings = examine_run(trained.spec, objective=trained.objective, vocabulary=text.vocabulary, shards=None, directory=tmp_path, step=0)
    assert {finding.level for finding in findings} == {"info"} and len(findings) >= 6


def test_a_damaged_checkpoint_is_named(trained, text, tmp_path):
    copy = tmp_path / "checkpoints"
    source = trained.directory / "checkpoints"
    for path in sorted(source.rglob("*")):
        target = copy / path.relative_to(source)
        target.mkdir(parents=True, exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    assert one(history.damaged(copy)) == ("M100", "info")
    weights = copy / "step-00000120" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))
    (finding,) = history.damaged(copy)
    assert (finding.code, finding.level) == ("M131", "error") and "step-00000120" in finding.message
    assert one(history.damaged(tmp_path / "none")) == ("M043", "error")


def test_findings_go_to_json(trained, text):
    for finding in examined(trained, text):
        assert set(json.loads(json.dumps(finding.model_dump()))) == {"code", "level", "message", "next"} and finding.next
