"""The whole model learns a task (Radford et al. 2018, section 3.2; Devlin et al. 2019, section 4): several seeds, the best epoch of each,
scores with an interval, predictions as they are handed in."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from malmoi.core.artifact import writing
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress, Silent
from malmoi.objectives import BiLM, Causal, Masked, Objective, Replaced
from malmoi.run import KIND as RUN
from malmoi.run import Run
from malmoi.tasks.answering import threshold
from malmoi.tasks.inputs import Cuts, Form, Item
from malmoi.tasks.learn import Learned, learn
from malmoi.tasks.probe import fresh, known, shortened
from malmoi.tasks.sentences import contrasted, form_of, problem_of, refuse_equal_views, save_run, with_dropout
from malmoi.tasks.spec import TuneSpec
from malmoi.tasks.submission import handed_in
from malmoi.tasks.table import interval
from malmoi.tasks.task import Prediction, Splits, Task
from malmoi.tasks.towers import Towers
from malmoi.tasks.tuned import KIND, Tuned, save
from malmoi.use import subwords_of

LM_WEIGHT = 0.5
"""Of the auxiliary language-model loss (Radford et al. 2018, section 4.1)."""
WORDS = 512
"""Words of a text that a biLM reads at most."""
VIEW_DROPOUT = 0.1
"""What makes two views of a text differ (Gao et al. 2021, section 3)."""
SCORED = ("dev", "test")


@dataclass(frozen=True)
class Fold:
    """One split as it is learned from or scored on."""

    examples: Sequence[Any]
    items: Sequence[Item]
    known: bool


@dataclass(frozen=True)
class Outcome:
    """One seed: how it learned, what it scores on the splits whose answers are known, what it predicts."""

    seed: int
    learned: Learned
    scores: dict[str, dict[str, float]]
    predictions: dict[str, list[Prediction]]
    seconds: float
    threshold: float

    def facts(self) -> dict[str, Any]:
        """Without the predictions."""
        learned = {"epoch": self.learned.epoch, "curve": list(self.learned.curve), "losses": list(self.learned.losses)}
        return {"seed": self.seed, **self.scores, **learned, "threshold": self.threshold, "seconds": round(self.seconds, 1)}


def tune(
    run: Run,
    task: Task,
    *,
    splits: Splits,
    out: str | Path,
    spec: TuneSpec | None = None,
    seeds: Sequence[int] = (0,),
    from_scratch: bool = False,
    limit: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fine-tune a run on `splits.train` once for each seed, and write the best one, by dev, to `out` with the predictions of all.

    A seed decides the head, the order and dropout; `from_scratch` also the weights of the model, which are then those that the recipe
    begins with: what a score owes to pre-training is its distance from that one. limit: examples of each split that are used.

    With `spec.encoder` bi or simcse `out` is a run, whose vectors of texts were trained; what simcse is scored by is said at
    `sentences.contrasted`.

    Returns task, metric, `seeds` (scores, epoch, curve), `mean` (per split: mean, half of the 95% interval, deviation, count), `examples`,
    `inputs` (rows, and what was cut, per split), `made` (splits that no file holds), `predictions` (files), of simcse `views` (the mean
    cosine of two views of a text). Raises MalmoiError M004 (`out` is there), M060 (this run and this task do not fit), M157 (nothing to
    learn from, or to choose by), M154 (label), M009 (length), M158 (views that are the same).
    """
    out, heard, spec = Path(out), progress or Silent(), spec or TuneSpec()
    refuse_existing(out)
    refuse(run, task, encoder=spec.encoder)
    spec = settled(run, spec, task)
    task, splits, form = _posed(run, task, splits, spec, limit)
    heard.stage("fine-tuning", total=float(len(seeds)))
    best: tuple[Tuned, Outcome] | None = None
    outcomes, views, dropped = [], [], with_dropout(run, spec.model_dropout)
    for place, seed in enumerate(seeds):
        tuned = begun(dropped, form=form, spec=spec, seed=seed, from_scratch=from_scratch)
        folds, cuts = _folds(tuned, splits)
        if isinstance(tuned, Towers) and spec.encoder == "simcse":
            views.append(refuse_equal_views(tuned, folds["train"].items, task=task, seed=seed))
        outcome = _learned(tuned, task, folds, spec=spec, seed=seed, place=place, progress=heard)
        outcomes.append(outcome)
        if best is None or outcome.learned.score > best[1].learned.score:
            best = tuned, outcome
    assert best is not None
    result = {
        "run": str(out),
        "base": str(run.path),
        "task": task.name,
        "metric": task.main,
        "from_scratch": from_scratch,
        "mean": summary(outcomes, task.main),
        "seeds": [outcome.facts() for outcome in outcomes],
        "kept": best[1].seed,
        "examples": {name: len(fold.examples) for name, fold in folds.items()},
        "inputs": {name: asdict(cut) for name, cut in cuts.items()},
        "made": dict(splits.made),
        "settings": spec.model_dump(mode="json"),
        **({"views": sum(views) / len(views)} if views else {}),
    }
    files = _write(out, run, task, best[0], folds, outcomes, spec=spec, facts=result)
    return {**result, "predictions": files, "seconds": round(sum(outcome.seconds for outcome in outcomes), 1)}


