from __future__ import annotations

import os
from pathlib import Path

import pytest

from malmoi.core.artifact import write_json
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import TextSpec
from malmoi.corpus import read, source_files, source_fingerprint
from malmoi.corpus.files.sources import cleaning_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.jsonl", "deep/c.TXT.gz", "deep/d.parquet", "deep/e.py", ".hidden.txt", ".git/x.txt", "deep/f.txt.zst"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "corpus"


def names(folder: Path, *sources: str | Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in source_files(list(sources))]


def test_a_folder_gives_known_suffixes_at_any_depth_sorted(folder: Path) -> None:
    assert names(folder, folder) == ["a.jsonl", "b.txt", "deep/c.TXT.gz", "deep/d.parquet", "deep/f.txt.zst"]


def test_sources_keep_their_order_and_each_file_stands_once(folder: Path) -> None:
    os.symlink(folder / "b.txt", folder / "z.txt")
    assert names(folder, folder / "b.txt", folder, f"{folder}/deep/../*.txt") == [
        "b.txt", "a.jsonl", "deep/c.TXT.gz", "deep/d.parquet", "deep/f.txt.zst"
    ]  # fmt: skip
    assert source_files(str(folder / "b.txt")) == [folder / "b.txt"]


def test_globs_are_recursive_and_take_any_name(folder: Path) -> None:
    assert names(folder, f"{folder}/**/*.py") == ["deep/e.py"]
    assert names(folder, f"{folder}/de*") == ["deep/c.TXT.gz", "deep/d.parquet", "deep/f.txt.zst"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path: Path) -> None:
    (tmp_path / "part[1].txt").write_text("x")
    assert names(tmp_path, tmp_path / "part[1].txt") == ["part[1].txt"]


def test_a_link_back_into_its_own_folder_ends(folder: Path) -> None:
    os.symlink(folder, folder / "deep" / "again")
    assert len(names(folder, folder)) == 5


def refusal(*sources: str | Path) -> str:
    with pytest.raises(MalmoiError) as failure:
        source_files(list(sources))
    return str(failure.value)


def test_what_is_not_there_names_the_nearest(folder: Path) -> None:
    assert refusal(folder / "b.tx").startswith("M010") and "'b.txt'" in refusal(folder / "b.tx")
    assert "'deep'" in refusal(folder / "depe" / "c.txt") and "M010" in refusal(folder / "depe" / "c.txt")
    assert "M010" in refusal(f"{folder}/*.nothing")
    assert "M010" in refusal("/nowhere-at-all/x.txt")


def test_folders_without_text(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").startswith("M013")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "wiki_00").write_text("x")
    assert refusal(tmp_path / "other").startswith("M014") and "wiki_00" in refusal(tmp_path / "other")
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").startswith("M014")


def test_the_fingerprint_follows_content_and_names_but_not_the_place(folder: Path, tmp_path: Path) -> None:
    before = source_fingerprint([folder])
    moved = folder.rename(tmp_path / "elsewhere")
    assert source_fingerprint([moved]) == before == source_fingerprint(moved)
    (moved / "b.txt").write_text("B.txt")
    edited = source_fingerprint([moved])
    (moved / "b.txt").rename(moved / "bb.txt")
    assert len({before, edited, source_fingerprint([moved])}) == 3


def test_of_a_cleaned_corpus_only_the_training_part_is_read(tmp_path: Path) -> None:
    for name in ("train", "valid", "test", "removed", "work/x"):
        (tmp_path / "clean" / name).mkdir(parents=True)
        (tmp_path / "clean" / name / "part-00000.txt").write_text(f"from {name}")
    write_json(tmp_path / "clean" / "manifest.json", {"kind": "corpus"})
    (tmp_path / "clean" / "more.txt").write_text("beside")
    assert [document.text for document in read(tmp_path / "clean", TextSpec())] == ["from train"]
    assert names(tmp_path / "clean", tmp_path) == ["train/part-00000.txt"]  # nor by the folder around it
    assert [name for _, name, _ in cleaning_files(tmp_path)] == ["clean/train/part-00000.txt"]
    assert names(tmp_path / "clean", tmp_path / "clean" / "valid") == ["valid/part-00000.txt"]  # unless it is asked for
    write_json(tmp_path / "clean" / "manifest.json", {"kind": "shards"})
    assert len(names(tmp_path / "clean", tmp_path / "clean")) == 6
    (tmp_path / "clean" / "manifest.json").write_text("[not json")
    assert len(names(tmp_path / "clean", tmp_path / "clean")) == 6


def test_cleaning_takes_more_kinds_and_names_the_others(tmp_path: Path) -> None:
    known = {
        "a.txt": "text", "b.jsonl.gz": "jsonl", "c.parquet": "parquet", "d.HTML": "html", "e.htm.xz": "html", "f.xhtml": "html",
        "g.warc.gz": "warc", "h.warc.lz4": "warc",
        "i.warc.wet.gz": "warc", "j.zip": "zip", "k.tar": "tar", "l.tar.zst": "tar", "m.tgz": "tar",
    }  # fmt: skip
    others = ("n.csv", "o.warc.wat.gz", "p", "q.lz4", "r.txt.lz4")
    for name in (*known, *others, ".hidden.txt"):
        (tmp_path / name).write_text("x")
    assert {name: kind for _, name, kind in cleaning_files(tmp_path)} == {**known, **dict.fromkeys(others, "unknown")}
    asked = cleaning_files([tmp_path / "n.csv", tmp_path / "p", tmp_path / "a.txt"])
    assert [kind for _, _, kind in asked] == ["unknown", "text", "text"]
    with pytest.raises(MalmoiError, match="M014.*csv"):
        cleaning_files(tmp_path / "n.csv")
    assert source_files(tmp_path) == [tmp_path / name for name in ("a.txt", "b.jsonl.gz", "c.parquet")]  # training takes what it took
