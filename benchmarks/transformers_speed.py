"""malmoi beside transformers and nanoGPT-style code: tokens a second, memory, text to shards, time to a loss.

    python benchmarks/transformers_speed.py --corpus en/train.txt --threads 2 --steps 15
    python benchmarks/transformers_speed.py --corpus en/train.txt --valid en/valid.txt --only loss --out loss.json

Same shape everywhere: 4 layers of 256, 4 heads, WordPiece of 30,000, rows of 128, 32 a step; the same tokenizer and start weights. Only
real tokens count, no padding. The two of a pair take their steps in turn (`pairing.py`), each in a process of its own; medians. Nothing is
timed before both sides have the same loss (`agreement.py`, 1e-5); the optimizer is the same (AdamW, 5e-5, clipping at 1). malmoi
runs its real loop on its real rows: documents never see each other, where the other side's blocks ignore documents.

    mlm            BERT, transformers' Trainer on blocks, dropout 0.1 on both sides (its default); and the memory of both
    mlm-still      the same, dropout 0 on both sides (malmoi's default)
    mlm-line       against Trainer line by line (padded to the longest of a batch, as run_mlm.py does)
    rtd            ELECTRA, against a loop of ElectraForMaskedLM and ElectraForPreTraining (`peers.ElectraPair`), dropout 0.1
    clm            GPT-2, against nanoGPT-style code (`peers.NanoGPT`), dropout 0; and the memory of both
    clm-trainer    GPT-2, against Trainer, dropout 0.1
    *-bf16         mlm, clm in bf16 on both sides (slow where the machine has no bf16 units; it is said)
    shards         text file -> packed shards, against datasets.map (tokenize, group) with 2 processes, as run_mlm.py
                   and run_clm.py call it: MB/s of text, bytes on disk (all that is written)
    loss           seconds that malmoi needs for the masked loss that Trainer at its defaults has after --seconds
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agreement
import texts
from common import RESULTS, finish, recipe
from pairing import Row, measure, paired, require, table
from scoring import Sample
from sides import Job

from malmoi.core.recipe import RunSpec
from malmoi.train.loop import fast_bf16
from malmoi.vocab import Subwords

HERE = Path(__file__).resolve().parent
ALWAYS = ("mlm", "mlm-still", "mlm-line", "rtd", "clm", "clm-trainer", "shards")
NAMES = (*ALWAYS, "mlm-bf16", "clm-bf16", "loss")


@dataclass(frozen=True)
class Pair:
    """A comparison: malmoi's recipe and settings, the job of the other side, the check, and the goals for speed and memory."""

    recipe: str
    side: str
    kind: str
    dropout: float
    speed: float
    memory: float | None = None
    data: str = "blocks"
    bf16: bool = False

    def settings(self) -> list[str]:
        """MLM alone on both sides: transformers has no task on pairs."""
        alone = ["objective.pair=none"] if self.recipe == "bert-small" else []
        return [*alone, f"model.dropout={self.dropout}", f"model.backbone.mixer.dropout={self.dropout}"]


PAIRS = {
    "mlm": Pair("bert-small", "trainer", "masked", 0.1, 2.6, 0.45),
    "mlm-still": Pair("bert-small", "trainer", "masked", 0.0, 2.6, 0.45),
    "mlm-line": Pair("bert-small", "trainer", "masked", 0.1, 4.0, data="lines"),
    "mlm-bf16": Pair("bert-small", "trainer", "masked", 0.1, 2.8, bf16=True),
    "rtd": Pair("electra-small", "electra", "replaced", 0.1, 2.5),
    "clm": Pair("gpt2-small", "nanogpt", "causal", 0.0, 1.1, 0.35),
    "clm-trainer": Pair("gpt2-small", "trainer", "causal", 0.1, 1.25, 0.35),
    "clm-bf16": Pair("gpt2-small", "nanogpt", "causal", 0.0, 1.3, bf16=True),
}


