"""What do the layers of a run hold? Heads on frozen layers, beside layer 0, the same network with random weights, Word2Vec and words alone.

    python benchmarks/tasks_probe.py --data ../shared/data --runs en=runs/elmo-en en=runs/w2v-en ko=runs/elmo-ko ko=runs/w2v-ko

Tasks of the language of each run: parts of speech (UD English-EWT, UD Korean-GSD), entities (WNUT-17, KLUE-NER), a word in two contexts
(MCL-WiC, KoBEST-WiC). Every layer and the learned mix get a head of their own, --seeds times, on the same --limit examples; the run with
random weights gets the same (--random: its layers, by seed). A run of Word2Vec has one layer. What counts without a model stands beside.
Paired by seed: the best contextual layer (chosen on dev, as is everything) above layer 0, above Word2Vec, the mix above the top layer. The
result is written after each run and task.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, finish

import malmoi
from malmoi.core.errors import MalmoiError
from malmoi.run import load_run
from malmoi.tasks.table import Interval, difference, table

PLACES = {
    "ud-pos": ("en", "ud_english_ewt"),
    "ud-pos-ko": ("ko", "ud_korean_gsd"),
    "wnut17": ("en", "wnut17"),
    "klue-ner": ("ko", "klue_dev"),
    "mcl-wic": ("en", "mcl_wic"),
    "kobest-wic": ("ko", "kobest"),
}
"""Task -> (its language, where its files lie)."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ud_english_ewt, wnut17, ...")
    parser.add_argument("--runs", nargs="+", required=True, metavar="LANGUAGE=RUN")
    parser.add_argument("--tasks", nargs="+", default=list(PLACES), choices=list(PLACES))
    parser.add_argument("--limit", type=int, default=4000, help="examples of each split")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--random", action=argparse.BooleanOptionalAction, default=True, help="the same networks with random weights")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS / "tasks_probe.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    runs = [tuple(given.split("=", 1)) for given in arguments.runs]
    given = {name: getattr(arguments, name) for name in ("limit", "seeds", "threads", "settings")}
    cells: list[dict[str, Any]] = []
    for name, (language, place) in PLACES.items():
        for run in (path for spoken, path in runs if spoken == language and name in arguments.tasks):
            try:
                cells.append(probed(Path(run), name, arguments.data / place, arguments))
            except MalmoiError as missing:
                print(f"{name} is left out: {missing}", flush=True)
                continue
            print(f"{name}  {cells[-1]['run']}  {cells[-1]['seconds']} s", flush=True)
            finish("tasks_probe", {"given": given, "cells": cells, "claims": list(claims(cells))}, arguments.out, quiet=True)
    print("\n\n".join(shown([cell for cell in cells if cell["task"] == name]) for name in dict.fromkeys(cell["task"] for cell in cells)))


def probed(run: Path, task: str, data: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run on one task: `malmoi probe RUN TASK --layer each --baselines`, and what the run is."""
    opened, begun = load_run(run), time.monotonic()
    static = opened.spec.objective.kind == "skipgram"
    how: dict[str, Any] = {"layer": 0 if static else "each", "seeds": arguments.seeds, "limit": arguments.limit, "device": arguments.device}
    with tempfile.TemporaryDirectory(prefix="malmoi-probe-") as cache:
        found = malmoi.probe(run, task, data=data, baselines=arguments.random, cache=cache, settings=arguments.settings, **how)
    kept = {key: found[key] for key in ("task", "metric", "compared_on", "rows", "best_layer", "examples", "made")}
    beside = {name: each["scores"][found["metric"]] for name, each in found.get("baselines", {}).items()}
    facts = {"run": run.name, "recipe": opened.spec.name, "static": static, "step": opened.step}
    return {**facts, **kept, "baselines": beside, "seconds": round(time.monotonic() - begun, 1)}


def claims(cells: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What is asked of each contextual run, on the compared split, paired by seed; `holds`: the interval lies above 0."""
    for cell in (cell for cell in cells if not cell["static"]):
        trained = {row["layer"]: row for row in cell["rows"] if row["weights"] == "trained"}
        layers = [layer for layer in trained if layer not in ("0", "mix")]
        best = max(layers, key=lambda layer: trained[layer]["dev"]["mean"])
        static = next((other for other in cells if other["static"] and other["task"] == cell["task"]), None)
        pairs = {
            "best layer over layer 0": (best, of(trained["0"], cell)),
            "mix over top layer": ("mix", of(trained[layers[-1]], cell)),
            **({"best layer over Word2Vec": (best, of(static["rows"][0], static))} if static else {}),
        }
        for said, (layer, others) in pairs.items():
            gain = difference(of(trained[layer], cell), others)
            facts = {"run": cell["run"], "task": cell["task"], "claim": said, "layer": layer, "gain": asdict(gain)}
            yield {**facts, "holds": gain.mean - (gain.half or 0.0) > 0}


def of(row: Mapping[str, Any], cell: Mapping[str, Any]) -> list[float]:
    """The scores of a layer, by seed."""
    return list(row[cell["compared_on"]]["seeds"])


def shown(cells: Sequence[Mapping[str, Any]]) -> str:
    """The table of one task."""
    first = cells[0]
    split, metric = first["compared_on"], first["metric"]
    splits = list(dict.fromkeys(["dev", split]))
    rows: list[list[object]] = []
    for cell in cells:
        for row in cell["rows"]:
            told = [str(Interval(row[name]["mean"], row[name]["half"], None, 0)) if name in row else "" for name in splits]
            rows.append([f"{cell['run']}, layer {row['layer']}" + (", random weights" if row["weights"] == "random" else ""), *told])
    rows += [[name, *[""] * (len(splits) - 1), f"{score:.4f}"] for name, score in first["baselines"].items()]
    sizes = ", ".join(f"{name} {count:,}" for name, count in first["examples"].items() if count)
    said = [
        f"{each['run']}: {each['claim']} ({each['layer']}) {each['gain']['mean']:+.4f} ± {each['gain']['half'] or 0:.4f}"
        for each in claims(cells)
    ]
    return "\n".join(
        [f"{first['task']} ({sizes})", "", table(["layer", *(f"{name} {metric}" for name in splits)], rows, markdown=True), "", *said]
    )


if __name__ == "__main__":
    main()
