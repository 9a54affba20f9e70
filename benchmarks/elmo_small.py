"""The paired run: malmoi's recipe and the plain PyTorch baseline, the same files, the same words, the same minutes.

One after the other on all cores, or with --side-by-side at the same time, each on a core of its own, where the machine's speed wavers.

    python benchmarks/elmo_small.py --corpus /tmp/wiki/en/train.txt --valid /tmp/wiki/en/valid.txt --minutes 20 --out en.json

Each is a process of its own with --threads threads. malmoi's clock runs over its validations and checkpoints too, the baseline has none;
preparing the text and the final scoring count for neither. Words per second: words and end marks predicted, each forward and backward.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import RESULTS, finish

COMMAND = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())"]
HERE = Path(__file__).resolve().parent


def measured(line: list[str], *, threads: int, core: int | None = None) -> tuple[dict[str, Any], int]:
    """The JSON that a command writes to standard output, and its peak of memory in bytes. `core` is the only one that it may use."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    line = line if core is None else ["taskset", "--cpu-list", str(core), *line]
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"status {process.returncode} of: {' '.join(line)}\n{answer}")
    return json.loads(answer), _bytes(usage)


def _bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="elmo-small")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--valid", nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side-by-side", action="store_true", help="at the same time, one core and one thread each")
    parser.add_argument("--lr", type=float, default=1e-3, help="of the baseline")
    parser.add_argument("--tune", type=int, nargs="*", default=[16, 32, 64], help="batch sizes that the baseline may choose from")
    parser.add_argument("--tune-seconds", type=float, default=30.0)
    parser.add_argument("--run", help="keep malmoi's run here")
    parser.add_argument("--out", type=Path, default=RESULTS / "elmo_small.json")
    arguments = parser.parse_args()
    threads = 1 if arguments.side_by_side else arguments.threads
    settings = [part for setting in arguments.settings for part in ("--set", setting)]
    same = ["--minutes", str(arguments.minutes), *settings, "--valid", *arguments.valid]
    with tempfile.TemporaryDirectory(prefix="malmoi-pair-") as folder:
        many = [part for name in ("corpus", "valid") for file in getattr(arguments, name) for part in (f"--{name}", file)]
        run = arguments.run or f"{folder}/run"
        ours = [*COMMAND, "pretrain", arguments.recipe, "--minutes", str(arguments.minutes), *settings, *many, "--out", run]
        ours += ["--device", "cpu", "--allow-unknown", "--json"]
        theirs = [sys.executable, str(HERE / "baseline_elmo.py"), "--recipe", arguments.recipe, "--corpus", *arguments.corpus, *same]
        theirs += ["--lr", str(arguments.lr), "--threads", str(threads), "--tune-seconds", str(arguments.tune_seconds)]
        theirs += ["--out", f"{folder}/baseline.json", "--tune", *map(str, arguments.tune)]
        with ThreadPoolExecutor(2 if arguments.side_by_side else 1) as pool:
            cores = sorted(os.sched_getaffinity(0))[:2] if arguments.side_by_side else (None, None)
            pair = [pool.submit(measured, line, threads=threads, core=core) for line, core in zip((ours, theirs), cores, strict=True)]
            (malmoi, malmoi_peak), (baseline, baseline_peak) = (each.result() for each in pair)
    if malmoi["valid"]["scored"] != baseline["valid"]["predictions"]:
        sys.exit(f"not the same text: {malmoi['valid']['scored']} and {baseline['valid']['predictions']} predictions")
    keys = ("perplexity", "forward_perplexity", "backward_perplexity")
    result = {
        "minutes": arguments.minutes,
        "side_by_side": arguments.side_by_side,
        "threads_each": threads,
        "words_per_second": {"malmoi": malmoi["words_per_second"], "baseline": baseline["training"]["words_per_second"]},
        "words": {"malmoi": malmoi["tokens"], "baseline": baseline["training"]["words"]},
        **{key: {"malmoi": malmoi["valid"][key], "baseline": baseline["valid"][key]} for key in keys},
        "unigram_perplexity": malmoi["valid"]["unigram_perplexity"],
        "peak_rss": {"malmoi": malmoi_peak, "baseline": baseline["peak_rss"], "baseline_with_scoring": baseline_peak},
    }
    ratio = {key: result[key]["malmoi"] / result[key]["baseline"] for key in ("words_per_second", "perplexity", "peak_rss")}
    facts = {"recipe": arguments.recipe, "settings": arguments.settings, "corpus": arguments.corpus, "valid": arguments.valid}
    finish("elmo_small", {**facts, **result, "malmoi_over_baseline": ratio, "malmoi": malmoi, "baseline": baseline}, arguments.out)


if __name__ == "__main__":
    main()
