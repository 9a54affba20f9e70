"""Features of short texts: the vectors that `malmoi probe` keeps beside transformers' usual padded batches.

    python benchmarks/feature_speed.py --texts ../shared/data/kornlu/KorSTS/sts-dev.tsv --column 5 --recipe bert-small

A run with fresh weights (a recipe, with its subwords trained on the texts) or a trained one (`--run`) is exported by malmoi and opened by
transformers. Both give all layers of all tokens of the same texts, as float32 in memory: malmoi by `TokenEncoder.encode(layer="all")`, what
probes read; the other side by `tokenizer(batch, padding=True)`, 32 texts a batch in the order of the file, `AutoModel` with
`output_hidden_states`, and the real positions of each row cut out of it. With `--mean` either gives one vector a text. First the vectors
are shown to be equal, then both sides take turns. Text to ids is part of the time of both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, finish, recipe

from malmoi.export.imported import parts_of
from malmoi.export.transformers import write_transformers
from malmoi.objectives import build
from malmoi.readout import TokenEncoder
from malmoi.run import load_run
from malmoi.use import encoder_of
from malmoi.vocab import Subwords

ROWS = 32
"""Texts a batch of the other side."""


def texts_of(path: Path, *, column: int | None, lines: int) -> list[str]:
    """The first texts of a file, one a line, or of a column of a table (with a header)."""
    rows = path.read_text(encoding="utf-8").split("\n")
    texts = rows if column is None else [row.split("\t")[column] for row in rows[1:] if row.count("\t") >= column]
    return [text.strip() for text in texts if text.strip()][:lines]


def opened(arguments: argparse.Namespace, texts: list[str], folder: Path) -> tuple[TokenEncoder, Path, str]:
    """(malmoi's encoder, the exported directory of the same weights, what they are)."""
    if arguments.run is not None:
        run = load_run(arguments.run)
        spec, objective, vocabulary, encoder = run.spec, run.objective, run.vocabulary, encoder_of(run)
        assert isinstance(encoder, TokenEncoder), "a Transformer's run is compared"
    else:
        spec = recipe(arguments.recipe, arguments.set)
        assert spec.subwords is not None
        vocabulary = Subwords.train(texts, spec.subwords)
        objective = build(spec, **vocabulary.sizes()).eval()
        encoder = TokenEncoder(objective.model, vocabulary, spec.stream.length, layout=objective.reading)  # type: ignore[union-attr]
    write_transformers(folder / "export", spec=spec, parts=parts_of(spec, objective), vocabulary=vocabulary)
    exported = folder / "export" / "discriminator" if spec.objective.kind == "replaced" else folder / "export"
    return encoder, exported, spec.name


class Padded:
    """transformers as it is usually used."""

    def __init__(self, directory: Path, *, length: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model = AutoModel.from_pretrained(directory).eval()
        self.length = length

    @torch.inference_mode()
    def read(self, texts: list[str], *, mean: bool) -> list[np.ndarray]:
        """(L, tokens, D) of each text, marks left out; (L, D) with `mean`."""
        found = []
        for first in range(0, len(texts), ROWS):
            some = self.tokenizer(
                texts[first : first + ROWS],
                padding=True,
                truncation=True,
                max_length=self.length,
                return_tensors="pt",
                return_special_tokens_mask=True,
            )
            real = (some.pop("special_tokens_mask") == 0) & (some["attention_mask"] == 1)
            layers = torch.stack(self.model(**some, output_hidden_states=True).hidden_states)
            for row in range(layers.shape[1]):
                vectors = layers[:, row, real[row]]
                found.append((vectors.mean(1) if mean else vectors).numpy())
        return found


def main() -> None:
    """Equal first, then in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--column", type=int, help="of a table with tabs, from 0; without it a text a line")
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--recipe", default="bert-small")
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--run", type=Path, help="a trained run, in place of a recipe")
    parser.add_argument("--mean", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "feature_speed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    texts = texts_of(arguments.texts, column=arguments.column, lines=arguments.lines)
    with tempfile.TemporaryDirectory() as folder:
        encoder, exported, name = opened(arguments, texts, Path(folder))
        other = Padded(exported, length=encoder.length)
        fits = [text for text in texts if 0 < len(encoder.vocabulary.encode(text)) <= encoder.length - 2]
        finish("feature_speed", {"model": name, "mean": arguments.mean, **compared(encoder, other, fits, arguments)}, arguments.out)


def compared(encoder: TokenEncoder, other: Padded, texts: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Differences, then seconds."""
    pool = "mean" if arguments.mean else "none"
    ways: dict[str, Callable[[], list[np.ndarray]]] = {
        "malmoi": lambda: encoder.encode(texts, layer="all", pool=pool),
        "transformers": lambda: other.read(texts, mean=arguments.mean),
    }
    mine, theirs = (way() for way in ways.values())  # once for warmth, and to compare
    difference = max(float(np.abs(one - two).max()) for one, two in zip(mine, theirs, strict=True))
    assert difference < 1e-5, f"the vectors differ by {difference}"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            began, ran = time.perf_counter(), time.process_time()
            way()
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - ran)
    sizes = [len(each) + 2 for each in encoder.vocabulary.encode_batch(texts)]
    slots = sum(ROWS * max(sizes[first : first + ROWS]) for first in range(0, len(sizes), ROWS))
    tokens = sum(sizes) - 2 * len(sizes)
    return {
        "texts": len(texts),
        "tokens": tokens,
        "real_positions_of_padded": round(sum(sizes) / slots, 3),
        "largest_difference": difference,
        "seconds": {name: [round(value, 3) for value in each] for name, each in seconds.items()},
        "tokens_per_second": {name: round(tokens / min(each)) for name, each in seconds.items()},
        "times_as_fast": round(min(seconds["transformers"]) / min(seconds["malmoi"]), 2),
        "times_as_fast_by_processor_time": round(min(processor["transformers"]) / min(processor["malmoi"]), 2),
    }


if __name__ == "__main__":
    main()
