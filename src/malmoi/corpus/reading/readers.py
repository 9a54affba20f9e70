"""Sources -> documents, streaming: plain text by paragraph, line or file; JSON lines; Parquet."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from malmoi.core.errors import MalmoiError, nearest
from malmoi.core.recipe import TextSpec
from malmoi.corpus.document import Document
from malmoi.corpus.files.blocks import FILE_LIMIT, LINE_LIMIT, blocks, nfc
from malmoi.corpus.files.compressed import CHUNK, open_bytes, refuse_binary
from malmoi.corpus.files.sources import format_of, source_files

Notice = Callable[[MalmoiError], None]
"""Hears of what is passed over: M016 a document without words, M013 a file without text."""


def read(sources: Sequence[str | Path] | str | Path, text: TextSpec, *, notice: Notice | None = None) -> Iterator[Document]:
    """The documents of `sources` in order. The sources are looked up at once, their content while the documents are drawn.

    Memory does not grow with the corpus. Files without text among others and documents without words are told to `notice`
    and passed over. Raises MalmoiError M010 to M019 and M024, each naming file and line; M013 if there is no document at all.
    """
    files = source_files(sources)
    for path in files:
        format_of(path)
    return _documents(files, text, notice or _unheard)


def _unheard(passed_over: MalmoiError) -> None:
    return None


def _documents(files: list[Path], text: TextSpec, notice: Notice) -> Iterator[Document]:
    something = False
    for path in files:
        format, meta, found = format_of(path), {"path": str(path)}, False
        if format == "text":
            texts = _TEXTS[text.document](path)
        else:
            texts = _with_words(path, (_jsonl if format == "jsonl" else _parquet)(path, text.field), notice)
        for number, content in texts:
            found = something = True
            yield Document(f"{path}:{number}", content, meta)
        if not found:
            notice(MalmoiError("M013", path=path))
    if not something:
        raise MalmoiError("M013", path=", ".join(map(str, files[:3])) + (" ..." if len(files) > 3 else ""))


def _with_words(path: Path, texts: Iterator[tuple[int, str]], notice: Notice) -> Iterator[tuple[int, str]]:
    for number, text in texts:
        if text and not text.isspace():
            yield number, text
        else:
            notice(MalmoiError("M016", path=path, document=number))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for first, block in blocks(path):
        for number, line in enumerate(block.split("\n"), first):
            if line and not line.isspace():
                yield number, line


def _paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    """Lines up to a blank one."""
    lines: list[str] = []
    start = size = 0
    for first, block in blocks(path):
        for number, line in enumerate(block.split("\n"), first):
            if line and not line.isspace():
                start = start if lines else number
                lines.append(line)
                size += len(line) + 1
                if size > LINE_LIMIT:
                    next = "read with --document line, or put blank lines between documents."
                    raise MalmoiError("M018", path=path, line=start, what="paragraph", limit=LINE_LIMIT, next=next)
            elif lines:
                yield start, "\n".join(lines)
                lines, size = [], 0
    if lines:
        yield start, "\n".join(lines)


def _whole(path: Path) -> Iterator[tuple[int, str]]:
    """The file as one document."""
    next, parts, size = "read with --document paragraph or line, or cut it into files.", [], 0
    for _, block in blocks(path, limit=FILE_LIMIT, what="document", next=next):
        parts.append(block)
        size += len(block)
        if size > FILE_LIMIT:
            raise MalmoiError("M018", path=path, line=1, what="document", limit=FILE_LIMIT, next=next)
    content = "\n".join(parts)
    if content and not content.isspace():
        yield 1, content


_TEXTS = {"paragraph": _paragraphs, "line": _lines, "file": _whole}


def _jsonl(path: Path, field: str) -> Iterator[tuple[int, str]]:
    """The string under `field` of the object in each line; a last line that stops inside its object is M015, any other M019."""
    broken, begun = 0, False
    for first, block in blocks(path, what="JSON object", next="split the text of that object into several."):
        for number, line in enumerate(block.split("\n"), first):
            if not line or line.isspace():
                continue
            if broken:
                raise MalmoiError("M019", path=path, line=broken, problem="it is not JSON", field=field)
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                broken, begun = number, line.lstrip().startswith("{")  # the verdict waits: is it the last line?
                continue
            yield number, _field(path, number, record, field)
    if broken and begun:
        raise MalmoiError("M015", path=path, problem=f"its last line, {broken:,}, is not a whole JSON object")
    if broken:
        raise MalmoiError("M019", path=path, line=broken, problem="it is not JSON", field=field)


def _field(path: Path, number: int, record: Any, field: str) -> str:
    if not isinstance(record, dict):
        raise MalmoiError("M019", path=path, line=number, problem="it is JSON but not an object", field=field)
    if field not in record:
        has = ", ".join(map(repr, list(record)[:8])) or "nothing"
        problem = f"it has no {field!r}{nearest(field, record)} (it has {has}; --set text.field=NAME takes another)"
        raise MalmoiError("M019", path=path, line=number, problem=problem, field=field)
    value = record[field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalmoiError("M019", path=path, line=number, problem=f"{field!r} is not a string", field=field)
    return _sound(path, number, value, field)


def _sound(path: Path, number: int, text: str, field: str) -> str:
    """NFC of a text that came out of an escape: half a surrogate pair is not a character and could not be stored."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            problem = f"{field!r} holds half of a surrogate pair (\\ud800 to \\udfff)"
            raise MalmoiError("M019", path=path, line=number, problem=problem, field=field) from None
    return nfc(text.replace("\r\n", "\n") if "\r" in text else text)


def _parquet(path: Path, column: str) -> Iterator[tuple[int, str]]:
    """The strings of one column, some rows at a time. A compressed .parquet is unpacked to a temporary file first."""
    with open_bytes(path) as content, tempfile.TemporaryFile() as unpacked:
        seekable = content
        if path.suffix.lower() != ".parquet":
            while chunk := content.read(CHUNK):
                unpacked.write(chunk)
            unpacked.seek(0)
            seekable = unpacked
        if not (head := seekable.read(1024)):
            return
        seekable.seek(0)
        if not head.startswith(b"PAR1"):
            refuse_binary(path, head)
            raise MalmoiError("M014", path=path, problem="its content is not Parquet")
        yield from _rows(path, seekable, column)


def _rows(path: Path, content: BinaryIO, column: str) -> Iterator[tuple[int, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(content, pre_buffer=False, buffer_size=CHUNK)
        names = [field.name for field in table.schema_arrow if _is_text(pyarrow.types, field.type)]
        if column not in names:
            raise MalmoiError("M024", path=path, field=column, nearest=nearest(column, names), columns=", ".join(names) or "none")
        number = 0
        for batch in table.iter_batches(batch_size=64, columns=[column], use_threads=False):
            for value in batch.column(0).to_pylist():
                number += 1
                yield number, _sound(path, number, value or "", column)
    except UnicodeDecodeError as failure:
        raise MalmoiError("M011", path=path, line=number + 1, byte=f"0x{failure.object[failure.start]:02x}") from None
    except (pyarrow.ArrowException, OSError) as failure:
        problem = "the footer of a finished Parquet file is missing" if "footer" in str(failure) else str(failure).splitlines()[0]
        raise MalmoiError("M015", path=path, problem=problem.rstrip(".")) from None


def _is_text(types: Any, type: Any) -> bool:
    type = type.value_type if types.is_dictionary(type) else type
    return bool(types.is_string(type) or types.is_large_string(type) or types.is_string_view(type))
