"""Sources -> shards: units of work that are named by their content. Every file is read once, in bounded memory."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.core.artifact import fingerprint, sha256
from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.charset import korean
from malmoi.corpus.files.compressed import CHUNK, HEAD, compression, open_bytes, refuse_binary
from malmoi.corpus.files.sources import Kind, cleaning_files, kind_of
from malmoi.corpus.reading.spec import ReadingSpec
from malmoi.corpus.reading.tables import groups

SIZE = 16 << 20
"""Bytes of a shard, about."""
_PARTS = 4096
"""Files of a shard at most."""
_ENDS = {"line": re.compile(rb"\n"), "paragraph": re.compile(rb"\n[ \t]*\r?\n")}
"""Where plain text may be cut: behind such a place a document begins."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file, or a range of one.

    name: relative to its source, made unique. begin, end: bytes of plain text or JSON lines, row groups of Parquet; end None: all of it.
    line: number of the first line or row. charset: the codec of a whole text file, None where each document has its own.
    """

    path: str
    name: str
    begin: int = 0
    end: int | None = None
    line: int = 1
    charset: str | None = None
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Shard:
    """Parts that are read one after the other. key: SHA-256 over what they hold and are called, not over where they stand."""

    number: int
    parts: tuple[Part, ...]
    key: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part, its size in bytes, and what stands for its content in the key."""

    part: Part
    size: int
    digest: str


def plan(sources: Sequence[str | Path] | str | Path, reading: ReadingSpec, *, size: int = SIZE) -> list[Shard]:
    """The shards of `sources`, in order. What is read does not depend on `size` (bytes), only how it is divided.

    Long files of plain text or JSON lines are cut where documents end, tables between row groups; short files stand together.
    Raises MalmoiError M010 to M014 for the sources, M024 if none of their tables has the column `reading.field`.
    """
    shards: list[Shard] = []
    gathered: list[_Piece] = []
    total = 0
    for piece in _pieces(sources, reading, size):
        if gathered and (total + piece.size > size or len(gathered) == _PARTS):
            shards.append(_shard(len(shards), gathered))
            gathered, total = [], 0
        gathered.append(piece)
        total += piece.size
    return [*shards, _shard(len(shards), gathered)] if gathered else shards


def _shard(number: int, pieces: Sequence[_Piece]) -> Shard:
    content = [[each.part.name, each.part.kind, each.part.begin, each.part.end, each.part.line, each.part.charset] for each in pieces]
    key = fingerprint([[*facts, each.digest] for facts, each in zip(content, pieces, strict=True)])
    return Shard(number, tuple(each.part for each in pieces), key)


def _pieces(sources: Sequence[str | Path] | str | Path, reading: ReadingSpec, size: int) -> Iterator[_Piece]:
    tables = 0
    lacking: list[MalmoiError] = []
    for path, name, kind in cleaning_files(sources):
        kind = "jsonl" if kind == "text" and kind_of(path.name) == "unknown" and _holds_objects(path) else kind
        whole = Part(str(path.absolute()), name.encode("utf-8", "backslashreplace").decode(), kind=kind)
        try:
            if kind in ("text", "jsonl"):
                yield from _of_text(whole, "line" if kind == "jsonl" else reading.document, size)
            elif kind == "parquet":
                tables += 1
                yield from _of_table(whole, reading.field, size, lacking)
            else:
                yield _whole(whole)
        except OSError as failure:  # reading names it too
            yield _Piece(whole, 0, f"unreadable: {failure.strerror}")
    if lacking and len(lacking) == tables:
        raise lacking[0]


def _holds_objects(path: Path) -> bool:
    """Whether the first line of a file, whose name does not say what it is, is or begins as a JSON object."""
    try:
        with open_bytes(path) as content:
            line, whole, _ = content.read(1 << 16).lstrip().partition(b"\n")
        return line.startswith(b"{") and (not whole or isinstance(json.loads(line), dict)) and b'":' in line
    except (MalmoiError, ValueError, RecursionError):
        return False


def _whole(part: Part) -> _Piece:
    path = Path(part.path)
    return _Piece(part, path.stat().st_size, sha256(path))


def _of_table(part: Part, field: str, size: int, lacking: list[MalmoiError]) -> Iterator[_Piece]:
    """Row groups, as many together as have `size` bytes. A file that is no table is one part, which reading refuses."""
    whole = _whole(part)
    try:
        rows = groups(Path(part.path), field)
    except MalmoiError as failure:
        if failure.code == "M024":
            lacking.append(failure)
        rows = []
    begin, line, weight, count = 0, 1, 0, 0
    for group, (length, bytes) in enumerate(rows, 1):
        weight, count = weight + bytes, count + length
        if weight >= size or group == len(rows):
            yield _Piece(Part(part.path, part.name, begin, group, line, kind="parquet"), weight, whole.digest)
            begin, line, weight, count = group, line + count, 0, 0
    if not rows:
        yield whole


