"""Fine-tuning: every family learns every kind, seeds decide everything, what does not fit is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
import torch

from malmoi.core.errors import MalmoiError
from malmoi.tasks import submission
from malmoi.tasks.inputs import Form
from malmoi.tasks.spec import LearningSpec, TuneSpec
from malmoi.tasks.task import Question, Splits, Tagged, Texts
from malmoi.tasks.tune import begun, settled, tune
from malmoi.tasks.tuned import load

FAMILIES = ("bert", "gpt", "electra", "albert")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def learning(epochs: int, **changes: Any) -> TuneSpec:
    return TuneSpec(learning=LearningSpec(epochs=epochs, learning_rate=4e-3, batch=16, patience=9), **changes)


def short(**changes: Any) -> TuneSpec:
    return TuneSpec(learning=LearningSpec(epochs=2, learning_rate=1e-3, batch=8), **changes)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", made.METRICS)
def test_every_family_learns_every_kind(family: str, kind: str, tmp_path: Path) -> None:
    """From fresh weights, in seconds: which texts are read, and where, is all that there is to find out."""
    run, task, splits = made.run_of(family, tmp_path), made.task_of(kind), made.splits_of(kind, train=256, dev=48, test=48)
    slow = family in ("electra", "albert") and kind in ("pair", "regression", "span")  # a narrow embedding, shared blocks
    spec = learning(12 if slow else 6, lm_weight=0.1 if family == "gpt" else None)
    found = tune(run, task, splits=splits, out=tmp_path / "out", spec=spec)
    assert found["mean"]["test"]["mean"] >= 0.93, found["seeds"]
    assert found["seeds"][0]["losses"][-1] < found["seeds"][0]["losses"][0]
    if kind == "span":
        told = load(tmp_path / "out").predict(splits.test)
        right = [text in [gold for gold, _ in example.answers] for text, example in zip(told, splits.test, strict=True) if example.answers]
        assert np.mean(right) >= 0.93 and "" in told


@pytest.mark.parametrize("kind", ["sentence", "tagging"])
def test_a_bilm_learns_what_reads_one_text(kind: str, tmp_path: Path) -> None:
    run = made.run_of("elmo", tmp_path)
    spec = TuneSpec(learning=LearningSpec(epochs=7, learning_rate=1e-2, batch=16, patience=9))
    found = tune(run, made.task_of(kind), splits=made.splits_of(kind, train=224, dev=48), out=tmp_path / "out", spec=spec)
    assert found["mean"]["dev"]["mean"] >= 0.93
    before = {name: value.clone() for name, value in run.objective.state_dict().items()}
    prefixes = {"reader.models.0.": "forward_model.", "reader.models.1.": "backward_model."}
    state = load(tmp_path / "out").state_dict()
    moved = [
        not torch.equal(value, before[own + name.removeprefix(prefix)])
        for prefix, own in prefixes.items()
        for name, value in state.items()
        if name.startswith(prefix)
    ]
    assert moved and all(moved)  # the biLM is trained along


@pytest.mark.parametrize("family", ["bert", "gpt", "elmo"])
def test_the_run_itself_stays_as_it_is(family: str, tmp_path: Path) -> None:
    run = made.run_of(family, tmp_path)
    before = {name: value.clone() for name, value in run.objective.state_dict().items()}
    tune(run, made.task_of("sentence"), splits=made.splits_of("sentence", train=16, dev=8), out=tmp_path / "out", spec=short())
    after = run.objective.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], value) for name, value in before.items())


def test_seeds_decide_everything(tmp_path: Path) -> None:
    task, splits = made.task_of("sentence", write=submission.glue), made.splits_of("sentence", train=48, dev=24, test=8)

    def files(name: str, **how: Any) -> tuple[dict[str, Any], str]:
        run = made.run_of("bert", tmp_path, dropout=0.2)
        result = tune(run, task, splits=splits, out=tmp_path / name, spec=short(), **how)
        weights = (tmp_path / name / "model.safetensors").read_bytes()
        return result, hashlib.sha256(weights).hexdigest()

    (one, first), (again, second), (other, third) = files("a", seeds=(3,)), files("b", seeds=(3,)), files("c", seeds=(4,))
    assert first == second != third
    same = ("dev", "test", "curve", "losses", "epoch", "threshold")
    assert [one["seeds"][0][key] for key in same] == [again["seeds"][0][key] for key in same]
    assert one["seeds"][0]["losses"] != other["seeds"][0]["losses"]
    both, _ = files("d", seeds=(4, 3))  # a seed does not depend on those before it
    assert both["seeds"][1]["losses"] == one["seeds"][0]["losses"] and both["seeds"][0]["losses"] == other["seeds"][0]["losses"]


def test_from_scratch_has_the_weights_of_the_recipe_and_other_ones_for_each_seed(tmp_path: Path) -> None:
    run = made.run_of("bert", tmp_path)
    with torch.no_grad():
        for parameter in run.objective.parameters():
            parameter.fill_(0.5)
    spec = settled(run, short())
    form = Form.of(made.task_of("sentence"), made.splits_of("sentence").train, both=False, stride=4)

    def table(seed: int, from_scratch: bool) -> torch.Tensor:
        tuned = begun(run, form=form, spec=spec, seed=seed, from_scratch=from_scratch)
        return tuned.reader.model.frontend.weight.detach()  # type: ignore[union-attr, return-value]

    assert (table(0, False) == 0.5).all() and torch.equal(table(0, True), table(0, True))
    assert not torch.equal(table(0, True), table(1, True)) and table(0, True).std() > 0.01
    result = tune(
        run,
        made.task_of("sentence"),
        splits=made.splits_of("sentence", train=16, dev=8),
        out=tmp_path / "o",
        spec=short(),
        from_scratch=True,
    )
    assert result["from_scratch"] and json.loads((tmp_path / "o" / "manifest.json").read_text())["from_scratch"]


def test_layers_that_have_not_begun_do_not_move(tmp_path: Path) -> None:
    run = made.run_of("bert", tmp_path)
    before = {name: value.clone() for name, value in run.objective.model.state_dict().items()}
    spec = TuneSpec(unfreeze=True, learning=LearningSpec(epochs=2, learning_rate=1e-3, batch=8, warmup=0.0))
    splits = made.splits_of("sentence", train=32, dev=16)

    def moved(epochs: int) -> set[str]:
        out = tmp_path / f"o{epochs}"
        kept = spec.model_copy(update={"learning": spec.learning.model_copy(update={"epochs": epochs})})
        # a score that rises, so that the last epoch is kept
        rising = iter(range(99))
        task = made.task_of("sentence", metric=lambda examples, told: {"accuracy": float(next(rising))})
        tune(run, task, splits=splits, out=out, spec=kept)
        state = {name.removeprefix("reader.model."): value for name, value in load(out).state_dict().items()}
        return {name for name, value in before.items() if name in state and not torch.equal(state[name], value)}

    assert moved(1) == set()
    second = moved(2)
    assert second and all(name.startswith(("backbone.blocks.1", "backbone.norm")) for name in second)
    assert any(name.startswith("frontend") for name in moved(4))


def test_the_result_tells_what_was_done(tmp_path: Path) -> None:
    run = made.run_of("bert", tmp_path)
    task = made.task_of("tagging", write=submission.conll)
    splits = made.splits_of("tagging", train=24, dev=12, test=9)
    unknown = replace(splits, test=[replace(example, tags=()) for example in splits.test], made={"dev": "made up"})
    found = tune(run, task, splits=unknown, out=tmp_path / "out", spec=short(length=12), seeds=(0, 1), limit=10)
    assert found["examples"] == {"train": 10, "dev": 10, "test": 9} and found["made"] == {"dev": "made up"}
    assert set(found["mean"]) == {"dev"} and found["mean"]["dev"]["count"] == 2 and found["metric"] == "f1"
    scores = [each["dev"]["f1"] for each in found["seeds"]]
    assert found["mean"]["dev"]["mean"] == pytest.approx(np.mean(scores)) and len(found["seeds"][0]["curve"]) == 2
    assert found["kept"] == int(np.argmax([max(each["curve"]) for each in found["seeds"]]))
    assert found["inputs"]["train"]["rows"] > 10 and found["inputs"]["train"]["cut"] == 0  # read in several rows, nothing lost
    names = sorted(Path(path).name for path in found["predictions"])
    assert names == ["dev-0.txt", "dev-1.txt", "test-0.txt", "test-1.txt"]
    lines = (tmp_path / "out" / "predictions" / "test-1.txt").read_text().splitlines()
    assert len([line for line in lines if line]) == sum(len(example.words) for example in splits.test)
    kept = load(tmp_path / "out").predict(unknown.test)
    told = (tmp_path / "out" / "predictions" / f"test-{found['kept']}.txt").read_text().splitlines()
    assert [line.split()[-1] for line in told if line] == [tag for tags in kept for tag in tags]  # type: ignore[union-attr]


def test_truncation_is_told(tmp_path: Path) -> None:
    run = made.run_of("bert", tmp_path)
    splits = made.splits_of("sentence", train=16, dev=8)
    long = [replace(example, first=example.first + " stone" * 50) for example in splits.train[:3]]
    found = tune(run, made.task_of("sentence"), splits=replace(splits, train=[*splits.train, *long]), out=tmp_path / "o", spec=short())
    cut = found["inputs"]["train"]
    words = [len(run.vocabulary.encode(example.first)) for example in long]  # type: ignore[arg-type]
    assert cut["examples"] == 19 and cut["cut"] == 3 and cut["pieces"] == sum(words) - 3 * (made.LENGTH - 2)
    assert found["inputs"]["dev"]["cut"] == 0


def test_a_threshold_that_is_given_is_kept(tmp_path: Path) -> None:
    run, splits = made.run_of("bert", tmp_path), made.splits_of("span", train=24, dev=12)
    spec = short(null_threshold=-1e9)
    found = tune(run, made.task_of("span"), splits=splits, out=tmp_path / "o", spec=spec)
    assert found["seeds"][0]["threshold"] == -1e9 and set(load(tmp_path / "o").predict(splits.dev)) == {""}
    answered = [example for example in splits.train if example.answers]
    tune(run, made.task_of("span"), splits=replace(splits, train=answered), out=tmp_path / "p", spec=spec)
    assert "" not in load(tmp_path / "p").predict(splits.dev)  # where every question has an answer, "" is none


def nothing(**changes: Any) -> Splits:
    return replace(made.splits_of("sentence", train=8, dev=8), **changes)


@pytest.mark.parametrize(
    ("family", "kind", "splits", "spec", "message"),
    [
        ("elmo", "pair", None, {}, "M060: .* cannot be fine-tuned on easy-pair: a biLM .* next: `malmoi probe .* easy-pair`"),
        ("elmo", "span", None, {}, "M060"),
        (
            "elmo",
            "tagging",
            Splits([Tagged("1", ("a", " "), ("O", "O"))], [Tagged("1", ("a", " "), ("O", "O"))]),
            {},
            "M060: .* characters",
        ),
        ("sequence", "sentence", None, {}, "M060: .* its objective is sequence"),
        ("bert", "similarity", None, {}, "M060: .* the cosine is the prediction"),
        ("bert", "sentence", nothing(train=()), {}, "M157: easy-sentence cannot be learned: there is nothing to learn from"),
        ("bert", "sentence", nothing(dev=()), {}, "M157: .* nothing to choose the best epoch by"),
        ("bert", "sentence", nothing(dev=[Texts("1", "a", label="7")]), {}, "M154: example '1': '7' is no label of easy-sentence"),
        ("bert", "span", Splits([Question("1", "a", "b")], [Question("1", "a", "b")]), {}, "M157"),
        ("bert", "sentence", None, {"length": 65}, "M009: length is 65, but rows have from 8 to 64 positions"),
        ("bert", "sentence", None, {"length": 7}, "M009: length is 7"),
        ("bert", "sentence", None, {"lm_weight": 0.5}, "M009: lm_weight is 0.5, but only a causal model"),
    ],
)
def test_what_does_not_fit_is_refused(family: str, kind: str, splits: Splits | None, spec: Any, message: str, tmp_path: Path) -> None:
    task = made.task_of(kind) if kind != "similarity" else replace(made.task_of("sentence"), kind="similarity")
    given = splits or (made.splits_of(kind, train=8, dev=8) if kind != "similarity" else nothing())
    with pytest.raises(MalmoiError, match=message):
        tune(made.run_of(family, tmp_path), task, splits=given, out=tmp_path / "out", spec=short(**spec))
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(MalmoiError, match="M004"):
        tune(made.run_of("bert", tmp_path), made.task_of("sentence"), splits=nothing(), out=tmp_path / "out")


def test_a_causal_run_without_its_output_layer_learns_without_a_language_model(tmp_path: Path) -> None:
    run = replace(made.run_of("gpt", tmp_path), manifest={"head": False})
    assert settled(run, TuneSpec()).lm_weight == 0.0 and settled(made.run_of("gpt", tmp_path), TuneSpec()).lm_weight == 0.5
    with pytest.raises(MalmoiError, match="M009: lm_weight"):
        settled(run, TuneSpec(lm_weight=0.5))


def test_progress_says_how_far_it_is(tmp_path: Path) -> None:
    class Heard:
        done: list[float] = []
        facts: list[Any] = []
        total = 0.0

        def stage(self, name: str, total: float | None = None) -> None:
            self.total = total or 0.0

        def advance(self, done: float, facts: Any = None) -> None:
            self.done.append(done)
            self.facts.append(dict(facts))

        def note(self, text: str) -> None:
            raise AssertionError(text)

    heard = Heard()
    tune(
        made.run_of("bert", tmp_path),
        made.task_of("sentence"),
        splits=nothing(),
        out=tmp_path / "o",
        spec=short(),
        seeds=(0, 1),
        progress=heard,
    )
    assert heard.total == 2.0 == heard.done[-1] and heard.done == sorted(heard.done)
    assert {"seed", "loss"} <= set(heard.facts[0]) and "dev" in heard.facts[-1] and heard.facts[-1]["seed"] == 1
