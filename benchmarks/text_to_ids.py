"""One way from a text file to what training reads, as a process that times itself: `python text_to_ids.py SIDE TEXT WORK OUT`.

SIDE malmoi: documents -> Subwords.encode_batch -> write_shards, as `malmoi pretrain` does it. run_mlm: load_dataset("text"), map(tokenize,
batched, 2 processes), map(group_texts, batched, 2 processes) as that script does it; run_clm: as the other script, which keeps labels
besides. Imports are not timed. Prints MB_s, seconds, tokens, bytes (all that was written), bytes_of_the_last_step (what training reads).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import texts
from common import peak_rss
from peers import LENGTH

from malmoi.shards import write_shards
from malmoi.vocab import Subwords


def ours(text: Path, work: Path, out: Path) -> tuple[int, int]:
    """Documents as paragraphs. -> tokens, bytes of what training reads."""
    vocabulary = Subwords.load(work / "vocab")
    encoded = (ids for chunk in texts.chunks(texts.documents(text)) for ids in vocabulary.encode_batch(chunk))
    tokens = write_shards(out / "shards", encoded, vocabulary).tokens
    return tokens, _bytes((out / "shards").iterdir())


def theirs(text: Path, work: Path, out: Path, *, labels: bool) -> tuple[int, int]:
    """Lines as examples, as the scripts read a text file. -> as `ours`; the steps before stay in the cache too."""
    from datasets import load_dataset
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")

    def tokenize(examples: dict[str, Any]) -> Any:
        return tokenizer(examples["text"], return_special_tokens_mask=not labels)

    def group(examples: dict[str, Any]) -> dict[str, Any]:
        joined = {key: list(chain(*examples[key])) for key in examples}
        total = len(joined["input_ids"]) // LENGTH * LENGTH
        found = {key: [values[start : start + LENGTH] for start in range(0, total, LENGTH)] for key, values in joined.items()}
        return {**found, "labels": found["input_ids"].copy()} if labels else found

    raw = load_dataset("text", data_files=str(text), cache_dir=str(out), split="train")
    cut = raw.map(tokenize, batched=True, num_proc=2, remove_columns=["text"])
    grouped = cut.map(group, batched=True, num_proc=2)
    return len(grouped) * LENGTH, _bytes(Path(file["filename"]) for file in grouped.cache_files)


def _bytes(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.is_file())


def main() -> None:
    """The process."""
    side, text, work, out = sys.argv[1], *map(Path, sys.argv[2:5])
    if side != "malmoi":
        import datasets
        import transformers

        datasets.disable_progress_bars()
        transformers.logging.set_verbosity_error()
    began = time.perf_counter()
    tokens, last = ours(text, work, out) if side == "malmoi" else theirs(text, work, out, labels=side == "run_clm")
    seconds = time.perf_counter() - began
    speed = text.stat().st_size / 1e6 / seconds
    found = {"MB_s": round(speed, 3), "seconds": round(seconds, 2), "tokens": tokens, "peak_rss": peak_rss()}
    print(json.dumps({**found, "bytes": _bytes(out.rglob("*")), "bytes_of_the_last_step": last}))


if __name__ == "__main__":
    main()
