"""Between the two halves of a cleaning: what the global steps decided, cut back into shards.

What is written: NNNNN.parquet a shard, with a row for each document that does not stay as it is, and the manifest (kind
"corpus-decisions"). So the second half of a shard depends on its own documents alone, and is not done again when others come.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from malmoi.core.artifact import read_manifest, writing
from malmoi.corpus.cleaning.duplicates import EXACT, NEAR, Decisions, decide
from malmoi.corpus.cleaning.mapping import KIND as MAP
from malmoi.corpus.files.rows import Rows, read_rows
from malmoi.corpus.steps.spec import Global

KIND = "corpus-decisions"
COLUMNS = ("row", "step", "duplicate_of", "lines")
"""row: place among the documents that the first half of the shard kept; step: kind of the step that removes it, or ""; lines: numbers of
lines to take out, separated by blanks."""
_STEPS = {0: "", EXACT: "exact", NEAR: "near"}


def write_decisions(maps: Sequence[Path], steps: Sequence[Global], *, out: Path) -> None:
    """Decide over the shards whose first halves lie in `maps`, in order."""
    counts = [read_manifest(path, MAP)["chunks"] for path in maps]
    with writing(out, KIND) as (place, facts):
        files = [path / f"signatures-{chunk:05d}.npz" for path, chunks in zip(maps, counts, strict=True) for chunk in range(len(chunks))]
        found = decide(files, steps, work=place)
        ids = _Ids(place / ".ids", found, maps)
        begin = 0
        for number, chunks in enumerate(counts):
            _write(place / f"{number:05d}.parquet", found, ids, slice(begin, begin + sum(chunks)))
            begin += sum(chunks)
        ids.close()
        facts["documents"] = begin


def _write(path: Path, found: Decisions, ids: _Ids, shard: slice) -> None:
    """The documents of one shard that do not stay as they are."""
    step_N, first_N = found.step_N[shard], found.first_N[shard]
    lines_N = np.diff(found.offset_N[shard.start : shard.stop + 1])
    with Rows(path, COLUMNS) as rows:
        for row in np.flatnonzero((step_N > 0) | (lines_N > 0)).tolist():
            step = _STEPS[int(step_N[row])]
            of = ids[int(first_N[row])] if step else ""
            lines = " ".join(map(str, found.lines(shard.start + row)))
            rows.add(row, step, of, lines, characters=len(of) + len(lines) + 16)


class _Ids:
    """The ids of the documents that stand in the place of others, by their number, in a file: there may be more than fit in memory."""

    def __init__(self, path: Path, found: Decisions, maps: Sequence[Path]) -> None:
        self._rows = np.unique(found.first_N[found.step_N > 0])
        self._ends = np.zeros(len(self._rows) + 1, np.int64)
        self._path = path
        done = base = 0
        with open(path, "wb") as file:
            for each in maps:
                for batch in read_rows(each / "kept.parquet", ("id",), size=1 << 14):
                    until = int(np.searchsorted(self._rows, base + len(batch)))
                    for place in range(done, until):
                        id = batch[int(self._rows[place]) - base][0].encode()
                        self._ends[place + 1] = self._ends[place] + file.write(id)
                    done, base = until, base + len(batch)
        assert done == len(self._rows)
        self._file = open(path, "rb")

    def __getitem__(self, row: int) -> str:
        place = int(np.searchsorted(self._rows, row))
        begin, end = int(self._ends[place]), int(self._ends[place + 1])
        return os.pread(self._file.fileno(), end - begin, begin).decode()

    def close(self) -> None:
        """Nothing is left of them."""
        self._file.close()
        self._path.unlink()
