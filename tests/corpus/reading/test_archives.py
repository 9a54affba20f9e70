from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from malmoi.corpus.reading import archives
from malmoi.corpus.reading.archives import LIMITS, Exhausted, Guard, Member, Stream, seekable, tar_members, unpacked, zip_members
from malmoi.corpus.reading.intake import Raw, Refused, plan, records
from malmoi.corpus.reading.raw import Unreadable
from malmoi.corpus.reading.spec import ReadingSpec

READING = ReadingSpec(document="line")
TEXT = "가을로 가득 차 있습니다\n둘째 줄\n".encode()


def read(path: Path) -> list[tuple[str, str | None]]:
    """`(id, text or reason)`."""
    found = [record for shard in plan(path, READING) for record in records(shard, READING)]
    return [(each.id, each.text if isinstance(each, Raw) else each.reason) for each in found]


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]], mode: str = "w", format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=format) as archive:  # type: ignore[call-overload]
        for info, data in members:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def special(name: str, type: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, target
    return info


def test_members_of_every_kind(tmp_path: Path) -> None:
    members = {
        "a/x.txt": TEXT, "b.jsonl": b'{"text": "j"}\n', "c.html": b"<p>page", "d.bin": b"\0", ".hidden.txt": b"h",
        "e.txt.gz": gzip.compress(b"packed"), "__MACOSX/._x.txt": b"m",
    }  # fmt: skip
    expected = [
        ("!a/x.txt:1", "가을로 가득 차 있습니다"), ("!a/x.txt:2", "둘째 줄"), ("!b.jsonl:1", "j"), ("!c.html", None), ("!d.bin", "format"),
        ("!.hidden.txt", "format"), ("!e.txt.gz:1", "packed"), ("!__MACOSX/._x.txt", "format"),
    ]  # fmt: skip
    assert read(zipped(tmp_path / "a.zip", members)) == [(f"a.zip{id}", text) for id, text in expected]
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar.xz", "w:xz")):
        path = tarred(tmp_path / f"a.{suffix}", list(members.items()), mode)
        assert read(path) == [(f"a.{suffix}{id}", text) for id, text in expected]


def test_tar_with_zstandard(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    plain = tarred(tmp_path / "a.tar", [("x.txt", b"text")]).read_bytes()
    (tmp_path / "b.tar.zst").write_bytes(zstandard.compress(plain))
    assert read(tmp_path / "b.tar.zst") == [("b.tar.zst!x.txt:1", "text")]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_korean_names_of_every_format_of_tar(tmp_path: Path, format: int) -> None:
    names = ["가을.txt", "d" * 80 + "/" + "n" * 90 + ".txt"] + (["deep/" * 60 + "나.txt"] if format != tarfile.USTAR_FORMAT else [])
    path = tarred(tmp_path / "a.tar", [(name, b"x") for name in names], format=format)
    assert read(path) == [(f"a.tar!{name}:1", "x") for name in names]


def test_names_of_old_korean_zip_files(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"XXXX.txt": b"x"})
    path.write_bytes(path.read_bytes().replace(b"XXXX", "한글".encode("cp949")))
    assert read(path) == [("a.zip!한글.txt:1", "x")]


OUTSIDE = ["../x.txt", "a/../../x.txt", "/etc/x.txt", "C:\\x.txt", "..\\x.txt", "\\\\host\\x.txt"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    path = zipped(tmp_path / "in" / "a.zip", {"XXXX" + "x" * (len(name) - 4): b"evil", "ok.txt": b"fine"})
    path.write_bytes(path.read_bytes().replace(("XXXX" + "x" * (len(name) - 4)).encode(), name.encode()))
    assert read(path) == [(f"a.zip!{name}", "path"), ("a.zip!ok.txt:1", "fine")]
    path = tarred(tmp_path / "in" / "a.tar", [(name, b"evil"), ("ok.txt", b"fine")])
    assert read(path) == [(f"a.tar!{name}", "path"), ("a.tar!ok.txt:1", "fine")]
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a.tar", "a.zip", "in"]  # nothing was written


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    members = [
        special("l.txt", tarfile.SYMTYPE, "/etc/passwd"),
        special("h.txt", tarfile.LNKTYPE, "ok.txt"),
        special("d.txt", tarfile.CHRTYPE),
    ]
    members += [special("f.txt", tarfile.FIFOTYPE), special("dir", tarfile.DIRTYPE)]
    path = tarred(tmp_path / "a.tar", [*((info, b"") for info in members), ("ok.txt", b"fine")])
    assert read(path) == [
        ("a.tar!l.txt", "link"), ("a.tar!h.txt", "link"), ("a.tar!d.txt", "device"), ("a.tar!f.txt", "device"), ("a.tar!ok.txt:1", "fine")
    ]  # fmt: skip
    link = zipfile.ZipInfo("l.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert read(tmp_path / "a.zip") == [("a.zip!l.txt", "link")]


def test_a_member_with_a_wrong_crc_is_refused_before_it_is_used(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x.txt": b"hello world", "y.txt": b"fine"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hello world", b"hellO world"))
    assert read(path) == [("a.zip!x.txt", "crc"), ("a.zip!y.txt:1", "fine")]


def test_encrypted_members(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x.txt": b"hello", "y.txt": b"fine"})
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1
    path.write_bytes(bytes(data))
    assert read(path) == [("a.zip!x.txt", "encrypted"), ("a.zip!y.txt:1", "fine")]


@pytest.mark.parametrize("cut", [10, 100, 600, 1100])
def test_archives_that_are_cut_off(tmp_path: Path, cut: int) -> None:
    whole = tarred(tmp_path / "a.tar", [("x.txt", b"one"), ("y.txt", b"two" * 300)]).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:cut])
    assert read(tmp_path / "a.tar")[-1] == ("a.tar", "damaged")
    packed = gzip.compress(whole)
    (tmp_path / "b.tar.gz").write_bytes(packed[: len(packed) - 9])
    assert read(tmp_path / "b.tar.gz")[-1][1] == "damaged"
    zipped(tmp_path / "a.zip", {"x.txt": b"one", "y.txt": b"two" * 500}, zipfile.ZIP_STORED)
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-cut])
    assert read(tmp_path / "a.zip") == [("a.zip", "damaged")]
    (tmp_path / "c.zip").write_bytes(b"no archive at all")
    (tmp_path / "c.tar").write_bytes(b"no archive at all" * 100)
    assert read(tmp_path / "c.zip") == [("c.zip", "damaged")] and read(tmp_path / "c.tar") == [("c.tar", "damaged")]


