"""Duplicates: how many planted ones are found, what else goes, how fast, and how much memory the decision needs.

    python benchmarks/duplicates.py TEXT [--documents 2000000] [--evaluation FILE...] [--out benchmarks/results/duplicates.json]

TEXT: articles between empty lines. `planted`: 300 of the documents (articles; lines) once more with 3% of their words replaced, among
all others in random order; a planted pair is found when one document stands in the place of the other. What else goes is held against
its exact Jaccard similarity (sets of character 5-grams, in plain Python) with the document that stays. `speed`: one core, processor
time, best of three. `decide`: Korean-like documents of 20 words (5% copies, 10% with a word replaced, 40% with one of two long lines) in
files of 20,000, decided in a fresh process. `datasketch`, if it is installed: its MinHash (112 permutations, 14 x 8, no check) on the
same n-grams of the first of the planted lines.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.corpus.cleaning.duplicates import EXACT, NEAR, decide, sign
from malmoi.corpus.document import Document
from malmoi.corpus.minhash import normalized
from malmoi.corpus.steps.contamination import decontaminate
from malmoi.corpus.steps.spec import DecontaminateSpec, ExactSpec, Global, NearSpec, ParagraphsSpec

STEPS: tuple[Global, ...] = (ExactSpec(), NearSpec(), ParagraphsSpec())
PLANTED = 300
SHARD = 20_000
FEET = (
    "",
    "\n홈으로",
    "\n홈으로",
    "\n모든 쪽에 있는 꼬리말: 이용 약관, 개인 정보 처리 방침",
    "\n이 글의 저작권은 글쓴이에게 있으며 무단 전재를 금합니다",
)


def grams(text: str) -> set[str]:
    """The set of character 5-grams."""
    letters = "".join(map(chr, normalized([text])[0]))
    return {letters[place : place + 5] for place in range(len(letters) - 4)}


def jaccard(left: str, right: str) -> float:
    """The exact similarity."""
    here, there = grams(left), grams(right)
    return len(here & there) / max(1, len(here | there))


def plant(documents: list[str], words: list[str], *, seed: int) -> tuple[list[str], list[tuple[int, int]]]:
    """All documents and edited copies of 300, shuffled; and the places of each pair."""
    source = random.Random(seed)
    chosen, texts = source.sample(range(len(documents)), PLANTED), list(documents)
    for number in chosen:
        edited = documents[number].split(" ")
        for place in source.sample(range(len(edited)), max(1, round(0.03 * len(edited)))):
            edited[place] = source.choice(words)
        texts.append(" ".join(edited))
    order = list(range(len(texts)))
    source.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    return [texts[old] for old in order], [(place[old], place[len(documents) + number]) for number, old in enumerate(chosen)]


def planted(documents: list[str], words: list[str], *, seed: int, spec: NearSpec) -> dict[str, Any]:
    """Recall, and what goes besides."""
    texts, pairs = plant(documents, words, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        sign(texts, (ExactSpec(), spec)).save(Path(folder) / "0.npz")
        found = decide([Path(folder) / "0.npz"], (ExactSpec(), spec), work=Path(folder) / "work")
    caught = sum(int(found.first_N[left] == found.first_N[right]) for left, right in pairs)
    mine = {row for pair in pairs for row in pair}
    others = [row for row in np.flatnonzero(found.step_N == NEAR).tolist() if row not in mine]
    exact = [jaccard(texts[row], texts[found.first_N[row]]) for row in others]
    below = {f"below {limit}": sum(value < limit for value in exact) for limit in (0.6, 0.7, 0.8)}
    return {
        "documents": len(documents),
        "recall": round(caught / PLANTED, 4),
        "copies": int((found.step_N == EXACT).sum()),
        "other_near": len(others),
        "other_near_by_exact_similarity": below,
        "false_positives": round(below[f"below {spec.similarity}"] / len(documents), 5),
    }


def best(work: Callable[[], Any]) -> float:
    """Processor seconds, the least of three."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def speeds(texts: list[str]) -> dict[str, float]:
    """MB (of UTF-8) a second of signing, for each step and for all."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    sign(texts[:10], STEPS)
    named: dict[str, Sequence[Global]] = {**{step.kind: (step,) for step in STEPS}, "all": STEPS}
    return {name: round(megabytes / best(lambda steps=steps: sign(texts, steps)), 1) for name, steps in named.items()}


def overlap(texts: list[str], files: list[str]) -> dict[str, Any]:
    """MB a second of the step against evaluation files, and what goes."""
    megabytes, documents = sum(len(text.encode()) for text in texts) / 1e6, [Document("", text) for text in texts]
    begun = time.process_time()
    step = decontaminate(DecontaminateSpec(files=tuple(files)))
    seconds = time.process_time() - begun
    removed = [removal.detail.split(": ")[0] for removal in map(step, documents) if removal]
    speed = round(megabytes / best(lambda: [step(document) for document in documents]), 1)
    return {"files": len(files), "read_seconds": round(seconds, 2), "mb_a_second": speed, "removed": dict(Counter(removed).most_common())}


def synthetic(count: int) -> Iterator[list[str]]:
    """Shards of documents of 20 words."""
    draw = np.random.default_rng(0)
    syllables = draw.integers(0xAC00, 0xAC00 + 2000, (50_000, 3))
    words = np.array(["".join(map(chr, row)) for row in syllables])
    for begin in range(0, count, SHARD):
        size = min(SHARD, count - begin)
        chosen = words[draw.integers(0, len(words), (size, 20))]
        kind, own = draw.random(size), np.arange(size)
        again = np.flatnonzero(kind < 0.15)
        own[again] = draw.choice(np.flatnonzero(kind >= 0.15), len(again))
        chosen = chosen[own]
        near = np.flatnonzero((kind >= 0.05) & (kind < 0.15))
        chosen[near, draw.integers(0, 20, len(near))] = words[draw.integers(0, len(words), len(near))]
        yield [" ".join(row) + FEET[number % 5] for number, row in zip(own, chosen, strict=True)]


def decision(count: int) -> dict[str, Any]:
    """Seconds and memory of the decision over `count` documents."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        for number, texts in enumerate(synthetic(count)):
            sign(texts, STEPS).save(Path(folder) / f"{number:05d}.npz")
        signed = time.process_time() - begun
        size = sum(path.stat().st_size for path in Path(folder).glob("*.npz"))
        answer = subprocess.run([sys.executable, __file__, "--decide", folder], check=True, capture_output=True, text=True).stdout
    return {"documents": count, "made_and_signed_seconds": round(signed, 1), "signature_bytes": size, **json.loads(answer)}


