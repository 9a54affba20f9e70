"""The history of a run: its losses, its gradients, how it ended, and whether its checkpoints are whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from malmoi.core.artifact import read_sealed, verify
from malmoi.core.errors import MalmoiError
from malmoi.core.journal import read_journal
from malmoi.core.recipe import TrainingSpec
from malmoi.health.finding import Finding
from malmoi.train import checkpoint as checkpoints

Metrics = Sequence[Mapping[str, Any]]
PATIENCE, PATIENCE_WORDS = 50, 200_000
"""Predictions (for each output word, and in all) that a run may take before it has to be better than counting."""
PARTS = ("forward", "backward", "next", "masked", "pair", "generator", "replaced", "around")
"""Names under which objectives report their losses."""
LIKELIHOOD = {"masked": ("masked", "valid_loss"), "replaced": ("generator", "valid_generator"), "sequence": ("next", "valid_loss")}
"""Where the plain likelihood of tokens stands, in training and in validation, if it is not the loss itself."""
CLEARLY = 0.1
"""Nats above counting from which a model that had its time is an error: text without any order (random words) stays within."""


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The lines of metrics.jsonl, and a finding (M131) if it is not what was written. No file: no lines."""
    try:
        return read_journal(path), []
    except MalmoiError as problem:
        return [], [Finding.of_error(problem)]


def records(directory: Path) -> list[Finding]:
    """An error for every record of a run, beside its metrics, that is not what was written: events, the best checkpoint, evaluations."""
    found: list[Finding] = []
    for read, paths in (
        (read_journal, [directory / "events.jsonl"]),
        (lambda path: read_sealed(path, next="evaluate again."), sorted((directory / "evals").glob("*.json"))),
        (checkpoints.read_best, [directory / "checkpoints"]),
    ):
        for path in paths:
            try:
                read(path)
            except MalmoiError as problem:
                found.append(Finding.of_error(problem))
    return found


def finite(metrics: Metrics) -> list[Finding]:
    """M127 for the first loss or gradient norm that is no number."""
    for line in metrics:
        for name in ("loss", *PARTS, "gradient_norm", "valid_loss"):
            if name in line and not (isinstance(line[name], int | float) and math.isfinite(line[name])):
                return [Finding.of("M127", "error", name=name.replace("_", " "), step=line.get("step", 0), value=line[name])]
    return [Finding.good("numbers", f"every loss and gradient norm of {len(metrics):,} lines is finite")]


def likelihoods(metrics: Metrics, objective: str) -> list[dict[str, Any]]:
    """The lines with the likelihood of tokens as `loss` and `valid_loss`, without the other parts of an objective and without smoothing.
    Skip-gram has no likelihood."""
    if objective == "skipgram":
        return []
    if objective not in LIKELIHOOD:
        return [dict(line) for line in metrics]
    found = []
    for line in metrics:
        rest = {name: value for name, value in line.items() if name not in ("loss", "valid_loss")}
        found.append(rest | {new: line[old] for new, old in zip(("loss", "valid_loss"), LIKELIHOOD[objective], strict=True) if old in line})
    return found


def unigram_entropy(distribution: np.ndarray) -> float:
    """Nats a prediction that counting words costs; distribution (K,) sums to 1."""
    seen = distribution[distribution > 0]
    return float(-(seen * np.log(seen)).sum())


def better_than_counting(metrics: Metrics, *, unigram: float, exact: bool, size: int) -> list[Finding]:
    """M126 if no loss went below that of single words: an error if it is clearly above after 50 predictions an output word.

    unigram: entropy of the words of the training text, nats; a validation loss is held against its own text's `valid_unigram`.
    exact: the training loss is a likelihood (not sampled) and may be compared; validation losses always are.
    """
    losses = [(line["valid_loss"], line.get("valid_unigram", unigram)) for line in metrics if "valid_loss" in line]
    training = [line["loss"] for line in metrics if "loss" in line]
    if exact:
        means = [fmean(training[start : start + 20]) for start in range(0, max(len(training) - 19, 1), 20) if training]
        losses += [(mean, unigram) for mean in means]
    losses = [(loss, counted) for loss, counted in losses if math.isfinite(loss)]
    if not losses:
        return [Finding.good("learning", "no exact loss was recorded, so it cannot be compared with counting words")]
    best, unigram = min(losses, key=lambda pair: pair[0] - pair[1])
    tokens = int(metrics[-1].get("tokens", 0))
    if best < unigram:
        perplexities = f"perplexity {math.exp(best):,.1f}, counting words gives {math.exp(unigram):,.1f}"
        return [Finding.good("learning", f"best loss {best:.3f} nats, {unigram - best:.3f} below counting words ({perplexities})")]
    early = tokens < max(PATIENCE * size, PATIENCE_WORDS)
    next = "train on: it is early yet." if early else "look at learning rate, gradient norms and data; the model has learned no context."
    fields = {"loss": best, "unigram": unigram, "perplexity": math.exp(unigram), "tokens": tokens, "next": next}
    return [Finding.of("M126", "warning" if early or best < unigram + CLEARLY else "error", **fields)]


