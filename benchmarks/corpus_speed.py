"""Speed and memory of a whole cleaning (profile web-ko), against a loop that only copies.

    python benchmarks/corpus_speed.py NAME=FILE[:line] ... [--memory FILE --gigabytes 2] [--out results/corpus_speed.json]

Every measurement is a process of its own on one core. MB are 10^6 bytes of the input; seconds are of the processor (user and system, all
processes together), so that other work on the machine changes them little. The copy loop reads documents (paragraphs or lines) and writes
them to Parquet with the same settings as a cleaning. Memory is the highest resident size of the cleaning of a text made of FILE again and
again, in which 60 frequent syllables change places in every copy, and every tenth document is left as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from malmoi.core.artifact import versions
from malmoi.core.recipe import TextSpec
from malmoi.corpus import read
from malmoi.corpus.cleaning.clean import clean
from malmoi.corpus.files.rows import Rows
from malmoi.corpus.profiles import profile

RESULTS = Path(__file__).resolve().parent / "results" / "corpus_speed.json"


def copied(path: Path, document: str, out: Path) -> dict[str, Any]:
    """The floor: the same documents, read and written."""
    with Rows(out / "copy.parquet", ("id", "text")) as rows:
        for each in read(path, TextSpec(document=document)):
            rows.add(each.id, each.text, characters=len(each.text))
    return {"documents": rows.count}


def cleaned(path: Path, document: str, out: Path) -> dict[str, Any]:
    """What a cleaning tells of itself, by step (seconds of the clock) and in all."""
    spec = profile("web-ko")
    spec = spec.model_copy(update={"reading": spec.reading.model_copy(update={"document": document})})
    report = clean(path, spec=spec, out=out / "corpus")
    steps = {step["name"]: round(step["seconds"], 3) for step in report["steps"]}
    reasons = {f"{step['name']} {reason}": pair[0] for step in report["steps"] for reason, pair in step["reasons"].items()}
    stages = {name: round(seconds, 3) for name, seconds in report["stages"].items()}
    return {"documents": report["documents"], "kept": report["kept"], "removed": reasons, "steps": steps, "stages": stages}


WORK = {"copy": copied, "clean": cleaned}


def alone(work: str, path: Path, document: str) -> dict[str, Any]:
    """One measurement in a process of its own: what it answers, with seconds and the peak of its memory."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        command = [sys.executable, __file__, "--work", work, "--document", document, str(path), "--folder", folder]
        answer = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = time.perf_counter() - begun
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(answer.stdout)
    speed = path.stat().st_size / 1e6 / seconds
    return {"seconds": round(seconds, 2), "clock": round(wall, 2), "MB_per_second_a_core": round(speed, 2), **found}


def speed(name: str, path: Path, document: str, *, times: int) -> dict[str, Any]:
    """The fastest of some runs of each, and the ratio."""
    found = {work: min((alone(work, path, document) for _ in range(times)), key=lambda run: run["seconds"]) for work in WORK}
    ratio = found["clean"]["seconds"] / found["copy"]["seconds"]
    return {"text": name, "document": document, "MB": round(path.stat().st_size / 1e6, 2), "times_copy": round(ratio, 1), **found}


def repeated(path: Path, size: int, folder: Path) -> Path:
    """A text of `size` bytes: the documents of `path` again and again; in every copy other syllables change places."""
    documents = [each.text for each in read(path, TextSpec())]
    frequent = "".join(syllable for syllable, _ in Counter("".join(documents[:2000])).most_common(400) if "가" <= syllable <= "힣")
    made, target, copy = 0, folder / "long.txt", 0
    with open(target, "w", encoding="utf-8") as file:
        while made < size:
            draw = random.Random(copy)
            some = draw.sample(frequent, 60)
            table = str.maketrans(dict(zip(some, some[1:] + some[:1], strict=True))) if copy else {}
            for number, document in enumerate(documents):
                made += file.write((document if number % 10 == 0 else document.translate(table)) + "\n\n") * 5 // 2
            copy += 1
    return target


def memory(path: Path, gigabytes: float) -> dict[str, Any]:
    """A cleaning of a long text."""
    with tempfile.TemporaryDirectory() as folder:
        text = repeated(path, int(gigabytes * 1e9), Path(folder))
        found = alone("clean", text, "paragraph")
        return {"GB": round(text.stat().st_size / 1e9, 3), **found}


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--memory", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--document", default="paragraph", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        found = WORK[given.work](Path(given.texts[0]), given.document, given.folder)
        print(json.dumps({**found, "peak_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)}))
        return
    result = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    named = [text.partition("=")[::2] for text in given.texts]
    for name, place in named:
        file, _, document = place.partition(":")
        result.setdefault("speed", {})[name] = speed(name, Path(file), document or "paragraph", times=given.times)
        print(json.dumps(result["speed"][name], ensure_ascii=False))
    if given.memory:
        result["memory"] = memory(given.memory, given.gigabytes)
        print(json.dumps(result["memory"], ensure_ascii=False))
    result["machine"] = {"cores": os.cpu_count(), "python": sys.version.split()[0], "versions": versions()}
    given.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
