from __future__ import annotations

import gzip
import json
import lzma
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from malmoi.core.errors import MalmoiError
from malmoi.corpus.reading import lines
from malmoi.corpus.reading.intake import Part, Raw, Refused, Shard, plan, records
from malmoi.corpus.reading.spec import ReadingSpec

PAGE = "<html><body><p>가을로 가득 차 있습니다</p></body></html>"


def reading(document: str = "paragraph", field: str = "text") -> ReadingSpec:
    return ReadingSpec(document=document, field=field)  # type: ignore[arg-type]


def everything(source: object, spec: ReadingSpec | None = None, **options: int) -> list[Raw | Refused]:
    spec = spec or reading()
    return [record for shard in plan(source, spec, **options) for record in records(shard, spec)]  # type: ignore[arg-type]


def texts(source: object, spec: ReadingSpec | None = None, **options: int) -> dict[str, str | None]:
    return {found.id: found.text for found in everything(source, spec, **options) if isinstance(found, Raw)}


def refusals(source: object, spec: ReadingSpec | None = None) -> list[tuple[str, str]]:
    return [(found.id, found.reason) for found in everything(source, spec) if isinstance(found, Refused)]


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


TEXT = "첫째 줄\n둘째 줄\n\n \t\nthird\r\n\r\nfourth\rfifth\n\n\n마지막"


def test_plain_text_by_paragraph_line_and_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", TEXT)
    assert texts(file) == {"a.txt:1": "첫째 줄\n둘째 줄", "a.txt:5": "third", "a.txt:7": "fourth\nfifth", "a.txt:11": "마지막"}
    assert texts(file, reading("line")) == {
        "a.txt:1": "첫째 줄", "a.txt:2": "둘째 줄", "a.txt:5": "third", "a.txt:7": "fourth", "a.txt:8": "fifth", "a.txt:11": "마지막"
    }  # fmt: skip
    assert texts(file, reading("file")) == {"a.txt:1": TEXT.replace("\r\n", "\n").replace("\r", "\n")}


@pytest.mark.parametrize("document", ["paragraph", "line", "file"])
@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_what_is_read_does_not_depend_on_where_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str, suffix: str
) -> None:
    monkeypatch.setattr("malmoi.corpus.reading.planning.CHUNK", 61)
    monkeypatch.setattr(lines, "CHUNK", 37)
    body = TEXT * 30 if suffix == "txt" else "".join(json.dumps({"text": f"가 {n}"}) + "\n" + "\r\n" * (n % 3) for n in range(200))
    file = write(tmp_path / f"a.{suffix}", body)
    whole = texts(file, reading(document))
    assert len(whole) == (1 if suffix == "txt" and document == "file" else len(whole)) and whole
    for size in (1, 50, 333, 1000):
        assert texts(file, reading(document), size=size) == whole
    shards = plan(file, reading(document), size=100)
    assert len(shards) > 10 or (suffix, document) == ("txt", "file")
    if len(shards) > 1:
        assert [part.begin for shard in shards for part in shard.parts][1:] == [part.end for shard in shards for part in shard.parts][:-1]


def test_the_character_set_of_a_file_is_decided_once(tmp_path: Path) -> None:
    korean = "계절이 지나가는 하늘에는\n가을로 가득 차 있습니다\nÄ\n".replace("Ä", "훳 뷁")
    write(tmp_path / "a.txt", korean.encode("cp949"))
    write(tmp_path / "b.txt", korean)
    write(tmp_path / "c.txt", "가을로 가득\n".encode("cp949") + "겨울로 가득\n".encode() + b"\xff\xff\nlast\n")
    write(tmp_path / "d.txt", "가을로\n\n 가득".encode("utf-16"))
    assert [part.charset for shard in plan(tmp_path, reading()) for part in shard.parts] == ["cp949", "utf-8", None, None]
    found = everything(tmp_path, reading("line"))
    assert [getattr(each, "text", None) for each in found] == [
        *korean.split("\n")[:3], *korean.split("\n")[:3], "가을로 가득", "겨울로 가득", None, "last", "가을로", " 가득"
    ]  # fmt: skip
    assert found[0].meta == {"charset": "cp949"} and found[3].meta == {}  # type: ignore[union-attr]
    assert (found[8].id, found[8].reason, found[8].excerpt) == ("c.txt:3", "charset", r"\xff\xff")  # type: ignore[union-attr]