def _of_text(part: Part, mode: str, size: int) -> Iterator[_Piece]:
    """Ranges of a file that is not compressed; other files whole."""
    with open(part.path, "rb") as file:
        head = file.read(512)
        if compression(head[:HEAD]) or not _is_text(part, head) or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            yield _whole(part)
            return
        file.seek(0)
        scan = _Scan(_ENDS.get(mode), size)
        while chunk := file.read(CHUNK):
            scan.feed(chunk)
        scan.finish()
    charset = scan.charset
    for begin, end, line, digest in scan.ranges:
        whole = len(scan.ranges) == 1
        yield _Piece(Part(part.path, part.name, begin, None if whole else end, line, charset, part.kind), end - begin, digest)


def _is_text(part: Part, head: bytes) -> bool:
    try:
        refuse_binary(Path(part.path), head)
    except MalmoiError:
        return False
    return True


class _Scan:
    """What is known of a text file after one look at it. ends: where it may be cut, None for nowhere."""

    def __init__(self, ends: re.Pattern[bytes] | None, size: int) -> None:
        self._ends, self._size = ends, size
        self._charset = _Charset()
        self._digest = hashlib.sha256()
        self._line = self._first = 1
        self._begin = self._place = 0
        self._return = False
        """Whether the last byte was a carriage return, which ends a line alone or together with a line feed."""
        self.ranges: list[tuple[int, int, int, str]] = []
        """(begin, end, number of the first line, SHA-256)."""

    @property
    def charset(self) -> str | None:
        """The codec in which all of the file is valid."""
        return self._charset.decided

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        self._charset.feed(chunk)
        view, used = memoryview(chunk), 0
        while self._ends is not None:
            least = max(used, self._begin + self._size - self._place - 1)
            found = self._ends.search(chunk, least) if least < len(chunk) else None
            if found is None or found.end() <= used:
                break
            self._take(view[used : found.end()], chunk, used, found.end())
            used = found.end()
            self._cut(self._place + used)
        self._take(view[used:], chunk, used, len(chunk))
        self._place += len(chunk)

    def finish(self) -> None:
        """There is nothing more."""
        self._charset.finish()
        if self._place > self._begin or not self.ranges:
            self._cut(self._place)

    def _take(self, view: memoryview, chunk: bytes, begin: int, end: int) -> None:
        self._digest.update(view)
        if begin == end:
            return
        self._line += chunk.count(b"\n", begin, end)
        if b"\r" in chunk:
            self._line += chunk.count(b"\r", begin, end) - chunk.count(b"\r\n", begin, end)
        if self._return and chunk[begin] == 10:
            self._line -= 1
        self._return = chunk[end - 1] == 13

    def _cut(self, end: int) -> None:
        self.ranges.append((self._begin, end, self._first, self._digest.hexdigest()))
        self._digest, self._begin, self._first = hashlib.sha256(), end, self._line


class _Charset:
    """Whether all of a file is UTF-8, or else CP949 that reads as Korean. It is decided in one pass: bytes that were taken for UTF-8
    beyond ASCII for a whole chunk are not looked at again, since no file in CP949 has so many of them."""

    def __init__(self) -> None:
        self._utf8: Any = codecs.getincrementaldecoder("utf-8")()
        self._cp949: Any = None
        self._mixed = self._read = False
        """Neither; whether Hangul in CP949 was seen."""
        self._wide = False

    @property
    def decided(self) -> str | None:
        """utf-8, cp949, or None."""
        return None if self._mixed else "utf-8" if self._cp949 is None else "cp949"

    def feed(self, chunk: bytes, final: bool = False) -> None:
        """The next bytes."""
        if self._mixed:
            return
        if self._cp949 is None:
            begun = self._utf8.getstate()[0]
            try:
                self._wide |= not self._utf8.decode(chunk, final).isascii()
                return
            except UnicodeDecodeError:
                self._cp949 = codecs.getincrementaldecoder("cp949")()
                self._mixed, chunk = self._wide, begun + chunk
        try:
            text = self._cp949.decode(chunk, final)
        except UnicodeDecodeError:
            self._mixed = True
            return
        if not self._read and not text.isascii():
            self._read, self._mixed = True, self._mixed or not korean(text)

    def finish(self) -> None:
        """There is nothing more: half a character is none."""
        self.feed(b"", final=True)
