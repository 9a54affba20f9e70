"""Memory and time of counting, numbering and sharding a corpus of millions of types.

    python benchmarks/memory_corpus.py [--types 3500000] [--tokens 12000000] [--korean]

A synthetic corpus stands in a temporary folder: every type at least once, the rest drawn by a power law. Each stage is a line
of JSON with its seconds and the highest resident memory of the process so far; `peak_mib` of the last line is the answer.
The bare interpreter with numpy, torch and pyarrow loaded is the line `start`.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.core.recipe import CharacterSpec, TextSpec
from malmoi.corpus import read, word_splitter
from malmoi.shards import write_shards
from malmoi.vocab import Vocabulary, count_words, report

LINE = 20  # words


def peak_mib() -> float:
    """Highest resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def spelling_of(number: int, korean: bool) -> str:
    """A word of natural length: 5 to 11 letters, or 3 to 5 Hangul syllables."""
    if korean:
        return "".join(chr(0xAC00 + (number * factor + number // 11172) % 11172) for factor in (1, 7, 31, 101, 577)[: 3 + number % 3])
    digits = np.base_repr(number * 2654435761 % (1 << 40), 36).lower()
    return digits + "abcdefgh"[: number % 4]


def write_corpus(path: Path, *, types: int, tokens: int, korean: bool) -> None:
    """Lines of words: all types once in a scattered order, then `tokens - types` drawn by a power law."""
    random = np.random.default_rng(0)
    with open(path, "w", encoding="utf-8") as file:
        for start in range(0, tokens, LINE * 5000):
            count = min(LINE * 5000, tokens - start)
            fresh = np.arange(start, min(start + count, types))
            drawn = (types ** random.random(count - len(fresh))).astype(np.int64) - 1
            words = [spelling_of(int(number), korean) for number in np.concatenate([fresh, drawn])]
            file.writelines(" ".join(words[first : first + LINE]) + "\n" for first in range(0, len(words), LINE))


def timed(stage: str, work: Callable[[], Any]) -> Any:
    """Run `work`, and print what it cost: seconds of the clock and of the processor."""
    start, start_cpu = time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu = round(time.perf_counter() - start, 2), round(time.process_time() - start_cpu, 2)
    print(json.dumps({"stage": stage, "seconds": seconds, "cpu_seconds": cpu, "peak_mib": round(peak_mib())}), flush=True)
    return result


def prepare(path: Path, out: Path) -> None:
    """Count, number and shard, as `pretrain` does."""
    text, split = TextSpec(document="line"), word_splitter("whitespace")
    counts = timed("count", lambda: count_words(read(path, text), split))
    print(json.dumps({"types": len(counts), "tokens": sum(counts.values()), "bytes": path.stat().st_size}))
    vocabulary = timed("build", lambda: Vocabulary.build(counts, CharacterSpec()))
    timed("save", lambda: vocabulary.save(out / "vocab"))
    timed("report", lambda: report(vocabulary, 100_000))
    timed("shard", lambda: write_shards(out / "shards", (split(document.text) for document in read(path, text)), vocabulary))


def main() -> None:
    """Every stage once, and the highest of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", type=int, default=3_500_000)
    parser.add_argument("--tokens", type=int, default=12_000_000)
    parser.add_argument("--korean", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "corpus.txt", Path(folder) / "run"
        timed("start", lambda: write_corpus(path, types=options.types, tokens=options.tokens, korean=options.korean))
        prepare(path, out)
        timed("load", lambda: Vocabulary.load(out / "vocab"))
    print(json.dumps({"peak_mib": round(peak_mib()), "limit_mib": 2000}))


if __name__ == "__main__":
    main()
