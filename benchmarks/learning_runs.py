"""malmoi's small recipes and transformers' own training of the same sizes, for the same wall time, scored by one evaluator.

    nohup python benchmarks/learning_runs.py --corpus en/train.txt --valid en/valid.txt --minutes 15 > runs.txt &

For each of --names: `malmoi pretrain NAME` and, at the same time, transformers from start weights of the same distribution, each with
a core and a thread of its own (--alternate: one after the other, both with --threads threads). One WordPiece vocabulary of 8,000 for all,
GPT-2 too, so that perplexities compare. Preparing the text and the last scoring count for neither; malmoi's clock runs over its validations
and checkpoints, the other has none (what is saved for its curve takes no time of its clock).

The other side: Trainer on blocks of 128 that ignore documents, 32 a step, dropout 0.1, 5e-5 with linear decay over 3 epochs (`shipped`); or
--theirs tuned: malmoi's rate (1e-3), betas, warm-up and decay by the clock, dropout 0, so that what is left is speed. BertForMaskedLM and
AlbertForMaskedLM fill gaps and do nothing else (transformers builds no pairs of sentences), GPT2LMHeadModel; for ELECTRA, which has no
script there, the loop over its two heads in `peers.py`. How both are scored: `scoring.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import agreement
import texts
from common import RESULTS, finish, recipe
from pairing import require
from scoring import Sample
from sides import Job

from malmoi import run as runs
from malmoi.core.progress import Silent
from malmoi.prepare import prepare
from malmoi.vocab import Subwords

HERE = Path(__file__).resolve().parent
COMMAND = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())"]
NAMES = ("gpt2-small", "bert-small", "albert-small", "electra-small")
SIDES = {"gpt2-small": ("trainer", "causal"), "electra-small": ("electra", "replaced")}
ALONE = {"bert-small": ["objective.pair=none"], "albert-small": ["objective.pair=none"]}
"""What transformers trains of a recipe: no task on pairs."""
WIDE = ["subwords.algorithm=wordpiece", "training.precision=fp32"]


def begun(name: str, settings: Sequence[str], corpus: Path, valid: Path, work: Path, run: Path) -> None:
    """A run directory with the vocabulary of `work` and its own shards, ready for `malmoi pretrain` with the same arguments."""
    shutil.rmtree(run, ignore_errors=True)
    spec = recipe(name, settings)
    runs.begin(run, spec, state="begun")
    shutil.copytree(work / "vocab", run / "vocab")
    prepare(spec, corpus=[str(corpus)], valid=[str(valid)], out=run, allow_unknown=False, progress=Silent())


def train_ours(
    name: str,
    settings: Sequence[str],
    corpus: Path,
    valid: Path,
    work: Path,
    run: Path,
    *,
    minutes: float,
    threads: int,
    core: int | None = None,
) -> dict[str, Any]:
    """`malmoi pretrain` as a process; -> "training" (what it says of itself) and "curve" (its validations)."""
    if not (run / "manifest.json").is_file():
        begun(name, [*settings, f"training.minutes={minutes}"], corpus, valid, work, run)
    given = [part for setting in settings for part in ("--set", setting)]
    line = [*COMMAND, "pretrain", name, "--corpus", str(corpus), "--valid", str(valid), "--out", str(run), "--minutes", str(minutes)]
    answer = json.loads(_finished([*line, *given, "--device", "cpu", "--json"], run.with_suffix(".log"), threads=threads, core=core))
    keys = ("steps", "tokens", "seconds", "tokens_per_second", "valid")
    lines = [json.loads(each) for each in (run / "metrics.jsonl").read_text().splitlines()]
    curve = [{key: value for key, value in each.items()} for each in lines if "valid_loss" in each]
    return {"training": {key: answer[key] for key in keys if key in answer}, "curve": curve}


def train_theirs(job: Job, out: Path, sample: Sample, *, threads: int, core: int | None = None) -> list[dict[str, Any]]:
    """The other side as a process; -> its snapshots, scored: seconds, steps, tokens, tokens_per_second, and `Sample.score`."""
    run_theirs(job, out, threads=threads, core=core)
    return score_snapshots(out, sample)


def run_theirs(job: Job, out: Path, *, threads: int, core: int | None = None) -> None:
    """The training alone."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    facts = Job(**{**job.__dict__, "out": str(out)}).facts()
    _finished([sys.executable, str(HERE / "sides.py"), json.dumps(facts)], out / "log.txt", threads=threads, core=core)


def score_snapshots(out: Path, sample: Sample) -> list[dict[str, Any]]:
    """Every snapshot in order."""
    places = sorted(place for place in out.iterdir() if (place / "facts.json").is_file())
    return [{**json.loads((place / "facts.json").read_text()), **sample.score_directory(place)} for place in places]


def _finished(line: list[str], log: Path, *, threads: int, core: int | None) -> str:
    """Standard output of a process that ended well; standard error goes to `log`."""
    line = line if core is None else ["taskset", "--cpu-list", str(core), *line]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with open(log, "w") as errors:
        done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    if done.returncode:
        sys.exit(f"status {done.returncode} of: {' '.join(line)}\n{done.stdout[-2000:]}\n{log.read_text()[-2000:]}")
    return done.stdout


