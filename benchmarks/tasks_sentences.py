"""How alike are two sentences? Floors without a model, vectors as they come, SimCSE, bi-encoder and cross-encoder, on KorSTS and KLUE-STS.

    python benchmarks/tasks_sentences.py --data ../shared/data --text ko/train.txt --runs runs/bert-ko --beside runs/w2v-ko runs/elmo-ko

Spearman's correlation on the published dev sets of KorSTS and KLUE-STS. A tenth of KorSTS's training set, drawn by a hash, chooses the
epoch, so that its dev set chooses nothing; KLUE-STS is never learned from. Floors: cosines of TF-IDF vectors. Every run, and those of
--beside: the cosine of the mean vectors of its top layer. Then, --seeds times and for each of --runs: SimCSE on --sentences sentences of
--text (no labels), SimCSE on KLUE-NLI's pairs, the two encoders on KorSTS, and the same two from random weights. The result is written
after each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, finish

from malmoi.core.seeds import permutation
from malmoi.core.spec import override
from malmoi.run import Run, load_run
from malmoi.tasks import find_task
from malmoi.tasks.lexical import FORMS
from malmoi.tasks.lexical import cosines as tfidf_cosines
from malmoi.tasks.probe import probe, shortened
from malmoi.tasks.spec import ProbeSpec, TuneSpec
from malmoi.tasks.table import interval, table
from malmoi.tasks.task import Splits, Task, Texts
from malmoi.tasks.tune import tune
from malmoi.tasks.tuned import load

METRIC = "spearman"
PLACES = {"korsts": "kornlu/KorSTS", "klue-sts": "klue_dev/klue-sts-v1.1"}
WAYS = {
    "SimCSE, plain sentences": ("simcse", "encoder=simcse", False),
    "SimCSE, KLUE-NLI": ("klue-nli", "encoder=simcse", False),
    "bi-encoder, KorSTS": ("korsts", "encoder=bi", False),
    "bi-encoder, KorSTS, from scratch": ("korsts", "encoder=bi", True),
    "cross-encoder, KorSTS": ("korsts", "encoder=cross", False),
    "cross-encoder, KorSTS, from scratch": ("korsts", "encoder=cross", True),
}
"""What is done -> (the task that is learned, its setting, from scratch)."""
Scores = dict[str, float]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds kornlu and klue_dev")
    parser.add_argument("--text", type=Path, required=True, help="Korean text, for SimCSE")
    parser.add_argument("--runs", nargs="+", type=Path, required=True, metavar="RUN", help="Transformers")
    parser.add_argument("--beside", nargs="*", type=Path, default=[], metavar="RUN", help="any runs, as they are")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5_000, help="of KorSTS to learn from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE", help="of KorSTS and KLUE-NLI")
    parser.add_argument("--set-simcse", dest="contrast", action="append", default=[], metavar="PATH=VALUE", help="of plain sentences")
    parser.add_argument("--out", type=Path, default=RESULTS / "tasks_sentences.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    asked = {name: find_task(name).read(arguments.data / place) for name, place in PLACES.items()}
    rows = [{"run": "", "what": name, "scores": [scores]} for name, scores in floors(asked).items()]
    runs = [load_run(path) for path in (*arguments.beside, *arguments.runs)]
    rows += [{"run": run.path.name, "what": "mean vectors", "scores": [cosines(run, asked)]} for run in runs]
    given = {name: getattr(arguments, name) for name in ("sentences", "pairs", "seeds", "threads", "settings", "contrast")}
    facts = {run.path.name: {"recipe": run.spec.name, "step": run.step} for run in runs}
    material = {name: learned_from(name, arguments, asked) for name in {WAYS[way][0] for way in arguments.ways}}
    cells = {
        (run.path.name, way): {"run": run.path.name, "what": way, "scores": []}
        for run in runs[-len(arguments.runs) :]
        for way in arguments.ways
    }
    for seed in range(arguments.seeds):
        for run in runs[-len(arguments.runs) :]:
            for way in arguments.ways:
                begun = time.monotonic()
                name, setting, scratch = WAYS[way]
                settings = [setting, *(arguments.contrast if name == "simcse" else arguments.settings)]
                found = scored(run, find_task(name), material[name], settings, seed=seed, scratch=scratch, asked=asked)
                cells[run.path.name, way]["scores"].append(found)
                print(f"seed {seed}  {run.path.name}  {way}  {found}  {time.monotonic() - begun:.0f} s", flush=True)
                done = [*rows, *(cell for cell in cells.values() if cell["scores"])]
                finish("tasks_sentences", {"given": given, "runs": facts, "rows": [told(row) for row in done]}, arguments.out, quiet=True)
    print(shown([*rows, *cells.values()]))


def floors(asked: dict[str, Splits]) -> dict[str, Scores]:
    """The cosines of TF-IDF vectors, by name: how rare a feature is, is counted in KorSTS's training set, or in the texts asked about."""
    found: dict[str, Scores] = {}
    for name, splits in asked.items():
        task, pairs = find_task(name), texts(splits.dev)
        for form in FORMS:
            for where, fitted in (("KorSTS train", texts(asked["korsts"].train)), ("the pairs themselves", pairs)):
                told = [float(one) for one in tfidf_cosines(form, pairs, fitted=fitted)]
                found.setdefault(f"{form} TF-IDF, fitted on {where}", {})[name] = task.metric(splits.dev, told)[METRIC]
    return found


