from __future__ import annotations

import gzip
import json
import lzma
import tracemalloc
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import TextSpec
from malmoi.corpus import read
from malmoi.corpus.files import compressed

LINE, FILE, PARAGRAPH = TextSpec(document="line"), TextSpec(document="file"), TextSpec()
TEXT = "첫 문단의 첫 줄\n둘째 줄\n\n \t\nsecond paragraph\r\nwith two lines\r\rthird\n"
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


def found(path: Path, spec: TextSpec = PARAGRAPH) -> list[tuple[str, str]]:
    return [(document.id.removeprefix(f"{path}:"), document.text) for document in read([path], spec)]


def refusal(path: Path | list[Path], spec: TextSpec = PARAGRAPH) -> str:
    with pytest.raises(MalmoiError) as failure:
        list(read(path, spec))
    assert "next:" in str(failure.value)
    return str(failure.value)


@pytest.fixture(params=[1 << 20, 1, 7])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces so small that every border falls inside of lines, characters and line ends once."""
    monkeypatch.setattr(compressed, "CHUNK", request.param)
    monkeypatch.setattr(compressed, "_ZSTD_INPUT", request.param)
    return int(request.param)


@pytest.mark.parametrize("suffix", PACK)
def test_text_by_paragraph_line_and_file(tmp_path: Path, suffix: str, chunk: int) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(PACK[suffix](TEXT.encode()))
    assert found(path) == [("1", "첫 문단의 첫 줄\n둘째 줄"), ("5", "second paragraph\nwith two lines"), ("8", "third")]
    lines = [("1", "첫 문단의 첫 줄"), ("2", "둘째 줄"), ("5", "second paragraph"), ("6", "with two lines"), ("8", "third")]
    assert found(path, LINE) == lines
    [(number, whole)] = found(path, FILE)
    assert number == "1" and whole == "첫 문단의 첫 줄\n둘째 줄\n\n \t\nsecond paragraph\nwith two lines\n\nthird"


@given(
    text=st.text(st.sampled_from("ab é한\u0301각\n\n\r\u2028\u0085\t\ufeff🙂")),
    size=st.integers(1, 9),
    suffix=st.sampled_from(list(PACK)),
)
@settings(max_examples=150, deadline=None)
def test_lines_agree_with_a_slow_reading(tmp_path_factory: pytest.TempPathFactory, text: str, size: int, suffix: str) -> None:
    path = tmp_path_factory.mktemp("read") / f"a.txt{suffix}"
    path.write_bytes(PACK[suffix](text.encode()))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [unicodedata.normalize("NFC", line.removeprefix("\ufeff")) for line in lines]
    expected = [(str(number), line) for number, line in enumerate(lines, 1) if line.strip()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "CHUNK", size)
        if expected:
            assert found(path, LINE) == expected
        else:
            assert refusal(path, LINE).startswith("M013")


def test_normal_form_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + unicodedata.normalize("NFD", "한국어 é").encode())
    assert found(path) == [("1", "한국어 é")]


@pytest.mark.parametrize("suffix", PACK)
def test_invalid_utf8_is_named_with_file_and_line(tmp_path: Path, suffix: str, chunk: int) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(PACK[suffix](b"one\r\ntwo\n\nfo\xe9ur\nfive\n"))
    assert refusal(path) == (
        f"M011: {path} line 4: byte 0xe9 is not valid UTF-8. "
        "next: re-encode the file as UTF-8 (for old Korean files: iconv -f CP949 -t UTF-8)."
    )
    path.write_bytes(PACK[suffix]("한국어".encode("cp949")))
    assert refusal(path).startswith(f"M011: {path} line 1")


def test_a_character_cut_off_by_the_end_is_a_half_written_file(tmp_path: Path, chunk: int) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("한국어".encode()[:-1])
    assert refusal(path).startswith("M015")
    path.write_bytes(b"caf\xe9")
    assert refusal(path).startswith("M011")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_every_cut_of_a_compressed_file_is_noticed(tmp_path: Path, suffix: str, name: str) -> None:
    whole = PACK[suffix](b'{"text": "some words"}\n' * 20)
    path = tmp_path / (name + suffix)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert refusal(path)[:4] in {"M015", "M014"}, length
    for suspect in (whole[:-1], whole[: len(whole) // 2], b""):
        path.write_bytes(suspect)
        assert refusal(path).startswith("M015")


def test_a_flipped_bit_and_frames_in_a_row(tmp_path: Path) -> None:
    for suffix in (".gz", ".xz", ".zst"):
        path = tmp_path / f"a.txt{suffix}"
        path.write_bytes(PACK[suffix](b"one\n") + PACK[suffix](b"two\n"))
        assert found(path, LINE) == [("1", "one"), ("2", "two")]
    broken = bytearray(gzip.compress(b"some words " * 100, mtime=0))
    broken[-6] ^= 1
    (tmp_path / "b.txt.gz").write_bytes(broken)
    assert refusal(tmp_path / "b.txt.gz").startswith("M015")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.txt", b"words\nmore\0words\n", "NUL byte in line 2"),
        ("a.txt", b"%PDF-1.7\n%words", "PDF"),
        ("a.txt", b"PAR1words", "Parquet"),
        ("a.txt", "words".encode("utf-16"), "UTF-16"),
        ("a.txt.gz", gzip.compress(b"\x89PNG words", mtime=0), "PNG"),
        ("a.txt.gz", b"words", "content is not gz"),
        ("a.parquet", b"words", "not Parquet"),
        ("a.csv", b"a,b\n", "markup"),
    ],
)
def test_what_is_not_text_is_refused(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).startswith("M014") and what in refusal(path)


def test_compressed_content_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "wiki_00").write_bytes(gzip.compress(b"some words", mtime=0))
    assert found(tmp_path / "wiki_00") == [("1", "some words")]


def test_empty_files_among_others_are_passed_over_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text(" \n\n")
    assert refusal(tmp_path / "a.txt").startswith("M013") and refusal(tmp_path).startswith("M013")
    (tmp_path / "c.txt").write_text("words")
    (tmp_path / "d.jsonl").write_text('{"text": "x"}\n\n{"text": " "}\n{"text": null}\n')
    heard: list[str] = []
    texts = [document.text for document in read([tmp_path], PARAGRAPH, notice=lambda failure: heard.append(str(failure)[:4]))]
    assert texts == ["words", "x"] and heard == ["M013", "M013", "M016", "M016"]


def test_long_lines_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with open(path, "wb") as file:
        file.write(b"first line\n")
        for _ in range(50):
            file.write(b"words of it " * 87381)
        file.write(b"\nlast line\n")
    tracemalloc.start()
    for spec in (LINE, PARAGRAPH):
        assert refusal(path, spec).startswith(f"M018: {path} line 2")
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    [(_, whole)] = found(path, FILE)
    assert len(whole) == path.stat().st_size - 1


def test_the_length_of_a_line_is_judged_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from malmoi.corpus.files.blocks import blocks

    path = tmp_path / "a.txt"
    for size in (1, 3, 7):  # a piece is never longer than the limit
        monkeypatch.setattr(compressed, "CHUNK", size)
        path.write_bytes(b"ab\r\n" + b"x" * 20 + b"\ncd")
        assert "\n".join(block for _, block in blocks(path, limit=20, what="line", next="")) == "ab\n" + "x" * 20 + "\ncd"
        with pytest.raises(MalmoiError, match="line 2"):
            list(blocks(path, limit=19, what="line", next=""))


def test_a_file_without_blank_lines_is_no_paragraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malmoi.corpus.reading.readers.LINE_LIMIT", 100)
    (tmp_path / "a.txt").write_text("short\n\n" + "a line of words\n" * 10)
    assert refusal(tmp_path / "a.txt").startswith(f"M018: {tmp_path / 'a.txt'} line 3") and "--document line" in refusal(tmp_path / "a.txt")
    assert len(found(tmp_path / "a.txt", LINE)) == 11


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "\\ud55c\\uad6d e\\u0301\\r\\nx", "id": 1}\r\n\n{"text": "둘"}')
    assert found(path) == [("1", "한국 é\nx"), ("3", "둘")] == found(path, LINE)
    assert refusal(path, TextSpec(field="txt")).startswith("M019") and "'text'" in refusal(path, TextSpec(field="txt"))


@pytest.mark.parametrize(
    ("lines", "code", "where"),
    [
        (['{"text": "a"}', "{", '{"text": "b"}'], "M019", "line 2"),
        (["[1]", '{"text": "b"}'], "M019", "line 1"),
        (['{"text": 5}'], "M019", "line 1"),
        (['{"text": "half \\ud83d"}'], "M019", "line 1"),
        (["[" * 100_000], "M019", "line 1"),
        (["plain text, not JSON"], "M019", "line 1"),
        (['{"text": "a"}', '{"text": "b'], "M015", "line, 2"),
        (['{"text": "b'], "M015", "line, 1"),
    ],
)
def test_json_lines_that_are_not(tmp_path: Path, lines: list[str], code: str, where: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    assert refusal(path).startswith(code) and where in refusal(path)


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("type", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())])
def test_parquet(tmp_path: Path, suffix: str, type: pyarrow.DataType) -> None:
    texts = [f"문서 {number} e\u0301" for number in range(200)]
    texts[7], texts[9] = "", None  # type: ignore[call-overload]
    table = pyarrow.table({"n": list(range(200)), "text": pyarrow.array(texts, pyarrow.string()).cast(type)})
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=64)
    packed = tmp_path / f"a.parquet{suffix}"
    packed.write_bytes(PACK[suffix](path.read_bytes()))
    expected = [(str(row), f"문서 {row - 1} é") for row in range(1, 201) if row not in {8, 10}]
    assert found(packed) == expected
    assert refusal(packed, TextSpec(field="txt")).startswith("M024") and "'text'" in refusal(packed, TextSpec(field="txt"))
    assert refusal(packed, TextSpec(field="n")).startswith("M024")


def test_half_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["words of it"] * 100}), path)
    whole = path.read_bytes()
    for length in (4, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert refusal(path).startswith("M015")
    path.write_bytes(b"")
    assert refusal(path).startswith("M013")


def test_sources_are_looked_up_before_the_first_document(tmp_path: Path) -> None:
    with pytest.raises(MalmoiError):
        read([tmp_path / "missing.txt"], PARAGRAPH)
    (tmp_path / "a.html").write_text("<p>")
    with pytest.raises(MalmoiError):
        read([tmp_path / "a.html"], PARAGRAPH)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.txt").write_text("x")
    monkeypatch.setattr(compressed, "open", refuse, raising=False)
    assert "Permission denied" in refusal(tmp_path / "a.txt")


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "many words of it " * 60}) + "\n")
    line = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(line * 20_000, 1, mtime=0))
    tracemalloc.start()
    assert sum(1 for _ in read([tmp_path], PARAGRAPH)) == 20_001
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