def agreed(pair: Pair, spec: RunSpec, vocabulary: Subwords, work: Path) -> dict[str, float]:
    """The differences of the losses; ends the program where one is too large."""
    place = work / spec.name
    shutil.rmtree(place, ignore_errors=True)
    objective: Any = agreement.exported(spec, vocabulary, place)
    batch = agreement.rows_of(texts.opened(work, vocabulary), vocabulary)
    if pair.side == "nanogpt":
        found = agreement.nano(objective, spec, batch)
    else:
        check: Callable[..., dict[str, float]] = getattr(agreement, pair.kind)
        found = check(objective, place, batch)
    if worst := {name: value for name, value in found.items() if not value < agreement.ALLOWED}:
        sys.exit(f"{spec.name}: the losses are not the same, so nothing is timed: {worst}")
    return found


def compare(name: str, vocabulary: Subwords, work: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Row]]:
    """One pair: agreement, speed, memory."""
    pair = PAIRS[name]
    spec = recipe(pair.recipe, pair.settings())
    differences = agreed(pair, spec, vocabulary, work)
    same = {"work": str(work), "rows": arguments.rows, "bf16": pair.bf16}
    mine = Job(side="malmoi", recipe=pair.recipe, settings=tuple(pair.settings()), **same)
    other = Job(side=pair.side, model=spec.name, kind=pair.kind, data=pair.data, dropout=pair.dropout, **same)
    jobs = {"malmoi": mine.facts(), pair.side: other.facts()}
    found = measure(jobs, steps=arguments.steps, warmup=arguments.warmup, threads=arguments.threads, work=work)
    a, b = found["malmoi"], found[pair.side]
    rows = [Row(f"{name}: real tokens a second", a["tokens_per_second"], b["tokens_per_second"], "tokens/s", pair.speed)]
    if pair.memory is not None:
        mega = [side["peak_bytes"] / 1e6 for side in (a, b)]
        rows.append(Row(f"{name}: peak memory above the idle process", *mega, "MB", pair.memory, at_least=False))
    facts = {"differences": differences, "dropout": pair.dropout, "bf16": pair.bf16, "speed_ratio_step_by_step": paired(a, b)}
    return {**facts, **found}, rows


