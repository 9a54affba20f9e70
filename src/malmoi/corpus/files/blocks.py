"""Files as decoded text: whole lines, some at a time, with their numbers. Nothing is dropped: what is not valid is named."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.compressed import chunks

LINE_LIMIT = 16 << 20
"""Bytes of a line, a paragraph or a JSON object: what is longer is not one, and would take the memory of the machine."""
FILE_LIMIT = 64 << 20
"""Bytes of a file that is read as one document."""


def nfc(text: str) -> str:
    """`text` in Unicode normal form C (the check is much faster than the change)."""
    return text if text.isascii() or unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def text_lines(files: Iterable[Path]) -> Iterator[str]:
    """The lines of some files, empty ones included, checked and normalized as everywhere."""
    return (line for path in files for _, block in blocks(path) for line in block.split("\n"))


def blocks(
    path: Path, *, limit: int = LINE_LIMIT, what: str = "line", next: str = "split it, or read with --document file."
) -> Iterator[tuple[int, str]]:
    r"""`(number of the first line, lines joined by "\n" without a last one)` until the file ends; about 1 MiB each, in NFC.

    `\r\n` and `\r` end a line as `\n` does. Byte order marks at the beginning of a line are taken away.
    Raises MalmoiError M011 for invalid UTF-8, M014 for NUL bytes, M015 for a character cut off by the end of the file, M018 for
    more than `limit` bytes without a line end.
    """
    line, pending, size, decoder = 1, [b""], 0, _Decoder(path)
    for chunk in chunks(path):
        if size + _first_end(chunk) > limit:
            raise MalmoiError("M018", path=path, line=line, what=what, limit=limit, next=next)
        end = _last_end(chunk)
        if end:
            text = decoder.decode(b"".join([*pending, chunk[:end]]), line)
            yield line, text.removesuffix("\n")
            line += text.count("\n")
            pending, size = [], 0
        pending.append(chunk[end:])
        size += len(chunk) - end
    if size:
        yield line, decoder.decode(b"".join(pending), line, last=True).removesuffix("\n")


def _first_end(chunk: bytes) -> int:
    """Bytes before the first line end of `chunk`."""
    end = chunk.find(b"\n")
    end = end if end >= 0 else len(chunk)
    other = chunk.find(b"\r", 0, end)
    return other if other >= 0 else end


def _last_end(chunk: bytes) -> int:
    r"""Where the last line of `chunk` that is surely complete ends (0 = none). A `\r` at the very end may be half of `\r\n`."""
    return chunk.rfind(b"\n") + 1 or chunk.rfind(b"\r", 0, -1) + 1


class _Decoder:
    """Bytes of whole lines -> text, with the number of a line that is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._multibyte = False
        """Whether valid UTF-8 beyond ASCII was seen: then an incomplete character at the end means a file cut off."""

    def decode(self, data: bytes, line: int, *, last: bool = False) -> str:
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\0" in data:
            number = line + data.count(b"\n", 0, data.index(b"\0"))
            raise MalmoiError("M014", path=self._path, problem=f"there is a NUL byte in line {number}")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as failure:
            raise self._invalid(data, line, failure, last) from None
        if text.isascii():
            return text
        self._multibyte = True
        return nfc(text.removeprefix("\ufeff").replace("\n\ufeff", "\n") if "\ufeff" in text else text)

    def _invalid(self, data: bytes, line: int, failure: UnicodeDecodeError, last: bool) -> MalmoiError:
        known = self._multibyte or not data[: failure.start].isascii()
        if last and known and failure.reason == "unexpected end of data" and failure.end == len(data):
            return MalmoiError("M015", path=self._path, problem="it stops in the middle of a character")
        number = line + data.count(b"\n", 0, failure.start)
        return MalmoiError("M011", path=self._path, line=number, byte=f"0x{data[failure.start]:02x}")
