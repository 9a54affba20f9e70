"""The verbs over small runs of every objective that reads packed rows: what `pretrain` leaves behind is what the others read."""

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

SMALL = [
    "model.width=16",
    "model.backbone.mixer.heads=2",
    "model.backbone.feedforward.width=32",
    "stream.rows=4",
    "stream.length=32",
    "subwords.size=400",
    "training.validations=2",
    "training.validation_tokens=200",
    "training.decay=none",
]
RECIPES = ["gpt1-tiny", "gpt2-tiny", "bert-tiny", "albert-tiny", "electra-tiny"]
PARTS = {
    "gpt1-tiny": {"next"},
    "gpt2-tiny": {"next"},
    "bert-tiny": {"masked", "pair"},
    "albert-tiny": {"masked", "pair"},
    "electra-tiny": {"generator", "replaced"},
}
WORDS = "가나다 사람이 하늘을 본다. 바다 the sea is blue and deep. rivers run to it, 강물이 흐른다! mountains stand still".split()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    chance = random.Random(0)
    documents = [" ".join(chance.choice(WORDS) for _ in range(chance.randint(5, 60))) for _ in range(260)]
    path = tmp_path_factory.mktemp("text") / "train.txt"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def pretrain(recipe, corpus, out, **arguments):
    torch.set_num_threads(1)
    settings = [*SMALL, *arguments.pop("settings", ())]
    return malmoi.pretrain(recipe, corpus=[corpus], out=out, settings=settings, device="cpu", **arguments)


@pytest.fixture(scope="module")
def runs(corpus, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    return {recipe: (place / recipe, pretrain(recipe, corpus, place / recipe, steps=10)) for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_is_scored_examined_and_read(recipe, runs, corpus, tmp_path):
    out, result = runs[recipe]
    assert result["steps"] == 10 and result["stopped"] == "done" and result["tokens"] == 10 * 4 * 32
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert PARTS[recipe] <= lines[0].keys() and [line["step"] for line in lines if "valid_loss" in line] == [5, 10]
    measure = "perplexity" if recipe.startswith("gpt") else "pseudo_perplexity"
    assert {measure, "bits_per_byte", "unknown_rate", "tokens", "documents"} <= result["valid"].keys()
    held = tmp_path / "held.txt"
    held.write_text("\n\n".join(corpus.read_text(encoding="utf-8").split("\n\n")[99::100]), encoding="utf-8")
    found = api.evaluate(out, on=[held])
    assert found["documents"] == 2 and found[measure] > 1.0
    verdict = api.doctor(out)
    assert [finding for finding in verdict["findings"] if finding["level"] == "error"] == []
    (vectors,) = malmoi.load(out, device="cpu").encode(["바다 the sea"], layer="all")
    assert vectors.shape[0] == 3 and vectors.shape[2] == 16 and np.isfinite(vectors).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_going_on_is_one_longer_run(recipe, corpus, tmp_path):
    fixed = {"settings": ["model.dropout=0.1"]}
    pretrain(recipe, corpus, tmp_path / "b", steps=4, **fixed)
    pretrain(recipe, corpus, tmp_path / "b", steps=7, resume=True, **fixed)
    pretrain(recipe, corpus, tmp_path / "c", steps=7, **fixed)
    one, other = (checkpoints.steps(tmp_path / name / "checkpoints")[-1] for name in "bc")
    for file in ("model", "optimizer"):
        assert (one / f"{file}.safetensors").read_bytes() == (other / f"{file}.safetensors").read_bytes()


def test_pairs_of_texts(corpus, tmp_path):
    lines = [block.replace("\n", " ") for block in corpus.read_text(encoding="utf-8").split("\n\n")]
    source, target = tmp_path / "source.txt", tmp_path / "target.txt"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    target.write_text("\n".join(" ".join(reversed(line.split())) for line in lines) + "\n", encoding="utf-8")
    result = malmoi.pretrain(
        "transformer-tiny", pairs=[source, target], out=tmp_path / "run", settings=[*SMALL, "stream.length=96"], steps=6, device="cpu"
    )
    assert result["text"]["documents"] == 258 and result["valid"]["perplexity"] > 1.0
    opened = load_run(tmp_path / "run")
    assert set(opened.objective.models()) == {"model", "decoder"}
    target.write_text("\n".join(lines[:100]) + "\n", encoding="utf-8")
    with pytest.raises(MalmoiError, match="M025"):
        malmoi.pretrain("transformer-tiny", pairs=[source, target], out=tmp_path / "odd", settings=SMALL, steps=2, device="cpu")


def test_what_cannot_be_is_refused(corpus, tmp_path):
    for code, recipe, settings in (
        ("M032", "gpt1-tiny", ["model.backbone.mixer.sees=full"]),
        ("M032", "bert-tiny", ["model.backbone.mixer.sees=causal"]),
        ("M032", "bert-tiny", ["subwords=null"]),
        ("M032", "bert-tiny", ["stream.length=512"]),
        ("M032", "bert-tiny", ["model.backbone.mixer.heads=3"]),
        ("M030", "bert-tiny", ["model.frontend.width=8", "model.head.transform=none"]),
        ("M032", "elmo-tiny", ["subwords.algorithm=bpe"]),
    ):
        with pytest.raises(MalmoiError) as refusal:
            pretrain(recipe, corpus, tmp_path / "run", steps=2, settings=settings if recipe != "elmo-tiny" else settings)
        assert refusal.value.code in (code, "M002"), (settings, refusal.value)
    with pytest.raises(MalmoiError, match="M009"):
        malmoi.pretrain("bert-tiny", pairs=[corpus, corpus], out=tmp_path / "pairs", steps=2)
    with pytest.raises(MalmoiError, match="M009"):
        malmoi.pretrain("transformer-tiny", corpus=[corpus], out=tmp_path / "corpus", steps=2)


@pytest.mark.parametrize("recipe", ["bert-tiny", "transformer-tiny"])
def test_a_dry_run_leaves_nothing(recipe, corpus, tmp_path):
    text = {"pairs": [corpus, corpus]} if recipe.startswith("transformer") else {"corpus": [corpus]}
    found = malmoi.pretrain(recipe, out=tmp_path / "dry", settings=SMALL, steps=100, dry_run=True, device="cpu", **text)
    assert not (tmp_path / "dry").exists()
    assert found["parameters"] > 0 and found["steps"] == 100 and found["memory_bytes"] > 0 and found["tokens_per_second"] > 0
