"""Files as bytes: plain, gzip, xz or Zstandard, told apart by their first bytes; what is no text is refused by name."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.sources import COMPRESSIONS

CHUNK = 1 << 20
HEAD = 6
"""Bytes that tell how a file is compressed."""
_ZSTD_INPUT = 1 << 12  # compressed bytes at a time: 4 bytes can mean 128 KiB

_COMPRESSED = {b"\x1f\x8b": ".gz", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_BINARY = {
    b"PAR1": "a Parquet file without the suffix .parquet",
    b"PK\x03\x04": "a zip archive or an office document",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x7fELF": "a program",
    b"BZh": "compressed with bzip2 (use .gz, .xz or .zst)",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old office document",
    b"\x93NUMPY": "a numpy array",
    b"OggS": "a sound file",
    b"ID3": "a sound file",
    b"\xff\xfe": "UTF-16 (iconv -f UTF-16 -t UTF-8 makes it readable)",
    b"\xfe\xff": "UTF-16 (iconv -f UTF-16 -t UTF-8 makes it readable)",
}


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The uncompressed content of a file, for reading in order.

    Raises, here or while the block reads: MalmoiError M014 if it cannot be opened or is not what its name says, M015 if
    the compressed stream is cut off or damaged, M005 if Zstandard is not installed.
    """
    try:
        with open(path, "rb") as raw:
            head = raw.read(HEAD)
            raw.seek(0)
            with decompressed(path, raw, head) as content:
                yield content
    except EOFError:
        raise MalmoiError("M015", path=path, problem="the compressed stream stops before its end mark") from None
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as failure:
        raise MalmoiError("M015", path=path, problem=f"it cannot be decompressed ({failure})") from None
    except OSError as failure:
        raise MalmoiError("M014", path=path, problem=f"it cannot be read ({failure.strerror or failure})") from None


def chunks(path: Path) -> Iterator[bytes]:
    """The uncompressed content in pieces of at most 1 MiB. Raises MalmoiError M014 for anything with a known binary beginning."""
    with open_bytes(path) as content:
        first = True
        while chunk := content.read(CHUNK):
            if first:
                refuse_binary(path, chunk)
            first = False
            yield chunk


def refuse_binary(path: Path, head: bytes) -> None:
    """MalmoiError M014 if content that begins with `head` is known not to be text."""
    if what := next((what for magic, what in _BINARY.items() if head.startswith(magic)), None):
        raise MalmoiError("M014", path=path, problem=f"it is {what}")
    if head[257:262] == b"ustar":
        raise MalmoiError("M014", path=path, problem="it is a tar archive (unpack it)")


def compression(head: bytes) -> str:
    """ ".gz", ".xz" or ".zst" for content that begins with `head`, "" for none of them."""
    return next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), "")


def decompressed(path: Path, raw: Any, head: bytes) -> Any:
    """`raw`, of which `read(n)` is used, without its compression. path: its name. head: its first HEAD bytes, which are still to be read.

    Raises MalmoiError M014 or M015 if the content is not what the name says, M005 if Zstandard is not installed.
    """
    kind = compression(head)
    named = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    if named and not kind:
        code, problem = ("M014", f"its content is not {named[1:]}") if head else ("M015", f"0 bytes are no {named[1:]} file")
        raise MalmoiError(code, path=path, problem=problem)
    if kind == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if kind == ".xz":
        return lzma.LZMAFile(raw)
    if kind == ".zst":
        return io.BufferedReader(_Zstandard(path, raw), CHUNK)
    return raw


class _Zstandard(io.RawIOBase):
    """A readable stream over the frames of a .zst file that, unlike the library's own, notices a cut-off frame."""

    def __init__(self, path: Path, raw: Any) -> None:
        try:
            import zstandard
        except ImportError:
            raise MalmoiError("M005", what=f"reading {path}", package="zstandard", extra="zstd") from None
        self._path, self._raw, self._library = path, raw, zstandard
        self._frame: Any = None
        self._ready = memoryview(b"")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._rest or self._raw.read(_ZSTD_INPUT)
            self._rest = b""
            if not data:
                if self._frame is not None:
                    raise EOFError
                return 0
            self._decompress(data)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _decompress(self, data: bytes) -> None:
        if self._frame is None:
            self._frame = self._library.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
        try:
            self._ready = memoryview(self._frame.decompress(data))
        except self._library.ZstdError as failure:
            raise MalmoiError("M015", path=self._path, problem=f"it cannot be decompressed ({failure})") from None
        if self._frame.eof:
            self._rest, self._frame = self._frame.unused_data, None
