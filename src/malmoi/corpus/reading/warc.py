"""Web archives (WARC 1.0 and 1.1, ISO 28500): pages and texts of their records. A broken record is named, and the next one looked for."""

from __future__ import annotations

import base64
import hashlib
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeVar

from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.compressed import CHUNK
from malmoi.corpus.reading.archives import Guard
from malmoi.corpus.reading.lines import LIMIT, document
from malmoi.corpus.reading.raw import Raw, Refused, Unreadable, excerpt

T = TypeVar("T")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.IGNORECASE)
_HTML = ("text/html", "application/xhtml+xml")
_START = re.compile(rb"\x1f\x8b\x08|WARC/1\.[01]\r?\n")
"""How a record may begin: as a member of its own in a gzip file, or plainly."""
_LOOK = 1 << 16
_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)


class _Broken(Exception):
    """A record that cannot be read, and after which nothing is sure."""

    def __init__(self, detail: str, block: bytes = b"") -> None:
        super().__init__(detail)
        self.block = block


@dataclass
class _Place:
    """number: of the record that was begun last, from 1 (0: none). start: where it begins, in bytes."""

    number: int = 0
    start: int = 0


def warc_documents(file: BinaryIO, *, name: str, guard: Guard) -> Iterator[Raw | Refused]:
    """Pages (HTML) and texts of the records that are HTTP responses, resources of the web or conversions (WET); plain, gzip, zstd or lz4.

    ids are `name:number of the record`; `meta` has the address and the date. Responses that are errors or redirections are Refused
    ("status"), as are other types of content ("format"), blocks that do not fit their digest ("digest") and records that are cut off
    ("damaged"). Raises MalmoiError M005 without fastwarc, Unreadable for what is no WARC file at all, or beyond the limits of `guard`.
    """
    place, again = _Place(), False
    start: int | None = 0
    while start is not None:
        before, place.start = place.number, start
        try:
            yield from _records(file, name, place, guard)
            return
        except _Broken as failure:
            yield Refused(f"{name}:{place.number}", "damaged", str(failure), excerpt(failure.block[:_LOOK]))
        except OSError as failure:
            if not place.number:
                raise Unreadable("damaged", f"it is no WARC file ({failure})") from None
            if place.number > before or again:  # else it is the one that was named when its predecessor had ended
                place.number += 1
                yield Refused(f"{name}:{place.number}", "damaged", str(failure))
            again = place.number == before
        start = _next_start(file, place.start + 1)


def _records(file: BinaryIO, name: str, place: _Place, guard: Guard) -> Iterator[Raw | Refused]:
    """From the record at `place` on. Raises OSError where no record is found, _Broken for one that is cut off."""
    try:
        from fastwarc.warc import ArchiveIterator
    except ImportError:
        raise MalmoiError("M005", what=f"reading {name}", package="fastwarc", extra="html") from None
    file.seek(place.start)
    archive = _sound(lambda: ArchiveIterator(file, parse_http=False))
    while (record := _sound(lambda: next(archive, None))) is not None:
        place.number, place.start = place.number + 1, record.stream_pos
        found = _record(record, f"{name}:{place.number}", guard)
        if found is not None:
            yield found


def _sound(call: Callable[[], T]) -> T:
    """The result of a call of fastwarc, whose failures are OSError even where it panics."""
    try:
        return call()
    except BaseException as failure:
        if type(failure).__name__ != "PanicException":
            raise
        raise OSError(f"the reader failed: {failure}") from None


def _record(record: Any, id: str, guard: Guard) -> Raw | Refused | None:
    """The document of a record, None for one that is none."""
    length = record.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise _Broken(f"its length is {length!r}")
    begun = time.perf_counter()
    guard.unpacked(int(length), 0.0)
    kind = record.headers.get("WARC-Type", "").strip().lower()
    documents = kind in ("response", "resource", "conversion")
    if int(length) > LIMIT:
        return Refused(id, "size", f"a record of {int(length):,} bytes; the limit is {LIMIT:,}") if documents else None
    block = _sound(record.reader.read)
    guard.unpacked(0, time.perf_counter() - begun)
    if len(block) < int(length):
        raise _Broken(f"it stops after {len(block):,} of {int(length):,} bytes", block)
    if not documents:
        return None
    if not _fits(block, record.headers.get("WARC-Block-Digest", "")):
        return Refused(id, "digest", "its content does not fit the digest in its header", excerpt(block[:_LOOK]))
    url = record.headers.get("WARC-Target-URI", "").strip("<> ")
    meta = {key: value for key, value in (("url", url), ("date", record.headers.get("WARC-Date", ""))) if value}
    if kind == "response":
        return _response(id, block, meta) if record.is_http else None
    if kind == "resource" and not url.startswith(("http:", "https:")):
        return None  # what a crawler tells of itself
    return _typed(id, block, record.headers.get("Content-Type", ""), meta)


