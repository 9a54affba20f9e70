"""A tuned run answers official files: of its own task as fine-tuning did, of another of its kind, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made
import pytest
import torch

from malmoi import api
from malmoi.core.errors import MalmoiError
from malmoi.tasks import TASKS, submission
from malmoi.tasks.evaluate import evaluate
from malmoi.tasks.spec import LearningSpec, TuneSpec
from malmoi.tasks.task import Splits, Task
from malmoi.tasks.tune import tune
from malmoi.tasks.tuned import load

WRITERS = {"tagging": submission.conll, "span": submission.squad}
LABELS = {"sentence": ("0", "1"), "pair": tuple(f"{one}-{other}" for one in ("red", "blue") for other in ("red", "blue"))}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def task_of(kind: str, splits: Splits, **changes: Any) -> Task:
    given = {"read": lambda path: splits, "write": WRITERS.get(kind, submission.glue), "labels": LABELS.get(kind, ())}
    return made.task_of(kind, **(given | changes))


def tuned_on(task: Task, splits: Splits, path: Path, *, family: str = "bert", seeds: Any = (0,)) -> dict[str, Any]:
    spec = TuneSpec(learning=LearningSpec(epochs=2, learning_rate=4e-3, batch=8))
    return tune(made.run_of(family, path.parent / "base"), task, splits=splits, out=path, spec=spec, seeds=seeds)


@pytest.mark.parametrize(
    ("family", "kind"), [("bert", kind) for kind in made.METRICS] + [("gpt", "regression"), ("elmo", "sentence"), ("elmo", "tagging")]
)
def test_its_own_task_is_answered_as_fine_tuning_did(family: str, kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    splits = made.splits_of(kind, train=32, dev=12, test=9)
    task = task_of(kind, splits)
    monkeypatch.setitem(TASKS, task.name, task)
    tuned = tuned_on(task, splits, tmp_path / "tuned", family=family, seeds=(3, 4))
    found = evaluate(tmp_path / "tuned", data=tmp_path, out=tmp_path / "out")
    (kept,) = (seed for seed in tuned["seeds"] if seed["seed"] == tuned["kept"])
    assert found["scores"] == {"dev": kept["dev"], "test": kept["test"]} and found["metric"] == task.main
    assert found["examples"] == {"dev": 12, "test": 9} and found["task"] == found["tuned_on"] == task.name
    assert [found["inputs"][split]["examples"] for split in ("dev", "test")] == [12, 9]
    for split, path in zip(("dev", "test"), found["predictions"], strict=True):
        (before,) = (tmp_path / "tuned" / "predictions").glob(f"{split}-{tuned['kept']}.*")
        assert Path(path).suffix == before.suffix and Path(path).stem == split
        assert Path(path).read_bytes() == before.read_bytes()


@pytest.fixture
def sentiment(tmp_path: Path, monkeypatch: Any) -> SimpleNamespace:
    """A model tuned on one task, and another task of the same kind with the same labels in another order."""
    splits, other = made.splits_of("sentence", train=32, dev=8), made.splits_of("sentence", train=0, dev=10, test=6, seed=7)
    own = task_of("sentence", splits)
    near = task_of("sentence", other, name="near-sentence", labels=("1", "0"))
    for task in (own, near):
        monkeypatch.setitem(TASKS, task.name, task)
    tuned_on(own, splits, tmp_path / "tuned")
    return SimpleNamespace(path=tmp_path / "tuned", near=near, other=other, tmp=tmp_path)


def test_another_task_of_its_kind_is_scored_by_that_tasks_metric(sentiment: Any) -> None:
    found = evaluate(sentiment.path, "near-sentence", data=sentiment.tmp)
    said = load(sentiment.path).predict(sentiment.other.test)
    right = sum(told == example.label for told, example in zip(said, sentiment.other.test, strict=True))
    assert found["scores"]["test"]["accuracy"] == right / 6 and found["tuned_on"] == "easy-sentence" and found["predictions"] == []
    limited = evaluate(sentiment.path, "near-sentence", data=sentiment.tmp, limit=4)
    assert limited["examples"] == {"dev": 4, "test": 4}


def test_a_split_without_answers_gets_predictions_and_no_scores(sentiment: Any, monkeypatch: Any) -> None:
    unknown = [replace(example, label=None) for example in sentiment.other.test]
    hidden = replace(sentiment.near, read=lambda path: replace(sentiment.other, test=unknown))
    monkeypatch.setitem(TASKS, "near-sentence", hidden)
    without = evaluate(sentiment.path, "near-sentence", data=sentiment.tmp)
    assert set(without["scores"]) == {"dev"} and without["examples"] == {"dev": 10, "test": 6} and set(without["inputs"]) == {"dev"}
    found = evaluate(sentiment.path, "near-sentence", data=sentiment.tmp, out=sentiment.tmp / "out")
    assert found["scores"] == without["scores"]
    lines = (sentiment.tmp / "out" / "test.tsv").read_text().splitlines()
    assert [line.split("\t")[1] for line in lines[1:]] == load(sentiment.path).predict(unknown)
    assert json.loads((sentiment.tmp / "out" / "manifest.json").read_text())["kind"] == "predictions"


def rows(path: Path, **counts: int) -> Path:
    path.mkdir()
    for split, count in counts.items():
        lines = [f"{'good' if number % 2 else 'bad'} stone {number}\t{number % 2}" for number in range(count)]
        (path / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")
    return path


def test_published_files_are_scored_whole_unless_they_were_learned_from(tmp_path: Path) -> None:
    """A dev file alone is divided to learn from it; only a model that learned from a part of it must not answer that part."""
    both, alone = rows(tmp_path / "both", train=30, dev=10), rows(tmp_path / "alone", dev=40)
    sst2 = TASKS["sst2"]
    tuned_on(sst2, sst2.read(both), tmp_path / "whole")
    tuned_on(sst2, divided := sst2.read(alone), tmp_path / "part")
    assert evaluate(tmp_path / "whole", data=alone)["examples"] == {"dev": 40}
    found = evaluate(tmp_path / "part", data=alone)
    assert found["examples"] == {"dev": len(divided.dev), "test": len(divided.test)} and sum(found["examples"].values()) < 40
    assert set(found["made"]) == {"dev", "test"} and evaluate(tmp_path / "whole", data=alone)["made"] == {}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"task": "klue-ner"}, "M060: .* cannot answer klue-ner: it was fine-tuned on easy-sentence, of the kind sentence.* tagging"),
        ({"task": "klue-tc"}, "M060: .*: it says 0, 1, and the labels of klue-tc are IT과학, .* next: .*; this one answers nsmc, .*sst2"),
        ({"task": "sst"}, "M151: there is no task named 'sst'; did you mean 'sst[25]'"),
        ({"task": "sst2", "data": "nowhere"}, "M010"),
        ({"task": "sst2", "data": "train"}, "M009: data is .* no dev or test split of sst2"),
        ({"limit": 0}, "M009: limit is 0"),
        ({"out": "train"}, "M004"),
        ({"run": "nowhere"}, "M010: .*nowhere does not exist"),
        ({"run": "train"}, "M060: .* is not what `malmoi finetune` writes"),
        ({"on": ["x.txt"]}, "M009: what to score is 'x.txt', but a task is scored on its own files"),
        ({"data": None, "task": "sst2"}, "M009: what to score"),
        (
            {"data": None, "on": ["x.txt"]},
            "M060: .* cannot score a text: it was fine-tuned on easy-sentence.* --data DIR`.*base --on SOURCE",
        ),
    ],
)
def test_what_does_not_fit_is_refused(how: Any, message: str, sentiment: Any) -> None:
    rows(sentiment.tmp / "train", train=5)
    given = {"run": "tuned", "data": "data", **how}
    paths = {name: sentiment.tmp / given[name] for name in ("data", "out") if given.get(name)}
    rest = {name: value for name, value in given.items() if name not in ("run", "data", "out")}
    with pytest.raises(MalmoiError, match=message):
        api.evaluate(sentiment.tmp / given["run"], device="cpu", **paths, **rest)
    assert not (sentiment.tmp / "out").exists()


def test_a_damaged_one_is_refused(sentiment: Any) -> None:
    weights = sentiment.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(MalmoiError, match="M020: .* next: run `malmoi finetune` again"):
        evaluate(sentiment.path, data=sentiment.tmp)


def test_a_pre_training_run_answers_no_task(tmp_path: Path) -> None:
    from malmoi import run as runs

    runs.begin(tmp_path / "run", made.run_of("bert", tmp_path).spec, state="done")
    with pytest.raises(MalmoiError, match="M060: .* cannot answer sst2: it is a run, which gives vectors .* next: `malmoi finetune"):
        api.evaluate(tmp_path / "run", task="sst2", data=tmp_path)


def test_progress_counts_what_is_answered(sentiment: Any) -> None:
    said: list[Any] = []
    heard = SimpleNamespace(
        stage=lambda name, total=None: said.append((name, total)), advance=lambda done, facts=None: said.append(done), note=said.append
    )
    evaluate(sentiment.path, "near-sentence", data=sentiment.tmp, progress=heard)  # type: ignore[arg-type]
    assert said == [("reading", None), ("answering", 16.0), 10.0, 16.0]


TABLE = """sst2, by {run}, tuned on sst2
      accuracy  examples
