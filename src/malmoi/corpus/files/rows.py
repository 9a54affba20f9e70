"""Rows at rest: Parquet files written and read some megabytes at a time, with settings that make their bytes depend on the rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

KEPT = ("id", "text", "meta", "story")
REMOVED = ("id", "step", "reason", "detail", "part", "text", "duplicate_of", "story")
"""Columns. meta: a JSON object; story: a JSON list; part: the row is a part of a document that stayed; duplicate_of: an id or ""."""
CHARACTERS, ROWS = 3 << 20, 1 << 16
"""What is written at a time: about 8 MB of Korean."""
_TYPES = {"part": pa.bool_(), "row": pa.int64()}
_REPEATED = ["meta", "step", "reason", "detail", "story"]
"""Columns in which the same values stand again and again."""


class Rows:
    """A Parquet file that is there once it has a row."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self.count = 0
        """Rows that are written."""
        self._schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in columns])
        self._waiting: list[tuple[str | int, ...]] = []
        self._characters = 0
        self._writer: Any = None

    def add(self, *values: str | int, characters: int) -> None:
        """One row. characters: about how long it is."""
        self._waiting.append(values)
        self._characters += characters
        if self._characters >= CHARACTERS or len(self._waiting) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            repeated = [name for name in _REPEATED if name in self._schema.names]
            settings = {"compression": "zstd", "compression_level": 3, "use_dictionary": repeated, "write_statistics": False}
            self._writer = pq.ParquetWriter(self._path, self._schema, version="2.6", data_page_version="1.0", **settings)
        columns = zip(*self._waiting, strict=True)
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self.count += len(self._waiting)
        self._waiting, self._characters = [], 0

    def close(self) -> None:
        """Write what is left."""
        if self._waiting:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None:
            self.close()
        elif self._writer is not None:
            self._writer.close()


def read_rows(path: Path, columns: Sequence[str] | None = None, *, size: int = 4096) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a file, `size` at a time; none if there is no file."""
    if not path.is_file():
        return
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        chosen = list(columns) if columns else None
        for group in range(file.num_row_groups):  # a batch never holds more than was written at a time
            for batch in file.iter_batches(batch_size=size, row_groups=[group], columns=chosen, use_threads=False):
                yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
