"""Words per second of elmo-original in bf16 on a GPU, and what the paper's ten epochs of 768 million words would take.

    python benchmarks/gpu_elmo.py --streams 128 384 1024 2048 --table
    python benchmarks/gpu_elmo.py --recipe elmo-tiny --streams 8 16 --steps 3 --device cpu --precision fp32      # does it run?

The text is made up: ids in Zipf's proportions over as many words as the recipe's output layer has, spelt with random letters. Whole steps
of training are timed (batch, forward, backward, clip, optimizer), from one synchronization to the next, after a warm-up. Words per second:
words and end marks predicted, each forward and backward, as malmoi counts everywhere (bilm-tf counts the same).
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, Trainer, finish, made_up_shards, made_up_vocabulary, operators, recipe, synchronize

from malmoi.core.recipe import RunSpec
from malmoi.shards import Shards
from malmoi.vocab import Vocabulary

PAPER_WORDS = 768_648_884
PAPER_EPOCHS = 10


def measure(
    spec: RunSpec, text: tuple[Vocabulary, Shards], device: torch.device, *, steps: int, warmup: int, table: bool
) -> dict[str, Any]:
    """Speed and memory of one number of streams."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trainer, carry = Trainer.of(spec, *text, device), None
    for number in range(warmup):
        carry = trainer.step(number, carry)
    synchronize(device)
    began = time.perf_counter()
    for number in range(warmup, warmup + steps):
        carry = trainer.step(number, carry)
    synchronize(device)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    for number in range(steps):
        trainer.streams.batch(number)
    batching = time.perf_counter() - began
    speed = steps * trainer.streams.tokens_per_step / seconds
    result = {
        "streams": spec.stream.streams,
        "window": spec.stream.window,
        "step_ms": round(seconds / steps * 1e3, 3),
        "batch_ms": round(batching / steps * 1e3, 3),
        "words_per_second": round(speed),
        "days_for_the_paper": round(PAPER_EPOCHS * PAPER_WORDS / speed / 86400, 3),
    }
    if device.type == "cuda":
        result["peak_gpu_bytes"] = torch.cuda.max_memory_allocated(device)
    if table:
        result["operators"] = operators(trainer, carry, first=warmup + steps, rows=40)
    return result


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="elmo-original")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--streams", type=int, nargs="+", default=[128, 384, 1024, 2048])
    parser.add_argument("--precision", default="bf16", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=5_000_000, help="of the made-up text")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--table", action="store_true", help="also torch's profile by operator")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu_elmo.json")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    spec = recipe(arguments.recipe, [*arguments.settings, f"training.precision={arguments.precision}"])
    text = made_up_vocabulary(spec.model.head.size, spec), made_up_shards(spec.model.head.size, arguments.tokens)
    results = []
    for streams in arguments.streams:
        sized = spec.model_copy(update={"stream": spec.stream.model_copy(update={"streams": streams})})
        try:
            results.append(measure(sized, text, device, steps=arguments.steps, warmup=arguments.warmup, table=arguments.table))
        except torch.OutOfMemoryError as failure:
            results.append({"streams": streams, "words_per_second": 0, "failed": str(failure).split(".")[0]})
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    best = max(results, key=lambda result: result["words_per_second"])
    facts = {"recipe": spec.name, "settings": arguments.settings, "precision": arguments.precision, "device": str(device)}
    summary = {key: best.get(key) for key in ("streams", "words_per_second", "days_for_the_paper")}
    finish("gpu_elmo", {**facts, "words": len(text[0]), "steps": arguments.steps, "best": summary, "results": results}, arguments.out)


if __name__ == "__main__":
    main()