def test_a_tar_that_is_broken_in_the_middle_is_read_up_to_there(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", [("x.txt", b"one"), ("y.txt", b"two"), ("z.txt", b"three")])
    data = bytearray(path.read_bytes())
    data[data.index(b"y.txt")] = 0
    path.write_bytes(bytes(data))
    assert read(path) == [("a.tar!x.txt:1", "one"), ("a.tar", "damaged")]


def test_bombs(tmp_path: Path) -> None:
    zeros = bytes(12 << 20)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(zeros))
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(zeros, preset=0))
    zipped(tmp_path / "c.zip", {"bomb.txt": zeros, "ok.txt": b"fine"})
    tarred(tmp_path / "d.tar.gz", [("bomb.txt", zeros), ("ok.txt", b"lost")], "w:gz")
    inner = zipped(tmp_path / "inner", {"bomb.txt": zeros})
    (tmp_path / "e.zip").write_bytes(zipped(tmp_path / "outer", {"inner.zip": inner.read_bytes()}).read_bytes())
    tracemalloc.start()
    assert [read(tmp_path / name) for name in ("a.txt.gz", "b.txt.xz", "c.zip", "d.tar.gz", "e.zip")] == [
        [("a.txt.gz", "ratio")],
        [("b.txt.xz", "ratio")],
        [("c.zip!bomb.txt", "ratio"), ("c.zip!ok.txt:1", "fine")],
        [("d.tar.gz", "ratio")],
        [("e.zip!inner.zip!bomb.txt", "ratio")],
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_members_that_share_their_bytes_count_each_time(tmp_path: Path) -> None:
    """The bomb of Fifield (2019): many entries of the directory lead to the same compressed bytes."""
    packed = zipped(tmp_path / "a.zip", {"x.txt": (b"0123456789abcdef" * 64 + b"\n") * 900}).read_bytes()
    start, end = packed.index(b"PK\x01\x02"), packed.index(b"PK\x05\x06")
    ending = bytearray(packed[end:])
    ending[8:12] = (300).to_bytes(2, "little") * 2
    ending[12:16] = (300 * (end - start)).to_bytes(4, "little")
    (tmp_path / "b.zip").write_bytes(packed[:start] + packed[start:end] * 300 + bytes(ending))
    found = read(tmp_path / "b.zip")
    assert found[-1] == ("b.zip", "ratio") and len(found) < 300 * 900


def test_depth(tmp_path: Path) -> None:
    data = TEXT
    name = "x.txt"
    for depth in range(4):
        data = zipped(tmp_path / "made", {name: data}).read_bytes()
        name = f"{depth}.zip"
        (tmp_path / name).write_bytes(data)
    assert read(tmp_path / "2.zip")[0] == ("2.zip!1.zip!0.zip!x.txt:1", "가을로 가득 차 있습니다")
    assert read(tmp_path / "3.zip") == [("3.zip!2.zip!1.zip!0.zip", "depth")]


def test_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(LIMITS, entries=50)
    path = zipped(tmp_path / "a.zip", {f"{n}.txt": b"" for n in range(51)})
    with pytest.raises(Exhausted, match="entries"), path.open("rb") as file:
        list(zip_members(file, name="a", guard=Guard(path.stat().st_size, small)))
    path = tarred(tmp_path / "a.tar", [(f"{n}.txt", b"") for n in range(51)])
    taken = []
    with pytest.raises(Exhausted, match="entries"), path.open("rb") as file:
        for member in tar_members(Stream(file.read), name="a", guard=Guard(path.stat().st_size, small)):
            taken.append(member)
    assert len(taken) == 50

    monkeypatch.setattr(zipfile, "ZipFile", None)  # a directory that is too large is not even read
    lying = zipped_bytes(entries=65535, directory=1 << 30)
    with pytest.raises(Exhausted, match="entries"):
        list(zip_members(io.BytesIO(lying), name="a", guard=Guard(len(lying))))


def zipped_bytes(*, entries: int, directory: int) -> bytes:
    return b"PK\x05\x06" + bytes(4) + entries.to_bytes(2, "little") * 2 + directory.to_bytes(4, "little") + bytes(6)


def test_what_is_said_names_no_place_and_can_be_stored(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", [("x.txt.gz", b"no"), ("y.\udcff", b"no"), ("z\udcff.txt", b"%PDF")])
    found = [record for shard in plan(path, READING) for record in records(shard, READING)]
    assert [(each.id, each.reason, each.detail) for each in found if isinstance(each, Refused)] == [
        ("a.tar!x.txt.gz", "format", "its content is not gz"),
        ("a.tar!y.\\udcff", "format", "files with the suffix '.\\udcff' are not read"),
        ("a.tar!z\\udcff.txt", "binary", "it is a PDF"),
    ]


def test_names_that_occur_twice(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", [("x.txt", b"one"), ("x.txt", b"two")])
    assert read(path) == [("a.tar!x.txt:1", "one"), ("a.tar!x.txt#2:1", "two")]


def test_headers_that_ask_for_memory_are_refused(tmp_path: Path) -> None:
    info = special("x", tarfile.XHDTYPE)
    info.size = 1 << 40
    stream = Stream(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT)).read)
    with pytest.raises(Unreadable, match="header of"):
        list(tar_members(stream, name="a", guard=Guard(1)))


def test_a_member_is_left_behind_unread(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", [("x.txt", b"x" * 5000), ("y.txt", b"two")])
    with path.open("rb") as file:
        members = tar_members(Stream(file.read), name="a", guard=Guard(1 << 20))
        first, second = (each for each in members if isinstance(each, Member) and (each.name == "a!x.txt" or each.stream.take(9) == b"two"))
    assert (first.name, second.name) == ("a!x.txt", "a!y.txt")


def test_limits_of_bytes_and_seconds() -> None:
    with pytest.raises(Exhausted, match="bytes"):
        Guard(100, replace(LIMITS, bytes=1000)).unpacked(1001, 0.0)
    guard = Guard(100, replace(LIMITS, seconds=2.0))
    guard.unpacked(0, 1.5)
    with pytest.raises(Exhausted, match="seconds"):
        guard.unpacked(0, 1.0)


def test_only_what_is_unpacked_is_counted_and_small_files_may_unpack_to_much() -> None:
    packed = gzip.compress(b"a" * 1_000_000)  # more than 900 times as many, but no megabyte
    stream = unpacked(Stream(io.BytesIO(packed).read), name="a.gz", guard=Guard(len(packed)))
    assert stream.head(5) == b"aaaaa" and stream.take(2_000_000) == b"a" * 1_000_000 and stream.read(1) == b""


def test_what_must_be_read_at_any_place_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LIMIT", 10)
    with seekable(Stream(io.BytesIO(b"x" * 100).read), size=100) as file:
        file.seek(90)
        assert len(file.read()) == 10
    with pytest.raises(Unreadable, match="size"), seekable(Stream(io.BytesIO(b"x" * 101).read), size=100):
        pass


def test_members_are_drawn_one_after_the_other(tmp_path: Path) -> None:
    """What is refused does not stop what comes behind it."""

    def broken() -> Iterator[tuple[str, bytes]]:
        yield "a.txt", b"%PDF"
        yield "b.parquet", b"none"
        yield "c.zip", b"none"
        yield "d.warc", b"none"
        yield "e.txt.gz", b"none"
        yield "f.html", b"\x89PNG"
        yield "g.jsonl", b"none"
        yield "h.txt", b"\xff\xfea"
        yield "i.txt", b"fine"

    found = read(zipped(tmp_path / "a.zip", dict(broken())))
    assert [reason for _, reason in found] == ["binary", "damaged", "damaged", "damaged", "format", "binary", "json", "charset", "fine"]
    assert isinstance(found, list) and not any(isinstance(each, Refused) for each in found)
