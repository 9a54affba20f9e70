"""The files of `malmoi embed`: .npz and .parquet, written line by line, under another name until they are whole."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from malmoi.core.artifact import sync_directory, sync_file
from malmoi.core.errors import MalmoiError

ROW_GROUP_FLOATS = 1 << 22
"""Numbers that a row group of a .parquet file holds at least (16 MiB)."""

Lines = Iterable[tuple[list[str], np.ndarray]]


def write_vectors(path: Path | str, lines: Lines, *, pooled: bool = False) -> int:
    """Write (words, float32 array) of each line, as `Encoder.stream` gives them; returns how many lines there were.

    .npz: one array a line, named by its number from 0. .parquet: a row a word with columns `line` (int64), `token` (string), `vector`
    (list of float32; a list of lists, layer by layer, for layer "all"); if `pooled`, a row a line, whose token is null.
    The file appears when it is whole; until then a file of that name stays as it was. Raises MalmoiError M009 for another ending.
    """
    path = Path(path)
    check_output(path)
    with _whole(path) as temporary:
        return _write_npz(temporary, lines) if path.suffix == ".npz" else _write_parquet(temporary, lines, pooled=pooled)


def check_output(path: Path | str) -> None:
    """MalmoiError M009 for a name that does not end in .npz or .parquet; to be called before work begins."""
    if Path(path).suffix not in (".npz", ".parquet"):
        raise MalmoiError(
            "M009", argument="--output", value=str(path), problem="its ending names no known format", next="use .npz or .parquet."
        )


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        sync_file(temporary)
        os.replace(temporary, path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _write_npz(path: Path, lines: Lines) -> int:
    number = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for _, vectors in lines:
            with archive.open(f"{number}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
            number += 1
    return number


def _write_parquet(path: Path, lines: Lines, *, pooled: bool) -> int:
    number, held = 0, 0
    tables: list[pa.Table] = []
    schema: pa.Schema | None = None
    writer: pq.ParquetWriter | None = None
    try:
        for words, vectors in lines:
            table = _table(number, words, vectors, pooled=pooled)
            schema = schema or table.schema
            tables.append(table)
            held += vectors.size
            number += 1
            if held >= ROW_GROUP_FLOATS:
                writer = writer or pq.ParquetWriter(path, schema)
                writer.write_table(pa.concat_tables(tables))
                tables, held = [], 0
        if writer is None:
            writer = pq.ParquetWriter(path, schema or _schema(pa.list_(pa.float32())))
        if tables:
            writer.write_table(pa.concat_tables(tables))
    finally:
        if writer is not None:
            writer.close()
    return number


def _schema(vector: pa.DataType) -> pa.Schema:
    return pa.schema([("line", pa.int64()), ("token", pa.string()), ("vector", vector)])


def _table(number: int, words: list[str], vectors: np.ndarray, *, pooled: bool) -> pa.Table:
    """The rows of one line."""
    rows = vectors[..., None, :] if pooled else vectors
    if rows.ndim == 3:
        rows = rows.swapaxes(0, 1)
    column = pa.array(np.ascontiguousarray(rows, dtype=np.float32).reshape(-1))
    for size in reversed(rows.shape[1:]):
        offsets = np.arange(0, len(column) + 1, size, dtype=np.int32)
        column = pa.ListArray.from_arrays(pa.array(offsets), column)
    tokens = pa.array([None], pa.string()) if pooled else pa.array(words, pa.string())
    return pa.Table.from_arrays([pa.array([number] * len(rows), pa.int64()), tokens, column], schema=_schema(column.type))
