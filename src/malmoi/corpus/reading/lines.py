"""Plain text and JSON lines as documents, from bytes: what cannot be read is refused by its line, the rest goes on."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from malmoi.corpus.files.charset import decode
from malmoi.corpus.files.compressed import CHUNK
from malmoi.corpus.reading.raw import EXCERPT, Raw, Refused, excerpt

LIMIT = 16 << 20
"""Bytes of a line, a paragraph, a JSON object or a page: what is longer is not one, and would take the memory of the machine."""
WHOLE = 64 << 20
"""Bytes of a file that is read as one document."""

Read = Callable[[int], bytes]
"""`read(n)` of a stream: at most n bytes, none at its end."""
Mode = Literal["paragraph", "line", "file"]


@dataclass(slots=True)
class Long:
    """A line of more than LIMIT bytes: how many, and the first of them."""

    size: int
    head: bytes


def blocks(read: Read, line: int = 1) -> Iterator[tuple[int, bytes | Long]]:
    r"""`(number of the first line, whole lines joined by "\n", without a last one)`, or a line that is too long; about 1 MiB each.

    `\r\n` and `\r` end a line as `\n` does. Memory stays below LIMIT and a few chunks whatever the stream holds.
    """
    pending: list[bytes] = []
    size, long = 0, None
    for chunk in _newlines(read):
        if long is not None or size + _first(chunk) > LIMIT:
            end = chunk.find(b"\n")
            long = long or Long(size, b"".join(pending)[: 4 * EXCERPT])
            pending, size = [], 0
            long.head += chunk[: 4 * EXCERPT - len(long.head)]
            long.size += end if end >= 0 else len(chunk)
            if end < 0:
                continue
            yield line, long
            long, line, chunk = None, line + 1, chunk[end + 1 :]
        if end := chunk.rfind(b"\n") + 1:
            block = b"".join([*pending, chunk[: end - 1]])
            yield line, block
            line += block.count(b"\n") + 1
            pending, size = [], 0
        pending.append(chunk[end:])
        size += len(chunk) - end
    if long is not None:
        yield line, long
    elif size:
        yield line, b"".join(pending)


def _newlines(read: Read) -> Iterator[bytes]:
    r"""The chunks of a stream with `\n` for every line end."""
    held = b""
    while chunk := read(CHUNK):
        if held or b"\r" in chunk:
            chunk, held = held + chunk, b""
            if chunk.endswith(b"\r"):  # perhaps half of a \r\n
                chunk, held = chunk[:-1], b"\r"
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield chunk
    if held:
        yield b"\n"


def _first(chunk: bytes) -> int:
    end = chunk.find(b"\n")
    return end if end >= 0 else len(chunk)


def utf16(read: Read, codec: str) -> Read:
    """A stream of UTF-16 as one of UTF-8. Its `read` raises UnicodeDecodeError for what is not valid."""
    decoder = codecs.getincrementaldecoder(codec)()

    def encoded(size: int) -> bytes:
        while chunk := read(size // 2):
            if data := decoder.decode(chunk).encode():
                return data
        return decoder.decode(b"", final=True).encode()

    return encoded


def text_documents(read: Read, *, name: str, mode: Mode, line: int = 1, charset: str | None = None) -> Iterator[Raw | Refused]:
    """The documents of plain text: lines, paragraphs (lines up to a blank one), or all of it as one. Blank lines are no documents.

    line: the number of the first line. charset: the codec decided for the whole file.
    """
    if mode == "line":
        yield from _line_documents(read, name, line, charset)
        return
    for number, data in _paragraphs(read, line) if mode == "paragraph" else _file(read, line):
        yield _refused_long(name, number, data, mode) if isinstance(data, Long) else _document(name, number, data, charset)


def json_documents(read: Read, *, name: str, field: str, line: int = 1, charset: str | None = None) -> Iterator[Raw | Refused]:
    """The string under `field` of the object in each line; null is an empty text."""
    for number, data in _lines(read, line):
        if isinstance(data, Long):
            yield _refused_long(name, number, data, "line")
        else:
            yield _object(name, number, data, field, charset)


def document(id: str, data: bytes, *, charset: str | None = None, declared: str | None = None) -> Raw | Refused:
    """Bytes of text as a document, or why they are none: "nul" or "charset"."""
    if b"\0" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Refused(id, "nul", f"there are {data.count(0):,} NUL bytes", excerpt(data))
    decoded = decode(data, declared=declared, prefer=charset)
    if decoded is None:
        return Refused(id, "charset", "no character set fits all of its bytes", excerpt(data))
    if decoded.charset == "utf-8":
        return Raw(id, decoded.text, None)
    return Raw(id, decoded.text, None, meta={"charset": decoded.charset})


def _line_documents(read: Read, name: str, line: int, charset: str | None) -> Iterator[Raw | Refused]:
    for first, block in blocks(read, line):
        text = None if isinstance(block, Long) or charset not in ("utf-8", None) else _text(block)
        if text is not None:  # many lines at once are decoded faster
            for number, content in enumerate(text.split("\n"), first):
                if content and not content.isspace():
                    yield Raw(f"{name}:{number}", content, None)
        elif isinstance(block, Long):
            yield _refused_long(name, first, block, "line")
        else:
            for number, data in enumerate(block.split(b"\n"), first):
                found = _document(name, number, data, charset)
                if isinstance(found, Refused) or (found.text and not found.text.isspace()):
                    yield found


def _text(block: bytes) -> str | None:
    """Whole lines of UTF-8 without NUL and byte order marks, or None."""
    try:
        return None if b"\0" in block or codecs.BOM_UTF8 in block else block.decode()
    except UnicodeDecodeError:
        return None


def _document(name: str, number: int, data: bytes, charset: str | None) -> Raw | Refused:
    if b"\0" not in data and charset in ("utf-8", None):
        try:
            return Raw(f"{name}:{number}", data.decode().removeprefix("\ufeff"), None)
        except UnicodeDecodeError:
            pass
    return document(f"{name}:{number}", data, charset=charset)


def _refused_long(name: str, number: int, long: Long, what: str) -> Refused:
    limit = WHOLE if what == "file" else LIMIT
    return Refused(f"{name}:{number}", "size", f"a {what} of {long.size:,} bytes; the limit is {limit:,}", excerpt(long.head))


def _lines(read: Read, line: int) -> Iterator[tuple[int, bytes | Long]]:
    for first, block in blocks(read, line):
        if isinstance(block, Long):
            yield first, block
            continue
        for number, content in enumerate(block.split(b"\n"), first):
            if content and not content.isspace():
                yield number, content


def _paragraphs(read: Read, line: int) -> Iterator[tuple[int, bytes | Long]]:
    lines: list[bytes] = []
    start, size = 0, -1  # bytes, with the line ends between the lines
    for first, block in blocks(read, line):
        contents: Sequence[bytes | Long] = [block] if isinstance(block, Long) else block.split(b"\n")
        for number, content in enumerate(contents, first):
            if isinstance(content, Long) or (content and not content.isspace()):
                start = start if size >= 0 else number
                size += 1 + (content.size if isinstance(content, Long) else len(content))
                if size <= LIMIT or not lines:
                    lines.append(content.head if isinstance(content, Long) else content)
            elif size >= 0:
                yield start, _joined(lines, size, LIMIT)
                lines, size = [], -1
    if size >= 0:
        yield start, _joined(lines, size, LIMIT)


def _file(read: Read, line: int) -> Iterator[tuple[int, bytes | Long]]:
    parts: list[bytes] = []
    size = 0
    for chunk in _newlines(read):
        size += len(chunk)
        if size <= WHOLE:
            parts.append(chunk)
    if any(not part.isspace() for part in parts):
        yield line, _joined(parts, size, WHOLE, b"")


def _joined(parts: list[bytes], size: int, limit: int, between: bytes = b"\n") -> bytes | Long:
    whole = between.join(parts)
    return whole if size <= limit else Long(size, whole[: 4 * EXCERPT])


def _object(name: str, number: int, data: bytes, field: str, charset: str | None) -> Raw | Refused:
    found = _document(name, number, data, charset)
    if isinstance(found, Refused):
        return found
    assert found.text is not None
    try:
        record = json.loads(found.text)
    except (ValueError, RecursionError) as failure:
        return Refused(found.id, "json", str(failure) or "nested too deeply", excerpt(data))
    if not isinstance(record, dict):
        return Refused(found.id, "json", "it is JSON but not an object", excerpt(data))
    text = record.get(field, 0)
    if text is not None and not isinstance(text, str):
        has = ", ".join(map(repr, list(record)[:8])) or "nothing"
        detail = f"{field!r} is not a string" if field in record else f"it has no {field!r} (it has {has})"
        return Refused(found.id, "field", detail.encode("utf-8", "backslashreplace").decode(), excerpt(data))
    found.text = text or ""
    if b"\\u" in data:
        if "\0" in found.text:
            return Refused(found.id, "nul", f"there are {found.text.count(chr(0)):,} NUL characters", excerpt(data))
        try:
            found.text.encode()
        except UnicodeEncodeError:
            return Refused(found.id, "surrogate", r"it holds half of a surrogate pair (\ud800 to \udfff)", excerpt(data))
    return found
