"""Sentence vectors on the command line: train them, look at them, score them, hand them on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import malmoi


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A tiny run as training leaves it, whose recipe drops nothing."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))
    import made

    from malmoi import run as runs
    from malmoi.train import checkpoint as checkpoints

    path, fresh = tmp_path / "run", made.run_of("bert", tmp_path / "run")
    runs.begin(path, fresh.spec, state="done")
    fresh.vocabulary.save(path / "vocab")
    checkpoints.save(path / "checkpoints", checkpoints.Checkpoint(step=7), fresh.objective)
    return path


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    lines = [f"the old house {number} stone light there. a new river walks {number}!" for number in range(40)]
    (folder / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "b.jsonl").write_text(json.dumps({"text": "오늘 그 작은 길 바람 나무. short."}) + "\n", encoding="utf-8")
    return folder


def test_from_plain_text_to_a_score(run: Path, texts: Path, tmp_path: Path, malmoi_command: Any) -> None:
    line = ["finetune", str(run), "simcse", "--data", str(texts), "--seeds", "1", "--set", "encoder=simcse", "--set", "learning.epochs=1"]
    done = malmoi_command(*line, "--out", str(tmp_path / "out"), "--device", "cpu")
    assert done.status == 0, done.err
    assert f"simcse, in_batch_accuracy, from {run}\n" in done.out and "two views of a text have a cosine of 0.9" in done.out
    assert "dev: 2 of the 81 different sentences, chosen by a hash\n" in done.out and "predictions:" not in done.out

    (tmp_path / "in.txt").write_text("the old house\na new river\n", encoding="utf-8")
    vectors = str(tmp_path / "v.npz")
    for command in (
        ["embed", str(tmp_path / "out"), "--input", str(tmp_path / "in.txt"), "--output", vectors, "--layer", "top", "--pool", "mean"],
        ["doctor", str(tmp_path / "out")],
    ):
        ran = malmoi_command(*command)
        assert ran.status == 0, ran.err
    own = malmoi.load(tmp_path / "out").encode(["the old house", "a new river"], layer="top", pool="mean")
    with np.load(vectors) as found:
        np.testing.assert_allclose(np.stack([found["0"], found["1"]]), own, atol=1e-6)

    (tmp_path / "sts").mkdir()
    rows = [f"g\tf\ty\t{number}\t{number % 5}.0\tthe house {number}\tthe river {number}" for number in range(8)]
    header = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2"
    for split in ("train", "dev", "test"):
        (tmp_path / "sts" / f"sts-{split}.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    asked = ["probe", str(tmp_path / "out"), "korsts", "--data", str(tmp_path / "sts"), "--layer", "top", "--head", "cosine"]
    shown = malmoi_command(*asked)
    assert shown.status == 0, shown.err
    assert "korsts: 8 train, 8 dev, 8 test examples; cosines of mean vectors, nothing is learned\n" in shown.out
    answer = json.loads(malmoi_command(*asked, "--json", "--baselines", "--seeds", "2").out)
    assert answer["learned"] is False and answer["head"] == "cosine" and {"word-cosine", "char-cosine"} <= set(answer["baselines"])
    assert [len(row["dev"]["seeds"]) for row in answer["rows"]] == [1, 2]


def test_words_are_compared_without_learning(run: Path, tmp_path: Path, malmoi_command: Any) -> None:
    (tmp_path / "combined.csv").write_text("Word 1,Word 2,Human (mean)\nold,new,7.35\nhouse,river,3.1\nstone,light,2.0\n", encoding="utf-8")
    shown = malmoi_command("probe", str(run), "wordsim353", "--data", str(tmp_path / "combined.csv"))
    assert shown.status == 0, shown.err
    assert "cosines of mean vectors, nothing is learned" in shown.out and "seeds" not in shown.out and "linear" not in shown.out


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--set", "encoder=simcse", "--set", "model_dropout=0"], "M158: simcse cannot be learned: two views"),
        (["--set", "encoder=cross"], "M060: "),
        (["--set", "encoder=siamese"], "M002: encoder does not fit"),
        (["--set", "encoder=simcse", "--set", "model_dropout=1.5"], "M002: model_dropout does not fit"),
    ],
)
def test_what_is_wrong_is_told_with_a_code(more: list[str], code: str, run: Path, texts: Path, tmp_path: Path, malmoi_command: Any) -> None:
    done = malmoi_command("finetune", str(run), "simcse", "--data", str(texts), "--out", str(tmp_path / "out"), *more)
    assert done.status == 1 and code in done.err and not (tmp_path / "out").exists()
    assert "model_dropout=0.1" in done.err or "M158" not in code


def test_text_without_sentences_is_no_task(run: Path, tmp_path: Path, malmoi_command: Any) -> None:
    (tmp_path / "t.txt").write_text("short\n", encoding="utf-8")
    line = ["finetune", str(run), "simcse", "--data", str(tmp_path / "t.txt"), "--out", str(tmp_path / "out"), "--set", "encoder=simcse"]
    done = malmoi_command(*line)
    assert done.status == 1 and "M155" in done.err
    done = malmoi_command("probe", str(run), "simcse", "--data", str(tmp_path / "t.txt"))
    assert done.status == 1 and ("M155" in done.err or "M060" in done.err)
