"""The vocabulary of words: ids are frequency ranks over all types of a corpus, so any prefix is a smaller vocabulary."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.core.artifact import verify, write_json, writing
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import CharacterSpec
from malmoi.corpus import Document
from malmoi.vocab.characters import CHUNK, Characters
from malmoi.vocab.marks import MARKS, UNK

KIND = "vocabulary"


def count_words(documents: Iterable[Document], split: Callable[[str], list[str]]) -> Counter[str]:
    """How often each word occurs in `documents`. Memory grows with the number of types only."""
    return Counter(chain.from_iterable(split(document.text) for document in documents))


class Vocabulary:
    """All types of a corpus with their counts and their spelling. V = marks + types.

    words: id -> word; 0 `</S>`, 1 `<S>`, 2 `<UNK>`, then by falling count (ties: by code points).
    counts (V,) int64: occurrences in the corpus. A word of the corpus that is written like a mark is unknown: it is counted at
        `<UNK>`, whose count is 0 otherwise, as those of the other two always are.
    characters: how words are spelt. spelling (V, length): the spelling of every word (mapped from disk after `load`).
    """

    def __init__(self, *, words: Sequence[str], counts: np.ndarray, characters: Characters, spelling: np.ndarray | None = None) -> None:
        assert tuple(words[:3]) == MARKS and len(words) == len(counts)
        self.words = words
        self.counts = counts
        self.characters = characters
        self._spelling = spelling

    @classmethod
    def build(cls, counts: Mapping[str, int], spec: CharacterSpec) -> Vocabulary:
        """The vocabulary of a corpus with these counts. No word may hold a line feed (the splitters see to it)."""
        words = sorted(counts.keys() - MARKS if any(mark in counts for mark in MARKS) else counts)
        assert not any("\n" in "".join(words[start : start + CHUNK]) for start in range(0, len(words), CHUNK))
        number = np.fromiter(map(counts.__getitem__, words), np.int64, len(words))
        order = np.argsort(-number, kind="stable")
        words = [*MARKS, *map(words.__getitem__, order)]
        marks = [0, 0, sum(counts.get(mark, 0) for mark in MARKS)]
        number = np.concatenate([np.array(marks, np.int64), number[order]])
        return cls(words=words, counts=number, characters=Characters.of(spec, words[3:], number[3:]))

    def __len__(self) -> int:
        return len(self.words)

    def sizes(self) -> dict[str, Any]:
        """What an objective is built with: `build(spec, **vocabulary.sizes())`."""
        return {"words": len(self), "characters": self.characters.size, "marks": None, "counts": self.counts}

    def id_of(self, word: str) -> int:
        """The id of a word as it stands in text; 2 for one that is not in the vocabulary or is written like a mark."""
        return self.index.get(word, UNK)

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """Ids `(len(tokens),)` int64; unknown words are 2."""
        return np.fromiter(map(self.index.get, tokens, repeat(UNK)), np.int64, len(tokens))

    @cached_property
    def index(self) -> dict[str, int]:
        """Word -> id. The marks, as words of a text, are unknown."""
        return dict(zip(self.words, range(len(self.words)), strict=True)) | dict.fromkeys(MARKS, UNK)

    @property
    def spelling(self) -> np.ndarray:
        """The spelling of every word, `(V, length)` as `characters.spell` gives it."""
        if self._spelling is None:
            table = np.empty((len(self), self.characters.length), self.characters.dtype)
            for start, rows in self._spelt():
                table[start : start + len(rows)] = rows
            self._spelling = table
        return self._spelling

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the words in order and the way they are spelt: what ids mean."""
        digest = hashlib.sha256(json.dumps(self.characters.to_json(), sort_keys=True).encode())
        for text in self._lines():
            digest.update(text)
        return digest.hexdigest()

    def save(self, directory: Path) -> None:
        """Write the artifact `vocabulary`: words.txt (one a line), counts.npy, characters.json, spelling.npy. Bounded memory."""
        with writing(Path(directory), KIND) as (folder, fields):
            with open(folder / "words.txt", "wb") as file:
                file.writelines(self._lines())
            np.save(folder / "counts.npy", self.counts)
            write_json(folder / "characters.json", self.characters.to_json())
            with open(folder / "spelling.npy", "wb") as file:
                shape = (len(self), self.characters.length)
                header = {"descr": np.lib.format.dtype_to_descr(self.characters.dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for _, rows in self._spelt():
                    file.write(rows.tobytes())
            fields.update(fingerprint=self.fingerprint, size=len(self), tokens=int(self.counts.sum()))

    @classmethod
    def load(cls, directory: Path) -> Vocabulary:
        """A saved vocabulary, verified: MalmoiError M006, M020, M021 or M022 name what is missing or has changed."""
        directory = Path(directory)
        manifest = verify(directory, KIND, next="restore it from a copy, or make the vocabulary and what was made with it again.")
        with open(directory / "words.txt", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            words = [line[:-1] for line in file]
        characters = Characters.from_json(json.loads((directory / "characters.json").read_text(encoding="utf-8")))
        spelling = np.load(directory / "spelling.npy", mmap_mode="r")
        vocabulary = cls(words=words, counts=np.load(directory / "counts.npy"), characters=characters, spelling=spelling)
        if vocabulary.fingerprint != manifest["fingerprint"]:
            raise MalmoiError("M022", path=directory, found=vocabulary.fingerprint[:12], expected=manifest["fingerprint"][:12])
        return vocabulary

    def _lines(self) -> Iterator[bytes]:
        """words.txt, some lines at a time."""
        for start in range(0, len(self), CHUNK):
            yield ("\n".join(self.words[start : start + CHUNK]) + "\n").encode("utf-8", "surrogatepass")

    def _spelt(self) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(self), CHUNK):
            words = self.words[start : start + CHUNK]
            yield start, self.characters.spell(words) if self._spelling is None else self._spelling[start : start + len(words)]

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again, so that a pickle is small and a mapped file is not copied."""
        return {"words": self.words, "counts": self.counts, "characters": self.characters, "_spelling": None}
