"""The verbs over one small run: what `pretrain` leaves behind is what the others read."""

import json
import random

import numpy as np
import pytest
import torch

import malmoi
from malmoi import api
from malmoi.core.errors import MalmoiError
from malmoi.run import load_run
from malmoi.train import checkpoint as checkpoints

SETTINGS = [
    "model.width=12",
    "model.backbone.mixer.cell=16",
    "model.frontend.filters=[[1,6],[3,10]]",
    "model.head.size=80",
    "model.head.softmax.kind=full",
    "stream.streams=4",
    "stream.window=6",
    "training.validations=2",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    chance = random.Random(0)
    documents = [" ".join(f"w{int(90 * chance.random() ** 2)}" for _ in range(chance.randint(3, 20))) for _ in range(260)]
    path = tmp_path_factory.mktemp("text") / "train.txt"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def pretrain(corpus, out, **arguments):
    torch.set_num_threads(1)
    return malmoi.pretrain(
        "elmo-tiny", corpus=[corpus], out=out, settings=[*SETTINGS, *arguments.pop("settings", ())], device="cpu", **arguments
    )


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a"
    return out, pretrain(corpus, out, steps=12)


def test_a_run_holds_what_the_contract_says(run):
    out, result = run
    assert {"spec.json", "metrics.jsonl", "manifest.json", "checkpoints", "vocab", "shards", "evals"} <= {
        path.name for path in out.iterdir()
    }
    assert result["steps"] == 12 and result["stopped"] == "done" and result["text"]["documents"] == 258
    scored = [line for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()) if "valid_loss" in line]
    assert [line["step"] for line in scored] == [6, 12]


def test_one_document_in_a_hundred_was_held_out_and_scored(run, corpus, tmp_path):
    out, result = run
    held = tmp_path / "held.txt"
    held.write_text("\n\n".join(corpus.read_text(encoding="utf-8").split("\n\n")[99::100]), encoding="utf-8")
    found = api.evaluate(out, on=[held])
    assert found["documents"] == 2
    assert found["perplexity"] == pytest.approx(result["valid"]["perplexity"], rel=1e-6)
    assert {"bits_per_byte", "unknown_rate", "tokens", "forward_perplexity", "backward_perplexity"} <= set(found)


def test_the_warm_state_is_the_mean_of_the_states_of_training(run, corpus):
    opened = load_run(run[0])
    carry = checkpoints.unflatten(checkpoints.load(opened.checkpoint).carry)
    torch.testing.assert_close(opened.warm["backward"][1][0], carry["backward"][1][0].mean(0, keepdim=True))
    encoder = malmoi.load(run[0], device="cpu")
    warm, reset = (encoder.encode(["w1 w2"], state=state, layer="top")[0] for state in ("warm", "reset"))
    assert warm.shape == (2, 24) and not np.array_equal(warm, reset)
    assert api.evaluate(run[0], on=[corpus], state="warm")["perplexity"] != api.evaluate(run[0], on=[corpus])["perplexity"]


def test_going_on_with_more_steps_is_one_longer_run(corpus, tmp_path):
    steady = ["training.decay=none"]
    pretrain(corpus, tmp_path / "b", steps=7, settings=steady)
    pretrain(corpus, tmp_path / "b", steps=12, settings=steady, resume=True)
    pretrain(corpus, tmp_path / "c", steps=12, settings=steady)
    one, other = (checkpoints.steps(tmp_path / name / "checkpoints")[-1] for name in "bc")
    assert one.name == other.name == "step-00000012"
    for file in ("model", "optimizer", "carry"):
        assert (one / f"{file}.safetensors").read_bytes() == (other / f"{file}.safetensors").read_bytes()


def test_what_cannot_be_is_refused_and_nothing_is_lost(run, corpus, tmp_path):
    out, _ = run
    before = sorted(path.name for path in (out / "checkpoints").iterdir())
    for code, arguments in (
        ("M004", {"steps": 12}),
        ("M041", {"steps": 20, "resume": True, "settings": ["model.dropout=0.5"]}),
        ("M009", {"steps": 20, "minutes": 1.0, "resume": True}),
    ):
        with pytest.raises(MalmoiError) as refusal:
            pretrain(corpus, out, **arguments)
        assert refusal.value.code == code
    with pytest.raises(MalmoiError, match="M042"):
        pretrain(corpus, tmp_path / "none", steps=3, resume=True)
    with pytest.raises(MalmoiError, match="M041"):
        other = tmp_path / "other.txt"
        other.write_text(corpus.read_text(encoding="utf-8") + "\nw1 w2\n", encoding="utf-8")
        pretrain(other, out, steps=20, resume=True)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == before and not (out / ".lock").exists()


def test_a_flipped_bit_in_any_file_of_a_run_is_named(run, corpus):
    """By what opens the run, or what goes on with it. (`evals` are records that neither reads; the doctor does.)"""
    out, _ = run
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.parent.name != "evals"]
    used = load_run(out).checkpoint
    for path in files:
        if path.is_relative_to(out / "checkpoints") and not path.is_relative_to(used):
            continue
        content = path.read_bytes()
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 4]) + content[-2:])
        with pytest.raises(MalmoiError) as refusal:
            load_run(out)
            pretrain(corpus, out, steps=12, resume=True)
        assert path.name in refusal.value.message or str(path.parent) in refusal.value.message, (path, refusal.value)
        path.write_bytes(content)
    assert load_run(out).step == 12


def test_a_dry_run_leaves_nothing(corpus, tmp_path):
    found = pretrain(corpus, tmp_path / "dry", steps=100, dry_run=True)
    assert not (tmp_path / "dry").exists()
    assert found["parameters"] > 0 and found["seconds"] >= 0 and found["steps"] == 100 and found["memory_bytes"] > 0


def test_a_refused_start_may_be_tried_again_with_other_words(corpus, tmp_path):
    out = tmp_path / "flood"
    with pytest.raises(MalmoiError, match="M012"):
        pretrain(corpus, out, steps=2, settings=["model.head.size=4"])
    assert not (out / "checkpoints").exists() or not checkpoints.steps(out / "checkpoints")
    other = tmp_path / "other.txt"
    other.write_text(corpus.read_text(encoding="utf-8").replace("w1 ", "elsewhere "), encoding="utf-8")
    assert pretrain(other, out, steps=2, allow_unknown=True, settings=["model.head.size=4"])["steps"] == 2
    assert load_run(out).vocabulary.id_of("elsewhere") > 2
    with pytest.raises(MalmoiError, match="M010"):
        pretrain(tmp_path / "none.txt", tmp_path / "nothing", steps=2)
    assert not (tmp_path / "nothing").exists()
