"""Overlap with evaluation files, against a plain-Python search."""

from __future__ import annotations

import gzip
import json
import unicodedata

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.corpus.document import Document
from malmoi.corpus.steps.contamination import decontaminate, evaluation_texts, files_fingerprint, words
from malmoi.corpus.steps.spec import DecontaminateSpec

QUESTION = "말모이는 1911년 무렵에 주시경과 그의 제자들이 쓰기 시작한 첫 국어사전 원고이다"


def step_for(path, **settings):
    return decontaminate(DecontaminateSpec(files=(str(path),), **settings))


def filler(count: int) -> str:
    return " ".join(f"낱말{number}" for number in range(count))


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"id": 1, "question": {"text": QUESTION}, "answers": ["주시경", "원고는 지금 어디에 있는가"]}) + "\n")
    return path


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        f"{filler(50)} {QUESTION} {filler(50)}",
        f"앞말 {QUESTION.replace(' ', ', ').upper()}!",
        QUESTION.replace(" ", "\n"),
        unicodedata.normalize("NFD", QUESTION),
        " ".join(QUESTION.split()[:8]) + " 그리고 다른 말",
        f"{filler(20)} 원고는 지금 어디에 있는가?",
    ],
)
def test_a_document_with_text_of_the_file_goes(questions, text):
    removal = step_for(questions)(Document("a", text))
    assert removal.reason == "evaluation" and removal.detail.startswith("questions.jsonl: ")


@pytest.mark.parametrize(
    "text",
    ["", "주시경", filler(100), " ".join(QUESTION.split()[:7]), " ".join(reversed(QUESTION.split())), "원고는 지금 어디에 숨어 있는가"],
)
def test_other_documents_stay(questions, text):
    assert step_for(questions)(Document("a", text)) is None


def test_the_share_counts_n_grams(questions):
    text = f"{QUESTION} {filler(107 - len(words(QUESTION)))}"  # 100 n-grams, of them words - 7 held
    held = len(words(QUESTION)) - 7
    assert step_for(questions)(Document("a", text)).detail == f"questions.jsonl: {held / 100:.4f} of the n-grams"
    assert step_for(questions, share=held / 100)(Document("a", text)) is not None
    assert step_for(questions, share=held / 100 + 0.001)(Document("a", text)) is None


@settings(max_examples=150)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=4, max_size=9), min_size=1, max_size=3),
    st.lists(st.sampled_from("abcde"), max_size=25),
    st.integers(2, 7),
)
def test_share_is_that_of_a_plain_search(tmp_path_factory, texts, document, ngram):
    path = tmp_path_factory.mktemp("evaluation") / "texts.txt"
    path.write_text("\n".join(" ".join(text) for text in texts))
    grams = {tuple(text[place : place + min(ngram, len(text))]) for text in texts for place in range(max(1, len(text) - ngram + 1))}
    begins = [any(tuple(document[place : place + len(gram)]) == gram for gram in grams) for place in range(len(document))]
    removal = step_for(path, ngram=ngram)(Document("a", " ".join(document)))
    expected = min(1, sum(begins) / max(1, len(document) - ngram + 1))
    assert (removal.detail if removal else None) == (f"texts.txt: {expected:.4f} of the n-grams" if expected else None)


def test_every_kind_of_file_gives_its_texts(tmp_path):
    rows = [{"문장": "가 나 다 라", "쌍": ["마 바", {"더": "사 아"}], "수": 3}]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8-sig")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(rows[0]).encode() + b"\n\n"))
    (tmp_path / "a.tsv").write_text('문장\t"쌍\n가 나 다 라\t마 바\n')
    (tmp_path / "a.csv").write_text('문장,쌍\n"가, ""나""\n다 라",마 바\n')
    (tmp_path / "a.txt").write_text("가 나 다 라\n마 바")
    parquet.write_table(pa.Table.from_pylist([{"문장": "가 나 다 라", "쌍": [{"더": "마 바"}], "수": 3}]), tmp_path / "a.parquet")
    found = {path.name: list(evaluation_texts(path)) for path in tmp_path.iterdir()}
    nested = ["가 나 다 라", "마 바", "사 아"]
    assert found["a.json"] == found["a.jsonl.gz"] == nested
    assert found["a.tsv"] == ["문장", '"쌍', "가 나 다 라", "마 바", ""]
    assert found["a.csv"] == ["문장", "쌍", '가, "나"\n다 라', "마 바"]
    assert found["a.txt"] == ["가 나 다 라", "마 바"]
    assert found["a.parquet"] == nested[:2]


def test_the_file_with_most_of_the_text_is_named(tmp_path):
    for folder, text in (("one", filler(9)), ("two", QUESTION)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.txt").write_text(text)
    step = decontaminate(DecontaminateSpec(files=(str(tmp_path / "one/test.txt"), str(tmp_path / "two/test.txt"))))
    assert step(Document("a", f"{QUESTION} {filler(9)}")).detail.startswith("two/test.txt: ")
    assert step(Document("a", filler(30))).detail.startswith("one/test.txt: ")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.json", b"{", "M149"),
        ("a.json", b"[" * 100_000, "M149"),
        ("a.txt", "한 두 세 네 말".encode("cp949"), "M149"),
        ("a.pdf", b"%PDF", "M149"),
        ("a.txt", "낱말\n하나씩\n있는\n파일\n".encode(), "M149"),
        ("a.txt.gz", gzip.compress(b"one two three four five")[:-9], "M015"),
        ("a.parquet", b"PAR1 and no more", "M149"),
        (None, b"", "M010"),
    ],
)
def test_what_cannot_be_compared_with_is_refused_by_name(tmp_path, name, content, code):
    path = tmp_path / (name or "missing.txt")
    if name:
        path.write_bytes(content)
    with pytest.raises(MalmoiError, match=f"{code}.*{path.name}"):
        step_for(path)


def test_no_files_remove_nothing():
    assert decontaminate(DecontaminateSpec())(Document("a", QUESTION)) is None


def test_the_fingerprint_is_that_of_the_content(tmp_path, questions):
    spec = DecontaminateSpec(files=(str(questions),))
    before = files_fingerprint(spec)
    moved = tmp_path / "elsewhere" / questions.name
    moved.parent.mkdir()
    moved.write_bytes(questions.read_bytes())
    assert files_fingerprint(DecontaminateSpec(files=(str(moved),))) == before
    questions.write_text(questions.read_text() + " ")
    assert files_fingerprint(spec) != before
    with pytest.raises(MalmoiError, match="M010"):
        files_fingerprint(DecontaminateSpec(files=("nowhere.txt",)))
