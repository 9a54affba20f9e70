"""Documents that hold text of evaluation sets are taken out: a model that has read the questions cannot be asked them.

After Brown et al. 2020 (GPT-3, appendix C): n-grams of words, white space, case and punctuation aside. Here a word is a run of letters
and digits, so `서울(1990년)은` and `서울 (1990년) 은` are the same words.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.core.artifact import fingerprint, sha256
from malmoi.core.errors import MalmoiError
from malmoi.corpus.document import Document
from malmoi.corpus.files.compressed import open_bytes
from malmoi.corpus.files.sources import COMPRESSIONS
from malmoi.corpus.minhash import mixed
from malmoi.corpus.steps.base import Removal, Step
from malmoi.corpus.steps.spec import DecontaminateSpec

SHORTEST = 4
"""Words of the shortest text that is looked for; one with fewer words than an n-gram is looked for whole."""
SUFFIXES = (".txt", ".jsonl", ".json", ".tsv", ".csv", ".parquet")
_WORD = re.compile(r"\w+")


def decontaminate(spec: DecontaminateSpec) -> Step:
    """Removes a document if at least `share` of its n-grams stand in the files; the reason is `evaluation`, the detail the file that most
    of them are from, and the share. Raises MalmoiError M010, M014, M015 or M149 for a file that cannot be used."""
    index = _Index.of([Path(file) for file in spec.files], spec.ngram)

    def step(document: Document) -> Removal | None:
        found = words(document.text)
        files = index.held(found)
        share = min(1.0, len(files) / max(1, len(found) - spec.ngram + 1))
        if share < spec.share:
            return None
        name = index.names[int(np.bincount(files).argmax())]
        return Removal("evaluation", f"{name}: {share:.4f} of the n-grams")

    return step


def files_fingerprint(spec: DecontaminateSpec) -> str:
    """What the step depends on besides its spec: names and contents of the files. Raises MalmoiError M010 for one that is not there."""
    paths = [Path(file) for file in spec.files]
    return fingerprint([[name, sha256(_there(path))] for name, path in zip(_names(paths), paths, strict=True)])


def words(text: str) -> list[str]:
    """The runs of letters and digits, NFC, case folded."""
    return _WORD.findall(unicodedata.normalize("NFC", text).casefold())


def evaluation_texts(path: Path) -> Iterator[str]:
    """Every text of an evaluation file of any task: lines of .txt, cells of .tsv and .csv, strings at any depth of .json, .jsonl and
    .parquet; plain or .gz, .xz, .zst. Raises MalmoiError M010, M014 or M015, and M149 for what cannot be taken apart."""
    name = Path(_there(path).name)
    kind = (name.with_suffix("") if name.suffix in COMPRESSIONS else name).suffix.lower()
    if kind not in SUFFIXES:
        raise MalmoiError("M149", path=path, problem=f"its name ends in none of {' '.join(SUFFIXES)}")
    try:
        if kind == ".parquet":
            import pyarrow.parquet as parquet

            for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
                yield from _strings(batch.to_pylist())
        else:
            with open_bytes(path) as file:
                yield from _taken_apart(file.read().decode("utf-8-sig"), kind)
    except MalmoiError:
        raise
    except (ValueError, RecursionError, csv.Error, OSError) as failure:  # a UnicodeDecodeError is a ValueError
        raise MalmoiError("M149", path=path, problem=str(failure)) from None


def _taken_apart(text: str, kind: str) -> Iterator[str]:
    """The texts in the content of a file of a kind in SUFFIXES."""
    match kind:
        case ".csv":
            for row in csv.reader(io.StringIO(text, newline="")):
                yield from row
        case ".json":
            yield from _strings(json.loads(text))
        case ".jsonl":
            for line in text.split("\n"):
                if line.strip():
                    yield from _strings(json.loads(line))
        case _:
            yield from re.split(r"[\n\t]" if kind == ".tsv" else "\n", text)


@dataclass(frozen=True)
class _Index:
    """The n-grams of the evaluation files. ids: number of each of their words, from 1. pairs: whether two words of this hash stand side by
    side in them. grams: (words, hashes in order, files of the hashes) from the shortest to the longest."""

    names: tuple[str, ...]
    ids: dict[str, int]
    pairs: np.ndarray
    grams: tuple[tuple[int, np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, paths: list[Path], ngram: int) -> _Index:
        """Read the files."""
        ids: dict[str, int] = {}
        found: dict[int, list[tuple[np.ndarray, int]]] = {}
        pairs = [np.zeros(0, np.uint64)]
        for number, path in enumerate(paths):
            before = len(pairs)
            for text in evaluation_texts(path):
                here = words(text)
                if len(here) >= min(SHORTEST, ngram):
                    numbers = np.array([ids.setdefault(word, len(ids) + 1) for word in here], np.uint64)
                    pairs.append(_paired(numbers))
                    size = min(ngram, len(here))
                    found.setdefault(size, []).append((_hashed(numbers, size), number))
            if len(pairs) == before:
                raise MalmoiError("M149", path=path, problem=f"it has no text of {min(SHORTEST, ngram)} words")
        known = np.concatenate(pairs)
        table = np.zeros(1 << max(10, (16 * len(known)).bit_length()), bool)
        table[_slots(known, table)] = True
        return cls(_names(paths), ids, table, tuple((size, *_first(found[size])) for size in sorted(found)))

    def held(self, found: list[str]) -> np.ndarray:
        """For each word of a document at which an n-gram of the files begins: the number of the file."""
        shortest = self.grams[0][0] if self.grams else 1
        if not self.grams or b"\1" * shortest not in bytes(map(self.ids.__contains__, found)):
            return np.zeros(0, np.int64)
        ids = np.fromiter(map(self.ids.get, found, repeat(0)), np.uint64, len(found))
        runs = np.zeros(len(ids), np.int64)  # pairs of the files among those before
        np.cumsum(self.pairs[_slots(_paired(ids), self.pairs)], out=runs[1:])
        file = np.full(len(ids), -1)
        for size, hashes, files in self.grams:
            begins = np.flatnonzero(runs[size - 1 :] - runs[: max(0, len(runs) - size + 1)] == size - 1)
            if len(begins):
                hashed = _hashed(ids, size, begins)
                at = np.minimum(np.searchsorted(hashes, hashed), len(hashes) - 1)
                same = hashes[at] == hashed
                file[begins[same]] = files[at[same]]
        return file[file >= 0]


def _paired(ids: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each two words side by side, good in its upper bits."""
    return ids[:-1] * np.uint64(0x9E3779B97F4A7C15) + ids[1:] * np.uint64(0xC2B2AE3D27D4EB4F)


