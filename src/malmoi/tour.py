"""`malmoi quickstart`: the main job on text that every installation carries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from malmoi import api
from malmoi.core.artifact import write_text
from malmoi.core.progress import Progress
from malmoi.corpus.reading.builtin import builtin_documents

SENSES = {
    "return": ("*return* the number of bytes in the buffer", "the *return* value of the function is a string"),
    "key": ("sort the items of the dictionary by *key*", "verify the signature with the public *key* of the certificate"),
    "class": ("create an instance of the *class*", "the lowest and highest integer of each *class* label"),
    "string": ("convert the number to a *string*", "the format *string* of the date"),
    "set": ("*set* the value of the attribute", "a *set* of unique elements"),
}
"""Two contexts a word, in which it means different things, or is another part of speech."""


def tour(out: Path | None, *, minutes: float, progress: Progress) -> dict[str, Any]:
    """Pre-train elmo-tiny for at most `minutes`, examine the run, show an ambiguous word in two senses, and say what to do next."""
    run = out if out is not None else _free(Path("runs/quickstart"))
    text = run.parent / f"{run.name}-text"
    text.mkdir(parents=True, exist_ok=True)
    progress.stage("collecting documentation")
    documents = list(builtin_documents())
    write_text(
        text / "documentation.jsonl", "".join(json.dumps({"text": document.text}, ensure_ascii=False) + "\n" for document in documents)
    )
    result = api.pretrain(
        "elmo-tiny", corpus=[text / "documentation.jsonl"], out=run, minutes=minutes, settings=["text.words=punctuation"], progress=progress
    )
    if result["stopped"] != "done":
        return result
    progress.stage("examining the run")
    verdict = api.doctor(run)
    lines = text / "sentences.txt"
    write_text(lines, "\n".join(islice(_sentences(document.text for document in documents), 20_000)) + "\n")
    progress.stage("looking for neighbours")
    found = api.neighbours(run, texts=[*SENSES["set"], *SENSES["return"]], among=lines, count=3, same_word=True)
    quoted = f"'{SENSES['key'][0]}'"
    follow = [
        f"malmoi neighbours {run} {quoted} --among {lines} --same-word",
        f"malmoi embed {run} --input {lines} --output vectors.npz",
        f"malmoi doctor {run}",
        "malmoi pretrain elmo-small --corpus YOUR_TEXT --out runs/mine",
    ]
    return {**result, "doctor": verdict, "neighbours": found, "next": follow}


def _sentences(texts: Iterator[str] | Sequence[str]) -> Iterator[str]:
    """Sentences of a handful of words, each once."""
    seen: set[str] = set()
    for text in texts:
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
            if 5 <= len(sentence.split()) <= 30 and sentence not in seen:
                seen.add(sentence)
                yield sentence


def _free(path: Path) -> Path:
    """`path`, or the first of path-2, path-3 ... that is not taken."""
    number = 1
    chosen = path
    while chosen.exists():
        number += 1
        chosen = path.with_name(f"{path.name}-{number}")
    return chosen