def test_a_character_cut_by_a_chunk_does_not_confuse_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    korean = "계절이 지나가는 하늘에는 가을로 가득 차 있습니다\n" * 20
    file = write(tmp_path / "a.txt", "plain ascii first\n" + korean)
    other = write(tmp_path / "b.txt", ("plain ascii first\n" + korean).encode("cp949"))
    for chunk in (1, 2, 3, 5, 64):
        monkeypatch.setattr("malmoi.corpus.reading.planning.CHUNK", chunk)
        assert [shard.parts[0].charset for shard in plan([file], reading())] == ["utf-8"]
        charset = plan([other], reading())[0].parts[0].charset
        assert charset == "cp949" or chunk < 5  # too little of it was seen to tell


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        '{"text": "하나"}',
        "",
        '{"text": null}',
        '{"body": "x"}',
        '{"text": 3}',
        "{broken",
        "[1]",
        '{"text": "\\ud800"}',
        '{"text": "a\\u0000"}',
    ]
    rows += ["[" * 100_000, '{"text": "\\ud83d\\ude00"}', '{"text": ' + "9" * 5000 + "}", '\ufeff{"text": "끝"}']
    file = write(tmp_path / "a.jsonl", "\n".join(rows))
    assert texts(file) == {"a.jsonl:1": "하나", "a.jsonl:3": "", "a.jsonl:11": "😀", "a.jsonl:13": "끝"}
    assert refusals(file) == [
        ("a.jsonl:4", "field"), ("a.jsonl:5", "field"), ("a.jsonl:6", "json"), ("a.jsonl:7", "json"), ("a.jsonl:8", "surrogate"),
        ("a.jsonl:9", "nul"), ("a.jsonl:10", "json"), ("a.jsonl:12", "json"),
    ]  # fmt: skip
    assert texts(file, reading(field="body")) == {"a.jsonl:4": "x"}
    old = write(tmp_path / "b.jsonl", '{"text": "가을로 가득"}\n'.encode("cp949"))
    assert texts(old) == {"b.jsonl:1": "가을로 가득"}


def test_parquet_by_row_groups(tmp_path: Path) -> None:
    values = [f"가 {n}" for n in range(95)] + [None, "", "a\0b"]
    table = pyarrow.table({"id": list(range(98)), "text": values, "body": pyarrow.array(values).dictionary_encode()})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    whole = texts(tmp_path / "a.parquet")
    assert whole["a.parquet:1"] == "가 0" and whole["a.parquet:95"] == "가 94" and whole["a.parquet:96"] == "" and len(whole) == 97
    assert refusals(tmp_path / "a.parquet") == [("a.parquet:98", "nul")]
    assert len(plan(tmp_path / "a.parquet", reading(), size=1)) == 10
    for size in (1, 400):
        assert texts(tmp_path / "a.parquet", size=size) == whole == texts(tmp_path / "a.parquet", reading(field="body"), size=size)
    write(tmp_path / "b.parquet.gz", gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert list(texts(tmp_path / "b.parquet.gz").values()) == list(whole.values())


def test_parquet_that_cannot_be_read(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["가"] * 1000}), tmp_path / "a.parquet")
    good = (tmp_path / "a.parquet").read_bytes()
    write(tmp_path / "b.parquet", good[:-20])
    write(tmp_path / "c.parquet", "no table")
    pyarrow.parquet.write_table(pyarrow.table({"body": ["가"], "n": [1]}), tmp_path / "d.parquet")
    bad = pyarrow.table({"text": pyarrow.array([b"\xff\xff", b"ok"]).view(pyarrow.string())})
    pyarrow.parquet.write_table(bad, tmp_path / "e.parquet")
    assert refusals(tmp_path) == [("b.parquet", "damaged"), ("c.parquet", "damaged"), ("d.parquet", "field"), ("e.parquet:1", "charset")]
    assert len(texts(tmp_path)) == 1001
    with pytest.raises(MalmoiError, match="M024.*body"):  # then it is the argument that is wrong
        plan(tmp_path / "d.parquet", reading())