def _posed(run: Run, task: Task, splits: Splits, spec: TuneSpec, limit: int | None) -> tuple[Task, Splits, Form]:
    """Task, examples and form as this encoder learns them. Raises MalmoiError M157, M060."""
    if spec.encoder == "simcse":
        task, splits = contrasted(task, splits)
    splits = shortened(splits, limit) if limit else splits
    for what, examples in (("learn from", splits.train), ("choose the best epoch by", splits.dev)):
        if not known(examples):
            raise MalmoiError("M157", task=task.name, problem=f"there is nothing to {what}")
    if spec.encoder != "cross":
        return task, splits, form_of(task, splits.train)
    form = Form.of(task, splits.train, both=isinstance(run.objective, Causal), stride=spec.stride)
    if form.characters and isinstance(run.objective, BiLM):
        raise _unfit(run, task, "its tags belong to characters, and a biLM reads words")
    return task, splits, form


def refuse_existing(out: str | Path) -> None:
    """Raise MalmoiError M004 where `out` is there already."""
    if Path(out).exists():
        raise MalmoiError("M004", path=out, what="something already", instead="remove it")


def refuse(run: Run, task: Task, *, encoder: str = "cross") -> None:
    """Raise MalmoiError M060 for a task that this run cannot be fine-tuned on, or not with this encoder."""
    if task.kind == "similarity":
        raise _unfit(run, task, "it has no examples to learn from: the cosine is the prediction")
    if problem := problem_of(task, encoder):
        raise _unfit(run, task, problem)
    if isinstance(run.objective, BiLM) and encoder != "cross":
        raise _unfit(run, task, f"encoder={encoder} trains the vectors of a Transformer, and this is a biLM")
    if isinstance(run.objective, BiLM):
        if task.kind not in ("sentence", "tagging"):
            raise _unfit(run, task, f"a biLM has no vector for two texts at once, as the kind {task.kind} needs")
    elif not isinstance(run.objective, Causal | Masked | Replaced):
        raise _unfit(run, task, f"its objective is {run.spec.objective.kind}")
    else:
        subwords_of(run, f"be fine-tuned on {task.name}")


def settled(run: Run, spec: TuneSpec, task: Task | None = None) -> TuneSpec:
    """The spec with its length, the weight of the language model, and what depends on encoder and task. Raises MalmoiError M009 for what
    this run cannot have."""
    causal = isinstance(run.objective, Causal) and spec.encoder == "cross"
    keep = spec.keep or ("last" if task is not None and task.kind == "sentences" else "best")
    dropout = spec.model_dropout if spec.model_dropout is not None else VIEW_DROPOUT if spec.encoder == "simcse" else None
    spec = spec.model_copy(update={"keep": keep, "model_dropout": dropout})
    if spec.lm_weight and not (causal and run.has_head):
        problem = "only a causal model with its output layer has a language model to train along"
        raise MalmoiError("M009", argument="lm_weight", value=spec.lm_weight, problem=problem, next="leave it out, or set it to 0.")
    weight = spec.lm_weight if spec.lm_weight is not None else LM_WEIGHT if causal and run.has_head else 0.0
    if isinstance(run.objective, BiLM):
        return spec.model_copy(update={"length": spec.length or WORDS, "lm_weight": weight})
    length = spec.length or subwords_of(run, "be fine-tuned")[1]
    most = getattr(run.spec.model.frontend, "length", length)
    limited = getattr(run.spec.model.frontend, "positions", "none") in ("learned", "sinusoidal")
    if (limited and length > most) or length < 8:
        problem = f"rows have from 8 to {most} positions" if limited else "rows have at least 8 positions"
        raise MalmoiError("M009", argument="length", value=length, problem=problem, next=f"leave it at {run.spec.stream.length}.")  # type: ignore[union-attr]
    return spec.model_copy(update={"length": length, "lm_weight": weight})


def begun(run: Run, *, form: Form, spec: TuneSpec, seed: int, from_scratch: bool) -> Tuned:
    """The model before it learns, on the device of the run, which itself is left as it is."""
    device = next(run.objective.parameters()).device
    objective: Objective = fresh(run, seed).objective if from_scratch else copy.deepcopy(run.objective)
    made = Tuned if spec.encoder == "cross" else Towers
    return made.of(objective.cpu(), run=run.spec, vocabulary=run.vocabulary, form=form, spec=spec, seed=seed).to(device)


