"""One form for one text: each case exact, and nothing left to do after the first time."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change
from malmoi.corpus.steps.normalize import normalize
from malmoi.corpus.steps.spec import NormalizeSpec

FAMILY = "👨\u200d👩\u200d👧"
WALES = "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
CASES = {
    "NFD Hangul": (unicodedata.normalize("NFD", "한글 텍스트"), "한글 텍스트", {"nfc": 1}),
    "the repeated ㅋ": ("영화 ㅋㅋㅋㅋㅋㅋ ㅠㅠㅠㅠ", "영화 ㅋㅋㅋ ㅠㅠㅠ", {"repeats": 2}),
    "letters and marks": ("하아아아아아 sooooo!!!!! ~~~~", "하아아아 sooo!!! ~~~", {"repeats": 4}),
    "zero-width characters": ("한\u200b글\ufeff \u2060문\xad서", "한글 문서", {"invisible": 4}),
    "direction controls": ("가\u202e나\u202c \u2067다\u2069\u200f", "가나 다", {"invisible": 5}),
    "NUL and other controls": ("가\x00나\x07\x1b\x7f\x9f다", "가나다", {"control": 5}),
    "half of a pair": ("가\ud800나", "가나", {"surrogate": 1}),
    "white space": ("가\xa0나\u3000\u3000다\t라\u2003마", "가 나 다 라 마", {"space": 4}),
    "ends of lines": ("가\r\n나\r다\u2028라\x85마\x0c바", "가\n나\n다\n라\n마\n바", {"line_end": 5}),
    "layout": ("  가  나 \n 다\n\n\n\n라\n", "가 나\n다\n\n라", {"layout": 1}),
    "many marks": ("e" + "\u0323" * 100, "\u1eb9" + "\u0323" * 7, {"marks": 1, "nfc": 1}),
    "marks that become two": ("x" + "\u0344" * 8, "\u1e8d" + "\u0301\u0308" * 4, {"marks": 1, "nfc": 1}),
    "letters with a filler": ("이 영화 \u3164ㅂㅘㅅ는데 ᄏᅠᄏᅠ", "이 영화 봣는데 ㅋㅋ", {"jamo": 3}),
    "emoji and a stray joiner": (f"{FAMILY} 가\u200d나", f"{FAMILY} 가나", {"invisible": 1}),
}


@pytest.fixture(scope="module")
def step():
    return normalize(NormalizeSpec())


@pytest.mark.parametrize("case", CASES)
def test_each_text_gets_one_form(step, case):
    text, wanted, counts = CASES[case]
    assert step(Document("1", text)) == Change(wanted, counts)
    assert step(Document("1", wanted)) is None


@pytest.mark.parametrize(
    "text",
    [
        "10000000원", "0000-0000", "１１１１１", "一一一一 二〇〇〇〇年", "½½½½", "大韓民國 憲法 前文",
        "ㅋㅋㅋ ㅠㅠ", "#FFFFFF 0xAAAA AAAA1", "((((가)))) [[[[나]]]]", "★★★★★",
        FAMILY, WALES, "❤\ufe0f 👍🏽", "می\u200cخواهم", "क्\u200dष", "", "한글\n\n글",
    ],
)  # fmt: skip
def test_what_has_a_meaning_stays(step, text):
    assert step(Document("1", text)) is None


def test_runs_may_be_left_alone():
    assert normalize(NormalizeSpec(repeats=0))(Document("1", "ㅋㅋㅋㅋㅋㅋ")) is None
    assert normalize(NormalizeSpec(repeats=1))(Document("1", "ㅋㅋㅋ 11")) == Change("ㅋ 11", {"repeats": 1})


ODD = st.sampled_from(
    [*"\u200b\u200d\u200c\xad\u0301\u0344\u0323\u115f\u1160\u1161\u11a8\u3164\r\n\t \x00\x85\xa0ㅋㅏ가ᄀaA1#!\ud800👩\ufe0fم〇"]
)


@given(st.lists(ODD | st.characters(), max_size=30).map("".join), st.integers(0, 4))
@example("ᄀᄀᄀ가", 3)
@example("!\u200b!\u200b!\u200b!", 3)
def test_normalize_is_done_at_once(text, repeats):
    step = normalize(NormalizeSpec(repeats=repeats))
    change = step(Document("1", text))
    assert change == step(Document("1", text))
    done = text if change is None else change.text
    assert step(Document("1", done)) is None
    assert unicodedata.is_normalized("NFC", done) and "\x00" not in done
    done.encode("utf-8")


PARTS = [
    "\u0301\u0323",
    "\u0344",
    "\u200d",
    "\U0001f3f4\U000e0061",
    "👨\u200d",
    "\x00",
    " a",
    "\t",
    "\n",
    "a",
    "ab",
    "\ud800",
    "ᄀ",
    "\u3164ㄱㅏ",
]


@pytest.mark.parametrize("part", PARTS)
def test_hostile_text_costs_linear_time(step, part, seconds):
    assert seconds(lambda: step(Document("1", "e" + part * (500_000 // len(part))))) < 5
