"""Shards: the ids of a corpus as flat files, the ends of its documents, and a manifest that vouches for every byte.

    ids-00000.bin ids-00001.bin ...   little-endian uint16 or uint32, every file but the last of the same length
    ends.bin                          little-endian int64, the cumulative number of tokens at the end of each document
    breaks.bin                        little-endian int64, where sentences begin, counted through all documents (where it is known)
    manifest.json                     kind, dtype, counts, the vocabulary's fingerprint, size and SHA-256 of each file

Marks are not stored: a document of n words takes n ids here and n + 1 positions when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np

from malmoi.core.artifact import fingerprint, read_manifest, verify, writing
from malmoi.core.errors import MalmoiError
from malmoi.vocab import Vocabulary

KIND = "shards"
ENDS, BREAKS = "ends.bin", "breaks.bin"
BLOCK = 1 << 20
REMEDY = "the shards have to be made again from the corpus."

Document: TypeAlias = list[str] | np.ndarray | tuple[np.ndarray, np.ndarray]
"""Words, ids (n,), or ids with the places at which sentences begin."""


class Numbering(Protocol):
    """What shards must know of a vocabulary: how many ids it has, and which it is."""

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...


class Shards:
    """The ids of a corpus, flat, with the ends of its documents.

    tokens, documents: counts (end marks not included).
    ends (documents,) int64: cumulative number of tokens at the end of each document.
    breaks: places at which sentences begin, (sentences,) int64, rising, counted through all documents; None if nobody noted them.
    fingerprint: of the content (ids, ends and breaks), whatever the file sizes and the type at rest.
    """

    def __init__(
        self,
        parts: Sequence[np.ndarray],
        *,
        ends: np.ndarray,
        breaks: np.ndarray | None = None,
        part_tokens: int,
        content: str | None = None,
    ) -> None:
        self._parts = parts
        self._part_tokens = part_tokens
        self._content = content
        self.ends = ends
        self.breaks = breaks
        self.documents = len(ends)
        self.tokens = int(ends[-1]) if len(ends) else 0

    @classmethod
    def of(cls, ids: np.ndarray, ends: np.ndarray, *, breaks: np.ndarray | None = None) -> Shards:
        """Shards in memory: `ids` (tokens,) of an integer type, `ends` (documents,) cumulative, `breaks` as above."""
        ends = np.asarray(ends, dtype=np.int64)
        assert len(ids) == (ends[-1] if len(ends) else 0), f"{len(ids)} ids, but the documents end at {ends[-1:]}"
        return cls([np.asarray(ids)], ends=ends, breaks=breaks, part_tokens=max(len(ids), 1))

    @classmethod
    def open(cls, directory: str | Path, vocabulary: Numbering) -> Shards:
        """Shards at rest, memory-mapped, after every file was found whole.

        Raises MalmoiError, naming the file: M006 no or a damaged manifest, M020 changed or swapped, M021 missing,
        M022 made with another vocabulary, M023 an id outside the vocabulary.
        """
        directory = Path(directory)
        manifest = read_manifest(directory, KIND, next=REMEDY)
        expected = manifest["parents"]["vocabulary"]
        if expected != vocabulary.fingerprint:
            raise MalmoiError("M022", path=directory, found=expected[:12], expected=vocabulary.fingerprint[:12])
        verify(directory, KIND, next=REMEDY)
        ends = _map(directory / ENDS, "<i8")
        breaks = _map(directory / BREAKS, "<i8") if BREAKS in manifest["files"] else None
        names = sorted(name for name in manifest["files"] if name not in (ENDS, BREAKS))
        parts = [_map(directory / name, manifest["dtype"]) for name in names]
        for name, part in zip(names, parts, strict=True):
            _refuse_unknown(part, len(vocabulary), directory / name)
        _check_ends(ends, manifest, directory / ENDS)
        if breaks is not None:
            _check_breaks(breaks, manifest, directory / BREAKS)
        parts = parts or [np.empty(0, np.uint16)]
        return cls(parts, ends=ends, breaks=breaks, part_tokens=manifest["file_tokens"], content=manifest["content"])

    def ids(self, start: int, stop: int) -> np.ndarray:
        """Ids of the tokens `start` to `stop` (exclusive), shape (stop - start,) int64, copied."""
        return self.take(np.arange(start, stop))

    def take(self, index: np.ndarray) -> np.ndarray:
        """Ids at the places `index` (any shape, int64), same shape, int64."""
        if len(self._parts) == 1:
            return self._parts[0][index].astype(np.int64)
        which, inside = np.divmod(index, self._part_tokens)
        taken = np.empty(index.shape, np.int64)
        for part in np.unique(which):
            here = which == part
            taken[here] = self._parts[part][inside[here]]
        return taken

    def bounds(self, document: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each of the documents (any shape, int64) starts, and its number of words: two arrays of that shape, int64."""
        start = np.where(document > 0, self.ends[np.maximum(document, 1) - 1], 0)
        return start, self.ends[document] - start

    @cached_property
    def lengths(self) -> np.ndarray:
        """Words of each document, (documents,) int64."""
        return np.diff(self.ends, prepend=0)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ids, ends and breaks as hex; equal for the same documents in memory and at rest, in any number of files."""
        if self._content is None:
            content = _Content()
            for start in range(0, self.tokens, BLOCK):
                content.ids(self.ids(start, min(start + BLOCK, self.tokens)))
            content.ends(self.ends)
            if self.breaks is not None:
                content.breaks(self.breaks)
            self._content = content.digest()
        return self._content


def write_shards(
    directory: str | Path,
    documents: Iterable[Document],
    vocabulary: Numbering,
    *,
    shard_tokens: int = 1 << 26,
    parents: Mapping[str, str] | None = None,
) -> Shards:
    """Write documents (lists of words, or arrays of ids) as shards of at most `shard_tokens` ids, and open them.

    Where every document is a pair (ids, starts), starts being the tokens at which its sentences begin, these are kept as breaks.
    Streams: the documents are read once, about a million tokens are in memory at a time. `parents` names further
    fingerprints for the manifest. What stood in `directory` stays until all is written. Raises MalmoiError M023 for
    an id that the vocabulary does not have, or a vocabulary whose ids do not fit 32 bits.
    """
    size = len(vocabulary)
    if size > 1 << 32:
        raise MalmoiError("M023", id=size - 1, problem="ids are stored in 32 bits", next="count fewer word types.")
    dtype = "<u2" if size <= 1 << 16 else "<u4"
    with writing(Path(directory), KIND) as (temporary, fields):
        ids, ends, content = _Files(temporary, shard_tokens * int(dtype[-1])), _Files(temporary, 0, name=ENDS), _Content()
        breaks: _Files | None = None
        tokens = count = sentences = 0
        for block_ids, lengths, starts in _blocks(documents, vocabulary):
            _refuse_outside(block_ids, size, count)
            ids.write(block_ids.astype(dtype).tobytes())
            block_ends = tokens + np.cumsum(lengths, dtype=np.int64)
            ends.write(block_ends.astype("<i8").tobytes())
            content.ids(block_ids)
            content.ends(block_ends)
            if starts is not None:
                breaks = breaks or _Files(temporary, 0, name=BREAKS)
                breaks.write((tokens + starts).astype("<i8").tobytes())
                content.breaks(tokens + starts)
                sentences += len(starts)
            tokens, count = tokens + len(block_ids), count + len(lengths)
        fields.update(dtype=dtype, tokens=tokens, documents=count, file_tokens=shard_tokens, content=content.digest())
        fields["parents"] = {"vocabulary": vocabulary.fingerprint, **(parents or {})}
        if breaks is not None:
            fields["sentences"] = sentences
            breaks.close()
        ids.close()
        ends.close()
    return Shards.open(directory, vocabulary)


def _blocks(documents: Iterable[Document], vocabulary: Numbering) -> Iterator[tuple[np.ndarray, list[int], np.ndarray | None]]:
    """Documents in groups of at least BLOCK tokens (the last: what is left): flat ids int64, the length of each document, and where
    sentences begin in the flat ids (None: not known)."""
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    breaks: list[np.ndarray] = []
    held = tokens = 0
    paired: bool | None = None

    def block() -> tuple[np.ndarray, list[int], np.ndarray | None]:
        return np.concatenate(parts, dtype=np.int64, casting="unsafe"), lengths, np.concatenate(breaks) if paired else None

    for document in documents:
        assert paired in (None, isinstance(document, tuple)), "sentences are known in all documents or in none"
        paired = isinstance(document, tuple)
        ids, starts = document if isinstance(document, tuple) else (_ids_of(document, vocabulary), None)
        assert ids.ndim == 1 and (ids.dtype.kind in "iu" or not len(ids)), f"a document of {ids.dtype} ids, shape {ids.shape}"
        if starts is not None:
            distinct = np.unique(np.asarray(starts, dtype=np.int64))
            breaks.append(tokens + distinct[(distinct >= 0) & (distinct < len(ids))])
        parts.append(ids)
        lengths.append(len(ids))
        tokens += len(ids)
        held += len(ids) + 1
        if held >= BLOCK:
            yield block()
            parts, lengths, breaks, held, tokens = [], [], [], 0, 0
    if parts:
        yield block()


def _ids_of(document: list[str] | np.ndarray, vocabulary: Numbering) -> np.ndarray:
    if isinstance(document, np.ndarray):
        return document
    assert isinstance(vocabulary, Vocabulary), "lists of words need a vocabulary of words"
    return vocabulary.encode(document)


class _Content:
    """Running digest of ids, of ends and of breaks: what the shards say, apart from how they are cut into files."""

    def __init__(self) -> None:
        self._ids, self._ends = hashlib.sha256(), hashlib.sha256()
        self._breaks: Any = None

    def ids(self, ids: np.ndarray) -> None:
        self._ids.update(ids.astype("<i8").tobytes())

    def ends(self, ends: np.ndarray) -> None:
        self._ends.update(ends.astype("<i8").tobytes())

    def breaks(self, breaks: np.ndarray) -> None:
        self._breaks = self._breaks or hashlib.sha256()
        self._breaks.update(breaks.astype("<i8").tobytes())

    def digest(self) -> str:
        known = [self._ids, self._ends] + ([self._breaks] if self._breaks else [])
        return fingerprint([part.hexdigest() for part in known])


class _Files:
    """Bytes in order into files of at most `limit` bytes (0: one file called `name`)."""

    def __init__(self, directory: Path, limit: int, *, name: str = "ids-{:05d}.bin") -> None:
        self._directory, self._limit, self._name = directory, limit, name
        self._file: BinaryIO | None = None
        self._count = self._left = 0
        if not limit:
            self._next()

    def write(self, data: bytes) -> None:
        while data:
            if self._limit and not self._left:
                self._next()
            assert self._file is not None
            piece, data = (data[: self._left], data[self._left :]) if self._limit else (data, b"")
            self._file.write(piece)
            self._left -= len(piece)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self) -> None:
        self.close()
        self._file = open(self._directory / self._name.format(self._count), "wb")
        self._count += 1
        self._left = self._limit


def _map(path: Path, dtype: str) -> np.ndarray:
    """A file as a read-only array (an empty file cannot be mapped)."""
    return np.asarray(np.memmap(path, dtype=dtype, mode="r")) if path.stat().st_size else np.empty(0, dtype)


def _refuse_outside(ids: np.ndarray, size: int, document: int) -> None:
    for worst in (ids.min(initial=0), ids.max(initial=0)):
        if not 0 <= worst < size:
            problem = f"the vocabulary has ids 0 to {size - 1} (in or after document {document})"
            raise MalmoiError("M023", id=worst, problem=problem, next="encode the corpus with this vocabulary.")


def _refuse_unknown(part: np.ndarray, size: int, path: Path) -> None:
    largest = max((int(part[start : start + BLOCK].max()) for start in range(0, len(part), BLOCK)), default=0)
    if largest >= size:
        raise MalmoiError("M023", id=largest, problem=f"{path} was written for a vocabulary of more than {size} ids", next=REMEDY)


def _check_ends(ends: np.ndarray, manifest: dict[str, Any], path: Path) -> None:
    """The ends rise, and they and the files hold as many documents and tokens as the manifest says."""
    tokens = int(ends[-1]) if len(ends) else 0
    stored = sum(facts["bytes"] for name, facts in manifest["files"].items() if name not in (ENDS, BREAKS)) // int(manifest["dtype"][-1])
    if (len(ends), tokens, stored) != (manifest["documents"], manifest["tokens"], tokens) or (np.diff(ends, prepend=0) < 0).any():
        problem = f"{len(ends)} ends up to {tokens} for {manifest['documents']} documents of {stored} tokens"
        raise MalmoiError("M006", path=path, problem=problem, next=REMEDY)


def _check_breaks(breaks: np.ndarray, manifest: dict[str, Any], path: Path) -> None:
    """The breaks rise, name tokens that are there, and are as many as the manifest says."""
    bad = len(breaks) > 0 and (breaks[0] < 0 or breaks[-1] >= manifest["tokens"] or (np.diff(breaks) <= 0).any())
    if len(breaks) != manifest["sentences"] or bad:
        problem = f"{len(breaks)} breaks for {manifest['sentences']} sentences in {manifest['tokens']} tokens"
        raise MalmoiError("M006", path=path, problem=problem, next=REMEDY)