def peak_mib() -> int:
    """The most memory that this process has held, without what its parent held before it (which ru_maxrss keeps on Linux)."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20


def decide_here(folder: Path) -> dict[str, Any]:
    """The decision over the signatures in a folder, measured."""
    before = peak_mib()
    begun, clock = time.process_time(), time.perf_counter()
    found = decide(sorted(folder.glob("*.npz")), STEPS, work=folder / "work")
    return {
        "cpu_seconds": round(time.process_time() - begun, 1),
        "seconds": round(time.perf_counter() - clock, 1),
        "start_mib": before,
        "peak_mib": peak_mib(),
        "removed": {"exact": int((found.step_N == EXACT).sum()), "near": int((found.step_N == NEAR).sum())},
        "lines": len(found.place_M),
    }


def peer(documents: list[str], words: list[str]) -> dict[str, Any] | None:
    """datasketch on 3,000 documents, or None where it is not installed."""
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        return None
    texts, pairs = plant(documents[:3000], words, seed=0)
    begun = time.process_time()
    signed = MinHash.bulk([[gram.encode() for gram in grams(text)] for text in texts], num_perm=112, seed=1)
    seconds = time.process_time() - begun
    index = MinHashLSH(num_perm=112, params=(14, 8))
    for number, each in enumerate(signed):
        index.insert(number, each)
    caught = sum(right in index.query(signed[left]) for left, right in pairs)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    own = planted(documents[:3000], words, seed=0, spec=NearSpec())["recall"]
    speed = round(megabytes / best(lambda: sign(texts, (NearSpec(),))), 1)
    return {
        "recall": round(caught / PLANTED, 4),
        "mb_a_second": round(megabytes / seconds, 1),
        "malmoi": {"recall": own, "mb_a_second": speed},
    }


def main() -> None:
    """Everything once, as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--documents", type=int, default=2_000_000)
    parser.add_argument("--megabytes", type=int, default=30)
    parser.add_argument("--evaluation", nargs="*", default=[])
    parser.add_argument("--decide", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.decide:
        print(json.dumps(decide_here(options.decide)))
        return
    from common import finish

    text = options.text.read_bytes()[: options.megabytes * 1_000_000].decode("utf-8", "ignore")
    words = text[:300_000].split()
    articles = [each for each in text.split("\n\n") if len(each.split()) >= 3]
    lines = [each for each in text.split("\n") if len(each.split()) >= 3]
    long = {
        "articles": [each for each in articles if len(each.split()) >= 34],
        "lines": [each for each in lines if len(each.split()) >= 34],
    }
    units = {
        "articles of 34 words or more": long["articles"],
        "lines of 34 words or more": long["lines"],
        "articles": articles,
        "lines": lines,
    }
    specs = {"14 x 8, similarity 0.7": NearSpec(), "20 x 6, similarity 0.7": NearSpec(bands=20, rows=6)}
    result: dict[str, Any] = {
        "megabytes": options.megabytes,
        "planted": {name: {spec: planted(unit, words, seed=0, spec=specs[spec]) for spec in specs} for name, unit in units.items()},
        "speed_mb_a_second": {"articles": speeds(articles), "lines": speeds(lines)},
        "decontaminate": overlap(articles, options.evaluation) if options.evaluation else None,
        "datasketch": peer(long["lines"], words),
        "decide": decision(options.documents),
    }
    finish("duplicates", result, options.out)


if __name__ == "__main__":
    main()
