from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zlib
from pathlib import Path

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.corpus.reading.intake import Raw, Refused, plan, records
from malmoi.corpus.reading.spec import ReadingSpec

pytest.importorskip("fastwarc")
PAGE = "<html><body>가을로 가득 차 있습니다</body></html>"
READING = ReadingSpec()


def everything(path: Path) -> list[Raw | Refused]:
    return [record for shard in plan(path, READING) for record in records(shard, READING)]


def short(path: Path) -> list[tuple[str, str | int]]:
    """`(number, characters or bytes, or reason)`."""
    return [
        (each.id.rpartition(":")[2], each.reason if isinstance(each, Refused) else len(each.data if each.text is None else each.text))  # type: ignore[arg-type]
        for each in everything(path)
    ]


def record(kind: str, block: bytes, *, length: int | None = None, **headers: str) -> bytes:
    fields = {
        "WARC-Type": kind,
        "WARC-Target-URI": "http://a.b/",
        "WARC-Date": "2026-01-01T00:00:00Z",
        "Content-Length": str(length or len(block)),
    }
    fields |= {"Content-Type": "application/http; msgtype=response"} if kind == "response" else {}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return b"WARC/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + b"\r\n" + block + b"\r\n\r\n"


def response(body: bytes, *, type: str = "text/html", status: str = "200 OK", headers: str = "") -> bytes:
    line = f"Content-Type: {type}\r\n" if type else ""
    return f"HTTP/1.1 {status}\r\n{line}{headers}\r\n".encode() + body


def archive(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(gzip.compress(part) for part in parts) if path.suffix == ".gz" else b"".join(parts))
    return path


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_pages_and_texts(tmp_path: Path, name: str) -> None:
    text = "자막 없는 글"
    path = archive(
        tmp_path / name,
        record("warcinfo", b"software: x"),
        record("request", b"GET / HTTP/1.1\r\n\r\n"),
        record("response", response(PAGE.encode("cp949"), type="text/html; charset=EUC-KR")),
        record("response", response(PAGE.encode(), type='application/xhtml+xml;charset="utf-8"')),
        record("response", response(text.encode("cp949"), type="text/plain; charset=ks_c_5601-1987")),
        record("conversion", text.encode(), Content_Type="text/plain"),
        record("resource", PAGE.encode(), Content_Type="text/html", WARC_Target_URI="https://c.d/e"),
        record("resource", b"log", Content_Type="text/plain", WARC_Target_URI="metadata://tool/log"),
        record("revisit", b"HTTP/1.1 200 OK\r\n\r\n"),
        record("response", response(PAGE.encode(), type="")),
    )
    found = everything(path)
    assert [(each.id, each.kind, each.charset, each.text, each.data) for each in found if isinstance(each, Raw)] == [
        (f"{name}:3", "html", "EUC-KR", None, PAGE.encode("cp949")),
        (f"{name}:4", "html", "utf-8", None, PAGE.encode()),
        (f"{name}:5", "text", None, text, None),
        (f"{name}:6", "text", None, text, None),
        (f"{name}:7", "html", None, None, PAGE.encode()),
        (f"{name}:10", "html", None, None, PAGE.encode()),
    ]
    assert len(found) == 6
    assert found[0].meta == {"url": "http://a.b/", "date": "2026-01-01T00:00:00Z"}  # type: ignore[union-attr]
    assert found[2].meta["charset"] == "cp949" and found[4].meta["url"] == "https://c.d/e"  # type: ignore[union-attr]


def test_what_is_no_document_is_named(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.warc.gz",
        record("response", response(b"moved", status="301 Moved")),
        record("response", response(b"\x89PNG", type="image/png")),
        record("response", b"no http"),
        record("response", response(b"text\0", type="text/plain")),
        record("response", response(PAGE.encode()), WARC_Block_Digest="sha1:" + "A" * 32),
        record(
            "response",
            response(PAGE.encode()),
            WARC_Block_Digest="sha1:" + base64.b32encode(hashlib.sha1(response(PAGE.encode())).digest()).decode(),
        ),
        record("response", response(PAGE.encode()), WARC_Block_Digest="sha256:" + hashlib.sha256(response(PAGE.encode())).hexdigest()),
        record("response", response(PAGE.encode()), WARC_Block_Digest="blake9:abc"),
    )
    size = len(PAGE.encode())
    assert short(path) == [
        ("1", "status"),
        ("2", "format"),
        ("3", "damaged"),
        ("4", "nul"),
        ("5", "digest"),
        ("6", size),
        ("7", size),
        ("8", size),
    ]


def test_codings_of_transfer_and_content(tmp_path: Path) -> None:
    page = PAGE.encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(page), page)
    path = archive(
        tmp_path / "a.warc",
        record("response", response(gzip.compress(page), headers="Content-Encoding: gzip\r\n")),
        record("response", response(zlib.compress(page), headers="Content-Encoding: deflate\r\n")),
        record("response", response(chunked, headers="Transfer-Encoding: chunked\r\n")),
        record("response", response(page, headers="Content-Encoding: gzip\r\n")),  # decoded by the crawler, which kept the header
        record("response", response(page, headers="Transfer-Encoding: chunked\r\n")),
        record("response", response(gzip.compress(page)[:20] + bytes(60), headers="Content-Encoding: gzip\r\n")),
        record("response", response(gzip.compress(bytes(20 << 20)), headers="Content-Encoding: gzip\r\n")),
        record("response", response(page)),
    )
    found = everything(path)
    assert [each.data if isinstance(each, Raw) else each.reason for each in found] == [page] * 5 + ["damaged", "size", page]


