"""Lines of text -> a vector a token: the encoder of a run beside batches as they come.

    python benchmarks/embedding.py --input /tmp/wiki/en/valid.txt --lines 1000

A fresh bert-small of 512 positions reads the first lines of a file that have text and fit it, in three ways, in turn, and each ends with
one array of float32 a line, the mean of all layers: `malmoi`, TokenEncoder; `padded`, 32 lines a batch in their order,
padded to the longest, the plain way with any library; `single`, a line at a time. All use the same modules and the same ids, and the
largest difference of any number is told. Texts are cut into subwords in the time of all three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, finish, recipe

from malmoi.core.batch import Batch
from malmoi.nn import Model
from malmoi.objectives import build
from malmoi.readout import TokenEncoder
from malmoi.vocab import Subwords


def padded(model: Model, vocabulary: Subwords, lines: list[str], *, rows: int) -> list[np.ndarray]:
    """`rows` lines a batch in the order in which they come."""
    marks, found = vocabulary.marks, []
    for first in range(0, len(lines), rows):
        texts = vocabulary.encode_batch(lines[first : first + rows])
        shape = len(texts), max(map(len, texts)) + 2
        ids, segments = np.full(shape, marks.pad), np.zeros(shape, np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text) + 2] = [marks.begin, *text, marks.end]
            segments[row, : len(text) + 2] = 1
        positions = torch.arange(shape[1]).expand(shape)
        with torch.no_grad():
            layers = model.encode(Batch(ids=torch.from_numpy(ids), segments=torch.from_numpy(segments), positions=positions)).layers
        mean = (sum(layers[1:], layers[0]) / len(layers)).numpy()
        found += [mean[row, 1 : len(text) + 1].copy() for row, text in enumerate(texts)]
    return found


def main() -> None:
    """Three ways, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=["stream.length=512", "model.frontend.length=512"])
    parser.add_argument("--out", type=Path, default=RESULTS / "embedding.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = [line for line in arguments.input.read_text(encoding="utf-8").split("\n") if line.strip()][: 2 * arguments.lines]
    spec = recipe("bert-small", arguments.set)
    assert spec.subwords is not None
    vocabulary = Subwords.train(lines, spec.subwords)
    model = build(spec, **vocabulary.sizes()).model.eval()
    length = spec.stream.length  # type: ignore[union-attr]
    encoder = TokenEncoder(model, vocabulary, length)
    fits = [line for line in lines if len(vocabulary.encode(line)) <= length - 2][: arguments.lines]
    ways: dict[str, Callable[[], list[np.ndarray]]] = {
        "malmoi": lambda: encoder.encode(fits),
        "padded": lambda: padded(model, vocabulary, fits, rows=32),
        "single": lambda: padded(model, vocabulary, fits, rows=1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    found = {name: way() for name, way in ways.items()}  # once for warmth, and to compare
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            began, ran = time.perf_counter(), time.process_time()
            way()
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - ran)
    tokens = sum(len(each) for each in found["malmoi"])
    sizes = [len(each) + 2 for each in found["malmoi"]]
    slots = sum(32 * max(sizes[first : first + 32]) for first in range(0, len(sizes), 32))
    best = {name: min(each) for name, each in seconds.items()}
    result = {
        "lines": len(fits),
        "tokens": tokens,
        "real_positions_of_padded": round(sum(sizes) / slots, 3),
        "seconds": {name: [round(value, 3) for value in each] for name, each in seconds.items()},
        "tokens_per_second": {name: round(tokens / value) for name, value in best.items()},
        "ratio": {name: round(value / best["malmoi"], 2) for name, value in best.items()},
        "ratio_of_processor_time": {name: round(min(each) / min(processor["malmoi"]), 2) for name, each in processor.items()},
        "largest_difference": max(
            float(np.abs(one - other).max())
            for name in ("padded", "single")
            for one, other in zip(found["malmoi"], found[name], strict=True)
            if len(one)
        ),
    }
    finish("embedding", result, arguments.out)


if __name__ == "__main__":
    main()
