"""The Transformers on one GPU: tokens a second, share of the peak, memory, and transformers on the same GPU beside them.

    python benchmarks/gpu_transformers.py                                    # all of the table, about 10 minutes; not measured yet
    python benchmarks/gpu_transformers.py --device cpu --tiny --steps 2      # does it run?

    G1  gpt2-base, 124 million, texts of 1024                goal 420,000 tokens/s
    G2  bert-base without its pairs, rows of 128             goal 650,000
    G3  the same on lines of natural length, real tokens, against BertForMaskedLM on padded lines     goal 3 times
    G4  gpt2-original, 1.5 billion, texts of 1024            goal 47,000
    G5  electra-original-small, rows of 128                  goal 1,000,000
    G6  memory of G2 at 64k tokens a step, against BertForMaskedLM     goal 0.5 times
G7 (loss after 8 minutes) is `learning_runs.py`. bf16 on both sides. Ids are made up (Zipf's law): speed does not depend on what they mean.
Whole steps of training are timed between synchronizations. The share of the peak takes --peak (989 TFLOP/s: H100, H200 in bf16).
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, finish, synchronize
from pairing import require

from malmoi.core.marks import Marks
from malmoi.core.recipe import RowsSpec, RunSpec
from malmoi.core.seeds import seed_of
from malmoi.core.spec import override
from malmoi.objectives import build
from malmoi.recipes import find
from malmoi.shards import Packed, Shards
from malmoi.train import Optimizer
from malmoi.train.loop import autocast

MARKS = Marks(pad=0, unknown=1, begin=2, end=3, mask=4)
GOALS = {"G1": 420_000.0, "G2": 650_000.0, "G3": 3.0, "G4": 47_000.0, "G5": 1_000_000.0, "G6": 0.5}
RECIPES = {
    "G1": ("gpt2-base", ("stream.rows=32",), 0.857e9),
    "G2": ("bert-base", ("objective.pair=none", "stream.rows=512"), 0.545e9),
    "G4": ("gpt2-original", ("stream.rows=8",), None),
    "G5": ("electra-original-small", ("stream.rows=512",), None),
}
"""name -> recipe, settings, FLOP a token where the knowledge of the field has a number for it."""
TINY = {"gpt2-base": "gpt2-tiny", "gpt2-original": "gpt2-tiny", "bert-base": "bert-tiny", "electra-original-small": "electra-tiny"}


def made_up(words: int, tokens: int, mean: float, *, seed: int = 0) -> Shards:
    """Documents of `mean` tokens on average (geometric), ids by Zipf's law."""
    random = np.random.default_rng(seed)
    ids = np.exp(random.random(tokens) * np.log(words - len(MARKS.ids) - 1)).astype(np.int64) - 1 + len(MARKS.ids)
    ends = np.cumsum(random.geometric(1 / mean, int(2 * tokens / mean) + 1))
    return Shards.of(np.minimum(ids, words - 1), np.append(ends[ends < tokens], tokens))


def ours(spec: RunSpec, shards: Shards, device: torch.device) -> tuple[Callable[[int], int], int]:
    """(step number -> real tokens, parameters): whole steps as malmoi's loop does them."""
    assert isinstance(spec.stream, RowsSpec) and spec.subwords is not None
    objective = build(spec, words=spec.subwords.size, characters=0, marks=MARKS).to(device).train()
    optimizer = Optimizer(objective, spec.training)
    stream = spec.stream
    packed = Packed(shards, marks=MARKS, layout=spec.objective.layout, rows=stream.rows, length=stream.length, seed=spec.seed)

    def step(number: int) -> int:
        torch.manual_seed(seed_of(0, "step", number))
        with autocast(spec.training, device):
            loss = objective.loss(packed.batch(number).to(device))
        loss.total.backward()
        optimizer.clip(spec.training.clip_norm)
        optimizer.step(spec.training.learning_rate)
        return packed.tokens_per_step

    return step, sum(parameter.numel() for parameter in objective.parameters())


