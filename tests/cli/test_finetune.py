"""`malmoi finetune`: how it is called, what it shows, and that a run on disk becomes a tuned one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import malmoi
from malmoi.cli import finetune as verb
from malmoi.core.spec import leaves
from malmoi.tasks.spec import TuneSpec

ANSWER = {
    "run": "out",
    "base": "runs/bert",
    "task": "klue-ner",
    "metric": "entity_f1",
    "from_scratch": False,
    "mean": {"dev": {"mean": 0.75, "half": 0.1, "deviation": 0.01, "count": 2}},
    "seeds": [
        {"seed": seed, "dev": {"entity_f1": 0.7 + seed / 10, "character_f1": 0.9}, "epoch": 2 + seed, "seconds": 61.2} for seed in range(2)
    ],
    "kept": 1,
    "made": {"dev": "500 of the 5,000 examples for dev, chosen by a hash"},
    "inputs": {
        "train": {"examples": 1200, "rows": 1300, "cut": 3, "pieces": 57, "missed": 2},
        "dev": dict.fromkeys(("examples", "rows", "cut", "pieces", "missed"), 0),
    },
    "predictions": ["out/predictions/dev-0.txt"],
}
TEXT = """klue-ner, entity_f1, from runs/bert
           dev  best epoch  seconds
seed 0  0.7000           2       61
seed 1  0.8000           3       61
mean    0.7500
95% +-  0.1000
dev: 500 of the 5,000 examples for dev, chosen by a hash
train: 3 of 1,200 examples were too long and lost 57 pieces; 2 answers stand in no window whole
model of seed 1: out
predictions: out/predictions
"""


@pytest.fixture
def answered(api: Any, monkeypatch: Any) -> list[Any]:
    """Calls of `api.finetune`."""
    calls: list[Any] = []

    def finetune(*positional: Any, **named: Any) -> Any:
        calls.append((positional, named))
        return ANSWER

    monkeypatch.setattr(sys.modules["malmoi.api"], "finetune", finetune, raising=False)
    return calls


def test_the_table_stands_on_standard_output(answered: list[Any], malmoi_command: Any) -> None:
    done = malmoi_command(
        "finetune", "runs/bert", "klue-ner", "--data", "d", "--out", "out", "--seeds", "2", "--set", "a=1", "--set", "b=2"
    )
    assert done.status == 0 and done.out == TEXT
    ((positional, named),) = answered
    assert positional == ("runs/bert", "klue-ner") and named.pop("progress") is not None
    assert named == {
        "data": "d",
        "out": "out",
        "seeds": 2,
        "from_scratch": False,
        "limit": None,
        "settings": ["a=1", "b=2"],
        "device": "auto",
    }


def test_json_is_the_whole_answer(answered: list[Any], malmoi_command: Any) -> None:
    done = malmoi_command("finetune", "r", "t", "--data", "d", "--out", "o", "--from-scratch", "--limit", "9", "--json")
    assert json.loads(done.out) == ANSWER
    assert answered[0][1]["from_scratch"] is True and answered[0][1]["limit"] == 9 and answered[0][1]["seeds"] == 3


def test_the_help_names_every_setting_and_an_example(malmoi_command: Any) -> None:
    shown = malmoi_command("finetune", "--help").out
    said = " ".join(shown.split())
    assert "Example: malmoi finetune " in said and [path for path, _ in leaves(TuneSpec()) if path not in said] == []
    assert len((verb.finetune.__doc__ or "").splitlines()[0]) < 80


def on_disk(path: Path) -> Path:
    """A tiny run as training leaves it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))
    import made

    from malmoi import run as runs
    from malmoi.train import checkpoint as checkpoints

    run = made.run_of("bert", path)
    runs.begin(path, run.spec, state="done")
    run.vocabulary.save(path / "vocab")
    checkpoints.save(path / "checkpoints", checkpoints.Checkpoint(step=7), run.objective)
    return path


def data(path: Path, *, label: str = "1") -> Path:
    path.mkdir()
    lines = [f"{'good' if number % 2 else 'bad'} stone {number}\t{number % 2}" for number in range(24)]
    for split, some in (("train", lines[:16]), ("dev", [*lines[16:], f"red house\t{label}"])):
        (path / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *some]) + "\n", encoding="utf-8")
    return path


def test_a_run_becomes_a_tuned_one(tmp_path: Path, malmoi_command: Any) -> None:
    run, task = on_disk(tmp_path / "run"), data(tmp_path / "data")
    line = ["finetune", str(run), "sst2", "--data", str(task), "--seeds", "2", "--set", "learning.epochs=2", "--device", "cpu"]
    done = malmoi_command(*line, "--out", str(tmp_path / "out"), "--json")
    assert done.status == 0, done.err
    answer = json.loads(done.out)
    assert answer["mean"]["dev"]["count"] == 2 and answer["settings"]["learning"]["epochs"] == 2 and "fine-tuning" in done.err
    files = sorted(path.name for path in (tmp_path / "out" / "predictions").iterdir())
    assert files == ["dev-0.tsv", "dev-1.tsv"] and answer["predictions"] == [str(tmp_path / "out" / "predictions" / name) for name in files]
    from malmoi.tasks.task import Texts
    from malmoi.tasks.tuned import load

    assert load(tmp_path / "out").predict([Texts("1", "good stone")])[0] in ("0", "1")
    again = malmoi_command(*line, "--out", str(tmp_path / "out"))
    assert again.status == 1 and "M004" in again.err
    tuned = malmoi_command("finetune", str(tmp_path / "out"), "sst2", "--data", str(task), "--out", str(tmp_path / "x"))
    assert tuned.status == 1 and "M007" in tuned.err and "is not a run: it is a tuned model, which answers a task" in tuned.err
    hint = f"`malmoi evaluate {tmp_path / 'out'} --data DIR` scores it, and {run} is the run that it was made of"
    assert hint in tuned.err and "incomplete" not in tuned.err


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"task": "sst"}, "M151: there is no task named 'sst'; did you mean"),
        ({"data": "nowhere"}, "M010"),
        ({"task": "korsts"}, "M152"),
        ({"label": "7"}, "M154"),
        ({"more": ["--set", "learning.epoch=3"]}, "M002: learning.epoch is not a field; did you mean 'learning.epochs'?"),
        ({"more": ["--seeds", "0"]}, "M009: seeds"),
        ({"more": ["--limit", "0"]}, "M009: limit"),
        ({"run": "rum"}, "rum does not exist; did you mean 'run'?"),
    ],
)
def test_what_is_wrong_is_told_with_a_code(changed: dict[str, Any], code: str, tmp_path: Path, malmoi_command: Any) -> None:
    facts = SimpleNamespace(task="sst2", data="data", label="1", more=[], run="run")
    facts.__dict__.update(changed)
    on_disk(tmp_path / "run")
    data(tmp_path / "data", label=facts.label)
    line = [str(tmp_path / facts.run), facts.task, "--data", str(tmp_path / facts.data), "--out", str(tmp_path / "out"), *facts.more]
    done = malmoi_command("finetune", *line)
    assert done.status == 1 and code in done.err and not (tmp_path / "out").exists()


def test_the_function_is_public() -> None:
    assert malmoi.finetune is __import__("malmoi.api", fromlist=["finetune"]).finetune
