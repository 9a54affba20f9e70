"""Mojibake: each case exact; text that is in order stays as it is."""

import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change, Removal, Taken
from malmoi.corpus.steps.repair import repair
from malmoi.corpus.steps.spec import RepairSpec

pytest.importorskip("ftfy")
GOOD = "안녕하세요. 오늘은 날씨가 좋습니다! 값 10000000원, 똠방각하와 “펲시”"
PLAIN = "안녕하세요. 오늘은 날씨가 좋습니다!"


@pytest.fixture(scope="module")
def step():
    return repair(RepairSpec())


def latin(text, encoding="utf-8"):
    return text.encode(encoding).decode("latin-1")


def windows(text, encoding="utf-8"):
    return text.encode(encoding).decode("sloppy-windows-1252")


CASES = {
    "UTF-8 as Latin-1": (latin(GOOD), GOOD, {"utf8": 1}),
    "UTF-8 as Windows-1252": (windows(GOOD), GOOD, {"utf8": 1}),
    "twice as Latin-1": (latin(latin(GOOD)), GOOD, {"utf8": 2}),
    "twice as Windows-1252": (windows(windows(GOOD)), GOOD, {"utf8": 2}),
    "CP949 as Latin-1": (latin(GOOD, "cp949"), GOOD, {"cp949": 1}),
    "CP949 as Windows-1252": (windows(GOOD, "cp949"), GOOD, {"cp949": 1}),
    "CP949 as Latin-1, then UTF-8 as Latin-1": (latin(latin(PLAIN, "cp949")), PLAIN, {"utf8": 1, "cp949": 1}),
    "good Hangul and UTF-8": ("좋은 글 " + windows(PLAIN) + " 끝", "좋은 글 " + PLAIN + " 끝", {"utf8": 1}),
    "good Hangul and CP949": ("좋은 글 " + latin(PLAIN, "cp949") + " 끝", "좋은 글 " + PLAIN + " 끝", {"cp949": 1}),
    "good marks around UTF-8": ("그는 “" + windows(PLAIN) + "” 하고", "그는 “" + PLAIN + "” 하고", {"utf8": 1}),
    "good marks around CP949": ("그는 “" + latin(PLAIN, "cp949") + "” 하고", "그는 “" + PLAIN + "” 하고", {"cp949": 1}),
    "one line of three": ("좋다\n" + latin(PLAIN, "cp949") + "\n참", "좋다\n" + PLAIN + "\n참", {"cp949": 1}),
    "one syllable": (windows("글"), "글", {"utf8": 1}),
    "hanja beside Hangul": (latin("대한민국(大韓民國)의 헌법", "cp949"), "대한민국(大韓民國)의 헌법", {"cp949": 1}),
    "ㅋ": (latin("재미있다 ㅋㅋㅋ", "cp949"), "재미있다 ㅋㅋㅋ", {"cp949": 1}),
    "Latin letters": (windows("äöü grün"), "äöü grün", {"utf8": 1}),
    "a lost no-break space": ("voilÃ  le travail", "voilà le travail", {"utf8": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_mojibake_is_undone(step, case):
    broken, good, counts = CASES[case]
    assert step(Document("1", broken)) == Change(good, counts, [])
    assert step(Document("1", good)) is None


@pytest.mark.parametrize(
    "text",
    [
        "café naïve Ünïcödé £5 – “quotes”",
        "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏ ÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß",
        "ÅÄÖ åäö Øresund Åland Äpfel MÜNCHEN GRÖSSE",
        "¼½¾ 50°±2° «ÁÉÍ» ¿Qué? ¡Hola! l’école “À”",
        "São Paulo — ÇÃO, TÔI ĐÃ LÀM",
        "문자(@#$&\\|[]{}<>^`~*)와 분음부호(÷×¤€ßĐđŁł°˘˝·˛¸)는",
        "大韓民國 憲法 前文", "ㅋㅋ ㅠㅠ ♡ …", "", "plain ASCII",
    ],
)  # fmt: skip
def test_text_in_order_stays(step, text):
    assert step(Document("1", text)) is None


def test_a_line_with_lost_characters_is_taken_out(step):
    text = "이 줄은 \ufffd\ufffd 깨졌다\n이 줄은 좋은 줄이라 남는다"
    assert step(Document("1", text)) == Change("이 줄은 좋은 줄이라 남는다", {}, [Taken("replacement", "이 줄은 \ufffd\ufffd 깨졌다")])
    one = "가" * 2000 + "\ufffd"
    assert step(Document("1", one)) is None  # 0.05%


def test_a_line_that_cannot_be_repaired_is_taken_out_as_it_was(step):
    lost = windows(PLAIN).replace("€", "?").replace("ˆ", "?").replace("…", "?").replace("˜", "?").replace("„", "?").replace("œ", "?")
    change = step(Document("1", f"{PLAIN} {PLAIN} {PLAIN}\n{lost}"))
    assert change == Change(f"{PLAIN} {PLAIN} {PLAIN}", {}, [Taken("mojibake", lost)])


def test_a_document_of_broken_lines_goes(step):
    assert step(Document("1", "\ufffd\ufffd\ufffd\n가")) == Removal("broken", "0.60 > 0.50")
    assert repair(RepairSpec(broken=0.7))(Document("1", "\ufffd\ufffd\ufffd\n가")) == Change("가", {}, [Taken("replacement", "\ufffd" * 3)])


def test_without_ftfy(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(MalmoiError, match="M005.*ftfy.*malmoi\\[corpus\\]"):
        repair(RepairSpec())


PARTS = st.sampled_from(
    [PLAIN, windows(PLAIN), latin(PLAIN, "cp949"), latin(latin("글")), "é", "Ã", "¾", "È", "\ufffd", "“", "\n", " ", "a", "가"]
)


@given(st.lists(PARTS | st.text(st.characters(max_codepoint=0x2FF), max_size=4), max_size=8).map("".join))
@example("Ã\x83Â\x83Ã\x82Â\x83")
def test_repair_is_done_at_once(text):
    step = repair(RepairSpec(broken=1))
    change = step(Document("1", text))
    assert change == step(Document("1", text))
    if change is not None:
        assert step(Document("1", change.text)) is None


@pytest.mark.parametrize("part", ["Ã", "Ã ", "Ã©", "¾È", "¾È ", "\x93", "\ufffd", "é가", "ì•"])
def test_hostile_text_costs_linear_time(step, part, seconds):
    assert seconds(lambda: step(Document("1", part * (200_000 // len(part))))) < 5
