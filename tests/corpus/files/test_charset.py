from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.charset import codec_of, declared_inside, decode, korean

KOREAN = "계절이 지나가는 하늘에는 가을로 가득 차 있습니다. 나는 아무 걱정도 없이 가을 속의 별들을 다 헤일 듯합니다. 똠방각하 펲시콜라"
PAGE = f"<html><head><title>별 헤는 밤</title></head><body><p>{KOREAN}</p></body></html>"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた事だけは記憶している。"
CHINESE = "中华人民共和国位于亚洲东部，太平洋西岸。今天天气很好，我们一起去公园散步吧。他说的是真的，没有人不知道这件事情。"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему."


def read(data: bytes, **told: object) -> tuple[str, str] | None:
    found = decode(data, **told)  # type: ignore[arg-type]
    return found and (found.charset, found.text)


def test_a_korean_page_in_cp949_with_and_without_a_meta_tag_is_exact() -> None:
    for tag in ("", '<meta charset="euc-kr">', "<META HTTP-EQUIV=Content-Type CONTENT='text/html; charset=ks_c_5601-1987'>"):
        page = PAGE.replace("<head>", f"<head>{tag}")
        assert read(page.encode("cp949"), html=True) == ("cp949", page)
        assert read(page.encode("cp949"), html=False) == ("cp949", page)


def test_the_first_that_fits_is_taken() -> None:
    page = PAGE.replace("<head>", '<head><meta charset="shift_jis">')
    assert read(page.encode("cp949"), declared="EUC-KR", html=True) == ("cp949", page)  # the header before the page
    assert read(RUSSIAN.encode("koi8-r"), declared="koi8-r") == ("koi8_r", RUSSIAN)
    russian = f'<meta charset="windows-1251"><p>{RUSSIAN}'
    assert read(russian.encode("cp1251"), html=True) == ("cp1251", russian)
    assert read("é".encode("latin-1"), declared="ISO-8859-1") == ("cp1252", "é")
    assert read(b"\x93a\x94 \x80", declared="iso-8859-1") == ("cp1252", "“a” €")


def test_a_wrong_label_is_passed_over() -> None:
    assert read(KOREAN.encode("cp949"), declared="utf-8") == ("cp949", KOREAN)
    assert read(KOREAN.encode(), declared="euc-kr") == ("utf-8", KOREAN)
    assert read(KOREAN.encode("cp949"), declared="no such thing") == ("cp949", KOREAN)
    for label in ("iso-8859-1", "windows-1252", "windows-1251", "iso-8859-5"):  # which nearly all bytes fit
        assert read(KOREAN.encode(), declared=label) == ("utf-8", KOREAN)
    assert read(KOREAN.encode("cp949"), declared="iso-8859-1") == ("cp949", KOREAN)


def test_marks_of_byte_order_decide_and_are_taken_away() -> None:
    assert read(b"\xef\xbb\xbf" + KOREAN.encode(), declared="euc-kr") == ("utf-8", KOREAN)
    assert read(b"\xff\xfe" + KOREAN.encode("utf-16-le")) == ("utf-16-le", KOREAN)
    assert read(b"\xfe\xff" + KOREAN.encode("utf-16-be"), declared="utf-8") == ("utf-16-be", KOREAN)


@pytest.mark.parametrize(
    "text, codec",
    [(JAPANESE, "cp932"), (JAPANESE, "euc_jp"), (CHINESE, "gb18030"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8_r"), (KOREAN[:60], "johab")],
)
def test_the_detector_is_asked_where_nothing_is_declared(text: str, codec: str) -> None:
    assert read(text.encode(codec)) == (codec, text)


def test_other_languages_are_not_taken_for_korean() -> None:
    misread = JAPANESE.encode("euc_jp").decode("cp949")  # every byte of it is valid CP949
    assert not korean(misread) and korean(KOREAN) and korean("大韓民國 憲法") and korean("ㅋㅋㅋㅋ ㅠㅠ")
    assert read("Ärger".encode("latin-1")) is None
    assert read("“It’s” – yes…".encode("cp1252")) == ("cp1252", "“It’s” – yes…")  # the same in all Windows code pages


def test_what_is_not_certain_is_nothing() -> None:
    assert decode(KOREAN.encode("cp949") + KOREAN.encode()) is None
    assert decode(KOREAN.encode() + b"\xff") is None
    assert decode(KOREAN.encode("cp949")[:-1] + b"\xff\xff") is None
    assert decode(random.Random(0).randbytes(4000)) is None


def test_labels_mean_what_browsers_take_them_for() -> None:
    assert [codec_of(label) for label in ("euc-kr", " KS_C_5601-1987 ", '"x-windows-949"', "latin1", "us-ascii")] == ["cp949"] * 3 + [
        "cp1252"
    ] * 2
    assert [codec_of(label) for label in ("GB2312", "Shift_JIS", "Windows-1251", "ISO-8859-2", "iso-8859-8-i")] == [
        "gb18030", "cp932", "cp1251", "iso8859_2", "iso8859_8"
    ]  # fmt: skip
    for label in ("rot13", "base64", "utf-7", "unicode_escape", "idna", "zlib", "undefined", "iso-8859-99", "", None, "None"):
        assert codec_of(label) is None


def test_what_a_page_declares() -> None:
    assert declared_inside(b'<?xml version="1.0" encoding="EUC-KR"?><html>') == "cp949"
    assert declared_inside(b'<!-- <meta charset="euc-kr"> --><meta name=x><meta charset=utf-8>') == "utf-8"
    assert declared_inside(b'<meta charset="utf-16le">') == "utf-8"  # it could not be read otherwise
    assert declared_inside(b'<meta charset="nonsense"><meta charset="sjis">') == "cp932"
    assert declared_inside(b" " * 5000 + b'<meta charset="euc-kr">') is None
    assert declared_inside(b"<p>charset=euc-kr</p>") is None


def test_without_the_detector_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    assert decode(KOREAN.encode("cp949")) is not None
    with pytest.raises(MalmoiError, match=r"M005.*malmoi\[corpus\]"):
        decode(RUSSIAN.encode("cp1251"))


@given(st.text(), st.sampled_from(["utf-8", "utf-16", None]))
def test_valid_utf8_always_comes_back(text: str, declared: str | None) -> None:
    if declared != "utf-16":
        assert read(text.encode(), declared=declared) == ("utf-8", text.removeprefix("\ufeff"))


@given(st.binary(max_size=200), st.sampled_from([None, "euc-kr", "utf-8", "shift_jis", "latin1"]), st.booleans())
def test_nothing_is_lost(data: bytes, declared: str | None, html: bool) -> None:
    found = decode(data, declared=declared, html=html)
    if found is not None and found.charset in ("utf-8", "cp949", "cp1252"):
        assert found.text.encode(found.charset) == data.removeprefix(b"\xef\xbb\xbf")