def ended(metrics: Metrics, spec: TrainingSpec, *, steps: int | None) -> list[Finding]:
    """M128 (warning) for a run that stopped before its budget. steps: optimizer steps of the budget, None for one in minutes."""
    last = metrics[-1] if metrics else {"step": 0, "seconds": 0.0}
    if steps is not None:
        if last["step"] < steps:
            return [Finding.of("M128", "warning", problem=f"at step {last['step']:,} of {steps:,}")]
        return [Finding.good("end", f"all {steps:,} steps were taken")]
    minutes, spent = spec.minutes or 0.0, float(last["seconds"]) / 60
    if spent < 0.97 * minutes:
        return [Finding.of("M128", "warning", problem=f"after {spent:.1f} of {minutes:g} minutes")]
    return [Finding.good("end", f"all {minutes:g} minutes were used")]


def gradients(metrics: Metrics, spec: TrainingSpec, *, weight: float = 1.0) -> list[Finding]:
    """M129 (warning) for gradients that vanish, or that are cut at nearly every step of the second half.

    weight: of the heaviest part of the loss; gradients are that much larger by design (ELECTRA: 50).
    """
    norms = [line["gradient_norm"] for line in metrics if math.isfinite(line.get("gradient_norm", math.nan))]
    late = norms[len(norms) // 2 :]
    if len(late) < 50:
        return []
    middle = sorted(late)[len(late) // 2]
    if middle < 1e-6:
        next = "look for a cut graph, saturated units, or a loss scale of almost 0."
        return [Finding.of("M129", "warning", problem=f"the median norm is {middle:.1e}", next=next)]
    cut = sum(norm > weight * spec.clip_norm for norm in late) / len(late) if spec.clip_norm is not None else 0.0
    if cut > 0.95 and spec.optimizer.kind != "adagrad":
        next = "raise training.clip_norm, or lower training.learning_rate."
        problem = f"{cut:.0%} of the steps in the second half were cut to norm {spec.clip_norm:g}"
        return [Finding.of("M129", "warning", problem=problem, next=next)]
    return [Finding.good("gradients", f"median norm {middle:.2g} in the second half, {cut:.0%} of the steps cut")]


def falling(metrics: Metrics) -> list[Finding]:
    """M130 (warning) if the loss of the last quarter is more than 2 % above that of the second."""
    losses = [line["loss"] for line in metrics if math.isfinite(line.get("loss", math.nan))]
    quarter = len(losses) // 4
    if quarter < 25:
        return []
    before, after = fmean(losses[quarter : 2 * quarter]), fmean(losses[-quarter:])
    if after > 1.02 * before:
        return [Finding.of("M130", "warning", before=before, after=after)]
    return [Finding.good("loss", f"{before:.3f} nats in the second quarter of the run, {after:.3f} in the last")]


def damaged(directory: Path) -> list[Finding]:
    """M131 for every checkpoint whose files are not what its manifest says: an error if none is left, else a warning."""
    paths = checkpoints.steps(directory)
    problems: list[tuple[Path, MalmoiError]] = []
    for path in paths:
        try:
            verify(path, checkpoints.KIND, next=checkpoints.AGAIN)
        except MalmoiError as problem:
            problems.append((path, problem))
    whole = len(paths) - len(problems)
    if not paths:
        return [Finding.of_error(MalmoiError("M043", path=directory, problem="there is none"))]
    if not problems:
        return [Finding.good("checkpoints", f"all {whole} whole, newest {paths[-1].name}")]
    next = f"{whole} whole ones are left, and are used." if whole else "restore the run from a copy, or train again."
    level = "warning" if whole else "error"
    return [Finding.of("M131", level, path=path, problem=problem.message, next=next) for path, problem in problems]  # type: ignore[arg-type]