@pytest.mark.parametrize("length", [10, 100_000, "x75"])
def test_a_record_with_a_wrong_length_is_named_and_the_rest_found(tmp_path: Path, length: object) -> None:
    good = [record("response", response(PAGE.encode())) for _ in range(4)]
    bad = record("response", response(PAGE.encode())).replace(
        f"Content-Length: {len(response(PAGE.encode()))}".encode(), f"Content-Length: {length}".encode()
    )
    for name in ("a.warc", "a.warc.gz"):
        found = short(archive(tmp_path / name, good[0], bad, *good[1:]))
        assert "damaged" in [what for _, what in found]
        assert [what for _, what in found].count(len(PAGE.encode())) >= 4, found
        assert len({number for number, _ in found}) == len(found)  # each id once


def test_a_damaged_member_is_named_and_the_rest_found(tmp_path: Path) -> None:
    members = [gzip.compress(record("response", response((PAGE + "x" * n).encode()))) for n in range(5)]
    broken = bytearray(members[2])
    broken[len(broken) // 2] ^= 0xFF
    (tmp_path / "a.warc.gz").write_bytes(b"".join([*members[:2], bytes(broken), *members[3:]]))
    size = len(PAGE.encode())
    found = short(tmp_path / "a.warc.gz")
    assert [what for _, what in found if what != "damaged"] == [size, size + 1, size + 3, size + 4]
    assert [what for _, what in found].count("damaged") == 1 and found[2] == ("3", "damaged")
    (tmp_path / "a.warc.gz").write_bytes(b"".join(members)[:-30])
    found = short(tmp_path / "a.warc.gz")
    assert [what for _, what in found] == [size, size + 1, size + 2, size + 3, "damaged"]


def test_a_bomb_of_records_ends(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.warc.gz", record("response", response(bytes(12 << 20))), record("response", response(PAGE.encode())))
    assert short(path) == [("a.warc.gz", "ratio")]


def test_what_is_no_web_archive(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(b"not a web archive\n" * 100)
    (tmp_path / "b.warc.gz").write_bytes(b"neither")
    (tmp_path / "c.warc").write_bytes(b"")
    found = everything(tmp_path)
    assert [(each.id, each.reason) for each in found if isinstance(each, Refused)] == [("a.warc", "damaged"), ("b.warc.gz", "damaged")]


def test_in_an_archive_and_in_xz(tmp_path: Path) -> None:
    import lzma

    data = record("response", response(PAGE.encode()))
    (tmp_path / "a.warc.xz").write_bytes(lzma.compress(data))
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        info = tarfile.TarInfo("x.warc.gz")
        info.size = len(gzip.compress(data))
        archive.addfile(info, io.BytesIO(gzip.compress(data)))
    assert [each.id for each in everything(tmp_path)] == ["a.warc.xz:1", "b.tar!x.warc.gz:1"]


def test_without_fastwarc_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fastwarc.warc", None)
    path = archive(tmp_path / "a.warc", record("warcinfo", b"x"))
    with pytest.raises(MalmoiError, match=r"M005.*malmoi\[html\]"):
        everything(path)


EXPECTED = {
    "resiliparse/clipped.warc.gz": [("1", "damaged")],
    "warcio/example-bad-non-chunked.warc.gz": [("3", 1270)],
    "warcio/example-digest.warc": [],
    "warcio/example-iana.org-chunked.warc": [("2", 7223)],
    "warcio/example-resource.warc.gz": [("3", 1303)],
    "warcio/example-trunc.warc": [("3", "digest"), ("4", "damaged")],
    "warcio/example-wget-bad-target-uri.warc.gz": [("3", 1270)],
    "warcio/example-wrong-chunks.warc.gz": [("1", "digest")],
    "warcio/example.warc": [("3", 1270)],
    "warcio/example.warc.gz": [("3", 1270)],
    "warcio/post-test.warc.gz": [("1", "format"), ("3", "format"), ("5", "format")],
    "whirlwind/whirlwind.warc.gz": [("3", 72848)],
    "whirlwind/whirlwind.warc.wet.gz": [("2", 4303)],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_fixtures_good_and_broken(shared: Path, name: str) -> None:
    assert short(shared / "data" / "warc_samples" / name) == EXPECTED[name]


def test_whole_crawls(shared: Path) -> None:
    folder = shared / "data" / "warc_samples" / "resiliparse"
    found = everything(folder / "warcfile.warc.gz")
    assert len(found) == 16 and all(isinstance(each, Raw) and each.kind == "html" for each in found)
    assert [each.data for each in everything(folder / "warcfile.warc.lz4") if isinstance(each, Raw)] == [each.data for each in found]  # type: ignore[union-attr]
    quirks = everything(folder / "clueweb-quirk.warc.gz")
    assert len(quirks) > 20 and all(isinstance(each, Raw) and each.charset for each in quirks)
