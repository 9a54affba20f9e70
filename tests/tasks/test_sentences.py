"""Sentence vectors from end to end: what is learned from, what comes out as a run, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
import torch

import malmoi
from malmoi import api
from malmoi.core.errors import MalmoiError
from malmoi.export.card import card
from malmoi.run import load_run
from malmoi.tasks import find_task, submission
from malmoi.tasks.formats.plain import plain, sentences_of
from malmoi.tasks.metrics import labels
from malmoi.tasks.sentences import contrasted, found_in_batch, with_dropout
from malmoi.tasks.spec import LearningSpec, TuneSpec
from malmoi.tasks.task import Splits, Task, Texts
from malmoi.tasks.towers import Contrast
from malmoi.tasks.tune import settled, tune
from malmoi.use import encoder_of

THINGS = [("old", "house"), ("new", "river"), ("stone", "light"), ("바람", "나무"), ("작은", "길"), ("star", "bank")]
NLI = ("entailment", "neutral", "contradiction")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def spec_of(encoder: Any, epochs: int = 2, **changes: Any) -> TuneSpec:
    return TuneSpec(encoder=encoder, learning=LearningSpec(epochs=epochs, learning_rate=3e-3, batch=16, patience=9), **changes)


def similar(count: int, seed: int = 0) -> list[Texts]:
    """Texts about one or two of six things, 5 where both are about the same, 2.5 where one thing is common."""
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        sides = [random.choice(len(THINGS), 2, replace=False) for _ in range(2)]
        sides[1] = np.where(random.random(2) < 0.5, sides[0], sides[1])
        one, other = ([str(random.choice(THINGS[thing])) for thing in side] for side in sides)
        common = len({*sides[0].tolist()} & {*sides[1].tolist()})
        texts = (made.placed(random, ["the", "a", "walks"], *words) for words in (one, other))
        found.append(Texts(f"s-{number}", *texts, label=2.5 * common))
    return found


def inference(count: int, seed: int = 0) -> list[Texts]:
    """A premise about a thing, what says the same by another word, and mostly what speaks of another thing."""
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        thing, other = random.choice(len(THINGS), 2, replace=False)
        premise = made.placed(random, made.filler(random, 4), THINGS[thing][0], str(number % 10))
        found.append(Texts(f"n-{number}", premise, made.placed(random, ["there"], THINGS[thing][1]), "entailment"))
        if number % 4:
            found.append(Texts(f"c-{number}", premise, made.placed(random, ["there"], THINGS[other][1]), "contradiction"))
    return found


def sts(**changes: Any) -> Task:
    return made.task_of("regression", name="korsts", metric=labels.correlations, main="spearman", **changes)


def nli() -> Task:
    return made.task_of("pair", name="klue-nli", labels=NLI)


@pytest.mark.parametrize("family", ["bert", "electra", "gpt"])
def test_a_bi_encoder_gets_better_and_comes_out_as_a_run(family: str, tmp_path: Path) -> None:
    run, splits = made.run_of(family, tmp_path), Splits(similar(320), similar(64, 1), similar(64, 2))
    task = sts(write=submission.korsts)
    found = tune(run, task, splits=splits, out=tmp_path / "out", spec=spec_of("bi", 8, length=20))
    gold = [one.label for one in splits.test]
    before = malmoi.tasks.probe.probe(run, task, splits=splits, spec=malmoi.tasks.spec.ProbeSpec(layer="top", head="cosine"))  # type: ignore[attr-defined]
    untrained = before.layers["2"][0].scores["test"]["spearman"]
    assert found["mean"]["test"]["mean"] > max(0.8, untrained + 0.2), (found["seeds"], untrained)

    again = load_run(tmp_path / "out")  # the run gives the vectors that were trained
    assert again.spec == run.spec and not again.has_head and again.step == run.step
    vectors = [malmoi.load(tmp_path / "out").encode(side, layer="top", pool="mean") for side in zip(*_texts(splits.test), strict=True)]
    u, v = (np.stack(side) for side in vectors)
    told = 5 * (u * v).sum(1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
    assert labels.spearman(gold, told.tolist()) == pytest.approx(found["mean"]["test"]["mean"], abs=0.01)
    cosine = malmoi.probe(tmp_path / "out", "korsts", data=_published(tmp_path, splits), head="cosine")  # reads the layer that was trained
    assert [row["layer"] for row in cosine["rows"]] == ["2"]
    lines = (tmp_path / "out" / "predictions" / "test-0.tsv").read_text().splitlines()[1:]
    assert [float(line.split("\t")[0]) for line in lines] == pytest.approx(told.tolist(), abs=1e-3)

    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["kind"] == "run" and manifest["head"] is False and manifest["parent"]["step"] == 7
    assert manifest["sentences"]["encoder"] == "bi" and manifest["sentences"]["task"] == "korsts"
    assert manifest["sentences"]["mean"] == found["mean"] and manifest["sentences"]["settings"]["length"] == 20


def _published(folder: Path, splits: Splits) -> Path:
    """KorSTS's files."""
    for split in ("train", "dev", "test"):
        lines = [f"g\tf\ty\t{n}\t{one.label}\t{one.first}\t{one.second}" for n, one in enumerate(getattr(splits, split))]
        head = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2"
        (folder / f"sts-{split}.tsv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def _texts(examples: Any) -> list[tuple[str, str]]:
    return [(one.first, one.second) for one in examples]


def test_a_label_of_two_vectors(tmp_path: Path) -> None:
    splits = made.splits_of("pair", train=192, dev=48, test=48)
    task = made.task_of("pair", write=submission.glue)
    found = tune(made.run_of("bert", tmp_path), task, splits=splits, out=tmp_path / "out", spec=spec_of("bi", 5))
    assert found["mean"]["test"]["mean"] >= 0.9 and found["metric"] == "accuracy" and "views" not in found
    told = [line.split("\t")[1] for line in (tmp_path / "out" / "predictions" / "test-0.tsv").read_text().splitlines()[1:]]
    right = [one.label == label for one, label in zip(splits.test, told, strict=True)]
    assert np.mean(right) == pytest.approx(found["mean"]["test"]["mean"])


def test_contrast_learns_from_inference(tmp_path: Path) -> None:
    """What the texts have in common is the thing, by two names: by the vectors of fresh weights it is not to be found."""
    run, splits = made.run_of("bert", tmp_path), Splits(inference(240), inference(60, 1))
    found = tune(run, nli(), splits=splits, out=tmp_path / "out", spec=spec_of("simcse", 6, keep="last"))
    assert found["metric"] == "in_batch_accuracy" and found["settings"]["model_dropout"] == 0.1 and found["seeds"][0]["epoch"] == 6
    assert found["examples"] == {"train": 240, "dev": 60} and found["predictions"] == []
    assert 0.5 < found["views"] < 0.9999
    [seed] = found["seeds"]
    assert seed["losses"][-1] < seed["losses"][0] - 0.5  # some of the others in a batch speak of the same thing

    premises = [one for one in splits.dev if one.label == "entailment"]

    def right(encoder: Any) -> float:
        """How often what a premise entails is the nearest of what may be said of the six things."""
        said = [f"there {other}" for _, other in THINGS]
        own = [[other in one.second for _, other in THINGS].index(True) for one in premises]
        found = encoder.encode([*said, *(one.first for one in premises)], layer="top", pool="mean")
        unit = np.stack([vector / np.linalg.norm(vector) for vector in found])
        return float(np.mean((unit[len(said) :] @ unit[: len(said)].T).argmax(1) == own))

    before, after = right(encoder_of(run)), right(malmoi.load(tmp_path / "out"))
    assert after > before + 0.3, (before, after)  # 1 in 6 by chance
    assert load_run(tmp_path / "out").spec.model.dropout == 0.0, "the dropout of training is not the run's own"


def test_contrast_learns_from_text_alone(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sentences = [" ".join(made.filler(random, 6)) for _ in range(150)]
    (tmp_path / "text.txt").write_text("\n".join(f"{sentence}." for sentence in sentences), encoding="utf-8")
    task = find_task("simcse")
    splits = task.read(tmp_path / "text.txt")
    run = made.run_of("bert", tmp_path)
    found = tune(run, task, splits=splits, out=tmp_path / "out", spec=spec_of("simcse", 3), seeds=(0, 1))
    seed = found["seeds"][0]
    assert found["settings"]["keep"] == "last" and seed["epoch"] == 3 and len(seed["curve"]) == 3
    assert seed["losses"][-1] < seed["losses"][0] and set(seed["dev"]) == {"in_batch_accuracy", "loss"}
    assert found["seeds"][1]["losses"] != seed["losses"] and "1" not in found["made"] and "dev" in found["made"]
    again = tune(run, task, splits=splits, out=tmp_path / "again", spec=spec_of("simcse", 3), seeds=(1,))
    assert again["seeds"][0]["losses"] == found["seeds"][1]["losses"]
    moved = zip(run.objective.state_dict().items(), load_run(tmp_path / "out").objective.state_dict().items(), strict=True)
    assert {one.split(".")[1] for (one, before), (_, after) in moved if not torch.equal(before, after)} >= {"frontend", "backbone"}


def test_views_that_do_not_differ_are_refused(tmp_path: Path) -> None:
    splits = Splits([Texts(str(n), f"the house {n}") for n in range(8)], [Texts("d", "a river"), Texts("e", "the stone")])
    with pytest.raises(MalmoiError, match="M158: simcse .* 8 texts .*--set model_dropout=0.1"):
        tune(
            made.run_of("bert", tmp_path),
            find_task("simcse"),
            splits=splits,
            out=tmp_path / "out",
            spec=spec_of("simcse", model_dropout=0.0),
        )
    assert not (tmp_path / "out").exists()
    found = tune(
        made.run_of("bert", tmp_path),
        nli(),
        splits=Splits(inference(8), inference(4)),
        out=tmp_path / "nli",
        spec=spec_of("simcse", 1, model_dropout=0.0),
    )
    assert found["views"] == pytest.approx(1.0, abs=1e-6), "texts that differ anyway need no dropout"


@pytest.mark.parametrize("family", ["bert", "albert", "electra", "gpt", "elmo"])
def test_dropout_of_another_size_in_the_same_model(family: str, tmp_path: Path) -> None:
    run = made.run_of(family, tmp_path)
    other = with_dropout(run, 0.3)
    state, same = run.objective.state_dict(), other.objective.state_dict()
    assert state.keys() == same.keys() and all(torch.equal(same[name], value) for name, value in state.items())
    shares = {module.p for module in other.objective.modules() if isinstance(module, torch.nn.Dropout)}
    assert 0.3 in shares and shares <= {0.0, 0.3} and other.spec.model.dropout == 0.3
    assert all(not module.p for module in run.objective.modules() if isinstance(module, torch.nn.Dropout))
    assert with_dropout(run, None) is run
    if family != "elmo":
        assert other.spec.model.backbone.mixer.dropout == 0.3  # type: ignore[union-attr]


def test_dropout_of_the_model_is_for_every_encoder(tmp_path: Path) -> None:
    losses = {}
    for share in (None, 0.5):
        spec = TuneSpec(model_dropout=share, learning=LearningSpec(epochs=1, batch=8), dropout=0.0)
        splits = made.splits_of("sentence", train=16, dev=8)
        losses[share] = tune(made.run_of("bert", tmp_path), made.task_of("sentence"), splits=splits, out=tmp_path / f"o{share}", spec=spec)[
            "seeds"
        ][0]["losses"]
    assert losses[None] != losses[0.5]


def test_what_inference_gives() -> None:
    texts = [
        Texts("1", "p", "yes", "entailment"),
        Texts("2", "p", "no", "contradiction"),
        Texts("3", "p", "yes too", "entailment"),
        Texts("4", "p", "perhaps", "neutral"),
        Texts("5", "q", "sure", "entailment"),
        Texts("6", "r", "never", "contradiction"),
        Texts("7", "p", "yes again", "entailment"),
        Texts("8", "p", "not", "contradiction"),
    ]
    task, found = contrasted(nli(), Splits(texts, texts[:2]))
    assert found.train == [
        Contrast("1", "p", "yes", "no"),
        Contrast("3", "p", "yes too", "not"),
        Contrast("5", "q", "sure"),
        Contrast("7", "p", "yes again", "no"),
    ]
    assert found.dev == [Contrast("1", "p", "yes", "no")] and not found.test and task.main == "in_batch_accuracy"
    assert found_in_batch(found.train, [(True, 1.0), (False, 2.0), (True, 0.0), (True, 1.0)]) == {"in_batch_accuracy": 0.75, "loss": 1.0}


def test_sentences_of_a_text() -> None:
    text = (
        "A short. This one is long enough!  이것은 충분히 긴 문장입니다.\n제목\nAnd\tthis  one "
        + "too long " * 40
        + ". The last one, J. Kim said."
    )
    assert list(sentences_of(text)) == ["This one is long enough!", "이것은 충분히 긴 문장입니다.", "The last one, J. Kim said."]


@pytest.mark.parametrize("name", ["text.txt", "text.jsonl"])
def test_plain_text_is_read_once(name: str, tmp_path: Path) -> None:
    sentences = [f"Sentence number {number} of the text." for number in range(500)]
    lines = [f"{sentences[n]} {sentences[(7 * n) % 500]}" for n in range(500)]
    if name.endswith("jsonl"):
        lines = [json.dumps({"text": line}) for line in lines]
    (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    splits = plain(tmp_path / name)
    found = [one.first for one in (*splits.train, *splits.dev)]
    assert sorted(found) == sorted(sentences) and len(splits.dev) == 5 and not splits.test
    assert splits.made == {"dev": "5 of the 500 different sentences, chosen by a hash"}
    (tmp_path / name).write_text("\n".join(lines[::-1]), encoding="utf-8")
    assert {one.first for one in plain(tmp_path / name).dev} == {one.first for one in splits.dev}, "the order decides nothing"
    (tmp_path / name).write_text(lines[0], encoding="utf-8")
    with pytest.raises(MalmoiError, match="M155: .* 1 different sentences"):
        plain(tmp_path / name)


@pytest.mark.parametrize(
    ("family", "task", "encoder", "message"),
    [
        (
            "bert",
            made.task_of("sentence"),
            "bi",
            "M060: .* encoder=bi learns tasks of the kinds regression and pair, and its kind is sentence",
        ),
        ("bert", made.task_of("tagging"), "simcse", "M060: .* encoder=simcse learns tasks of the kinds pair and sentences"),
        (
            "bert",
            made.task_of("pair", labels=("0", "1")),
            "simcse",
            "M060: .* from the labels entailment and contradiction, and it has 0, 1",
        ),
        ("bert", find_task("simcse"), "cross", "M060: .* it has no answers, and needs --set encoder=simcse.*docs/tasks.md"),
        ("bert", find_task("simcse"), "bi", "M060: .* its kind is sentences"),
        ("elmo", sts(), "bi", "M060: .* encoder=bi trains the vectors of a Transformer, and this is a biLM"),
        ("sequence", sts(), "bi", "M060: .* its objective is sequence"),
    ],
)
def test_what_does_not_fit_is_refused(family: str, task: Task, encoder: str, message: str, tmp_path: Path) -> None:
    splits = Splits(similar(8), similar(4))
    with pytest.raises(MalmoiError, match=message):
        tune(made.run_of(family, tmp_path), task, splits=splits, out=tmp_path / "out", spec=spec_of(encoder))
    assert not (tmp_path / "out").exists()


def test_settings_that_mean_nothing_to_towers(tmp_path: Path) -> None:
    with pytest.raises(MalmoiError, match="M009: lm_weight"):
        settled(made.run_of("gpt", tmp_path), spec_of("bi", lm_weight=0.5))
    assert settled(made.run_of("gpt", tmp_path), spec_of("bi")).lm_weight == 0.0
    assert settled(made.run_of("bert", tmp_path), spec_of("simcse"), nli()).keep == "best"
    assert settled(made.run_of("bert", tmp_path), spec_of("simcse", keep="last", model_dropout=0.2)).model_dropout == 0.2
    only_neutral = Splits([replace(one, label="neutral") for one in inference(8)], inference(4))
    with pytest.raises(MalmoiError, match="M157: klue-nli cannot be learned: there is nothing to learn from"):
        tune(made.run_of("bert", tmp_path), nli(), splits=only_neutral, out=tmp_path / "out", spec=spec_of("simcse"))


def test_a_trained_run_is_exported_with_what_it_learned(tmp_path: Path) -> None:
    run = made.run_of("bert", tmp_path)
    post = run.spec.model.backbone.model_dump() | {"norm": "post", "epsilon": 1e-12}  # as BERT's classes have it
    run = made.run_of("bert", tmp_path, backbone=post)
    found = tune(run, sts(), splits=Splits(similar(16), similar(8)), out=tmp_path / "out", spec=spec_of("bi", 1))
    told = api.export(tmp_path / "out", format="sentence-transformers", out=tmp_path / "st")
    assert told["notes"] == []
    text = (tmp_path / "st" / "README.md").read_text(encoding="utf-8")
    assert "## Sentence vectors" in text and "trained on: korsts, both texts read by the same encoder" in text
    assert f"spearman: dev {found['mean']['dev']['mean']:.4f}" in text and "examples: 16, at most 1 epochs, 16 a batch" in text
    spec = load_run(tmp_path / "out").spec
    assert "## Sentence vectors" not in card(spec, family="bert", format="sentence-transformers", facts={})
