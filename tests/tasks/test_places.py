"""Where pieces stand: the ids of the vocabulary, edges in the text as it was given."""

from __future__ import annotations

import unicodedata
from typing import Any

import made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.tasks.places import Places, within

ALGORITHMS = ("wordpiece", "bpe", "byte_bpe", "unigram")
ALPHABET = "가각힣ㄱ각 é\u0301\u0327 ab.'\n\u200b\u0958漢😀"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(st.text(ALPHABET, max_size=24))
def test_every_character_belongs_to_a_piece_and_pieces_stand_in_order(algorithm: Any, text: str) -> None:
    vocabulary = made.subwords(algorithm)
    ((ids, edges),) = Places(vocabulary).of([text])
    assert ids.tolist() == vocabulary.encode(text).tolist() and edges.shape == (len(ids), 2)
    assert (edges[:, 0] <= edges[:, 1]).all() and edges.min(initial=0) >= 0 and edges.max(initial=0) <= len(text)
    real = edges[edges[:, 1] > edges[:, 0]]
    assert (real[1:, 0] >= real[:-1, 0]).all() and (real[1:, 1] >= real[:-1, 1]).all()
    covered = {place for begin, end in real.tolist() for place in range(begin, end)}
    if algorithm != "wordpiece":  # which drops what it takes for control characters
        assert {place for place, character in enumerate(text) if not character.isspace()} <= covered
    assert not any(text[begin].isspace() or text[end - 1].isspace() for begin, end in real.tolist())


@pytest.mark.parametrize("normal", ["NFC", "NFD"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_words_are_found_in_texts_of_either_form(algorithm: Any, normal: Any) -> None:
    text = unicodedata.normalize(normal, "  the 바람 은  Seoul\n서울 에서 ?")
    vocabulary = made.subwords(algorithm)
    ((ids, edges),) = Places(vocabulary).of([text])
    for word in text.split():
        begin = text.index(word)
        found = within(edges, begin, begin + len(word))
        assert vocabulary.decode(ids[found]).strip() == unicodedata.normalize("NFC", word)
        assert (edges[found[0], 0], edges[found[-1], 1]) == (begin, begin + len(word))


def test_no_text_has_no_pieces() -> None:
    ((ids, edges),) = Places(made.subwords()).of([""])
    assert len(ids) == 0 and edges.shape == (0, 2) and len(within(edges, 0, 1)) == 0
