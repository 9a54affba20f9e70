"""Pages -> text: what is kept, in which charset, and what pages that hang, eat memory or crash cost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.corpus.pages import html, html_text
from malmoi.corpus.pages.html import Extracted, Extractor, Failed
from malmoi.corpus.reading.spec import ReadingSpec

pytest.importorskip("resiliparse")

FIRST = "말모이는 주시경과 그의 제자들이 1910년 무렵에 쓴, 현대적인 우리말 사전의 원고이다."
SECOND = "원고는 ㄱ부터 걀죽까지의 올림말만 남아 있으며, 나머지는 전하지 않는다."
THIRD = "2012년에 국가등록문화재로, 2020년에는 보물로 지정되었다."
KOREAN = f"""<!DOCTYPE html><html><head>{{meta}}<title>말모이 이야기 - 한글신문</title><script>var a = "<p>글</p>";</script></head><body>
<div id="header"><ul class="gnb"><li><a href="/">홈</a></li><li><a href="/n">뉴스</a></li><li><a href="/l">로그인</a></li></ul></div>
<div class="wrap"><div class="view"><h1>말모이 이야기</h1>
<p>{FIRST}</p><p>{SECOND}</p><h2>문화재</h2><p>{THIRD}</p>
<div class="sns"><button>공유</button><a href="#">공유하기</a><br><a href="#">인쇄</a></div><p>더보기</p><p>관련기사</p>
<ul><li><a href="/1">조선어학회 사건을 다시 읽는다</a></li><li><a href="/2">큰사전이 나오기까지의 서른 해</a></li></ul></div>
<div id="comment_list"><p>좋은 글 잘 읽고 갑니다. 퍼 가도 되겠습니까?</p></div></div>
<div class="footer"><p>한글신문 | 서울특별시 종로구 | 등록번호 서울 아00000</p></div></body></html>"""


@pytest.fixture(scope="module", params=["fast", "precise"])
def extractor(request: pytest.FixtureRequest) -> Iterator[Extractor]:
    if request.param == "precise":
        pytest.importorskip("trafilatura")
    with Extractor(ReadingSpec(extractor=request.param, seconds=20)) as made:
        yield made


@pytest.fixture
def small() -> Iterator[Extractor]:
    with Extractor(ReadingSpec(seconds=0.5, megabytes=128)) as made:
        yield made


def page(body: str) -> bytes:
    return f"<html><head><title>A page</title></head><body>{body}</body></html>".encode()


def text(body: str) -> str:
    return str(html_text.fast(page(body).decode())["text"])


def paragraphs(count: int) -> str:
    return "".join(f"<p>Paragraph {n} of the main text says something, in a sentence that is long enough.</p>" for n in range(count))


@pytest.mark.parametrize(
    ("charset", "meta"),
    [
        ("utf-8", '<meta charset="utf-8">'),
        ("cp949", '<meta http-equiv="Content-Type" content="text/html; charset=euc-kr">'),
        ("cp949", ""),
        ("utf-8", '<meta charset="euc-kr">'),  # what was decided before holds, whatever the page says
    ],
)
def test_korean_page(extractor: Extractor, charset: str, meta: str) -> None:
    found = extractor.extract(KOREAN.format(meta=meta).encode(charset), charset=charset)
    assert isinstance(found, Extracted)
    expected = {"fast": [FIRST, SECOND, "문화재", THIRD], "precise": [FIRST, SECOND, THIRD]}  # a heading in a short page is lost on one
    assert found.text.split("\n") == expected[extractor.reading.extractor]
    assert found.title.startswith("말모이 이야기")
    assert found.extractor == extractor.reading.extractor


def test_old_korean_page_of_tables() -> None:
    """Layout by tables, lines by <br>, fonts, unclosed elements, as pages in EUC-KR were written."""
    menu = "".join(f'<tr><td><a href="m{n}.html"><font size=2>{n}번 메뉴</font></a></td></tr>' for n in range(8))
    page = f"""<HTML><HEAD><TITLE>우리말 이야기</TITLE></HEAD><BODY><TABLE WIDTH=780><TR><TD WIDTH=150><TABLE>{menu}</TABLE></TD>
    <TD><FONT COLOR=navy><B>말모이</B></FONT><BR><BR>{FIRST}<BR>{SECOND}<BR><BR>{THIRD}<BR>
    <CENTER><A HREF="list.html">목록으로</A> | <A HREF="write.html">글쓰기</A></CENTER></TD></TR></TABLE>
    <CENTER>Copyright 1999 우리말 이야기. All rights reserved.</CENTER></BODY></HTML>"""
    assert html_text.fast(page)["text"].split("\n") == ["말모이", FIRST, SECOND, THIRD]


def test_bytes_of_another_charset(extractor: Extractor) -> None:
    found = extractor.extract("글".encode("cp949"), charset="utf-8")
    assert isinstance(found, Failed) and found.reason == "charset"
    assert isinstance(extractor.extract(page(paragraphs(3)), charset="no-such-charset"), Failed)
    assert isinstance(extractor.extract(page(paragraphs(3)), charset="utf-8"), Extracted)


@pytest.mark.parametrize("data", [b"", b"   ", b"<html></html>", b"<script>var x = 1</script>", b"\0\0\0"])
def test_nothing_in_it(extractor: Extractor, data: bytes) -> None:
    assert extractor.extract(data, charset="utf-8") == Failed("empty")


def test_half_a_surrogate_pair_is_no_text(extractor: Extractor) -> None:
    found = extractor.extract(
        page(paragraphs(3) + "<p>One &#xD800; and &#55357;&#56832; in a line that is long enough.</p>"), charset="utf-8"
    )
    assert isinstance(found, Extracted)
    assert found.text.encode("utf-8")


def test_precise_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trafilatura = pytest.importorskip("trafilatura")
    monkeypatch.setattr(trafilatura, "extract", lambda *_, **__: None)
    found = html_text.precise(page(paragraphs(3)).decode())
    assert found["extractor"] == "fast" and found["text"].count("\n") == 2


# what the fast mode keeps


def test_one_paragraph_a_line() -> None:
    assert text("<p>One\n two   <b>three</b>\tfour.</p><p>Five<br>six</p><ul><li>seven</li><li>eight</li></ul>tail") == (
        "One two three four.\nFive\nsix\nseven\neight\ntail"
    )


def test_entities_and_comments() -> None:
    assert text("<p>a &amp; b &lt;c&gt; &#44032; &nbsp; d<!-- hidden --></p>") == "a & b <c> 가 d"


@pytest.mark.parametrize(
    "around",
    [
        f'<div class="{name}"><p>This stands beside the main text, and says so at length.</p></div>'
        for name in ("sidebar", "related-posts", "cookie-notice", "post-author", "newsletter_box", "article__share")
    ]
    + ["<aside><p>Beside the main text.</p></aside>", "<nav>Somewhere else</nav>", '<div style="display: none">unseen</div>']
    + ['<p aria-hidden="true">unseen</p>', "<p hidden>unseen</p>", "<p>Sign up for our weekly letter.</p>", "<p>Share this:</p>"]
    + ["<ul>" + "".join(f'<li><a href="{n}">Another page</a></li>' for n in range(5)) + "</ul>"],
)
def test_what_stands_around_goes(around: str) -> None:
    main = paragraphs(8)
    assert text(f"<div>{main}{around}</div>") == text(f"<div>{main}</div>") == text(f"<div>{around}{main}</div>")


@pytest.mark.parametrize("name", ["sidebar", "comments", "related", "post-meta"])
def test_what_holds_the_prose_stays_whatever_its_name(name: str) -> None:
    assert text(f'<div class="{name}">{paragraphs(8)}</div><p>Short.</p>') == text(paragraphs(8))


def test_links_within_prose_stay() -> None:
    linked = '<p>This sentence has <a href="a">a link of some words</a> in its middle, and goes on after it.</p>'
    assert "a link of some words in its middle" in text(paragraphs(4) + linked)


def test_lead_before_the_main_box_stays_and_short_lines_do_not() -> None:
    lead = "A lead that stands by itself before the article tells in one long sentence what the reader may expect of all the rest of it."
    found = text(f"<div><p>{lead}</p><p>12 May</p><div>{paragraphs(9)}</div></div>")
    assert found.startswith(lead + "\nParagraph 0")


def test_title_is_not_text_too() -> None:
    found = html_text.fast(f"<title>Of words - The Site</title><h1>Of words</h1>{paragraphs(4)}")
    assert found["title"] == "Of words" and found["text"].startswith("Paragraph 0")
    found = html_text.fast(f"<title>The gathering of words - The Site</title><div>The gathering of words</div>{paragraphs(4)}")
    assert found["title"] == "The gathering of words - The Site" and found["text"].startswith("Paragraph 0")


@pytest.mark.parametrize("body", ["", "<div>", "</p></div>", "<table><p>x</table>", "<frameset><frame></frameset>", "<svg><p>x</p></svg>"])
def test_broken_pages_raise_nothing(body: str) -> None:
    assert isinstance(html_text.fast(body)["text"], str)


# limits

HOSTILE = {
    "deep boxes": b"<div>" * 200_000,
    "attributes": b"<p " + b" ".join(b"a%d=1" % n for n in range(300_000)) + b">x",
    "many elements": b"<i>x</i>" * 1_000_000,
    "many boxes": b"<p>x</p>" * 1_000_000,
    "large": b"<p>Some words of a page that is very long.</p>" * 1_000_000,
    "scripts": b"<script>" * 100_000 + b"<p>x",
    "open tables": b"<table><tr><td>" * 20_000,
    "open formats": b"<p><b><i><u><font>" * 5_000,
    "open comment": b"<!--" * 1_000_000,
    "one attribute": b"<p class='" + b"nav-" * 2_000_000 + b"'>x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_are_bounded(small: Extractor, name: str) -> None:
    began = time.monotonic()
    found = small.extract(HOSTILE[name], charset="utf-8")
    assert isinstance(found, Extracted) or found.reason in ("time", "memory", "crash", "empty")
    assert time.monotonic() - began < 40  # 0.5 s of processor time, twice, and the starts of processes; the machine may be busy
    assert isinstance(small.extract(page(paragraphs(3)), charset="utf-8"), Extracted)


def test_time(small: Extractor) -> None:
    assert small.extract(HOSTILE["attributes"], charset="utf-8") == Failed("time", "more than 0.5 s")


def test_memory() -> None:
    with Extractor(ReadingSpec(seconds=30, megabytes=64)) as extractor:
        found = extractor.extract(HOSTILE["large"], charset="utf-8")
    assert isinstance(found, Failed) and found.reason == "memory"


def test_the_answer_depends_on_the_page_alone(small: Extractor) -> None:
    assert isinstance(small.extract(page(paragraphs(3)), charset="utf-8"), Extracted)
    met = small.extract(HOSTILE["large"], charset="utf-8")
    with Extractor(small.reading) as fresh:
        assert fresh.extract(HOSTILE["large"], charset="utf-8") == met


def test_a_child_that_was_killed_is_replaced(small: Extractor) -> None:
    first = small.extract(page(paragraphs(3)), charset="utf-8")
    assert small._child is not None
    os.kill(small._child.pid, signal.SIGSEGV)
    small._child.wait()
    assert small.extract(page(paragraphs(3)), charset="utf-8") == first


def test_a_crash_is_named(small: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        html, "COMMAND", "import os, sys; sys.stdin.buffer.readline(); sys.stderr.write('broken'); sys.stderr.flush(); os.abort()"
    )
    assert small.extract(page("x"), charset="utf-8") == Failed("crash", "SIGABRT: broken")


def test_the_kernel_ends_the_child_first(small: Extractor) -> None:
    adjustment = Path("/proc/self/oom_score_adj")
    if not adjustment.is_file():
        pytest.skip("no /proc")
    small.extract(page(paragraphs(3)), charset="utf-8")
    assert small._child is not None
    assert Path(f"/proc/{small._child.pid}/oom_score_adj").read_text() == "1000\n"


def test_one_child_for_many_pages_none_after(small: Extractor) -> None:
    small.extract(page(paragraphs(3)), charset="utf-8")
    child = small._child
    assert child is not None
    for _ in range(50):
        assert isinstance(small.extract(page(paragraphs(3)), charset="utf-8"), Extracted)
    assert small._child is child
    small.close()
    assert child.returncode is not None
    small.close()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "find_spec", lambda name: None if name == "trafilatura" else find_spec(name))
    Extractor(ReadingSpec())
    with pytest.raises(MalmoiError, match=r"M005.*trafilatura.*malmoi\[precise\]"):
        Extractor(ReadingSpec(extractor="precise"))
    monkeypatch.setattr(html, "find_spec", lambda name: None)
    with pytest.raises(MalmoiError, match=r"M005.*resiliparse.*malmoi\[html\]"):
        Extractor(ReadingSpec())
