"""The files of `embed`, read back by numpy and pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmoi.core.errors import MalmoiError
from malmoi.readout import write_vectors, writers

RANDOM = np.random.default_rng(0)
WORDS = [["a", "말"], [], ["b", "c", "d"], ["e"]]
PLAIN = [(words, RANDOM.normal(size=(len(words), 4)).astype(np.float32)) for words in WORDS]
LAYERS = [(words, RANDOM.normal(size=(3, len(words), 4)).astype(np.float32)) for words in WORDS]
POOLED = [(words, RANDOM.normal(size=4).astype(np.float32)) for words in WORDS]


@pytest.mark.parametrize("lines", [PLAIN, LAYERS, POOLED], ids=["plain", "layers", "pooled"])
def test_npz_holds_one_array_a_line(lines: list[tuple[list[str], np.ndarray]], tmp_path: Path) -> None:
    assert write_vectors(tmp_path / "out.npz", iter(lines)) == 4
    with np.load(tmp_path / "out.npz") as found:
        assert found.files == ["0", "1", "2", "3"]
        for number, (_, vectors) in enumerate(lines):
            assert found[str(number)].dtype == np.float32
            np.testing.assert_array_equal(found[str(number)], vectors)


@pytest.mark.parametrize("limit", [1, 1 << 20])
def test_parquet_holds_one_row_a_word(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "ROW_GROUP_FLOATS", limit)
    assert write_vectors(tmp_path / "out.parquet", iter(PLAIN)) == 4
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["line", "token", "vector"]
    assert [table.schema.field(name).type for name in table.schema.names] == [pa.int64(), pa.string(), pa.list_(pa.float32())]
    assert table["line"].to_pylist() == [0, 0, 2, 2, 2, 3]
    assert table["token"].to_pylist() == ["a", "말", "b", "c", "d", "e"]
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), np.concatenate([vectors for _, vectors in PLAIN]))


def test_parquet_of_layers_and_of_lines(tmp_path: Path) -> None:
    write_vectors(tmp_path / "layers.parquet", iter(LAYERS))
    rows = np.array(pq.read_table(tmp_path / "layers.parquet")["vector"].to_pylist(), np.float32)
    np.testing.assert_array_equal(rows, np.concatenate([vectors.swapaxes(0, 1) for _, vectors in LAYERS]))
    write_vectors(tmp_path / "lines.parquet", iter(POOLED), pooled=True)
    table = pq.read_table(tmp_path / "lines.parquet")
    assert table["line"].to_pylist() == [0, 1, 2, 3] and table["token"].to_pylist() == [None] * 4
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), np.array([vectors for _, vectors in POOLED]))
    pooled_layers = [(words, vectors.sum(axis=1)) for words, vectors in LAYERS]
    write_vectors(tmp_path / "both.parquet", iter(pooled_layers), pooled=True)
    both = np.array(pq.read_table(tmp_path / "both.parquet")["vector"].to_pylist(), np.float32)
    np.testing.assert_array_equal(both, np.array([vectors for _, vectors in pooled_layers]))


@pytest.mark.parametrize("name", ["out.npz", "out.parquet"])
def test_no_lines(name: str, tmp_path: Path) -> None:
    assert write_vectors(tmp_path / name, iter(())) == 0
    if name == "out.npz":
        assert np.load(tmp_path / name).files == []
    else:
        assert pq.read_table(tmp_path / name).schema.names == ["line", "token", "vector"]


@pytest.mark.parametrize("name", ["out.npz", "out.parquet"])
def test_a_broken_write_leaves_what_was_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "ROW_GROUP_FLOATS", 1)
    (tmp_path / name).write_text("before")

    def stops() -> Iterator[tuple[list[str], np.ndarray]]:
        yield PLAIN[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_vectors(tmp_path / name, stops())
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "before"


@pytest.mark.parametrize("name", ["out.csv", "out", "npz"])
def test_unknown_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(MalmoiError, match="M009"):
        write_vectors(tmp_path / name, iter(PLAIN))
    assert not list(tmp_path.iterdir())