def _slots(pairs: np.ndarray, table: np.ndarray) -> np.ndarray:
    return pairs >> np.uint64(65 - len(table).bit_length())


def _hashed(ids: np.ndarray, size: int, begins: np.ndarray | None = None) -> np.ndarray:
    """64-bit hashes of the n-grams of `size` words that begin at `begins`, or everywhere."""
    begins = np.arange(len(ids) - size + 1) if begins is None else begins
    hashed = np.zeros(len(begins), np.uint64)
    for place in range(size):
        hashed = mixed(hashed + ids[begins + place])
    return hashed


def _names(paths: list[Path]) -> tuple[str, ...]:
    """The last parts of each path, as many as tell them apart."""
    for parts in range(1, max((len(path.parts) for path in paths), default=0)):
        names = tuple("/".join(path.parts[-parts:]) for path in paths)
        if len(set(names)) == len(set(paths)):
            return names
    return tuple(map(str, paths))


def _first(found: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct hashes in order, and the first file of each."""
    hashes, index = np.unique(np.concatenate([part for part, _ in found]), return_index=True)
    return hashes, np.concatenate([np.full(len(part), number) for part, number in found])[index]


def _strings(value: Any) -> Iterator[str]:
    """The strings in a JSON value, but for the keys of objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for each in inner:
            yield from _strings(each)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise MalmoiError("M010", path=path, nearest="")
    return path
