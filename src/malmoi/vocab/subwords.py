"""The vocabulary of subwords: text <-> ids of pieces, one file that other programs read too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.core.artifact import fingerprint, verify, writing
from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.recipe import SubwordSpec
from malmoi.vocab.lookup import Lookup
from malmoi.vocab.sentences import sentence_breaks
from malmoi.vocab.subword_report import SubwordReport, measure
from malmoi.vocab.subword_training import train
from malmoi.vocab.tokenizer_file import continuing, engine, nfc, split_kind

KIND = "vocabulary"
FILE = "tokenizer.json"


class Subwords:
    """Pieces of words and how text is cut into them. V = marks + pieces.

    json: the whole of it, a tokenizer.json as `tokenizers` and transformers read it. marks: ids of the marks, and which pieces go on with
    the word before them. Text is brought to NFC first; what looks like a mark in a text is text.
    """

    def __init__(self, tokenizer_json: str, marks: Marks) -> None:
        self.json = tokenizer_json
        content = json.loads(tokenizer_json)
        self._engine = engine(tokenizer_json)
        if marks.continues is None:
            goes_on = continuing(content, self.tokens)
            marks = marks if goes_on is None else replace(marks, continues=_without_marks(np.array(goes_on, bool), marks))
        self.marks = marks
        parts = split_kind(content)
        self._lookup = None if parts is None else Lookup(self._engine, parts)

    @classmethod
    def train(cls, texts: Iterable[str], spec: SubwordSpec) -> Subwords:
        """The vocabulary of some texts: the same texts in any order of hashing or threads give the same pieces and ids.

        A corpus too small for `spec.size` gives a smaller vocabulary.
        """
        return cls(train(texts, spec), Marks(pad=0, unknown=1, begin=2, end=3, mask=4))

    @classmethod
    def of(cls, tokenizer_json: str, marks: Marks) -> Subwords:
        """The vocabulary of a tokenizer.json from elsewhere."""
        return cls(tokenizer_json, marks)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def tokens(self) -> Sequence[str]:
        """Id -> piece, as the file writes it. An id that the file leaves out has an empty piece."""
        ids = self._engine.get_vocab(with_added_tokens=True)
        pieces = [""] * (max(ids.values(), default=-1) + 1)
        for piece, id in ids.items():
            pieces[id] = piece
        return pieces

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content of the file and the ids of the marks: what ids mean."""
        marks = self.marks
        return fingerprint([json.loads(self.json), [marks.pad, marks.unknown, marks.begin, marks.end, marks.mask]])

    def sizes(self) -> dict[str, Any]:
        """What an objective is built with: `build(spec, **vocabulary.sizes())`."""
        return {"words": len(self), "characters": 0, "marks": self.marks}

    def encode(self, text: str) -> np.ndarray:
        """Ids `(n,)` int64 of a text, without marks around it."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`encode` of many texts at a time."""
        ids, ends = self.encode_flat(texts)
        return np.split(ids, ends[:-1]) if len(ends) else []

    def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts in a row, int64, and where each text ends in them, `(texts,)` int64."""
        normal = [nfc(text) for text in texts]
        if self._lookup is not None:
            return self._lookup.encode(normal)
        found = [encoding.ids for encoding in self._engine.encode_batch_fast(normal, add_special_tokens=False)]
        ends = np.cumsum(np.fromiter(map(len, found), np.int64, len(found)))
        return np.array([id for ids in found for id in ids], np.int64), ends

    def encode_sentences(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids, starts) of each text: the ids of `encode`, and the tokens at which its sentences begin, int64, 0 first."""
        normal = [nfc(text) for text in texts]
        breaks = [sentence_breaks(text) for text in normal]
        if self._lookup is None:
            encoded = self._engine.encode_batch(normal, add_special_tokens=False)
            # a break stands at the white space before a sentence: the first token that reaches over it is the sentence's first
            ends = [np.array([end for _, end in encoding.offsets], np.int64) for encoding in encoded]
            starts = [np.searchsorted(end, place + 1, side="right") for end, place in zip(ends, breaks, strict=True)]
            ids = [np.array(encoding.ids, np.int64) for encoding in encoded]
            return [(each, _starts(start, len(each))) for each, start in zip(ids, starts, strict=True)]
        parts = [_cut(text, places) for text, places in zip(normal, breaks, strict=True)]
        flat, ends_of_parts = self._lookup.encode([part for each in parts for part in each])
        found, first, before = [], 0, 0
        for each in parts:
            reach = ends_of_parts[first : first + len(each)]
            found.append((flat[before : reach[-1]], _starts(reach[:-1] - before, int(reach[-1]) - before)))
            first, before = first + len(each), int(reach[-1])
        return found

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of some ids; marks but the unknown one are left out. White space is kept by byte-level BPE alone."""
        silent = {id for id in self.marks.ids if id != self.marks.unknown}
        return str(self._engine.decode([id for id in map(int, ids) if id not in silent], skip_special_tokens=False))

    def report(self, texts: Iterable[str]) -> SubwordReport:
        """Unknown share, tokens per word and bytes per token of some texts, for Korean and English apart."""
        return measure(self, texts)

    def save(self, directory: Path) -> None:
        """Write the artifact `vocabulary` with `tokenizer.json`."""
        with writing(Path(directory), KIND) as (folder, fields):
            (folder / FILE).write_text(self.json, encoding="utf-8", newline="\n")
            marks = self.marks
            ids = {"pad": marks.pad, "unknown": marks.unknown, "begin": marks.begin, "end": marks.end, "mask": marks.mask}
            fields.update(fingerprint=self.fingerprint, size=len(self), marks=ids)

    @classmethod
    def load(cls, directory: Path) -> Subwords:
        """A saved vocabulary, verified: MalmoiError M006, M020, M021 or M022 name what is missing or has changed."""
        directory = Path(directory)
        next = "restore it from a copy, or make the vocabulary and what was made with it again."
        manifest = verify(directory, KIND, next=next)
        if FILE not in manifest["files"]:
            raise MalmoiError("M006", path=directory, problem=f"it holds a vocabulary of words, without {FILE}", next=next)
        vocabulary = cls((directory / FILE).read_text(encoding="utf-8"), Marks(**manifest["marks"]))
        if vocabulary.fingerprint != manifest["fingerprint"]:
            raise MalmoiError("M022", path=directory, found=vocabulary.fingerprint[:12], expected=manifest["fingerprint"][:12])
        return vocabulary

    def __reduce__(self) -> tuple[Any, ...]:
        return Subwords, (self.json, self.marks)


def text_chunks(texts: Iterable[str], *, most: int = 1000, characters: int = 1 << 22) -> Iterator[list[str]]:
    """Texts some at a time, so that encoding them takes bounded memory: `most` of them, or fewer long ones."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if len(chunk) == most or size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _without_marks(goes_on: np.ndarray, marks: Marks) -> np.ndarray:
    goes_on[list(marks.ids)] = False
    return goes_on


def _cut(text: str, places: np.ndarray) -> list[str]:
    edges = [0, *places.tolist(), len(text)]
    return [text[start:end] for start, end in zip(edges[:-1], edges[1:], strict=True)]


def _starts(starts: np.ndarray, length: int) -> np.ndarray:
    """0 and every other start once, none at the end of the text."""
    return np.unique(np.append(starts[starts < length], 0)).astype(np.int64)
