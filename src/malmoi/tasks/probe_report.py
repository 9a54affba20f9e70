"""What was probed, as it is answered, shown and written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from malmoi.core.artifact import kind_at, writing
from malmoi.core.errors import MalmoiError
from malmoi.core.kinds import named
from malmoi.tasks.baselines import baselines
from malmoi.tasks.probe import SPLITS, Outcome, Probes
from malmoi.tasks.submission import handed_in
from malmoi.tasks.table import Interval, difference, interval, table
from malmoi.tasks.task import Task

KIND = "probe"


def summary(found: Probes) -> dict[str, Any]:
    """Rows of layers with intervals over seeds, and what each gains over layer 0 and over random weights (paired by seed), on test where
    its answers are known, else on dev."""
    main = found.task.main
    split = "test" if any("test" in outcome.scores for outcomes in found.layers.values() for outcome in outcomes) else "dev"
    rows = [_row(found, layer, "trained", split) for layer in found.layers] + [
        _row(found, layer, "random", split) for layer in found.random
    ]
    best = max((row for row in rows if row["weights"] == "trained"), key=lambda row: row["dev" if "dev" in row else "test"]["mean"])
    return {"metric": main, "compared_on": split, "rows": rows, "best_layer": best["layer"], "examples": found.examples}


def _row(found: Probes, layer: str, weights: str, split: str) -> dict[str, Any]:
    outcomes = (found.layers if weights == "trained" else found.random)[layer]
    main = found.task.main
    row: dict[str, Any] = {"layer": layer, "weights": weights, "epochs": [outcome.epoch for outcome in outcomes]}
    for name in SPLITS:
        values = [outcome.scores[name][main] for outcome in outcomes if name in outcome.scores]
        if values:
            over = interval(values)
            row[name] = {
                "mean": over.mean,
                "half": over.half,
                "seeds": values,
                "all": _means([outcome.scores[name] for outcome in outcomes]),
            }
    for other, name in ((found.layers.get("0"), "above_layer_0"), (found.random.get(layer), "above_random")):
        if weights == "trained" and other is not None and other is not outcomes:
            gain = difference(*([outcome.scores[split][main] for outcome in side] for side in (outcomes, other)))
            row[name] = {"mean": gain.mean, "half": gain.half}
    if outcomes[0].mix is not None:
        shares = np.mean([outcome.mix["weights"] for outcome in outcomes if outcome.mix], axis=0).tolist()
        row["mix"] = {"weights": shares, "gamma": float(np.mean([outcome.mix["gamma"] for outcome in outcomes if outcome.mix]))}
    return row


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in scores])) for name in scores[0]}


def beside(found: Probes, *, on: Literal["dev", "test"]) -> dict[str, Any]:
    """What the task gives away without a model, on the split that is compared: name -> how it predicts, its scores."""
    told = baselines(found.task, found.splits, on=on)
    return {name: {"said": each.said, "scores": each.scores} for name, each in told.items()}


def refuse_foreign(out: Path) -> None:
    """Raise MalmoiError M004 where `out` holds something else than what an earlier probe wrote."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if (kind := kind_at(out)) != KIND:
        raise MalmoiError("M004", path=out, what=named(kind) if kind else "other files", instead="remove it")


def write(out: Path, answer: Mapping[str, Any], found: Probes) -> None:
    """OUT/probe.json (the answer), OUT/table.md, and predictions/LAYER-seed-N-SPLIT in the task's official form; all or nothing."""
    with writing(out, KIND) as (folder, fields):
        (folder / "probe.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
        (folder / "table.md").write_text(shown(answer, markdown=True) + "\n", encoding="utf-8")
        (folder / "predictions").mkdir()
        for layer, outcomes in found.layers.items():
            for outcome in outcomes:
                _write_predictions(folder / "predictions", f"{layer}-seed-{outcome.seed}", found, outcome)
        fields.update(task=found.task.name, run=answer.get("run"))


def _write_predictions(folder: Path, name: str, found: Probes, outcome: Outcome) -> None:
    task: Task = found.task
    for split, predictions in outcome.predictions.items():
        if task.write is not None:
            handed_in(task, folder / f"{name}-{split}", getattr(found.splits, split), predictions)


def shown(answer: Mapping[str, Any], *, markdown: bool = False) -> str:
    """The table of layers, the weights of the mix below it, and the baselines."""
    metric, rows = answer["metric"], answer["rows"]
    splits = [split for split in SPLITS if any(split in row for row in rows)]
    gains = {"above_layer_0": "over layer 0", "above_random": "over random"}
    gains = {key: name for key, name in gains.items() if any(key in row for row in rows)}
    header = ["layer", *(f"{split} {metric}" for split in splits), *gains.values()]
    lines = [
        [_named(row), *(_told(row.get(split)) for split in splits), *(_told(row.get(key), signed=True) for key in gains)] for row in rows
    ]
    for name, baseline in answer.get("baselines", {}).items():
        own = [f"{baseline['scores'][metric]:.4f}" if split == answer["compared_on"] else "" for split in splits]
        lines.append([name, *own, *("" for _ in gains)])
    text = table(header, lines, markdown=markdown)
    for row in rows:
        if "mix" in row and row["weights"] == "trained":
            shares = "  ".join(f"{layer}: {share:.3f}" for layer, share in enumerate(row["mix"]["weights"]))
            text += f"{chr(10) * (1 + markdown)}mix weights  {shares}  gamma: {row['mix']['gamma']:.2f}"
    return text


def _named(row: Mapping[str, Any]) -> str:
    return str(row["layer"]) if row["weights"] == "trained" else f"{row['layer']}, random weights"


def _told(found: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    if found is None:
        return ""
    text = str(Interval(found["mean"], found["half"], None, 0))
    return f"+{text}" if signed and found["mean"] >= 0 else text