dev     {dev:.4f}        10
test         -         4
test: its answers are not known
predictions: {out}/dev.tsv
predictions: {out}/test.tsv
"""


def test_the_command(tmp_path: Path, capsys: Any) -> None:
    from malmoi.cli import main

    def malmoi(*line: str) -> Any:
        status = main(["evaluate", str(tmp_path / "tuned"), *line])
        return SimpleNamespace(status=status, **capsys.readouterr()._asdict())

    data, sst2 = rows(tmp_path / "data", train=20, dev=10), TASKS["sst2"]
    tuned_on(sst2, sst2.read(data), tmp_path / "tuned")
    (data / "test.tsv").write_text("index\tsentence\n" + "".join(f"{number}\tgood house\n" for number in range(4)))
    answered = malmoi("--task", "sst2", "--data", str(data), "--json", "--device", "cpu")
    assert answered.status == 0, answered.err
    answer = json.loads(answered.out)
    assert set(answer) >= {"run", "task", "metric", "scores", "examples", "predictions"} and answer["examples"] == {"dev": 10, "test": 4}
    shown = malmoi("--data", str(data), "--out", str(tmp_path / "out"), "--device", "cpu")
    assert shown.out == TABLE.format(run=tmp_path / "tuned", dev=answer["scores"]["dev"]["accuracy"], out=tmp_path / "out")
    assert (tmp_path / "out" / "test.tsv").read_text().splitlines()[0] == "index\tprediction"
    for line, code in [
        (["--task", "sst2"], "M098: Missing option '--data'"),
        (["--on", "x", "--limit", "3"], "M098: --out and --limit"),
        ([], "M098: Missing option '--on', or '--data' for a tuned run"),
        (["--on", "x"], "M060"),
    ]:
        done = malmoi(*line)
        assert done.status == 1 and code in done.err and done.out == "", done.err