def _response(id: str, block: bytes, meta: dict[str, str]) -> Raw | Refused:
    try:
        headers, body = _http(block, "all")
    except OSError as failure:
        try:
            headers, body = _http(block, "none")
        except OSError:
            headers, body = None, b""
        if not body.lstrip().startswith(b"<"):  # else the crawler decoded it, and kept the headers
            return Refused(id, "damaged", f"its response cannot be decoded ({failure})", excerpt(block[:_LOOK]))
    if headers is None or headers.status_code is None:
        return Refused(id, "damaged", "it has no headers of HTTP", excerpt(block[:_LOOK]))
    if len(body) > LIMIT:
        return Refused(id, "size", f"a page of more than {LIMIT:,} bytes", excerpt(body[:_LOOK]))
    if not 200 <= headers.status_code < 300:
        return Refused(id, "status", str(headers.status_code), excerpt(body[:_LOOK]))
    return _typed(id, body, headers.get("Content-Type", ""), meta)


def _http(block: bytes, decoding: Literal["none", "all"]) -> tuple[Any, bytes]:
    """Headers and body of a response, of which a little more than LIMIT is decoded at most. Raises OSError."""
    from fastwarc.warc import WarcRecord, WarcRecordType

    record = WarcRecord()  # one of its own: what fails here must not reach the archive
    record.init_headers(WarcRecordType.response)
    record.is_http = True
    record.set_bytes_content(block)
    _sound(lambda: record.parse_http(auto_decode=decoding, quirks_mode=True))
    return record.http_headers, _sound(lambda: record.reader.read(LIMIT + 1))


def _typed(id: str, body: bytes, content_type: str, meta: dict[str, str]) -> Raw | Refused:
    """A body as what its type says; without one, as a page if it looks like one."""
    kind = content_type.partition(";")[0].strip().lower()
    charset = found[1] if (found := _CHARSET.search(content_type)) else None
    if kind in _HTML or (not kind and _PAGE.search(body[:1024])):
        return Raw(id, None, body, "html", charset, meta)
    if kind != "text/plain":
        return Refused(id, "format", f"content of type {kind or 'unknown'} is not read")
    text = document(id, body, declared=charset)
    if isinstance(text, Raw):
        text.meta = {**meta, **text.meta}
    return text


def _fits(block: bytes, digest: str) -> bool:
    """Whether a block has its digest (`sha1:` and others, in base 32 or 16); true if there is none, or of an unknown kind."""
    algorithm, _, value = digest.partition(":")
    algorithm = algorithm.lower().replace("-", "")
    if not value or algorithm not in ("md5", "sha1", "sha256", "sha512"):
        return True
    found = hashlib.new(algorithm, block, usedforsecurity=False).digest()
    return value.strip().upper().rstrip("=") in (base64.b32encode(found).decode().rstrip("="), found.hex().upper())


def _next_start(file: BinaryIO, place: int) -> int | None:
    """The first place from `place` on at which a record may begin."""
    file.seek(place)
    window = b""
    while chunk := file.read(CHUNK):
        window += chunk
        for found in _START.finditer(window):
            if window[found.start()] != 0x1F or _begins(window[found.start() : found.start() + _LOOK]):
                return place + found.start()
        kept = window[-16:]
        place, window = place + len(window) - len(kept), kept
    return None


def _begins(data: bytes) -> bool:
    """Whether a gzip stream holds a record."""
    try:
        return zlib.decompressobj(31).decompress(data, 16).startswith(b"WARC/1.")
    except zlib.error:
        return False
