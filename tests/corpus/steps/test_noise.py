"""The noise of web pages and of news: each case exact; sentences that only look like it stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change, Taken
from malmoi.corpus.steps.noise import noise
from malmoi.corpus.steps.spec import NoiseSpec

WEB = {
    "tags": ('<p class="a">안녕</p><br/>글', "안녕 글", {"tag": 3}),
    "a comment": ("앞 <!-- 숨은 --> 뒤", "앞 뒤", {"tag": 1}),
    "entities": ("A&nbsp;&amp;&nbsp;B &amp;lt;3 &#44032; &#0;", "A & B <3 가", {"entity": 6}),
    "entities that hide tags": ("안녕&lt;br&gt;", "안녕", {"entity": 2, "tag": 1}),
    "hashtags at the end": ("오늘 점심 맛있었다. #맛집 #서울", "오늘 점심 맛있었다.", {"hashtag": 1}),
    "one hashtag at the end": ("오늘 점심 #맛집", "오늘 점심", {"hashtag": 1}),
    "what templates leave": ("다케다 신겐(, 다이에이 원년)은 무장()이다.", "다케다 신겐(다이에이 원년)은 무장이다.", {"brackets": 2}),
    "nested brackets": ("이름(())과 《》 값(, ,)", "이름과 값", {"brackets": 1}),
    "copyright in a line": ("끝. 저작권자 ⓒ 뉴스, 무단전재 및 재배포 금지", "끝.", {"copyright": 1}),
}
NEWS = {
    "an agency and a reporter": ("(서울=뉴스1) 홍길동 기자 = 정부는 밝혔다.", "정부는 밝혔다.", {"dateline": 1}),
    "an agency": ("【서울=뉴시스】정부는 밝혔다.", "정부는 밝혔다.", {"dateline": 1}),
    "a paper": ("[머니투데이 홍길동 기자] 정부는 밝혔다.", "정부는 밝혔다.", {"dateline": 1}),
    "a reporter": ("홍길동 기자 = 정부는 밝혔다.", "정부는 밝혔다.", {"dateline": 1}),
    "a reporter at the end": ("정부는 밝혔다. 홍길동·김철수 기자 hong@news.co.kr", "정부는 밝혔다.", {"byline": 1}),
    "a picture": ("정부는 [사진=연합뉴스] 밝혔다.", "정부는 밝혔다.", {"picture": 1}),
}
LINES = {
    "ⓒ 뉴스1 무단전재 및 재배포 금지": "copyright",
    "Copyright ⓒ 2019 The News. All rights reserved.": "copyright",
    "<저작권자 ⓒ 연합뉴스, 무단 전재-재배포 금지>": "copyright",
    "#민주 #서울 #일상": "hashtag",
    "<br>": "tag",
    "&nbsp;": "entity",
}
NEWS_LINES = {
    "홍길동 기자": "byline",
    "hong@news.co.kr": "byline",
    "[사진=연합뉴스]": "picture",
    "사진 제공 = 서울시": "picture",
    "입력 2019.01.02 10:20 수정 2019.01.02 11:00": "press",
    "▶ 네이버에서 뉴스1 구독하기": "press",
    "기사 제보 및 보도자료 press@news.co.kr": "press",
}


@pytest.mark.parametrize("case", WEB)
def test_noise_of_the_web_is_cut(case):
    text, left, counts = WEB[case]
    step = noise(NoiseSpec())
    assert step(Document("1", text)) == Change(left, counts, [])
    assert step(Document("1", left)) is None


@pytest.mark.parametrize("case", NEWS)
def test_noise_of_news_is_cut_from_news_alone(case):
    text, left, counts = NEWS[case]
    assert noise(NoiseSpec())(Document("1", text)) is None
    assert noise(NoiseSpec(news=True))(Document("1", text)) == Change(left, counts, [])
    assert noise(NoiseSpec(news=True))(Document("1", left)) is None


@pytest.mark.parametrize("line", [*LINES, *NEWS_LINES])
def test_a_line_of_nothing_but_noise_is_taken_out(line):
    text = f"앞의 글이다.\n{line}\n뒤의 글이다."
    cut = Change("앞의 글이다.\n뒤의 글이다.", {}, [Taken((LINES | NEWS_LINES)[line], line)])
    assert noise(NoiseSpec())(Document("1", text)) == (cut if line in LINES else None)
    assert noise(NoiseSpec(news=True))(Document("1", text)) == cut


@pytest.mark.parametrize(
    "text",
    [
        "나는 #미투 운동을 지지한다", "#자유 를 말한다", "곡 #1 번, C# 과 F#", "색은 #fff", "저작권법은 무단 복제를 막는다",
        "빈칸 ( )에 알맞은 말은?", "print() 와 x = [] 를 쓴다", "if a<b and b>c", "<트와이스> 팬이다", "R&D; A&B", "ⓑ 둘째",
        "매력있는 연기자", "대한민국(大韓民國) 헌법", "네이버에서만 유난이네. 왜 이렇게 시선끌기 하지?", "ㅋㅋ ㅠㅠ ♡", "2 * (3 + 4)",
    ],
)  # fmt: skip
def test_sentences_that_look_alike_stay(text):
    assert noise(NoiseSpec())(Document("1", text)) is None
    assert noise(NoiseSpec(news=True))(Document("1", text)) is None


def test_a_document_may_become_empty():
    assert noise(NoiseSpec())(Document("1", "<br>")) == Change("", {}, [Taken("tag", "<br>")])


BITS = [
    "(",
    ")",
    "[",
    "]",
    ",",
    " ",
    "가",
    "a",
    "#가",
    "#",
    "&amp;",
    "&",
    "lt;",
    "<br>",
    "<b",
    ">",
    "ⓒ",
    "무단전재 금지",
    "\n",
    "=",
    "홍길동 기자",
    "@b.kr",
    "사진",
    ".",
]


@given(st.lists(st.sampled_from(BITS) | st.text(max_size=2), max_size=14).map("".join), st.booleans())
def test_noise_is_a_function_of_the_text(text, news):
    step = noise(NoiseSpec(news=news))
    change = step(Document("1", text))
    assert change == step(Document("1", text))
    if change is not None:
        assert change.counts or change.taken
        assert all(line in text.split("\n") for line in (part.text for part in change.taken))


HOSTILE = [
    "<a =====",
    "(",
    "()",
    "( ",
    "(,",
    "<a ",
    "<!--",
    "#a",
    "#a ",
    "&",
    "&#",
    "&amp;",
    "©",
    "©무단전재",
    "copyright ",
    "김",
    "김가, ",
    "a@",
    "a.",
    "(서울=",
    "(사진=",
    "▶구독",
    "é",
]


@pytest.mark.parametrize("part", HOSTILE)
def test_hostile_text_costs_linear_time(part, seconds):
    step = noise(NoiseSpec(news=True))
    assert seconds(lambda: step(Document("1", "(ⓒ #&<" + part * (200_000 // len(part)) + ")"))) < 5


def test_the_marks_of_wikiextractor_are_cut():
    found = noise(NoiseSpec())(Document("a", '<doc id="1" url="https://ko.wikipedia.org/wiki?curid=1" title="말모이">\n말모이\n</doc>'))
    assert found.text.strip() == "말모이" and "http" not in found.text
