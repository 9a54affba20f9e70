"""SNLI (Bowman et al. 2015) and MNLI (Williams et al. 2018): one file a split, or e-SNLI's three files of lines."""

from __future__ import annotations

import re
from pathlib import Path

from malmoi.core.errors import MalmoiError
from malmoi.tasks.formats.reader import Reader, by_first, completed
from malmoi.tasks.formats.source import Source, sources
from malmoi.tasks.formats.texts import Records, Table
from malmoi.tasks.task import Splits, Texts

LABELS = ("entailment", "neutral", "contradiction")


def inference(source: Source) -> list[Texts]:
    """.jsonl, .txt or .tsv as published; lines whose label is "-" (the annotators did not agree) are left out, as is usual."""
    if source.name.endswith(".jsonl"):
        return Records("sentence1", "sentence2", ("gold_label",), "pairID", LABELS, skipped="-")(source)
    return Table("sentence1", "sentence2", "gold_label", "pairID", LABELS, skipped="-")(source)


PUBLISHED = Reader(
    "snli",
    inference,
    {split: rf"(snli_1\.0_|^){split}\.(jsonl|tsv)$" for split in ("train", "dev", "test")},
    group=by_first,
)


def snli(path: Path) -> Splits:
    """snli_1.0_*.jsonl, GLUE's .tsv, or s1.*, s2.*, labels.* with a line each (Camburu et al. 2018)."""
    found = {Path(source.name).name: source for source in sources(Path(path), task="snli")}
    read = {split: _beside(found, split) for split in ("train", "dev", "test") if f"labels.{split}" in found}
    return completed(read, group=by_first, made={}, where=str(path)) if read else PUBLISHED(path)


def _beside(found: dict[str, Source], split: str) -> list[Texts]:
    files = [found.get(f"{name}.{split}") for name in ("s1", "s2", "labels")]
    if None in files:
        raise MalmoiError(
            "M152", path=found[f"labels.{split}"].where, task="snli", problem=f"s1.{split} or s2.{split} is missing", looks=""
        )
    first, second, labels = ([text for _, text in source.lines()] for source in files if source is not None)
    source = found[f"labels.{split}"]
    if not len(first) == len(second) == len(labels):
        problem = f"s1, s2 and labels have {len(first)}, {len(second)} and {len(labels)} lines"
        raise source.broken(f"line {min(len(first), len(second), len(labels)) + 1}", problem)
    texts = enumerate(zip(first, second, labels, strict=True))
    clean = [re.sub(r"\s+$", "", text) for text in labels]
    return [Texts(f"{split}-{n}", a.strip(), b.strip(), source.known(f"line {n + 1}", clean[n], LABELS)) for n, (a, b, _) in texts]
