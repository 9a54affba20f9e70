"""A tuned run at work: it answers the official files of a task, its own or one like it, and is scored as the task is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from malmoi.core.artifact import MANIFEST, read_sealed, refuse_absent, writing
from malmoi.core.errors import MalmoiError, at_least_one
from malmoi.core.progress import Progress, Silent
from malmoi.core.spec import validate
from malmoi.tasks.catalogue import TASKS, find_task
from malmoi.tasks.formats.reader import Reader
from malmoi.tasks.inputs import Cuts, Form
from malmoi.tasks.probe import known, shortened
from malmoi.tasks.submission import handed_in
from malmoi.tasks.task import Prediction, Splits, Task
from malmoi.tasks.tune import SCORED, refuse_existing
from malmoi.tasks.tuned import KIND as TUNED
from malmoi.tasks.tuned import Tuned, load

KIND = "predictions"


def evaluate(
    path: str | Path,
    task: str | None = None,
    *,
    data: str | Path,
    out: str | Path | None = None,
    limit: int | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Answer the dev and test files of a task with what `malmoi finetune` wrote to `path`.

    task: a name, or None for the one that was learned; another one must be of the same kind, with the same labels. limit: examples of each
    split that are answered. out: where predictions are written in the task's official form, also of splits whose answers are not known.

    Returns run, tuned_on, task, metric, `scores` {split: {number: value}}, `examples` {split: count}, `inputs` (what was cut, per split),
    `made` (splits that no file holds) and `predictions` (files). Raises MalmoiError M060 (not a tuned run, or not for this task), M009
    (limit; nothing to score), M151 to M156, M004 (`out` is there), M006, M020, M021 (damaged).
    """
    path, heard = Path(path), progress or Silent()
    at_least_one(limit=limit)
    if out is not None:
        refuse_existing(out)
    wanted = find_task(task) if task is not None else None
    manifest = _manifest(path, f"answer {task or 'a task'}")
    form = validate(Form, manifest["form"])
    learned, chosen = form.task, wanted or find_task(form.task)
    _refuse_other(path, manifest, form, chosen)
    heard.stage("reading")
    splits = _read(chosen, Path(data), divided=chosen.name == learned and bool(manifest["made"]))
    splits = shortened(splits, limit) if limit else splits
    if not any(getattr(splits, name) for name in SCORED):
        problem = f"it holds no dev or test split of {chosen.name}, and train is not scored"
        raise MalmoiError("M009", argument="data", value=str(data), problem=problem, next="give the folder that has one of them.")
    tuned = load(path, device=device)
    told, scores, cuts = _answered(tuned, chosen, splits, heard, all_splits=out is not None)
    result = {
        "run": str(path),
        "tuned_on": learned,
        "task": chosen.name,
        "metric": chosen.main,
        "scores": scores,
        "examples": {name: len(getattr(splits, name)) for name in SCORED if getattr(splits, name)},
        "inputs": {name: asdict(cut) for name, cut in cuts.items()},
        "made": {name: how for name, how in splits.made.items() if name in SCORED},
    }
    return {**result, "predictions": _write(Path(out), chosen, splits, told, result) if out is not None else []}


def refuse_tuned(path: str | Path) -> None:
    """Raise MalmoiError M060 for a tuned run, which has no likelihood of a text."""
    manifest = _told(Path(path))
    if manifest.get("kind") == TUNED:
        task, base = manifest["form"]["task"], manifest["base"]
        problem = f"it was fine-tuned on {task}, and answers tasks"
        next = f"`malmoi evaluate {path} --data DIR` scores it on {task}; `malmoi evaluate {base} --on SOURCE` scores text."
        raise MalmoiError("M060", path=path, what="score a text", problem=problem, next=next)


def _told(path: Path) -> dict[str, Any]:
    """The manifest of whatever is there, {} without one."""
    return read_sealed(path / MANIFEST, next="restore it from a copy, or make it again.") if (path / MANIFEST).is_file() else {}


def _manifest(path: Path, what: str) -> dict[str, Any]:
    """Of a tuned run."""
    refuse_absent(path)
    manifest = _told(path)
    if manifest.get("kind") != TUNED:
        problem = (
            "it is a run, which gives vectors and has no head for a task"
            if manifest.get("kind") == "run"
            else "it is not what `malmoi finetune` writes"
        )
        next = "`malmoi finetune RUN TASK --data DIR --out RUN2` makes what can; `malmoi probe RUN TASK --data DIR` reads its vectors."
        raise MalmoiError("M060", path=path, what=what, problem=problem, next=next)
    return manifest


def _refuse_other(path: Path, manifest: Mapping[str, Any], form: Form, task: Task) -> None:
    """Raise MalmoiError M060 for a task of another kind, or with other labels."""
    if form.kind != task.kind:
        problem = f"it was fine-tuned on {form.task}, of the kind {form.kind}, and {task.name} is of the kind {task.kind}"
    elif set(task.labels) != set(form.labels) and task.labels:
        problem = f"it says {_some(form.labels)}, and the labels of {task.name} are {_some(task.labels)}"
    else:
        return
    same = [one.name for one in TASKS.values() if one.kind == form.kind and set(one.labels) == set(form.labels)]
    others = f"; this one answers {', '.join(same)}." if same else "."
    next = f"`malmoi finetune {manifest['base']} {task.name} --data DIR --out RUN2` makes one that can{others}"
    raise MalmoiError("M060", path=path, what=f"answer {task.name}", problem=problem, next=next)


def _some(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:6]) + (", ..." if len(labels) > 6 else "")


def _read(task: Task, data: Path, *, divided: bool) -> Splits:
    """The published splits whole. divided: as fine-tuning made them, where some of the same files may have been learned from."""
    if divided or not isinstance(task.read, Reader):
        return task.read(data)
    return replace(task.read, divides=False)(data)


def _answered(
    tuned: Tuned, task: Task, splits: Splits, progress: Progress, *, all_splits: bool
) -> tuple[dict[str, list[Prediction]], dict[str, dict[str, float]], dict[str, Cuts]]:
    """(predictions, scores, what was cut), by split. all_splits: also those whose answers are not known."""
    examples = {name: getattr(splits, name) for name in SCORED}
    wanted = {name: some for name, some in examples.items() if some and (all_splits or known(some))}
    items, cuts = {}, {}
    for name, some in wanted.items():
        tuned.inputs.cuts = cuts[name] = Cuts()
        items[name] = tuned.inputs.items(some)
    progress.stage("answering", total=float(sum(map(len, items.values()))))
    told, scores, done = {}, {}, 0
    for name, some in wanted.items():
        tuned.heard = partial(_advance, progress, done)
        told[name], _ = tuned.answers(some, items[name])
        done += len(items[name])
        if known(some):
            scores[name] = task.metric(some, told[name])
    return told, scores, cuts


def _advance(progress: Progress, before: int, count: int) -> None:
    progress.advance(float(before + count))


def _write(out: Path, task: Task, splits: Splits, told: Mapping[str, list[Prediction]], facts: Mapping[str, Any]) -> list[str]:
    """OUT/SPLIT with the ending of its form, all or nothing."""
    with writing(out, KIND) as (folder, fields):
        files = [handed_in(task, folder / name, getattr(splits, name), predictions).name for name, predictions in told.items()]
        fields.update(facts)
    return [str(out / name) for name in files]
