"""Filters: what goes, with its reason and its number; what stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Removal
from malmoi.corpus.steps.filters import blocklist, length, repetition, symbols
from malmoi.corpus.steps.spec import BlocklistSpec, LengthSpec, RepetitionSpec, SymbolsSpec


def test_length():
    step = length(LengthSpec(characters=5, words=2, largest=10))
    assert step(Document("1", "가나 다라")) is None
    assert step(Document("1", "가나다라")) == Removal("short", "4 < 5 characters")
    assert step(Document("1", "가나다라마")) == Removal("few_words", "1 < 2 words")
    assert step(Document("1", "가 나 다 라 마 바")) == Removal("long", "11 > 10 characters")
    assert length(LengthSpec(characters=0, words=0))(Document("1", "")) is None


def test_symbols():
    step = symbols(SymbolsSpec(letters=0.5, word=5))
    assert step(Document("1", "가나 다라 12")) is None
    assert step(Document("1", "가나 1234")) == Removal("few_letters", "0.33 < 0.50")
    assert step(Document("1", " \n")) == Removal("few_letters", "0.00 < 0.50")
    assert step(Document("1", "가나다라마바 사")) is None
    assert step(Document("1", "가나다라마바")) == Removal("long_words", "6.0 > 5.0")


def test_repeated_lines():
    step = repetition(RepetitionSpec(lines=0.3))
    menu, text = "처음으로 돌아가기", "이 줄은 한 번만 나온다"
    assert step(Document("1", f"{menu}\n{text}\n\n{text} 하고\n{menu}")) is None
    assert step(Document("1", f"{menu}\n{menu}\n{text}\n{menu}")) == Removal("lines", "0.45 > 0.30")


def test_repeated_ngrams():
    step = repetition(RepetitionSpec(ngram=3, ngrams=0.3))
    assert step(Document("1", "가 나 다 라 마 바 사 아")) is None
    assert step(Document("1", "가 나 다 라 가 나 다 라")) == Removal("ngrams", "0.50 > 0.30")
    assert step(Document("1", "가 " * 50)) == Removal("ngrams", "0.98 > 0.30")
    assert repetition(RepetitionSpec())(Document("1", "가 " * 10)) is None  # one n-gram


@given(st.lists(st.sampled_from("가나다"), max_size=40), st.integers(2, 4), st.sampled_from([0.0, 0.2, 0.5]))
def test_ngrams_agree_with_counting_them_one_by_one(words, size, limit):
    seen, covered = set(), set()
    for place in range(len(words) - size + 1):
        gram = tuple(words[place : place + size])
        if gram in seen:
            covered.update(range(place, place + size))
        seen.add(gram)
    share = len(covered) / max(len(words), 1)
    wanted = Removal("ngrams", f"{share:.2f} > {limit:.2f}") if share > limit else None
    assert repetition(RepetitionSpec(ngram=size, ngrams=limit))(Document("1", " ".join(words))) == wanted


def test_blocklist():
    step = blocklist(BlocklistSpec(words=("도박", "ass", "C++"), times=2))
    assert step(Document("1", "도박을 권하는 class")) is None
    assert step(Document("1", "온라인도박사이트 Ass")) == Removal("blocklist", "2 >= 2: ass, 도박")
    assert step(Document("1", "c++ c++")) == Removal("blocklist", "2 >= 2: c++")
    assert blocklist(BlocklistSpec())(Document("1", "도박")) is None
    longer = blocklist(BlocklistSpec(words=("도박", "도박장")))
    assert longer(Document("1", "도박장")) == Removal("blocklist", "1 >= 1: 도박장")


def test_blocklist_of_a_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("도박\n\n 카지노 \n", encoding="utf-8")
    assert blocklist(BlocklistSpec(file=str(path)))(Document("1", "카지노")) == Removal("blocklist", "1 >= 1: 카지노")
    with pytest.raises(MalmoiError, match="M010"):
        blocklist(BlocklistSpec(file=str(tmp_path / "none.txt")))


@pytest.mark.parametrize("part", ["가 ", "가 나 ", "가나\n", "가", " "])
def test_hostile_text_costs_linear_time(part, seconds):
    steps = [length(LengthSpec()), symbols(SymbolsSpec()), repetition(RepetitionSpec()), blocklist(BlocklistSpec(words=("가나다", "나가")))]
    text = part * (500_000 // len(part))
    assert seconds(lambda: [step(Document("1", text)) for step in steps]) < 5
