"""Can the encoder-decoder learn pairs by heart? BLEU of its own training pairs, greedy and with a beam.

    python benchmarks/translation.py --archive ../shared/data/tatoeba/tatoeba_v1.tar.xz --language deu --minutes 3
    python benchmarks/translation.py --pairs a.txt b.txt --pairs-kept 200

The first --pairs-kept pairs whose sources differ; `malmoi pretrain RECIPE --pairs` as a process, its validation being the same pairs;
then all sources are translated and scored with sacrebleu (default tokenizer, case kept). 95 and more is wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import unicodedata
from pathlib import Path
from typing import Any

from common import RESULTS, finish
from pairing import require

from malmoi.core.recipe import RowsSpec
from malmoi.objectives import Sequence
from malmoi.readout.translate import Translator
from malmoi.run import load_run
from malmoi.vocab import Subwords

COMMAND = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())"]


def from_archive(archive: Path, language: str) -> tuple[list[str], list[str]]:
    """Sources and English of Tatoeba's test sets (LASER, data/tatoeba/v1)."""
    with tarfile.open(archive, "r:xz") as tar:
        sides = []
        for side in (language, "eng"):
            member = tar.extractfile(f"v1/tatoeba.{language}-eng.{side}")
            assert member is not None
            sides.append(member.read().decode("utf-8").splitlines())
    return sides[0], sides[1]


def distinct(sources: list[str], targets: list[str], count: int) -> tuple[list[str], list[str]]:
    """The first `count` pairs whose sources differ, in NFC."""
    kept: dict[str, str] = {}
    for source, target in zip(sources, targets, strict=True):
        both = [" ".join(unicodedata.normalize("NFC", side).split()) for side in (source, target)]
        if all(both) and len(kept) < count:
            kept.setdefault(*both)
    return list(kept), list(kept.values())


def scored(run: Path, sources: list[str], targets: list[str], beams: list[int]) -> dict[str, Any]:
    """BLEU, exact matches and seconds by width of the beam (1: greedy), and the pairs that are wrong."""
    import sacrebleu

    opened = load_run(run)
    assert isinstance(opened.objective, Sequence) and isinstance(opened.vocabulary, Subwords) and isinstance(opened.spec.stream, RowsSpec)
    translator = Translator(opened.objective.model, opened.objective.decoder, opened.vocabulary, opened.spec.stream.length)
    found: dict[str, Any] = {}
    for beam in beams:
        began = time.perf_counter()
        texts = [best[0] for best in translator.translate(sources, beam=beam)]
        found["greedy" if beam == 1 else f"beam {beam}"] = {
            "bleu": round(sacrebleu.corpus_bleu(texts, [targets]).score, 2),
            "exact": sum(text == target for text, target in zip(texts, targets, strict=True)),
            "seconds": round(time.perf_counter() - began, 1),
            "wrong": [pair for pair in zip(sources, targets, texts, strict=True) if pair[1] != pair[2]][:5],
        }
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--language", default="deu")
    parser.add_argument("--pairs", type=Path, nargs=2, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--pairs-kept", type=int, default=200)
    parser.add_argument("--recipe", default="transformer-tiny")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS / "translation.json")
    arguments = parser.parse_args()
    require("sacrebleu")
    if (arguments.archive is None) == (arguments.pairs is None):
        parser.error("give --archive or --pairs")
    if arguments.archive:
        read = from_archive(arguments.archive, arguments.language)
    else:
        read = tuple(path.read_text(encoding="utf-8").splitlines() for path in arguments.pairs)
    sources, targets = distinct(*read, arguments.pairs_kept)
    with tempfile.TemporaryDirectory(prefix="malmoi-translation-") as folder:
        sides = [Path(folder) / name for name in ("source.txt", "target.txt")]
        for side, texts in zip(sides, (sources, targets), strict=True):
            side.write_text("\n".join(texts) + "\n", encoding="utf-8")
        run = Path(folder) / "run"
        line = [*COMMAND, "pretrain", arguments.recipe, "--pairs", *map(str, sides), "--out", str(run), "--json", "--device", "cpu"]
        line += [part for side in sides for part in ("--valid", str(side))] + ["--minutes", str(arguments.minutes)]
        line += [part for setting in arguments.settings for part in ("--set", setting)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.stdout)
        scores = scored(run, sources, targets, arguments.beams)
    facts = {"recipe": arguments.recipe, "settings": arguments.settings, "minutes": arguments.minutes, "threads": arguments.threads}
    facts |= {"language": arguments.language if arguments.archive else None, "pairs": len(sources)}
    kept = {key: value for key, value in json.loads(done.stdout).items() if key not in ("run", "next")}
    finish("translation", {**facts, "scores": scores, "run": kept}, arguments.out)


if __name__ == "__main__":
    main()