def theirs(spec: RunSpec, shards: Shards, device: torch.device, *, padded: bool) -> Callable[[int], int]:
    """BertForMaskedLM as run_mlm.py --bf16 trains it: on lines, each row padded to the longest of the batch, or on whole blocks."""
    import transformers

    model_spec: Any = spec.model
    assert isinstance(spec.stream, RowsSpec) and spec.subwords is not None
    rows, length = spec.stream.rows, spec.stream.length
    config = transformers.BertConfig(
        vocab_size=spec.subwords.size,
        hidden_size=model_spec.width,
        num_hidden_layers=model_spec.backbone.depth,
        num_attention_heads=model_spec.backbone.mixer.heads,
        intermediate_size=model_spec.backbone.feedforward.width,
        max_position_embeddings=model_spec.frontend.length,
    )
    model = transformers.BertForMaskedLM(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    random = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)

    def step(_: int) -> int:
        if padded:
            some = random.integers(0, shards.documents, rows)
            start, sizes = shards.bounds(some)
            sizes = np.minimum(sizes, length)
        else:
            start, sizes = random.integers(0, shards.tokens - length, rows), np.full(rows, length)
        place = np.arange(sizes.max())
        real = torch.from_numpy(place < sizes[:, None])
        ids = torch.from_numpy(shards.take(np.minimum(start[:, None] + place, shards.tokens - 1))).masked_fill(~real, MARKS.pad)
        chosen = real & (torch.rand(ids.shape, generator=generator) < 0.15)
        labels = ids.masked_fill(~chosen, -100)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            read = ids.masked_fill(chosen, MARKS.mask or 0).to(device)
            loss = model(input_ids=read, attention_mask=real.long().to(device), labels=labels.to(device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return int(real.sum())

    return step


def timed(step: Callable[[int], int], device: torch.device, *, steps: int, warmup: int) -> dict[str, Any]:
    """tokens_per_second, step_ms, and the most memory of the device."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for number in range(warmup):
        step(number)
    synchronize(device)
    began = time.perf_counter()
    tokens = sum(step(number) for number in range(warmup, warmup + steps))
    synchronize(device)
    seconds = time.perf_counter() - began
    found: dict[str, Any] = {"tokens_per_second": round(tokens / seconds), "step_ms": round(seconds / steps * 1e3, 2)}
    if device.type == "cuda":
        found["peak_gpu_bytes"] = torch.cuda.max_memory_allocated(device)
    gc.collect()
    return found


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One line of the table."""
    device = torch.device(arguments.device)
    recipe, settings, flop = RECIPES["G2" if name in ("G3", "G6") else name]
    if arguments.tiny:
        recipe, settings = TINY[recipe], tuple(each for each in settings if not each.startswith("stream.")) + ("stream.rows=4",)
    spec = override(find(recipe), [*settings, *arguments.settings, "training.precision=bf16"], shown=f"recipes {recipe}")
    assert spec.subwords is not None
    shards = made_up(spec.subwords.size, arguments.tokens, 30.0 if name == "G3" else 400.0)
    timing = {"steps": arguments.steps, "warmup": arguments.warmup}
    step, parameters = ours(spec, shards, device)
    found = {"malmoi": timed(step, device, **timing), "parameters": parameters, "rows": spec.stream.rows, "length": spec.stream.length}
    del step
    gc.collect()
    if name in ("G3", "G6"):
        require("transformers")
        found["transformers"] = timed(theirs(spec, shards, device, padded=name == "G3"), device, **timing)
    if flop and not arguments.tiny:
        found["share_of_peak"] = round(flop * found["malmoi"]["tokens_per_second"] / (arguments.peak * 1e12), 4)
    value = found["malmoi"]["tokens_per_second"]
    if name == "G3":
        value = round(value / found["transformers"]["tokens_per_second"], 3)
    elif name == "G6":
        sides = [found[side].get("peak_gpu_bytes", 0) for side in ("malmoi", "transformers")]
        value = round(sides[0] / sides[1], 3) if sides[1] else None
    return {"recipe": recipe, "value": value, "goal": GOALS[name], **found}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=5_000_000, help="of the made-up text")
    parser.add_argument("--peak", type=float, default=989.0, help="of the GPU in bf16, TFLOP/s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="the tiny recipes: whether it runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu_transformers.json")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name in arguments.only:
        try:
            results[name] = measure(name, arguments)
        except torch.OutOfMemoryError as failure:
            results[name] = {"failed": str(failure).split(".")[0]}
        gc.collect()
        if arguments.device != "cpu":
            torch.cuda.empty_cache()
    facts = {"device": arguments.device, "tiny": arguments.tiny, "steps": arguments.steps, "settings": arguments.settings}
    finish("gpu_transformers", {**facts, "results": results}, arguments.out)


if __name__ == "__main__":
    main()
