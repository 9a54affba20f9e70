"""Sources of any kind as raw documents, and by name what could not be read. Nothing that a file holds ends the work."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.compressed import refuse_binary
from malmoi.corpus.files.sources import kind_of
from malmoi.corpus.reading.archives import Exhausted, Guard, Member, Stream, seekable, tar_members, unpacked, zip_members
from malmoi.corpus.reading.lines import LIMIT, Read, json_documents, text_documents, utf16
from malmoi.corpus.reading.planning import Part, Shard, plan
from malmoi.corpus.reading.raw import Raw, Refused, Unreadable, excerpt
from malmoi.corpus.reading.spec import ReadingSpec
from malmoi.corpus.reading.tables import table_documents
from malmoi.corpus.reading.warc import warc_documents

__all__ = ["Part", "Raw", "Refused", "Shard", "plan", "records"]

Records = Iterator[Raw | Refused]
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def records(shard: Shard, reading: ReadingSpec) -> Records:
    """The documents of a shard, and a Refused for everything in it that could not be read. Memory does not grow with the files.

    Reasons: format, binary, charset, nul, size, json, field, surrogate; for compressed files and archives also damaged, crc, ratio, bytes,
    entries, depth, seconds, encrypted, path, link; for web archives status, digest; unreadable. Raises MalmoiError M005 for a package
    that is not installed.
    """
    for part in shard.parts:
        try:
            yield from _part(part, reading)
        except Unreadable as why:
            yield Refused(part.name, why.reason, why.detail)
        except OSError as failure:
            yield Refused(part.name, "unreadable", failure.strerror or str(failure))


def _part(part: Part, reading: ReadingSpec) -> Records:
    with open(part.path, "rb") as file:
        guard = Guard(Path(part.path).stat().st_size)
        if part.kind == "warc" and not _is_packed(part):
            yield from warc_documents(file, name=part.name, guard=guard)
            return
        if part.kind == "zip":
            yield from _members(zip_members(file, name=part.name, guard=guard), reading, guard, 0)
            return
        if part.kind == "parquet" and part.path.lower().endswith(".parquet"):
            yield from table_documents(file, name=part.name, field=reading.field, begin=part.begin, end=part.end, line=part.line)
            return
        file.seek(part.begin)
        stream = Stream(file.read if part.end is None else _range(file, part.end - part.begin))
        yield from _content(stream, part, reading, guard)


def _range(file: BinaryIO, size: int) -> Read:
    """Reads of at most `size` bytes in all."""
    left = size

    def read(most: int) -> bytes:
        nonlocal left
        data = file.read(min(most, left))
        left -= len(data)
        return data

    return read


def _content(stream: Stream, part: Part, reading: ReadingSpec, guard: Guard, depth: int = 0) -> Records:
    """The documents of a file, or of a member of an archive. part: its name, kind, and what is known of it."""
    if part.kind == "unknown":
        suffix = Path(part.path).suffix
        raise Unreadable("format", f"files with the suffix {suffix!r} are not read" if suffix else "files without a suffix are not read")
    if _is_packed(part):
        stream = unpacked(stream, name=part.path, guard=guard)
    match part.kind:
        case "text" | "jsonl":
            yield from _text(stream, part, reading)
        case "html":
            yield _page(stream, part)
        case "parquet":
            with seekable(stream) as file:
                yield from table_documents(file, name=part.name, field=reading.field)
        case "warc":
            with seekable(stream) as file:
                yield from warc_documents(file, name=part.name, guard=guard)
        case "tar":
            yield from _members(tar_members(stream, name=part.name, guard=guard), reading, guard, depth)
        case "zip":
            with seekable(stream) as file:
                yield from _members(zip_members(file, name=part.name, guard=guard), reading, guard, depth)


def _is_packed(part: Part) -> bool:
    """Whether compression around the content is to be taken away: web archives of other kinds than xz are read as they are."""
    return part.begin == 0 and (part.path.lower().endswith(".xz") or part.kind not in ("warc", "zip"))


def _members(members: Iterator[Member | Refused], reading: ReadingSpec, guard: Guard, depth: int) -> Records:
    for member in members:
        if isinstance(member, Refused):
            yield member
            continue
        name = member.name
        hidden = Path(member.path).name.startswith(".")
        part = Part(member.path, name, kind="unknown" if hidden else kind_of(member.path))
        if part.kind in ("tar", "zip") and depth + 1 >= guard.limits.depth:
            yield Refused(name, "depth", f"archives in archives are read {guard.limits.depth} deep")
            continue
        try:
            yield from _content(member.stream, part, reading, guard, depth + 1)
        except Exhausted:
            raise
        except Unreadable as why:
            yield Refused(name, why.reason, why.detail)


def _text(stream: Stream, part: Part, reading: ReadingSpec) -> Records:
    read: Read = stream.read
    if part.begin == 0:
        head = stream.head(512)
        if codec := _UTF16.get(head[:2]):
            read = utf16(stream.read, codec)
        else:
            _refuse_binary(head)
    try:
        if part.kind == "jsonl":
            yield from json_documents(read, name=part.name, field=reading.field, line=part.line, charset=part.charset)
        else:
            yield from text_documents(read, name=part.name, mode=reading.document, line=part.line, charset=part.charset)
    except UnicodeDecodeError as failure:
        raise Unreadable("charset", f"it is not valid UTF-16: {failure.reason}") from None


def _page(stream: Stream, part: Part) -> Raw | Refused:
    data = stream.take(LIMIT + 1)
    if len(data) > LIMIT:
        return Refused(part.name, "size", f"a page of more than {LIMIT:,} bytes", excerpt(data))
    _refuse_binary(data[:512])
    return Raw(part.name, None, data, "html")


def _refuse_binary(head: bytes) -> None:
    if head.startswith(tuple(_UTF16)):
        return
    try:
        refuse_binary(Path("content"), head)
    except MalmoiError as failure:
        raise Unreadable("binary", failure.message.partition(": ")[2].rstrip(".")) from None
