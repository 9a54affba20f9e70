"""Parquet: the strings of one column, some rows at a time, and the row groups by which a table is divided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from malmoi.core.errors import MalmoiError, nearest
from malmoi.corpus.files.compressed import CHUNK
from malmoi.corpus.reading.lines import LIMIT, document
from malmoi.corpus.reading.raw import EXCERPT, Raw, Refused, Unreadable, excerpt

_ROWS = 64
_RATIO, _FLOOR = 200, 64 << 20
"""Unpacked bytes for each byte of a column in a row group, looked at above so many of them."""


def groups(path: Path, field: str) -> list[tuple[int, int]]:
    """`(rows, bytes)` of each row group. Raises MalmoiError M024 without a column of text `field`, M015 for a file that is no table."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        _refuse_lacking(path, table, field)
        return [(group.num_rows, group.total_byte_size) for group in map(table.metadata.row_group, range(table.num_row_groups))]
    except pyarrow.ArrowException as failure:
        raise MalmoiError("M015", path=path, problem=_first_line(failure)) from None


def table_documents(
    content: BinaryIO, *, name: str, field: str, begin: int = 0, end: int | None = None, line: int = 1
) -> Iterator[Raw | Refused]:
    """The strings of a column in the row groups from `begin` to `end` (None: all); null is an empty text. line: number of the first row.

    Raises Unreadable for what is no table, or is damaged, or has no such column.
    """
    import pyarrow
    import pyarrow.parquet

    number = line
    try:
        table = pyarrow.parquet.ParquetFile(content, pre_buffer=False, buffer_size=CHUNK)
        _refuse_lacking(Path(name), table, field)
        chosen = range(begin, table.num_row_groups if end is None else end)
        _refuse_bomb(table, field, chosen)
        for batch in table.iter_batches(batch_size=_ROWS, row_groups=list(chosen), columns=[field], use_threads=False):
            column = batch.column(0)
            column = column.dictionary_decode() if pyarrow.types.is_dictionary(column.type) else column
            for value in column.cast(pyarrow.large_binary()).to_pylist():
                yield _row(f"{name}:{number}", value)
                number += 1
    except MalmoiError as failure:
        raise Unreadable("field", failure.message) from None
    except (pyarrow.ArrowException, OSError) as failure:
        raise Unreadable("damaged", _first_line(failure)) from None


def _row(id: str, value: bytes | None) -> Raw | Refused:
    if value is None:
        return Raw(id, "", None)
    if len(value) > LIMIT:
        return Refused(id, "size", f"a text of {len(value):,} bytes; the limit is {LIMIT:,}", excerpt(value[: 4 * EXCERPT]))
    return document(id, value)


def _refuse_lacking(path: Path, table: Any, field: str) -> None:
    import pyarrow

    names = [each.name for each in table.schema_arrow if _is_text(pyarrow.types, each.type)]
    if field not in names:
        raise MalmoiError("M024", path=path, field=field, nearest=nearest(field, names), columns=", ".join(names) or "none")


def _refuse_bomb(table: Any, field: str, chosen: range) -> None:
    place = next(index for index in range(len(table.schema)) if table.schema.column(index).path == field)
    for group in chosen:
        column = table.metadata.row_group(group).column(place)
        if column.total_uncompressed_size > max(_FLOOR, _RATIO * column.total_compressed_size):
            packed, size = column.total_compressed_size, column.total_uncompressed_size
            raise Unreadable("ratio", f"{packed:,} bytes of the column {field!r} unpack to {size:,}")


def _is_text(types: Any, type: Any) -> bool:
    type = type.value_type if types.is_dictionary(type) else type
    return any(
        check(type) for check in (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary)
    )


def _first_line(failure: Exception) -> str:
    text = str(failure)
    return "the footer of a finished Parquet file is missing" if "footer" in text else (text.splitlines() or [type(failure).__name__])[0]
