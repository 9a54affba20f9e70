"""The story of one document: what its rows hold, in sentences."""

import json

import pytest

from malmoi.core.artifact import write_manifest
from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.rows import KEPT, REMOVED, Rows
from malmoi.corpus.report.explain import explain


def kept(id, text="글", meta=None, story=()):
    return (id, text, json.dumps(meta or {}), json.dumps(list(story)))


def removed(id, step, reason, *, detail="", part=False, text="글", of="", story=()):
    return (id, step, reason, detail, part, text, of, json.dumps(list(story)))


@pytest.fixture
def corpus(tmp_path):
    """A finished corpus of a few rows, in several files and row groups."""
    changes = [["repair", {"cp949": 2}, 40, 38], ["noise", {}, 38, 20], ["foreign", {"flag han_run": "12"}, 20, 20]]
    rows = {
        "train/part-00000": [kept(f"web/a.txt:{number}", f"글 {number}") for number in range(1, 40)],
        "train/part-00001": [kept("b.html", "남은 글\n둘째 줄", {"title": "제목", "charset": "euc-kr"}, changes)],
        "valid/part-00000": [kept("c.jsonl:7", "나" * 900)],
        "removed/part-00000": [
            removed("b.html", "noise", "press", part=True, text="홍길동 기자"),
            removed("b.html", "noise", "copyright", part=True, text="ⓒ " + "가" * 500),
            removed("web/a.txt:99", "length", "short", detail="3 < 20 characters", story=[["length", "short", 3, 0]]),
            *(removed(f"d.txt:{number}", "near", "near_duplicate", of="b.html") for number in range(8)),
            removed("e.txt:1", "exact", "duplicate", of="c.jsonl:7"),
        ],
    }
    for name, values in rows.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        with Rows(path, REMOVED if name.startswith("removed") else KEPT) as file:
            for row in values:
                file.add(*row, characters=2 << 20 if row[0].startswith("web/") else 1)  # some rows a group
    write_manifest(tmp_path, "corpus", {})
    return tmp_path


def test_a_document_that_was_changed_and_kept(corpus):
    story = explain(corpus, "b.html")
    assert story["ended"] == "train" and story["text"] == "남은 글\n둘째 줄" and story["meta"]["charset"] == "euc-kr"
    assert story["duplicates"] == [f"d.txt:{number}" for number in range(8)]
    assert story["sentences"] == [
        "It was read from b.html (title 제목, charset euc-kr).",
        "repair: cp949 2, 40 characters became 38.",
        "noise: 38 characters became 20.",
        "noise took out 6 characters (press): “홍길동 기자”.",
        "noise took out 502 characters (copyright): “ⓒ " + "가" * 117 + "…”.",
        "foreign: flag han run 12, still 20 characters.",
        "It is kept, in train, with 9 characters.",
        "It stands in the place of d.txt:0, d.txt:1, d.txt:2, d.txt:3, d.txt:4 and 3 more.",
    ]


def test_a_document_that_was_removed(corpus):
    story = explain(corpus, "web/a.txt:99")
    assert (story["ended"], story["step"], story["reason"]) == ("removed", "length", "short")
    assert story["sentences"] == ["It was read from web/a.txt, at 99.", "It was removed by length: short, 3 < 20 characters."]


def test_a_duplicate_names_the_document_that_stays(corpus):
    story = explain(corpus, "e.txt:1")
    assert story["duplicate_of"] == "c.jsonl:7"
    assert story["sentences"][-1] == "c.jsonl:7 stands in its place, in valid."


@pytest.mark.parametrize("number", [1, 2, 3, 17, 39])
def test_rows_of_every_group_are_found(corpus, number):
    assert explain(corpus, f"web/a.txt:{number}")["text"] == f"글 {number}"


def test_only_the_beginning_of_a_text_is_given(corpus):
    story = explain(corpus, "c.jsonl:7")
    assert story["text"] == "나" * 500 and story["characters"] == 900


@pytest.mark.parametrize(
    ("id", "hint"), [("b.htm", "did you mean 'b.html'?"), ("web/a.txt:999", "'web/a.txt:99'"), ("zzzzzzzzzzzz", "corpus")]
)
def test_an_id_that_is_not_there_names_the_nearest(corpus, id, hint):
    with pytest.raises(MalmoiError) as caught:
        explain(corpus, id)
    assert caught.value.code == "M144" and hint in str(caught.value) + "corpus" and repr(id) in str(caught.value)
    assert ("did you mean" in str(caught.value)) == (id[0] != "z")


def test_a_directory_that_is_no_cleaned_corpus(corpus, tmp_path):
    (corpus / "manifest.json").unlink()
    with pytest.raises(MalmoiError, match="M006") as caught:
        explain(corpus, "b.html")
    assert "--profile" in caught.value.next


def test_a_damaged_file_is_named(corpus):
    (corpus / "valid" / "part-00000.parquet").write_bytes(b"PAR1 not more")
    with pytest.raises(MalmoiError, match="M015.*part-00000.parquet"):
        explain(corpus, "b.html")