def texts(examples: Sequence[Texts]) -> list[tuple[str, str | None]]:
    """The two texts of each pair."""
    return [(example.first, example.second) for example in examples]


def cosines(run: Run, asked: dict[str, Splits]) -> Scores:
    """Of the mean vectors of the top layer of a run."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="malmoi-cosines-") as cache:
        for name, splits in asked.items():
            spec = ProbeSpec(head="cosine", layer="top")
            probes = probe(run, find_task(name), splits=Splits(dev=splits.dev), spec=spec, cache=Path(cache))
            found[name] = next(iter(probes.layers.values()))[0].scores["dev"][METRIC]
    return found


def learned_from(name: str, arguments: argparse.Namespace, asked: dict[str, Splits]) -> Splits:
    """train, and dev to choose the epoch by."""
    if name == "simcse":
        splits = find_task(name).read(arguments.text)
        chosen = sorted(permutation(len(splits.train), "sentences")[: arguments.sentences].tolist())
        return replace(splits, train=[splits.train[place] for place in chosen], dev=splits.dev[:500])
    if name == "klue-nli":
        return find_task(name).read(arguments.data / "klue_dev" / "klue-nli-v1.1")
    train = asked["korsts"].train
    held = set(permutation(len(train), "held out")[: len(train) // 10].tolist())
    sides = [[example for place, example in enumerate(train) if (place in held) == side] for side in (False, True)]
    return Splits(train=shortened(Splits(train=sides[0]), arguments.pairs).train, dev=sides[1])


def scored(run: Run, task: Task, splits: Splits, settings: Sequence[str], *, seed: int, scratch: bool, asked: dict[str, Splits]) -> Scores:
    """Learn once, and score on both dev sets."""
    spec = override(TuneSpec(), settings)
    with tempfile.TemporaryDirectory(prefix="malmoi-sentences-") as folder:
        out = Path(folder) / "run"
        tune(run, task, splits=Splits(splits.train, splits.dev), out=out, spec=spec, seeds=[seed], from_scratch=scratch)
        if spec.encoder != "cross":
            return cosines(load_run(out), asked)
        tuned = load(out)
        score: Callable[[str], float] = lambda name: find_task(name).metric(asked[name].dev, tuned.predict(asked[name].dev))[METRIC]  # noqa: E731
        return {name: score(name) for name in asked}


def told(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its intervals over seeds."""
    over = {name: asdict(interval([scores[name] for scores in row["scores"]])) for name in PLACES}
    return {**row, "over_seeds": over}


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        [
            ", ".join(part for part in (row["run"], row["what"]) if part),
            *(str(interval([one[name] for one in row["scores"]])) for name in PLACES),
        ]
        for row in rows
        if row["scores"]
    ]
    return table(["", "KorSTS dev", "KLUE-STS dev"], lines, markdown=True)


if __name__ == "__main__":
    main()