def pair(name: str, vocabulary: Subwords, sample: Sample, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both sides of one recipe."""
    work, place = arguments.work, arguments.work / f"{name}-{arguments.theirs}"
    settings = [*WIDE, f"subwords.size={arguments.size}", *arguments.settings]
    alone = recipe(name, [*settings, *ALONE.get(name, [])])
    shutil.rmtree(work / name, ignore_errors=True)
    agreement.exported(alone, vocabulary, work / name)
    side, kind = SIDES.get(name, ("trainer", "masked"))
    tuned = arguments.theirs == "tuned"
    job = Job(
        side=side,
        work=str(work),
        model=name,
        kind=kind,
        dropout=0.0 if tuned else 0.1,
        learning_rate=arguments.learning_rate or (1e-3 if tuned else 5e-5),
        tuned=tuned,
        seconds=60 * arguments.minutes,
        snapshots=arguments.points,
    )
    minutes, run, only = arguments.minutes, place / "ours", arguments.only
    cores = (None, None) if arguments.alternate or only else tuple(sorted(os.sched_getaffinity(0))[:2])
    threads = arguments.threads if arguments.alternate or only else 1
    answer: dict[str, Any] = {"job": {key: value for key, value in job.facts().items() if key not in ("work", "out")}, "threads": threads}
    with ThreadPoolExecutor(1 if arguments.alternate else 2) as pool:
        if only != "transformers":
            begun(name, [*settings, f"training.minutes={minutes}"], arguments.corpus, arguments.valid, work, run)
            given = (name, settings, arguments.corpus, arguments.valid, work, run)
            mine = pool.submit(train_ours, *given, minutes=minutes, threads=threads, core=cores[0])
        if only != "malmoi":
            pool.submit(run_theirs, job, place / "theirs", threads=threads, core=cores[-1]).result()
            scored = score_snapshots(place / "theirs", sample)
            answer["transformers"] = {"training": scored[-1], "curve": scored}
        if only != "transformers":
            answer["malmoi"] = {**mine.result(), "score": sample.score_run(run)}
    return answer


def told(name: str, found: dict[str, Any]) -> str:
    """A table: both curves, both ends."""
    lines = []
    for label in ("malmoi", "transformers"):
        if label not in found:
            continue
        side = found[label]
        lines.append(f"{name}: {label} {side['training']['tokens_per_second']:,.0f} tokens/s")
        for point in side["curve"]:
            shown = {key.removeprefix("valid_"): value for key, value in point.items() if key.startswith("valid_") or label != "malmoi"}
            lines.append(f"  {point['seconds']:7.0f} s  " + "  ".join(f"{key} {value:.4g}" for key, value in shown.items()))
        score = side.get("score", side["training"])
        lines.append("  at the end  " + "  ".join(f"{key} {value:.4f}" for key, value in score.items() if isinstance(value, float)))
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--theirs", choices=("shipped", "tuned"), default="shipped")
    parser.add_argument("--learning-rate", type=float, help="of the other side, in place of 5e-5 or 1e-3")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE", help="of malmoi's recipes")
    parser.add_argument("--alternate", action="store_true", help="one after the other, with --threads threads")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("malmoi", "transformers"), help="one side, with --threads; the other's figures are kept")
    parser.add_argument("--points", type=int, default=8, help="of the other side's curve")
    parser.add_argument("--valid-tokens", type=int, default=100_000, help="of the held-out text, for the last scores of both")
    parser.add_argument("--size", type=int, default=8_000, help="pieces of the vocabulary")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "malmoi-learning", help="runs are kept here")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of learning_NAME.json")
    arguments = parser.parse_args()
    require("transformers", "accelerate")
    vocabulary = texts.prepare(arguments.corpus, arguments.work, size=arguments.size, lines=False)
    sample = Sample.of(arguments.valid, vocabulary, tokens=arguments.valid_tokens)
    failed = 0
    for name in arguments.names:
        try:
            found = pair(name, vocabulary, sample, arguments)
        except (SystemExit, Exception) as failure:  # the others are still wanted
            print(f"{name} failed: {failure}", flush=True)
            failed += 1
            continue
        facts = {"recipe": name, "minutes": arguments.minutes, "theirs": arguments.theirs, "alternate": arguments.alternate}
        facts |= {"settings": [*WIDE, *arguments.settings], "valid_tokens": len(sample.text.ids), "pieces": len(vocabulary)}
        suffix = "" if arguments.theirs == "shipped" else f"_{arguments.theirs}"
        place = arguments.out / f"learning_{name}{suffix}.json"
        before = json.loads(place.read_text()) if arguments.only and place.is_file() else {}
        kept = {side: before[side] for side in ("malmoi", "transformers") if side in before}
        finish(f"learning_{name}", {**facts, **kept, **found}, place, quiet=True)
        print(told(name, found), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
