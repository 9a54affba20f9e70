"""What the comparisons read, prepared once in a folder: one vocabulary, malmoi's shards, and the same ids as the other side wants them.

WORK/vocab/  shards/  blocks.npy (blocks of 128)  stream.npy (uint16)  lines.npz (the lines of the text, cut at 128)  facts.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import peers

from malmoi.core.artifact import fingerprint
from malmoi.core.recipe import SubwordSpec, TextSpec
from malmoi.corpus import read, source_fingerprint
from malmoi.shards import Shards, write_shards
from malmoi.vocab import Subwords

SIZE = 30_000


class Lines:
    """Rows of different lengths: `lines[n]` is (tokens,) ids."""

    def __init__(self, ids: np.ndarray, ends: np.ndarray) -> None:
        self.ids, self.ends = ids, ends

    @classmethod
    def load(cls, path: Path) -> Lines:
        """What `prepare` wrote."""
        found = np.load(path)
        return cls(found["ids"], found["ends"])

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.ids[self.ends[index - 1] if index else 0 : self.ends[index]]


def documents(source: Path) -> Iterator[str]:
    """The documents of a file, as a run reads them."""
    return (document.text for document in read([source], TextSpec()))


def chunks(texts: Iterator[str], size: int = 1000) -> Iterator[list[str]]:
    """`size` texts at a time."""
    while chunk := list(islice(texts, size)):
        yield chunk


def share(source: Path, out: Path, megabytes: float) -> Path:
    """The first whole documents of a text file, about so many megabytes, as a file of its own."""
    kept, size = [], 0
    for text in documents(source):
        kept.append(text)
        size += len(text.encode("utf-8")) + 2
        if size >= megabytes * 1e6:
            break
    out.write_text("\n\n".join(kept) + "\n", encoding="utf-8")
    return out


def vocabulary_of(source: Path, work: Path, *, size: int = SIZE) -> Subwords:
    """WordPiece of the whole file, as bert-small has it; taken from `work` where it has been made."""
    key = fingerprint([source_fingerprint([source]), size])
    note = work / "vocab.json"
    if note.is_file() and json.loads(note.read_text()) == key:
        return Subwords.load(work / "vocab")
    vocabulary = Subwords.train(documents(source), SubwordSpec(algorithm="wordpiece", size=size))
    vocabulary.save(work / "vocab")
    note.write_text(json.dumps(key))
    return vocabulary


def prepare(source: Path, work: Path, *, megabytes: float | None = None, size: int = SIZE, lines: bool = True) -> Subwords:
    """Everything that the sides read, in `work`: the vocabulary of all of the source, ids of its first `megabytes`."""
    work.mkdir(parents=True, exist_ok=True)
    vocabulary = vocabulary_of(source, work, size=size)
    key = fingerprint([vocabulary.fingerprint, source_fingerprint([source]), megabytes, lines])
    facts = work / "facts.json"
    if facts.is_file() and json.loads(facts.read_text())["key"] == key:
        return vocabulary
    text = source if megabytes is None else share(source, work / "text.txt", megabytes)
    marks = vocabulary.marks
    encoded = (ids for chunk in chunks(documents(text)) for ids in vocabulary.encode_batch(chunk))
    shards = write_shards(work / "shards", encoded, vocabulary)
    np.save(work / "blocks.npy", peers.blocks(shards, marks).astype(np.int32))
    np.save(work / "stream.npy", peers.stream(shards, marks).astype(np.uint16 if len(vocabulary) <= 1 << 16 else np.uint32))
    if lines:
        _lines(text, work, vocabulary)
    facts.write_text(json.dumps({"key": key, "size": len(vocabulary), "tokens": shards.tokens, "documents": shards.documents}))
    return vocabulary


def facts_of(work: Path) -> dict[str, Any]:
    """tokens, documents, size of the vocabulary."""
    found: dict[str, Any] = json.loads((work / "facts.json").read_text())
    return found


def opened(work: Path, vocabulary: Subwords) -> Shards:
    """The shards that `prepare` wrote."""
    return Shards.open(work / "shards", vocabulary)


def _lines(text: Path, work: Path, vocabulary: Subwords) -> None:
    """run_mlm.py --line_by_line: every line that is not empty, cut at 128 tokens with its marks."""
    marks = vocabulary.marks
    with open(text, encoding="utf-8") as file:
        wanted = (line.strip() for line in file)
        rows = [
            np.concatenate([[marks.begin], ids[: peers.LENGTH - 2], [marks.end]])
            for chunk in chunks(line for line in wanted if line)
            for ids in vocabulary.encode_batch(chunk)
        ]
    np.savez(work / "lines.npz", ids=np.concatenate(rows).astype(np.int32), ends=np.cumsum([len(row) for row in rows]))
