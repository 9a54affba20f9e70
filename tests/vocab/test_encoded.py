from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.recipe import CharacterSpec
from malmoi.vocab import UNK, Vocabulary, encode_documents

VOCABULARY = Vocabulary.build({"a": 5, "b": 4, "가": 3, "나다": 1}, CharacterSpec(length=8))
DOCUMENTS = st.lists(st.lists(st.sampled_from(["a", "b", "가", "나다", "c", "라마바사", "<S>", "<UNK>", "é"]), max_size=6), max_size=8)


@given(DOCUMENTS)
def test_words_come_back_from_ids(documents: list[list[str]]) -> None:
    text = encode_documents(documents, VOCABULARY)
    flat = [word for words in documents for word in words]
    known = len(VOCABULARY)
    names = [*VOCABULARY.words, *text.extra]
    assert [names[id] for id in text.ids] == ["<UNK>" if word in {"<S>", "<UNK>"} else word for word in flat]
    assert text.ends.tolist() == np.cumsum([len(words) for words in documents]).astype(int).tolist()
    assert len(set(text.extra)) == len(text.extra) and not set(text.extra) & set(VOCABULARY.words)
    assert text.bytes == sum(max(sum(len(word.encode()) + 1 for word in words), 1) for words in documents)
    assert text.ids.dtype == text.ends.dtype == np.int64 and text.ids.shape == (len(flat),)
    assert np.where(text.ids < known, text.ids, UNK).tolist() == VOCABULARY.encode(flat).tolist()


@given(DOCUMENTS, st.randoms())
def test_any_mixture_of_ids_is_spelt(documents: list[list[str]], random: object) -> None:
    text = encode_documents(documents, VOCABULARY)
    names = [*VOCABULARY.words, *text.extra]
    ids = np.unique(np.concatenate([text.ids, [0, 1]]))[::-1]
    assert (text.spelling(ids) == VOCABULARY.characters.spell([names[id] for id in ids])).all()


def test_words_that_the_vocabulary_lacks_keep_their_own_spelling() -> None:
    text = encode_documents([["c", "a"], [], ["라마바", "c"]], VOCABULARY)
    assert text.ids.tolist() == [7, 3, 8, 7] and text.ends.tolist() == [2, 2, 4] and text.extra == ["c", "라마바"]
    assert text.spelling(np.array([8, 7])).tolist() == VOCABULARY.characters.spell(["라마바", "c"]).tolist()
    assert text.bytes == (1 + 1 + 1 + 1) + 1 + (9 + 1 + 1 + 1)
