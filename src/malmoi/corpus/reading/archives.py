"""Compressed files and archives as streams, with limits. Nothing is ever unpacked to a path: content is read in bounded memory."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.charset import decode
from malmoi.corpus.files.compressed import CHUNK, HEAD, decompressed
from malmoi.corpus.reading.lines import LIMIT, Read
from malmoi.corpus.reading.raw import Refused, Unreadable

FLOOR = 1 << 20
"""Unpacked bytes up to which no ratio is looked at."""
SPOOL = 1 << 30
"""Bytes of a member that must be read at any place (an archive or a table in an archive)."""
_NAME = 1 << 20
"""Bytes of the longest header that tells of a member of a tar archive."""
_LONGEST = 4096
"""Characters of the longest name."""
_TAIL, _ENTRY = 22 + 56 + 20 + (1 << 16), 128
"""Bytes at the end of a zip archive in which its directory is described; bytes of an entry of the directory, about."""


@dataclass(frozen=True)
class Limits:
    """What one file may unpack to, with all archives inside it."""

    ratio: float = 200.0
    """Unpacked bytes for each byte of the file. Text is below 20; gzip cannot exceed 1,032."""
    bytes: int = 1 << 40
    entries: int = 250_000
    depth: int = 3
    """Archives in archives."""
    seconds: float = 4 * 3600.0
    """Time spent in unpacking."""


LIMITS = Limits()


class Exhausted(Unreadable):
    """A limit of the whole file: nothing more of it is read."""


class Guard:
    """Counts what one file unpacks to. packed: its size in bytes."""

    def __init__(self, packed: int, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._most = max(FLOOR, packed * limits.ratio)
        self._packed = packed
        self._bytes = self._entries = 0
        self._seconds = 0.0

    def unpacked(self, size: int, seconds: float) -> None:
        """Note `size` bytes that took `seconds`. Raises Exhausted."""
        self._bytes += size
        self._seconds += seconds
        if self._bytes > self._most:
            raise Exhausted("ratio", f"its {self._packed:,} bytes unpack to more than {self.limits.ratio:g} times as many")
        if self._bytes > self.limits.bytes:
            raise Exhausted("bytes", f"it unpacks to more than {self.limits.bytes:,} bytes")
        if self._seconds > self.limits.seconds:
            raise Exhausted("seconds", f"unpacking took more than {self.limits.seconds:g} seconds")

    def entry(self) -> None:
        """Note a member. Raises Exhausted."""
        self._entries += 1
        if self._entries > self.limits.entries:
            raise Exhausted("entries", f"it has more than {self.limits.entries:,} members")


class Stream:
    """Bytes in order. Raises Unreadable where they are damaged, or beyond the limits of `guard`."""

    def __init__(self, read: Read, guard: Guard | None = None) -> None:
        self._read, self._guard, self._ahead = read, guard, b""

    def head(self, size: int) -> bytes:
        """The next bytes, which stay to be read."""
        while len(self._ahead) < size and (more := self._next(size - len(self._ahead))):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._next(size)

    def take(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        parts: list[bytes] = []
        while size and (data := self.read(min(size, CHUNK))):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def _next(self, size: int) -> bytes:
        begun = time.perf_counter()
        with damage_named():
            data = self._read(size)
        if self._guard is not None:
            self._guard.unpacked(len(data), time.perf_counter() - begun)
        return data


@contextmanager
def damage_named() -> Iterator[None]:
    """What libraries raise for broken content, as Unreadable. What is missing on this machine (M005) stays an error."""
    try:
        yield
    except MalmoiError as failure:
        if failure.code == "M005":
            raise
        raise Unreadable("format" if failure.code == "M014" else "damaged", failure.message.partition(": ")[2].rstrip(".")) from None
    except EOFError:
        raise Unreadable("damaged", "it stops before its end mark") from None
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as failure:
        raise Unreadable("crc" if "CRC" in str(failure) else "damaged", str(failure)) from None
    except (NotImplementedError, RuntimeError) as failure:
        raise Unreadable("encrypted" if "encrypted" in str(failure) else "format", str(failure)) from None


def unpacked(stream: Stream, *, name: str, guard: Guard) -> Stream:
    """`stream` without its compression, by its first bytes. name: of the file; says what the compression should be."""
    head = stream.head(HEAD)
    with damage_named():
        content = decompressed(Path("content" + Path(name).suffix), stream, head)
    return stream if content is stream else Stream(content.read, guard)


@contextmanager
def seekable(stream: Stream, *, size: int = SPOOL) -> Iterator[BinaryIO]:
    """The rest of `stream` as a nameless file that can be read at any place. Raises Unreadable above `size` bytes."""
    with tempfile.SpooledTemporaryFile(max_size=LIMIT) as file:
        while data := stream.read(CHUNK):
            if file.tell() + len(data) > size:
                raise Unreadable("size", f"it has more than {size:,} bytes; unpack the archive around it")
            file.write(data)
        file.seek(0)
        yield file  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, to be read before the next one is asked for. path: its name in there; name: `archive!path`, made unique."""

    name: str
    path: str
    stream: Stream


def zip_members(file: BinaryIO, *, name: str, guard: Guard) -> Iterator[Member | Refused]:
    """The files of a zip archive. Small ones are checked against their CRC before anything of them is used.

    Raises Unreadable for what is no archive, or has too many entries (the directory is held in memory).
    """
    _refuse_directory(file, guard)
    with damage_named():
        archive = zipfile.ZipFile(file)
    naming = _Naming(name)
    for info in archive.infolist():
        guard.entry()
        if info.is_dir():
            continue
        inner, refused = naming.of(_zip_name(info))
        refused = refused or _zip_refusal(inner, info, guard.limits)
        if refused is not None:
            yield refused
            continue
        try:
            with damage_named():
                content = archive.open(info)
            with content:
                stream = Stream(content.read, guard)
                if info.file_size <= LIMIT:
                    stream = Stream(io.BytesIO(stream.take(info.file_size + 1)).read)
                yield Member(inner, info.filename, stream)
        except Exhausted:
            raise
        except Unreadable as why:
            yield Refused(inner, why.reason, why.detail)


