from __future__ import annotations

import sys
import types
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.corpus import word_splitter

ANY = st.text(st.characters(exclude_categories=["Cs"])) | st.text(st.sampled_from("a한_9 .\n\u0301\u200d\u0937\u093f!"))


def test_whitespace_is_all_unicode_white_space() -> None:
    assert word_splitter("whitespace")("a\u3000b\u2028c\x85d  e,f\n") == ["a", "b", "c", "d", "e,f"]


def test_punctuation_keeps_words_of_every_script_whole() -> None:
    split = word_splitter("punctuation")
    assert split("Don't 3.14 (한국어를) 2024년…") == ["Don", "'", "t", "3", ".", "14", "(", "한국어를", ")", "2024년", "…"]
    assert split("हिन्दी में! e\u0301tude a_b") == ["हिन्दी", "में", "!", "e\u0301tude", "a_b"]
    assert split("می\u200cخواهم ක්\u200dර.") == ["می\u200cخواهم", "ක්\u200dර", "."]


@given(ANY)
def test_punctuation_loses_nothing_but_white_space(text: str) -> None:
    words = word_splitter("punctuation")(text)
    assert "".join(words) == "".join(text.split())
    for word in words:
        inner = all(part.isalnum() or part == "_" or unicodedata.category(part)[0] == "M" or part in "\u200c\u200d" for part in word)
        assert len(word) == 1 or inner


@given(ANY)
def test_no_word_has_white_space(text: str) -> None:
    for name in ("whitespace", "punctuation"):
        assert all(word.split() == [word] for word in word_splitter(name)(text))


def test_kiwi_gives_morphemes() -> None:
    pytest.importorskip("kiwipiepy", reason="the extra malmoi[ko] is not installed")
    words = word_splitter("kiwi")("나는 학교에 갔다.\n안녕하세요 ㅋㅋ")
    assert words[:4] == ["나", "는", "학교", "에"] and "ㅋㅋ" in words and all(word.split() == [word] for word in words)


def test_without_kiwi_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(MalmoiError, match=r"M005.*pip install 'malmoi\[ko\]'"):
        word_splitter("kiwi")


def test_a_function_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("own_words")
    module.halves = lambda text: [text[:3], "", "x y\n", text[3:]]  # type: ignore[attr-defined]
    module.wrong = lambda text: text  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_words", module)
    assert word_splitter("own_words:halves")("abcdef") == ["abc", "x", "y", "def"]
    with pytest.raises(MalmoiError, match="M009.*gave str"):
        word_splitter("own_words:wrong")("abc")


UNKNOWN = [("whitespce", "'whitespace'"), ("no_such_module:f", "no_such_module"), ("textwrap:wrapp", "'wrap'")]


@pytest.mark.parametrize(("name", "hint"), UNKNOWN)
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(MalmoiError, match="M009") as failure:
        word_splitter(name)
    assert hint in str(failure.value)