def test_pages(tmp_path: Path) -> None:
    write(tmp_path / "a.html", PAGE.encode("cp949"))
    write(tmp_path / "deep" / "b.HTM.gz", gzip.compress(PAGE.encode()))
    write(tmp_path / "c.html", b"\x89PNG\r\n")
    write(tmp_path / "d.xhtml", b" " * (lines.LIMIT + 1))
    found = everything(tmp_path)
    assert [(each.id, each.kind, each.text, each.data) for each in found if isinstance(each, Raw)] == [
        ("a.html", "html", None, PAGE.encode("cp949")), ("deep/b.HTM.gz", "html", None, PAGE.encode())
    ]  # fmt: skip
    assert refusals(tmp_path) == [("c.html", "binary"), ("d.xhtml", "size")]


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "text")
    write(tmp_path / "b.csv", "x,y")
    write(tmp_path / "c", "no suffix")
    write(tmp_path / "d.txt", b"%PDF-1.4 ...")
    write(tmp_path / "e.txt", b"one\0two\n\nthree")
    write(tmp_path / "f.txt.gz", b"not gzip")
    write(tmp_path / ".hidden.txt", "left out")
    assert refusals(tmp_path) == [("b.csv", "format"), ("c", "format"), ("d.txt", "binary"), ("e.txt:1", "nul"), ("f.txt.gz", "format")]
    assert texts(tmp_path) == {"a.txt:1": "text", "e.txt:3": "three"}
    assert texts(tmp_path / "c") == {"c:1": "no suffix"}  # named by its path, it is text
    with pytest.raises(MalmoiError, match="M014"):
        plan(tmp_path / "b.csv", reading())
    with pytest.raises(MalmoiError, match="M010"):
        plan(tmp_path / "nothing.txt", reading())


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_compressed_text(tmp_path: Path, compress: object) -> None:
    data = ("가을로 가득 차 있습니다 " + "0123456789" * 3 + "\n\n").encode() * 3000
    for n, ch in enumerate("abcdefgh"):
        data = data.replace(b"5", ch.encode(), 300 * n)
    packed = compress(data)  # type: ignore[operator]
    suffix = "gz" if packed[:1] == b"\x1f" else "xz"
    file = write(tmp_path / f"a.txt.{suffix}", packed)
    assert list(texts(file).values()) == data.decode().split("\n\n")[:-1]
    write(tmp_path / f"a.txt.{suffix}", packed[: len(packed) - 12])
    assert refusals(file) == [(file.name, "damaged")]
    broken = bytearray(packed)
    broken[-6 if suffix == "gz" else len(packed) // 2] ^= 1  # the CRC of gzip, a block of xz
    write(file, bytes(broken))
    assert refusals(file)[-1][0] == file.name and refusals(file)[-1][1] in ("crc", "damaged")


def test_zstandard(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    file = write(tmp_path / "a.jsonl.zst", zstandard.compress(b'{"text": "x"}\n') + zstandard.compress(b'{"text": "y"}\n'))
    assert texts(file) == {"a.jsonl.zst:1": "x", "a.jsonl.zst:2": "y"}
    write(file, zstandard.compress(b"x" * 10_000)[:-2])
    assert refusals(file) == [("a.jsonl.zst", "damaged")]


@pytest.mark.parametrize("document", ["line", "paragraph", "file"])
def test_lines_that_are_too_long_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str) -> None:
    for limit in ("LIMIT", "WHOLE"):
        monkeypatch.setattr(lines, limit, 1000)
    for chunk in (64, 640):
        monkeypatch.setattr(lines, "CHUNK", chunk)
        long = write(tmp_path / "a.txt", b"one\n\n" + b"x" * 5000 + b"\r\n\r\nthree\n\n" + b"y" * 1000 + b"\n\n" + b"z" * 1001)
        if document == "file":
            assert refusals(long, reading("file")) == [("a.txt:1", "size")] and not texts(long, reading("file"))
            continue
        assert refusals(long, reading(document)) == [("a.txt:3", "size"), ("a.txt:9", "size")]
        assert texts(long, reading(document)) == {"a.txt:1": "one", "a.txt:5": "three", "a.txt:7": "y" * 1000}
    many = write(tmp_path / "b.txt", b"x" * 600 + b"\n" + b"y" * 600 + b"\n\nlast")
    if document == "paragraph":
        found = everything(many)
        assert isinstance(found[0], Refused) and (found[0].id, found[0].reason) == ("b.txt:1", "size") and "1,201" in found[0].detail
        assert texts(many) == {"b.txt:4": "last"}


def test_shards_are_named_by_content(tmp_path: Path) -> None:
    for n in range(20):
        write(tmp_path / "one" / f"{n:02}.txt", f"file {n}\n" * 20)
    first = plan(tmp_path / "one", reading(), size=1000)
    assert [shard.number for shard in first] == list(range(len(first))) and 3 < len(first) < 20
    assert [part.name for shard in first for part in shard.parts] == [f"{n:02}.txt" for n in range(20)]
    keys = [shard.key for shard in first]
    (tmp_path / "one").rename(tmp_path / "two")
    moved = plan(tmp_path / "two", reading(), size=1000)
    assert [shard.key for shard in moved] == keys and len(set(keys)) == len(keys)
    write(tmp_path / "two" / "19.txt", "file 19!\n" * 20)
    changed = [shard.key for shard in plan(tmp_path / "two", reading(), size=1000)]
    assert changed[:-1] == keys[:-1] and changed[-1] != keys[-1]
    assert pickle.loads(pickle.dumps(first)) == first


def test_the_end_of_a_long_file_does_not_change_the_keys_before_it(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", "one line\n" * 10_000)
    keys = [shard.key for shard in plan(file, reading("line"), size=10_000)]
    write(file, "one line\n" * 10_000 + "more\n")
    assert [shard.key for shard in plan(file, reading("line"), size=10_000)][:-1] == keys[:-1]


def test_names_are_different_from_each_other(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.txt", "1")
    write(tmp_path / "two" / "a.txt", "2")
    assert texts([tmp_path / "one", tmp_path / "two", tmp_path / "one" / "a.txt"]) == {"a.txt:1": "1", "a.txt#2:1": "2"}


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    shard = Shard(0, (Part(str(tmp_path / "gone.txt"), "gone.txt"), Part(str(write(tmp_path / "a.txt", "here")), "a.txt")), "")
    found = list(records(shard, reading()))
    assert isinstance(found[0], Refused) and (found[0].id, found[0].reason) == ("gone.txt", "unreadable")
    assert isinstance(found[1], Raw) and found[1].text == "here"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A line of 200 MB, a paragraph of 40 MB, and a bomb: read in a process that may not have so much."""
    with open(tmp_path / "long.txt", "wb") as file:
        file.truncate(200 << 20)
        file.seek(200 << 20)
        file.write(b"\n\nshort\n\n")
        for _ in range(40):
            file.write((b"y" * 1023 + b"\n") * 1024)
        file.write(b"\nend\n")
    write(tmp_path / "bomb.txt.gz", gzip.compress(bytes(100 << 20)))
    program = """
import resource, sys
from malmoi.corpus.reading.intake import plan, records
from malmoi.corpus.reading.spec import ReadingSpec
import charset_normalizer, pyarrow.parquet
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (110 << 20),) * 2)
for shard in plan(sys.argv[1:], ReadingSpec()):
    for found in records(shard, ReadingSpec()):
        print(found.id, getattr(found, "reason", None) or found.text)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    expected = ["bomb.txt.gz ratio", "long.txt:1 size", "long.txt:3 short", "long.txt:5 size", "long.txt:40966 end"]
    assert done.stdout.splitlines() == expected, done.stderr


@pytest.mark.parametrize("name", ["petitions_2019-04", "petitions_2019-04.xz"])
def test_json_lines_under_a_name_that_says_nothing_are_read_as_such(tmp_path, name):
    data = b"".join(json.dumps({"content": f"\xea\xb8\x80 {number}"}).encode() + b"\n" for number in range(3))
    (tmp_path / name).write_bytes(lzma.compress(data) if name.endswith(".xz") else data)
    found = list(records(plan([tmp_path / name], ReadingSpec(field="content"))[0], ReadingSpec(field="content")))
    assert [record.text[-1] for record in found] == ["0", "1", "2"]
    (tmp_path / "notes").write_text("{not JSON}\n\nsecond\n")
    assert len(list(records(plan([tmp_path / "notes"], ReadingSpec())[0], ReadingSpec()))) == 2