def _refuse_directory(file: BinaryIO, guard: Guard) -> None:
    """Refuse a directory of too many entries before it is read."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        raise Unreadable("damaged", "the directory of a zip archive is missing")
    entries, length = struct.unpack_from("<HL", tail, place + 10)
    wide = tail.rfind(b"PK\x06\x06", 0, place)
    if wide >= 0 and len(tail) >= wide + 48:
        entries, length = struct.unpack_from("<QQ", tail, wide + 32)
    if entries > guard.limits.entries or length > guard.limits.entries * _ENTRY:
        raise Exhausted("entries", f"it has {entries:,} members in a directory of {length:,} bytes; the limit is {guard.limits.entries:,}")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name as text: without the mark of UTF-8 it is whatever the program that wrote it used, often CP949."""
    if info.flag_bits & 0x800:
        return info.orig_filename
    decoded = decode(info.orig_filename.encode("cp437", "replace"))
    return decoded.text if decoded else info.orig_filename


def _zip_refusal(name: str, info: zipfile.ZipInfo, limits: Limits) -> Refused | None:
    if info.flag_bits & 1:
        return Refused(name, "encrypted", "it needs a password")
    if stat.S_ISLNK(info.external_attr >> 16):
        return Refused(name, "link", "it is a link")
    if info.file_size > max(FLOOR, limits.ratio * info.compress_size):
        return Refused(name, "ratio", f"{info.compress_size:,} bytes unpack to {info.file_size:,}")
    return None


def tar_members(stream: Stream, *, name: str, guard: Guard) -> Iterator[Member | Refused]:
    """The files of a tar archive (ustar, pax and GNU names), read in order. Raises Unreadable where it is damaged: the rest is lost."""
    naming = _Naming(name)
    told: dict[str, str] = {}
    while True:
        info = _tar_header(stream)
        if info is None:
            return
        guard.entry()
        if info.type in _TOLD:
            told |= _tar_told(stream, info)
            continue
        size, path = int(told.get("size", info.size)), told.get("path", info.name)
        sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in told)
        told = {}
        body = _Body(stream, size if info.isreg() or sparse else 0)
        if not info.isdir():
            inner, refused = naming.of(path)
            if not info.isreg() or sparse:
                kind = "link" if info.islnk() or info.issym() else "device" if info.isdev() else "format"
                refused = refused or Refused(inner, kind, f"it is no plain file, but leads to {info.linkname!r}" if info.linkname else "")
            yield refused or Member(inner, path, Stream(body.read))
        body.skip()


class _Body:
    """The content of one member, with what fills its last block."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream, self._left, self._filling = stream, size, -size % tarfile.BLOCKSIZE

    def read(self, size: int) -> bytes:
        if not self._left:
            return b""
        data = self._stream.read(min(size, self._left))
        if not data:
            raise EOFError
        self._left -= len(data)
        return data

    def skip(self) -> None:
        with damage_named():
            while self.read(CHUNK):
                pass
        self._stream.take(self._filling)


def _tar_header(stream: Stream) -> tarfile.TarInfo | None:
    block = stream.take(tarfile.BLOCKSIZE)
    if not block:
        raise Unreadable("damaged", "it stops before its end mark")
    if block == bytes(tarfile.BLOCKSIZE):
        while stream.read(CHUNK):  # so that a wrong checksum of the compression is noticed
            pass
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as failure:
        raise Unreadable("damaged", f"it is no tar archive from here on ({failure})") from None
    if info.size < 0:
        raise Unreadable("damaged", "a member has a negative size")
    return info


_TOLD = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
"""Types of entries that tell of the next one."""
_PAX = re.compile(rb"(\d{1,20}) ([^=]+)=")


def _tar_told(stream: Stream, info: tarfile.TarInfo) -> dict[str, str]:
    """What an entry tells of the one behind it: `path`, `size`, ..."""
    if info.size > _NAME:
        raise Unreadable("damaged", f"a header of {info.size:,} bytes")
    data = stream.take(info.size)
    stream.take(-info.size % tarfile.BLOCKSIZE)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    if info.type in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
        return {}
    told, place = {}, 0
    while found := _PAX.match(data, place):
        end = place + int(found[1])
        told[found[2].decode("utf-8", "surrogateescape")] = data[found.end() : end - 1].decode("utf-8", "surrogateescape")
        if end <= found.end():
            break
        place = end
    if not told.get("size", "0").isdecimal():
        raise Unreadable("damaged", "the size of a member is no number")
    return told


class _Naming:
    """Names of members, `archive!member`, each once."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._times: dict[str, int] = {}

    def of(self, name: str) -> tuple[str, Refused | None]:
        """The name, and a Refused if it leads out of the place where an archive would be unpacked."""
        whole = f"{self._archive}!{name[:_LONGEST]}".encode("utf-8", "backslashreplace").decode()
        self._times[whole] = times = self._times.get(whole, 0) + 1
        unique = whole if times == 1 else f"{whole}#{times}"
        parts = re.split(r"[/\\]", name)
        if ".." in parts or not parts[0] or re.match("[A-Za-z]:", name) or len(name) > _LONGEST or "\0" in name:
            return unique, Refused(unique, "path", "the name leads out of the archive")
        return unique, None