def shards(vocabulary: Subwords, work: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Row]]:
    """Text to what training reads, whole processes in turn, timed without their imports."""
    require("transformers", "datasets")
    place = work / "tokenizer"
    shutil.rmtree(place, ignore_errors=True)
    agreement.exported(recipe("bert-small", ["objective.pair=none"]), vocabulary, place)
    text = texts.share(arguments.corpus, work / "shared.txt", arguments.megabytes) if arguments.megabytes else arguments.corpus
    found: dict[str, list[dict[str, Any]]] = {"malmoi": [], "run_mlm": [], "run_clm": []}
    for _ in range(arguments.repeats):
        for side, runs in found.items():
            with tempfile.TemporaryDirectory(prefix="malmoi-shards-", dir=work) as folder:
                environment = {**os.environ, "HF_HOME": folder, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
                line = [sys.executable, str(HERE / "text_to_ids.py"), side, str(text), str(work), folder]
                done = subprocess.run(line, env=environment, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
                runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    middle = {side: sorted(runs, key=lambda run: run["MB_s"])[len(runs) // 2] for side, runs in found.items()}
    mine = middle.pop("malmoi")
    rows = []
    for side, other in middle.items():
        rows.append(Row(f"shards: text file to packed ids, as {side}", mine["MB_s"], other["MB_s"], "MB/s", 4.0))
        rows.append(Row(f"shards: bytes on disk, as {side}", mine["bytes"] / 1e6, other["bytes"] / 1e6, "MB", 0.1, at_least=False))
    return {"runs": found}, rows


def loss(vocabulary: Subwords, work: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Row]]:
    """Trainer at its defaults (5e-5, linear decay over 3 epochs, dropout 0.1), `--rows` a step, for --seconds; then whole runs of malmoi's
    bert-small, each with its own schedule, until one of them ends with that loss. Both are scored on the same masks of held-out rows."""
    from learning_runs import train_ours, train_theirs

    spec = recipe("bert-small", ["objective.pair=none"])
    place = work / "loss"
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(work / spec.name, ignore_errors=True)
    agreement.exported(spec, vocabulary, work / spec.name)
    sample = Sample.of(arguments.valid, vocabulary, tokens=arguments.valid_tokens)
    job = Job(side="trainer", work=str(work), model=spec.name, dropout=0.1, rows=arguments.rows, seconds=arguments.seconds, snapshots=1)
    theirs = train_theirs(job, place / "theirs", sample, threads=arguments.threads)[-1]
    tried = []
    for seconds in arguments.tries:
        run = place / f"ours-{seconds:g}"
        settings = ["objective.pair=none", f"stream.rows={arguments.rows}", "training.precision=fp32"]
        settings += ["training.validations=1", "training.validation_tokens=1000"]
        found = train_ours(
            spec.name, settings, arguments.corpus, arguments.valid, work, run, minutes=seconds / 60, threads=arguments.threads
        )
        tried.append({"seconds": seconds, **found["training"], **sample.score_run(run)})
        if tried[-1]["masked"] <= theirs["masked"]:
            break
    reached = [each["seconds"] for each in tried if each["masked"] <= theirs["masked"]]
    rows = [Row("loss: seconds to the masked loss", reached[0] if reached else math.inf, theirs["seconds"], "s", 20 / 300, at_least=False)]
    return {"trainer": theirs, "malmoi": tried}, rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="a text file, documents as paragraphs")
    parser.add_argument("--valid", type=Path, help="for loss")
    parser.add_argument("--only", nargs="+", choices=NAMES, help="default: all but bf16 (unless the machine has it) and loss")
    parser.add_argument("--threads", type=int, choices=(1, 2), default=2)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--megabytes", type=float, help="for shards: of the text (default: all of it)")
    parser.add_argument("--repeats", type=int, default=1, help="for shards")
    parser.add_argument("--seconds", type=float, default=300.0, help="for loss: of transformers' training")
    parser.add_argument("--tries", type=float, nargs="+", default=[5.0, 10.0, 20.0, 40.0, 80.0], help="for loss: seconds of malmoi's runs")
    parser.add_argument("--valid-tokens", type=int, default=40_000, help="for loss")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "malmoi-benchmarks", help="vocabulary and ids are kept here"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "transformers_speed.json")
    arguments = parser.parse_args()
    require("transformers", "accelerate")
    import torch

    bf16 = fast_bf16(torch.device("cpu"))
    names = arguments.only or [*ALWAYS, *(["mlm-bf16", "clm-bf16"] if bf16 else [])]
    if "loss" in names and arguments.valid is None:
        parser.error("loss needs --valid")
    vocabulary = texts.prepare(arguments.corpus, arguments.work, megabytes=None if names == ["loss"] else 8.0)
    rows: list[Row] = []
    results: dict[str, Any] = {}
    facts = {"threads": arguments.threads, "steps": arguments.steps, "rows": arguments.rows, "bf16_units": bf16, **other_versions()}
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        if name in PAIRS:
            results[name], more = compare(name, vocabulary, arguments.work, arguments)
        else:
            results[name], more = {"shards": shards, "loss": loss}[name](vocabulary, arguments.work, arguments)
        rows += more
        finish("transformers_speed", {**facts, "table": [row.facts() for row in rows], "results": results}, arguments.out, quiet=True)
    print(table(rows))
    if not bf16:
        print("no bf16 units on this CPU: bf16 is left out unless asked for by --only mlm-bf16 clm-bf16")


def other_versions() -> dict[str, str]:
    """Of what is compared with."""
    from importlib.metadata import version

    return {name: version(name) for name in ("transformers", "accelerate")}


if __name__ == "__main__":
    main()
