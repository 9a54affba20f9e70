"""Every verb over a small run of word2vec-tiny."""

import json
import random

import numpy as np
import pytest
import torch

import malmoi
from malmoi import api
from malmoi.core.errors import MalmoiError
from malmoi.health import run as history
from malmoi.run import load_run
from malmoi.tasks.features import Features
from malmoi.train import checkpoint as checkpoints

SETTINGS = ["model.width=12", "objective.minimum_count=3", "text.document=line", "stream.rows=2", "stream.length=64"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two topics, 30 words each, that never meet; and words that occur once."""
    chance = random.Random(0)
    topics = [[f"{name}{number}" for number in range(30)] for name in ("sea", "war")]
    lines = [" ".join(chance.choices(topics[number % 2], k=12)) + f" once{number}" for number in range(600)]
    path = tmp_path_factory.mktemp("text") / "train.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def pretrain(corpus, out, *settings, **arguments):
    torch.set_num_threads(1)
    return malmoi.pretrain("word2vec-tiny", corpus=[corpus], out=out, settings=[*SETTINGS, *settings], device="cpu", **arguments)


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a"
    return out, pretrain(corpus, out, "training.epochs=20", "training.loss_scale=120")


def test_training_reads_all_of_the_text_and_keeps_the_last_weights(run):
    out, result = run
    assert result["stopped"] == "done" and result["text"]["documents"] == 600 and "valid" not in result
    assert result["text"]["size"] == 63 and result["text"]["unknown_tokens"] == pytest.approx(1 / 13)
    assert not any("evaluate" in line for line in result["next"])
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"] and lines[-1]["around"] == pytest.approx(lines[-1]["loss"])
    assert lines[0]["learning_rate"] == pytest.approx(0.025) and lines[-1]["learning_rate"] < 0.0003
    assert history.likelihoods(lines, "skipgram") == []
    assert checkpoints.best(out / "checkpoints") is None


def test_words_of_a_topic_are_alike(run):
    encoder = malmoi.load(run[0], device="cpu")
    (sea,), (war,) = (encoder.encode([[f"{name}{number}" for number in range(30)]]) for name in ("sea", "war"))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (sea, war)]
    assert (unit[0] @ unit[0].T).mean() > (unit[0] @ unit[1].T).mean() + 0.5
    assert not encoder.encode(["once3"])[0].any()


def test_a_run_that_stops_and_goes_on_is_one_run(corpus, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for number, (out, steps, resume) in enumerate(((whole, 20, False), (parts, 7, False), (parts, 20, True))):
        pretrain(corpus, out, "training.decay=none", steps=steps, resume=resume, seed=4)
        assert load_run(out).step == steps, number
    one, two = (load_run(out).objective.state_dict() for out in (whole, parts))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert any(value.any() for value in one.values())


def test_the_doctor_finds_it_healthy(run):
    found = api.doctor(run[0])
    assert found["ok"], found
    messages = {finding["message"] for finding in found["findings"]}
    assert any("leak: none" in message for message in messages)
    assert any("trained vectors of 60 words, 92.3% of the text" in message for message in messages)
    assert any("guessing every pair" in message for message in messages)


def test_other_verbs_read_it_and_evaluate_refuses(run, corpus, tmp_path):
    text = tmp_path / "lines.txt"
    text.write_text("sea1 sea2 once1\nwar1\n", encoding="utf-8")
    facts = api.embed(run[0], input=text, output=tmp_path / "v.npz", layer=0)
    assert facts["width"] == 12 and facts["lines"] == 2
    assert np.load(tmp_path / "v.npz")["0"].shape == (3, 12)
    (query,) = api.neighbours(run[0], texts=["a *sea3* here"], among=text, count=2)["queries"]
    assert query["neighbours"][0]["word"].startswith("sea")
    with pytest.raises(MalmoiError, match="no likelihood of a text") as refused:
        api.evaluate(run[0], on=[corpus])
    assert refused.value.code == "M060" and "malmoi probe" in str(refused.value)
    with pytest.raises(MalmoiError, match="no next word"):
        api.generate(run[0], "sea1")
    with pytest.raises(MalmoiError):
        api.export(run[0], format="transformers", out=tmp_path / "export")
    with pytest.raises(MalmoiError, match="M009"):
        pretrain(corpus, tmp_path / "v", steps=1, valid=[corpus])


def test_vectors_of_words_are_probed(run, tmp_path):
    rows = ["word1\tword2\tscore", *(f"sea{n}\tsea{n + 1}\t9" for n in range(9)), *(f"sea{n}\twar{n}\t1" for n in range(9))]
    (tmp_path / "wordsim353.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = api.probe(run[0], "wordsim353", data=tmp_path, baselines=True, device="cpu", cache=tmp_path / "cache")
    assert found["seeds"] == 3 and "covered" in json.dumps(found)
    assert Features(load_run(run[0]), cache=tmp_path).known(["sea1", "once3", "never", "</S>"]) == [True, False, False, False]


def test_a_dry_run_tells_the_size(corpus, tmp_path):
    found = pretrain(corpus, tmp_path / "none", dry_run=True)
    assert found["parameters"] == 2 * 63 * 12 and found["epochs"] == pytest.approx(5, abs=0.1) and found["words_per_second"] > 0


def test_it_is_among_the_recipes():
    assert {"word2vec-tiny", "word2vec-small"} <= {each["name"] for each in api.recipes()["recipes"]}
