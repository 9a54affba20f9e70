"""A run on disk: what may be begun where, and what is said of a run without an output layer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from malmoi import run as runs
from malmoi.core.artifact import writing
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import RunSpec
from malmoi.recipes import find


@pytest.fixture(scope="module")
def spec() -> RunSpec:
    return find("bert-tiny")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def made(out: Path, kind: str, *, checkpoints: int = 0, **facts: Any) -> Path:
    with writing(out, kind) as (folder, fields):
        (folder / "spec.json").write_text("{}")
        for step in range(checkpoints):
            (folder / "checkpoints" / f"step-{step}").mkdir(parents=True)
            (folder / "checkpoints" / f"step-{step}" / "manifest.json").write_text("{}")
        fields.update(facts)
    return out


@pytest.mark.parametrize("kind", ["tuned", "corpus", "shards", "transformers", "gold"])
@pytest.mark.parametrize("resume", [False, True])
def test_an_artifact_of_another_kind_stays_as_it_is(kind: str, resume: bool, spec: RunSpec, tmp_path: Path) -> None:
    out = made(tmp_path / "out", kind)
    before = files(out)
    told = {"tuned": "holds a tuned model", "corpus": "holds a cleaned corpus", "gold": "holds other files"}.get(kind, "holds a")
    with pytest.raises(MalmoiError, match="M042" if resume else f"M004: .* {told}"):
        runs.claim(spec, out, resume=resume)
    assert files(out) == before


@pytest.mark.parametrize("facts", [{"head": False}, {"head": False, "sentences": {"base": "runs/bert"}}])
def test_a_run_that_was_not_trained_here_is_not_resumed(facts: dict[str, Any], spec: RunSpec, tmp_path: Path) -> None:
    out = made(tmp_path / "out", "run", checkpoints=1, **facts)
    before = files(out)
    with pytest.raises(MalmoiError, match="M060: .* cannot be resumed: it was not trained by .* next: name another --out"):
        runs.claim(spec, out, resume=True)
    with pytest.raises(MalmoiError, match="M004: .* holds a run, and would be overwritten. next: name another --out, or empty it"):
        runs.claim(spec, out, resume=False)
    assert files(out) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_damaged_run_is_told_and_left(resume: bool, spec: RunSpec, tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs.claim(spec, out, resume=False)
    runs.claim(spec, out, resume=False)  # without a checkpoint it begins again
    (out / "manifest.json").write_text("{")
    before = files(out)
    with pytest.raises(MalmoiError, match="M006: .* is not JSON. next: restore"):
        runs.claim(spec, out, resume=resume)
    assert files(out) == before


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"head": False}, "M052: runs/a has no output layer: it was imported from .*. next: embed with it; to score, train a run here."),
        (
            {"head": False, "sentences": {"task": "korsts", "encoder": "bi", "base": "runs/bert"}},
            r"M052: runs/a .*: its vectors of texts were fine-tuned on korsts \(bi\), .* next: .*use runs/bert, which it was made of.",
        ),
    ],
)
def test_a_run_without_output_layer_says_why(manifest: dict[str, Any], message: str) -> None:
    empty = dict.fromkeys(("spec", "vocabulary", "objective", "checkpoint", "warm"))
    run = runs.Run(path=Path("runs/a"), manifest=manifest, step=0, **empty)  # type: ignore[arg-type]
    with pytest.raises(MalmoiError, match=message):
        run.refuse_headless()
    runs.Run(path=Path("runs/a"), manifest={}, step=0, **empty).refuse_headless()  # type: ignore[arg-type]


def test_the_doctor_says_that_there_is_no_output_layer(monkeypatch: Any, tmp_path: Path) -> None:
    from malmoi import diagnosis

    out = made(tmp_path / "out", "run")
    for head in (True, False):
        opened = SimpleNamespace(has_head=head, headless="because", spec=0, objective=0, vocabulary=0, step=0)
        monkeypatch.setattr(diagnosis.runs, "load_run", lambda path, opened=opened: opened)
        monkeypatch.setattr(diagnosis, "examine_run", lambda *_, **__: [])
        assert [finding.message for finding in diagnosis.diagnose(out)] == ([] if head else ["output layer: none to examine: because."])
