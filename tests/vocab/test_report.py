from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import CharacterSpec
from malmoi.vocab import MARKS, Vocabulary, VocabularyReport, refuse_unknown, report

COUNTS = {**{f"w{number:04}": 5000 // (number + 1) + 1 for number in range(5000)}, "가" * 20: 3, "x" * 49: 2, "y" * 48: 1, "<UNK>": 7}


@given(st.dictionaries(st.text("abc", min_size=1) | st.sampled_from(MARKS), st.integers(1, 50), max_size=12), st.integers(1, 20))
def test_rates_agree_with_counting(counts: dict[str, int], size: int) -> None:
    found = report(Vocabulary.build(counts, CharacterSpec()), size)
    ranked = sorted((word for word in counts if word not in MARKS), key=lambda word: (-counts[word], word))
    inside = set(ranked[: max(size - 3, 0)])
    tokens = sum(counts.values())
    assert (found.tokens, found.types, found.size) == (tokens, len(ranked), min(size, len(ranked) + 3))
    assert found.unknown_tokens == pytest.approx(sum(count for word, count in counts.items() if word not in inside) / max(tokens, 1))
    assert found.unknown_types == pytest.approx(len(set(ranked) - inside) / max(len(ranked), 1))


def test_curve_longest_words_and_cuts() -> None:
    vocabulary = Vocabulary.build(COUNTS, CharacterSpec())
    found = report(vocabulary, 1234)
    assert [size for size, _ in found.coverage] == [1000, 1234, 2000, 5000, len(vocabulary)]
    for size, share in found.coverage:
        assert share == pytest.approx(1 - report(vocabulary, size).unknown_tokens)
    assert found.longest[:2] == (("가" * 20, 60), ("x" * 49, 49)) and len(found.longest) == 10
    assert found.over_length == pytest.approx(5 / sum(COUNTS.values()))
    assert VocabularyReport.model_validate_json(found.model_dump_json()) == found


def test_the_sizes_offered_are_the_smallest_that_do() -> None:
    vocabulary = Vocabulary.build(COUNTS, CharacterSpec())
    sizes = report(vocabulary, 10).sizes
    assert [rate for rate, _ in sizes] == [0.5, 0.2, 0.1, 0.05, 0.02, 0.01]
    for rate, size in sizes:
        assert report(vocabulary, size).unknown_tokens <= rate < report(vocabulary, size - 1).unknown_tokens


def test_an_unknown_flood_is_refused_with_sizes() -> None:
    vocabulary = Vocabulary.build(COUNTS, CharacterSpec())
    enough = dict(report(vocabulary, 10).sizes)[0.2]
    refuse_unknown(report(vocabulary, enough))
    with pytest.raises(MalmoiError, match="M012") as failure:
        refuse_unknown(report(vocabulary, enough - 1))
    assert f"model.head.size={enough} " in str(failure.value) and "--allow-unknown" in str(failure.value)
    refuse_unknown(report(vocabulary, enough - 1), limit=0.3)
    with pytest.raises(MalmoiError, match="no size would do"):
        refuse_unknown(report(Vocabulary.build({"<UNK>": 3, "a": 1}, CharacterSpec()), 100))
