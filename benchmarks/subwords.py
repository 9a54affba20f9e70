"""Vocabularies of subwords: time to train one, and text file -> ids in MB/s, by malmoi and by the engine alone.

    python benchmarks/subwords.py /tmp/wiki/en /tmp/wiki/ko --size 30000

Each FOLDER holds train.txt and valid.txt as benchmarks/wiki_text.py writes them. A vocabulary is trained on train.txt; then train.txt is
read and cut again (documents of a paragraph, ids in memory, nothing kept), and valid.txt is reported on. The engine alone gets the same
documents from memory, `encode_batch_fast`, a thousand at a time, on as many threads as it takes. `--threads 1` holds it to one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from common import RESULTS, finish, peak_rss
from tokenizers import Tokenizer

from malmoi.core.recipe import SubwordSpec, TextSpec
from malmoi.corpus import read
from malmoi.vocab import Subwords

ALGORITHMS = ("wordpiece", "bpe", "byte_bpe", "unigram")


def texts(path: Path) -> Iterator[str]:
    """The documents of a file, as a run reads them."""
    return (document.text for document in read([path], TextSpec()))


def chunks(source: Iterator[str], size: int = 1000) -> Iterator[list[str]]:
    """`size` texts at a time."""
    while chunk := list(islice(source, size)):
        yield chunk


@contextmanager
def timed(found: list[dict[str, float]], megabytes: float) -> Iterator[None]:
    """MB a second of wall time, and of processor time over all threads, which others on the machine disturb less."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    found.append({"MB_per_second": round(megabytes / wall, 2), "MB_per_cpu_second": round(megabytes / processor, 2)})


def measure(folder: Path, spec: SubwordSpec, runs: int) -> dict[str, Any]:
    """One vocabulary on one corpus."""
    train, valid = folder / "train.txt", folder / "valid.txt"
    megabytes = train.stat().st_size / 1e6
    start, processor = time.perf_counter(), time.process_time()
    vocabulary = Subwords.train(texts(train), spec)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    own, sentences, engine, tokens = [], [], [], 0
    plain = Tokenizer.from_str(vocabulary.json)
    held = list(chunks(texts(train)))
    for _ in range(runs):
        fresh = Subwords.of(vocabulary.json, vocabulary.marks)  # it has met no word
        with timed(own, megabytes):
            tokens = sum(len(fresh.encode_flat(chunk)[0]) for chunk in chunks(texts(train)))
        fresh = Subwords.of(vocabulary.json, vocabulary.marks)
        with timed(sentences, megabytes):
            cut = sum(len(ids) for chunk in chunks(texts(train)) for ids, _ in fresh.encode_sentences(chunk))
        with timed(engine, megabytes):
            counted = sum(len(each.ids) for chunk in held for each in plain.encode_batch_fast(chunk, add_special_tokens=False))
        assert counted == cut == tokens
    return {
        "algorithm": spec.algorithm,
        "megabytes": round(megabytes, 1),
        "pieces": len(vocabulary),
        "fingerprint": vocabulary.fingerprint[:12],
        "train_seconds": round(seconds, 1),
        "train_cpu_seconds": round(processor, 1),
        "tokens": tokens,
        "file_to_ids": own,
        "file_to_ids_and_sentences": sentences,
        "engine_alone": engine,
        "valid": vocabulary.report(texts(valid)).model_dump(mode="json"),
        "peak_rss_MB": round(peak_rss() / 1e6),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=RESULTS / "subwords.json")
    arguments = parser.parse_args()
    if arguments.threads:
        os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    specs = [SubwordSpec(algorithm=algorithm, size=arguments.size) for algorithm in arguments.algorithms]
    found = [{"corpus": folder.name, **measure(folder, spec, arguments.runs)} for folder in arguments.folders for spec in specs]
    finish("subwords", {"size": arguments.size, "threads_of_the_engine": arguments.threads, "results": found}, arguments.out)


if __name__ == "__main__":
    main()
