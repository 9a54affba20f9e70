"""Training memory: what `malmoi pretrain --dry-run` announces, and what a short run then takes, recipe by recipe.

    python benchmarks/memory_training.py --recipes elmo-tiny elmo-small elmo-medium elmo-original

Each measurement is a process of its own (its peak resident set). Without --corpus the text is made up: a few more words than the
recipe's output layer has, each at least once, and then words in Zipf's proportions. A recipe that is announced to need more
than the machine has is not run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, finish, made_up_vocabulary, recipe
from elmo_small import COMMAND, measured

from malmoi.core.recipe import RunSpec


def write_text(folder: Path, spec: RunSpec, *, tokens: int, document: int = 25) -> list[str]:
    """train.txt and a short valid.txt, a paragraph (and line) a document; the options that name them."""
    size = spec.model.head.size + spec.model.head.size // 20
    words = np.array(made_up_vocabulary(size, spec).words[3:])
    random = np.random.default_rng(0)
    ranks = np.concatenate([random.permutation(len(words)), np.exp(random.random(tokens) * np.log(len(words))).astype(np.int64) - 1])
    with open(folder / "train.txt", "w", encoding="utf-8") as file:
        for start in range(0, len(ranks), document):
            file.write(" ".join(words[ranks[start : start + document]]) + "\n\n")
    (folder / "valid.txt").write_text(" ".join(words[ranks[-50:]]) + "\n", encoding="utf-8")
    return ["--corpus", str(folder / "train.txt"), "--valid", str(folder / "valid.txt")]


def compare(name: str, *, corpus: list[str], settings: list[str], steps: int, tokens: int, threads: int) -> dict[str, Any]:
    """Announced and measured bytes of one recipe."""
    spec = recipe(name, settings)
    with tempfile.TemporaryDirectory(prefix="malmoi-memory-") as folder:
        sources = [part for file in corpus for part in ("--corpus", file)] or write_text(Path(folder), spec, tokens=tokens)
        changes = [part for setting in [*settings, "training.validations=0"] for part in ("--set", setting)]
        line = [*COMMAND, "pretrain", name, *sources, *changes, "--steps", str(steps), "--device", "cpu", "--allow-unknown", "--json"]
        announced, _ = measured([*line, "--out", f"{folder}/dry", "--dry-run"], threads=threads)
        facts = {key: announced.get(key) for key in ("parameters", "memory_bytes", "memory", "available_bytes", "words_per_second")}
        if announced["available_bytes"] is not None and announced["memory_bytes"] > announced["available_bytes"]:
            return {**facts, "measured": None}
        _, peak = measured([*line, "--out", f"{folder}/run"], threads=threads)
    return {**facts, "measured": peak, "announced_over_measured": round(announced["memory_bytes"] / peak, 3)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["elmo-tiny", "elmo-small", "elmo-medium", "elmo-original"])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--corpus", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=500_000, help="of the made-up text, beside one of each word")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "memory_training.json")
    arguments = parser.parse_args()
    options = {name: getattr(arguments, name) for name in ("corpus", "settings", "steps", "tokens", "threads")}
    table: dict[str, Any] = {}
    for name in arguments.recipes:
        table[name] = compare(name, **options)
        print(name, table[name], file=sys.stderr)
    finish("memory_training", {"corpus": arguments.corpus or "made up", "steps": arguments.steps, "recipes": table}, arguments.out)


if __name__ == "__main__":
    main()