def scored(tuned: Tuned, task: Task, fold: Fold) -> tuple[dict[str, float], list[Prediction]]:
    """(every number of the task's metric, or none where the answers are not known; the predictions)."""
    predictions, _ = tuned.answers(fold.examples, fold.items)
    return (task.metric(fold.examples, predictions) if fold.known else {}), predictions


def chosen_threshold(tuned: Tuned, task: Task, fold: Fold) -> None:
    """Set the doubt above which a question has no answer to where dev scores best."""
    tuned.threshold = float("inf")
    texts, doubts = tuned.answers(fold.examples, fold.items)
    tuned.threshold = threshold(fold.examples, [str(text) for text in texts], doubts, metric=task.metric, main=task.main)


def summary(outcomes: Sequence[Outcome], main: str) -> dict[str, dict[str, Any]]:
    """Of the main number of each scored split: mean, half of its 95% interval over the seeds, deviation, count."""
    names = [name for name in SCORED if name in outcomes[0].scores]
    return {name: asdict(interval([outcome.scores[name][main] for outcome in outcomes])) for name in names}


def _folds(tuned: Tuned, splits: Splits) -> tuple[dict[str, Fold], dict[str, Cuts]]:
    """Every split that has examples, and what was cut of them. Examples to learn from whose answer is not known are left out."""
    folds, cuts = {}, {}
    for name in ("train", *SCORED):
        examples = getattr(splits, name)
        if examples:
            tuned.inputs.cuts = cuts[name] = Cuts()
            items = tuned.inputs.items(examples)
            items = [item for item in items if item.target is not None] if name == "train" else items
            folds[name] = Fold(examples, items, known(examples))
    return folds, cuts


def _learned(tuned: Tuned, task: Task, folds: dict[str, Fold], *, spec: TuneSpec, seed: int, place: int, progress: Progress) -> Outcome:
    begun_at, dev = time.monotonic(), folds["dev"]
    chooses = tuned.form.unanswerable and spec.null_threshold is None
    tuned.threshold = spec.null_threshold or 0.0
    told: dict[str, float] = {}
    curve: list[float] = []

    def score() -> float:
        if chooses:
            chosen_threshold(tuned, task, dev)
        told["dev"] = scored(tuned, task, dev)[0][task.main]
        curve.append(told["dev"])
        return float(len(curve)) if spec.keep == "last" else told["dev"]

    def tell(share: float, facts: dict[str, Any]) -> None:
        progress.advance(place + share, {"seed": seed, **facts, **told})

    learning = spec.learning
    learned = learn(
        tuned, examples=folds["train"].items, loss=tuned.loss, score=score, spec=learning, seed=seed, groups=tuned.groups(spec), told=tell
    )
    learned = replace(learned, score=curve[learned.epoch - 1], curve=tuple(curve))
    for parameter in tuned.parameters():
        parameter.requires_grad_(True)
    if chooses:
        chosen_threshold(tuned, task, dev)
    found = {name: scored(tuned, task, folds[name]) for name in SCORED if name in folds}
    scores = {name: numbers for name, (numbers, _) in found.items() if numbers}
    predictions = {name: predicted for name, (_, predicted) in found.items()}
    return Outcome(seed, learned, scores, predictions, time.monotonic() - begun_at, tuned.threshold)


def _write(
    out: Path,
    run: Run,
    task: Task,
    tuned: Tuned,
    folds: dict[str, Fold],
    outcomes: Sequence[Outcome],
    *,
    spec: TuneSpec,
    facts: dict[str, Any],
) -> list[str]:
    names = []
    with writing(out, RUN if isinstance(tuned, Towers) else KIND) as (folder, fields):
        (folder / "predictions").mkdir()
        for outcome in outcomes:
            for split, predictions in outcome.predictions.items():
                if task.write is not None:
                    path = folder / "predictions" / f"{split}-{outcome.seed}"
                    names.append(handed_in(task, path, folds[split].examples, predictions).relative_to(folder))
        if isinstance(tuned, Towers):
            fields.update(save_run(tuned, folder, run=run, spec=spec, facts=facts))
        else:
            fields.update(save(tuned, folder, run=run.spec, vocabulary=run.vocabulary, spec=spec), **facts)
        fields.update(parent={"path": str(run.path), "step": run.step})
    return [str(out / name) for name in names]


def _unfit(run: Run, task: Task, problem: str) -> MalmoiError:
    next = f"`malmoi probe {run.path} {task.name}` reads it as it is."
    if task.kind == "sentences":
        next = "docs/tasks.md (Sentences) has the commands."
    return MalmoiError("M060", path=run.path, what=f"be fine-tuned on {task.name}", problem=problem, next=next)
