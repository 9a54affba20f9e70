"""Shards come back as they were written, and a directory that is not what was written is refused by the name of the file."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.artifact import seal, sha256
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import CharacterSpec
from malmoi.shards import Shards, Streams, write_shards
from malmoi.vocab import UNK, Vocabulary

DOCUMENTS = [["a", "b", "a"], [], ["c"], ["b", "never", "seen", "a", "c"], ["a"] * 9]


class Ids:
    """A vocabulary of `size` ids that stands for no words: what write_shards needs for arrays of ids."""

    def __init__(self, size: int) -> None:
        self.size, self.fingerprint = size, f"{size:064d}"

    def __len__(self) -> int:
        return self.size


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build({"a": 9, "b": 5, "c": 2}, CharacterSpec(length=8))


@pytest.fixture
def directory(tmp_path: Path, vocabulary: Vocabulary) -> Path:
    write_shards(tmp_path / "shards", DOCUMENTS, vocabulary, shard_tokens=4)
    return tmp_path / "shards"


def test_words_come_back_as_ids(directory: Path, vocabulary: Vocabulary) -> None:
    shards = Shards.open(directory, vocabulary)
    ids = [vocabulary.id_of(word) for document in DOCUMENTS for word in document]
    assert (shards.tokens, shards.documents) == (18, 5)
    assert shards.ends.tolist() == [3, 3, 4, 9, 18] and shards.ends.dtype == np.int64
    assert shards.ids(0, 18).tolist() == ids and UNK in ids
    assert shards.ids(3, 7).tolist() == ids[3:7] and shards.ids(0, 1).dtype == np.int64
    assert shards.take(np.array([[17, 0], [4, 3]])).tolist() == [[ids[17], ids[0]], [ids[4], ids[3]]]
    assert shards.lengths.tolist() == [3, 0, 1, 5, 9]
    assert sorted(path.name for path in directory.iterdir()) == ["ends.bin", *(f"ids-0000{k}.bin" for k in range(5)), "manifest.json"]
    assert [(directory / f"ids-0000{k}.bin").stat().st_size for k in range(5)] == [8, 8, 8, 8, 4]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["kind"] == "shards" and manifest["parents"] == {"vocabulary": vocabulary.fingerprint}
    assert manifest["tokens"] == 18 and manifest["documents"] == 5


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 69_999), max_size=9), max_size=7), st.integers(1, 20))
def test_the_cut_into_files_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], shard_tokens: int
) -> None:
    arrays = [np.array(document, dtype=np.int64) for document in documents]
    written = write_shards(tmp_path_factory.mktemp("shards") / "s", arrays, Ids(70_000), shard_tokens=shard_tokens)
    memory = Shards.of(np.concatenate([np.empty(0, np.int64), *arrays]), np.cumsum([len(document) for document in documents]))
    assert written.ids(0, written.tokens).tolist() == memory.ids(0, memory.tokens).tolist()
    assert written.ends.tolist() == memory.ends.tolist()
    assert written.fingerprint == memory.fingerprint
    if documents:
        here, there = (Streams(shards, None, 1, 5, 3) for shards in (written, memory))
        assert here.fingerprint == there.fingerprint
        assert all(torch.equal(here.batch(step).ids, there.batch(step).ids) for step in range(4))


def test_the_fingerprint_tells_documents_apart() -> None:
    ids = np.array([3, 4, 5, 6])
    prints = {Shards.of(ids, np.array(ends)).fingerprint for ends in ([4], [2, 4], [1, 4], [1, 1, 4])}
    assert len(prints) == 4
    assert Shards.of(np.array([3, 4, 5, 7]), np.array([4])).fingerprint not in prints


@pytest.mark.parametrize(("size", "dtype", "width"), [(65_536, "<u2", 2), (65_537, "<u4", 4)])
def test_ids_take_two_bytes_where_all_fit(tmp_path: Path, size: int, dtype: str, width: int) -> None:
    shards = write_shards(tmp_path / "s", [np.array([size - 1, 0])], Ids(size))
    assert shards.ids(0, 2).tolist() == [size - 1, 0]
    assert json.loads((tmp_path / "s/manifest.json").read_text())["dtype"] == dtype
    assert (tmp_path / "s/ids-00000.bin").stat().st_size == 2 * width


@pytest.mark.parametrize(("size", "ids", "named"), [(70, [3, 70], "id 70"), (70, [-1, 3], "id -1"), ((1 << 32) + 1, [3], "id 4294967296")])
def test_an_id_that_does_not_fit_is_refused(tmp_path: Path, size: int, ids: list[int], named: str) -> None:
    write_shards(tmp_path / "s", [np.array([1, 2])], Ids(70))
    with pytest.raises(MalmoiError, match=f"M023: {named} does not fit"):
        write_shards(tmp_path / "s", [np.array([1, 2]), np.array(ids)], Ids(size))
    assert Shards.open(tmp_path / "s", Ids(70)).tokens == 2, "what stood there before is lost"
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_another_vocabulary_is_refused(directory: Path) -> None:
    other = Vocabulary.build({"a": 9, "b": 5, "d": 2}, CharacterSpec(length=8))
    with pytest.raises(MalmoiError, match=f"M022: {directory} was made with another vocabulary"):
        Shards.open(directory, other)


def test_every_flipped_bit_is_found_and_named(directory: Path, vocabulary: Vocabulary) -> None:
    """Each bit of every data file, and bits all over the manifest."""
    for path in sorted(directory.iterdir()):
        content = path.read_bytes()
        every = range(8 * len(content)) if path.suffix == ".bin" else range(0, 8 * len(content), 23)
        for bit in every:
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(MalmoiError) as refusal:
                Shards.open(directory, vocabulary)
            assert refusal.value.code == ("M020" if path.suffix == ".bin" else "M006"), (path, bit)
            assert str(path if path.suffix == ".bin" else directory) in refusal.value.message
        path.write_bytes(content)
    assert Shards.open(directory, vocabulary).tokens == 18


def test_a_missing_or_swapped_or_cut_file_is_named(directory: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    for path in sorted(directory.iterdir()):
        kept = path.rename(tmp_path / "kept")
        with pytest.raises(MalmoiError, match=f"M006: {directory}" if path.name == "manifest.json" else f"M021: {path}"):
            Shards.open(directory, vocabulary)
        path.write_bytes(kept.read_bytes()[: kept.stat().st_size // 2])
        with pytest.raises(MalmoiError, match=f"(M006|M020): {path}"):
            Shards.open(directory, vocabulary)
        kept.rename(path)
    first, second = directory / "ids-00000.bin", directory / "ids-00002.bin"
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1]), second.write_bytes(contents[0])
    with pytest.raises(MalmoiError, match=f"M020: {first}"):
        Shards.open(directory, vocabulary)


def test_a_file_of_other_shards_is_named(directory: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    """Same vocabulary, same sizes, another corpus."""
    write_shards(tmp_path / "other", [list(reversed(document)) for document in DOCUMENTS], vocabulary, shard_tokens=4)
    shutil.copy(tmp_path / "other/ids-00001.bin", directory / "ids-00001.bin")
    with pytest.raises(MalmoiError, match=f"M020: {directory}/ids-00001.bin"):
        Shards.open(directory, vocabulary)


@pytest.mark.parametrize(
    ("name", "place", "value", "code"), [("ids-00001.bin", 1, 6, "M023"), ("ends.bin", 2, 2, "M006"), ("ends.bin", 4, 17, "M006")]
)
def test_a_consistent_manifest_does_not_excuse_impossible_content(
    directory: Path, vocabulary: Vocabulary, name: str, place: int, value: int, code: str
) -> None:
    """What a faulty writer, rather than a faulty disk, would leave behind: checksums that are right for wrong numbers."""
    content = np.fromfile(directory / name, "<u2" if name != "ends.bin" else "<i8")
    content[place] = value
    content.tofile(directory / name)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = sha256(directory / name)
    seal(directory / "manifest.json", manifest)
    with pytest.raises(MalmoiError, match=f"{code}: .*{name}"):
        Shards.open(directory, vocabulary)


SENTENCES = st.lists(
    st.integers(0, 9).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, max(n, 1)), max_size=4))), max_size=7
)


@settings(deadline=None, max_examples=60)
@given(SENTENCES, st.integers(1, 12))
def test_sentences_come_back(tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[int, list[int]]], block: int) -> None:
    """Places that name no token of their document (a sentence without tokens) are left out."""
    pairs = [(np.arange(n), np.array(starts, dtype=np.int64)) for n, starts in documents]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("malmoi.shards.store.BLOCK", block)
        written = write_shards(tmp_path_factory.mktemp("shards") / "s", pairs, Ids(70))
    if not documents:
        assert written.breaks is None
        return
    before = np.cumsum([0] + [n for n, _ in documents]).tolist()
    expected = [before[index] + start for index, (n, starts) in enumerate(documents) for start in sorted(set(starts)) if start < n]
    assert written.breaks is not None and written.breaks.tolist() == expected and written.breaks.dtype == np.int64
    memory = Shards.of(written.ids(0, written.tokens), written.ends, breaks=np.array(expected, dtype=np.int64))
    assert written.fingerprint == memory.fingerprint != Shards.of(written.ids(0, written.tokens), written.ends).fingerprint
    if expected:
        other = np.array(expected) + 1
        assert memory.fingerprint != Shards.of(written.ids(0, written.tokens), written.ends, breaks=other).fingerprint


def test_every_flipped_bit_of_the_breaks_is_found(tmp_path: Path) -> None:
    pairs = [(np.arange(9), np.array([0, 4, 7])), (np.arange(3), np.array([0]))]
    write_shards(tmp_path / "s", pairs, Ids(70))
    path = tmp_path / "s/breaks.bin"
    content = path.read_bytes()
    assert np.frombuffer(content, "<i8").tolist() == [0, 4, 7, 9]
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(MalmoiError, match=f"M020: {path}"):
            Shards.open(tmp_path / "s", Ids(70))
    path.unlink()
    with pytest.raises(MalmoiError, match=f"M021: {path}"):
        Shards.open(tmp_path / "s", Ids(70))


@pytest.mark.parametrize("breaks", [[0, 4, 4, 9], [0, 4, 7, 12], [-1, 4, 7, 9], [4, 0, 7, 9], [0, 4, 7]])
def test_impossible_breaks_are_refused(tmp_path: Path, breaks: list[int]) -> None:
    write_shards(tmp_path / "s", [(np.arange(9), np.array([0, 4, 7])), (np.arange(3), np.array([0]))], Ids(70))
    np.array(breaks, "<i8").tofile(tmp_path / "s/breaks.bin")
    manifest = json.loads((tmp_path / "s/manifest.json").read_text())
    manifest["files"]["breaks.bin"]["sha256"] = sha256(tmp_path / "s/breaks.bin")
    seal(tmp_path / "s/manifest.json", manifest)
    with pytest.raises(MalmoiError, match="M006: .*breaks.bin"):
        Shards.open(tmp_path / "s", Ids(70))


def test_sentences_of_some_documents_only_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="in all documents or in none"):
        write_shards(tmp_path / "s", [(np.arange(9), np.array([0])), np.arange(3)], Ids(70))


def test_documents_are_streamed(tmp_path: Path) -> None:
    """8 million ids pass through a tenth of the memory that they would take together."""

    def documents() -> Iterator[np.ndarray]:
        for start in range(8000):
            yield np.arange(start, start + 1000)

    tracemalloc.start()
    shards = write_shards(tmp_path / "s", documents(), Ids(100_000), shard_tokens=1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert shards.tokens == 8_000_000 and len(list(tmp_path.glob("s/ids-*"))) == 8
    assert shards.ids(999, 1002).tolist() == [999, 1, 2]
    assert peak < 45e6, f"{peak / 1e6:.0f} MB"
