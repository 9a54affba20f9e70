"""Sentence vectors as a task: what SimCSE learns from, dropout that a run was not trained with, and the run that comes out.

RUN2/  a run like any other, without output layers: `malmoi embed`, `probe`, `export RUN2 sentence-transformers`
RUN2/predictions/  what each seed predicts
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.core.artifact import write_json, write_text
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import AttentionSpec, BackboneSpec
from malmoi.export.card import FACTS
from malmoi.objectives import Objective, build
from malmoi.run import Run
from malmoi.tasks.inputs import Form
from malmoi.tasks.probe import HIGHEST
from malmoi.tasks.spec import TuneSpec
from malmoi.tasks.task import Splits, Task, Texts
from malmoi.tasks.towers import SAME, Contrast, Towers
from malmoi.train import checkpoint as checkpoints

ENTAILS, CONTRADICTS = "entailment", "contradiction"
FOUND = "in_batch_accuracy"
KINDS = {"bi": ("regression", "pair"), "simcse": ("pair", "sentences")}
"""Encoder -> kinds of tasks that it learns."""


def problem_of(task: Task, encoder: str) -> str | None:
    """Why this encoder cannot learn this task; None if it can."""
    if encoder == "cross":
        return "it has no answers, and needs --set encoder=simcse" if task.kind == "sentences" else None
    if task.kind not in KINDS[encoder]:
        return f"encoder={encoder} learns tasks of the kinds {' and '.join(KINDS[encoder])}, and its kind is {task.kind}"
    if encoder == "simcse" and task.kind == "pair" and not {ENTAILS, CONTRADICTS} <= set(task.labels):
        return f"encoder=simcse learns from the labels {ENTAILS} and {CONTRADICTS}, and it has {', '.join(task.labels) or 'its own'}"
    return None


def contrasted(task: Task, splits: Splits) -> tuple[Task, Splits]:
    """(the task as SimCSE sees it, what it learns from and is tried on).

    Of inference each text that entails another one, the two, and with them a text that the first one contradicts, where there is one
    (Gao et al. 2021, section 4); of plain sentences each by itself. The metric: how often the right one is found in a batch.
    """
    make = _triples if task.kind == "pair" else _single
    found = Splits(make(splits.train), make(splits.dev), make(splits.test), splits.made)
    labels = task.labels if task.kind == "pair" else ()
    return replace(task, kind="sentences", labels=labels, metric=found_in_batch, main=FOUND, write=None), found


def _single(examples: Sequence[Texts]) -> list[Contrast]:
    return [Contrast(example.id, example.first) for example in examples]


def _triples(examples: Sequence[Texts]) -> list[Contrast]:
    """The k-th entailed text of a premise gets its k-th contradiction; where these are fewer they are used again."""
    against: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        if example.label == CONTRADICTS and example.second:
            against[example.first].append(example.second)
    seen: dict[str, int] = defaultdict(int)
    found = []
    for example in examples:
        if example.label == ENTAILS and example.second:
            hard = against.get(example.first)
            found.append(Contrast(example.id, example.first, example.second, hard[seen[example.first] % len(hard)] if hard else None))
            seen[example.first] += 1
    return found


def found_in_batch(examples: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """The share of texts whose own view, or entailed text, is the most similar one in the batch; and the mean loss."""
    hits, losses = zip(*predictions, strict=True)
    return {FOUND: float(np.mean(hits)), "loss": float(np.mean(losses))}


def form_of(task: Task, examples: Sequence[Any]) -> Form:
    """The form of a task for vectors of texts: a number from 0 to 5 is learned as a cosine from 0 to 1."""
    form = Form.of(task, examples, both=False, stride=1)
    return form.model_copy(update={"mean": 0.0, "spread": HIGHEST}) if task.kind == "regression" else form


def with_dropout(run: Run, share: float | None) -> Run:
    """The run with this dropout in its model, and in attention; None: as it is. The weights are copies of its own."""
    if share is None:
        return run
    model = run.spec.model.model_copy(update={"dropout": share})
    backbone = model.backbone
    if isinstance(backbone, BackboneSpec) and isinstance(backbone.mixer, AttentionSpec):
        mixer = backbone.mixer.model_copy(update={"dropout": share})
        model = model.model_copy(update={"backbone": backbone.model_copy(update={"mixer": mixer})})
    spec = run.spec.model_copy(update={"model": model})
    objective = build(spec, **run.vocabulary.sizes())
    objective.load_state_dict(run.objective.state_dict())
    return replace(run, spec=spec, objective=objective.to(next(run.objective.parameters()).device).eval())


def refuse_equal_views(towers: Towers, items: Sequence[Any], *, task: Task, seed: int) -> float:
    """The mean cosine of two views of the first batch. Raises MalmoiError M158 where two views of a text are to be told apart from other
    texts, and are one and the same: nothing is dropped, and nothing could be learned."""
    cosines = towers.views(items[: towers.batch], seed=seed)
    if not task.labels and bool((cosines > 1 - SAME).all()):
        raise MalmoiError("M158", task=task.name, count=len(cosines))
    return float(cosines.mean())


def save_run(towers: Towers, folder: Path, *, run: Run, spec: TuneSpec, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the trained encoder into `folder` as a run; returns the fields of its manifest. Heads are those of before, and mean nothing."""
    objective: Objective = copy.deepcopy(run.objective).cpu()
    trained = towers.reader.model
    for part in ("frontend", "backbone"):
        getattr(objective.model, part).load_state_dict(getattr(trained, part).state_dict())
    write_json(folder / "spec.json", run.spec.model_dump(mode="json"))
    write_text(folder / "metrics.jsonl", "")
    run.vocabulary.save(folder / "vocab")
    checkpoints.save(folder / "checkpoints", checkpoints.Checkpoint(step=run.step), objective.eval())
    kept = {name: run.manifest[name] for name in FACTS if name in run.manifest and name != "step"}
    told = {name: facts[name] for name in ("task", "metric", "mean", "kept", "examples", "base", "from_scratch") if name in facts}
    return {**kept, "head": False, "sentences": {"encoder": spec.encoder, **told, "settings": spec.model_dump(mode="json")}}
