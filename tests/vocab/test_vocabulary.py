from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import CharacterSpec
from malmoi.corpus import Document
from malmoi.vocab import MARKS, UNK, Vocabulary, characters, count_words, vocabulary

# No word has white space in it, but it may hold anything else, even half of a surrogate pair from a caller's own strings.
WORD = st.text(min_size=1, max_size=60).filter(lambda word: word.split() == [word]) | st.sampled_from(MARKS)
COUNTS = st.dictionaries(WORD, st.integers(1, 4), max_size=30)


def test_ids_are_ranks_by_count_then_code_points() -> None:
    documents = [Document("a:1", "b a c a\u0301 b <S>"), Document("a:2", ""), Document("a:3", "B <UNK> <UNK> 가")]
    counts = count_words(documents, str.split)
    assert counts == Counter({"b": 2, "<UNK>": 2, "a": 1, "c": 1, "a\u0301": 1, "<S>": 1, "B": 1, "가": 1})
    built = Vocabulary.build(counts, CharacterSpec())
    assert list(built.words) == ["</S>", "<S>", "<UNK>", "b", "B", "a", "a\u0301", "c", "가"]
    assert built.counts.tolist() == [0, 0, 3, 2, 1, 1, 1, 1, 1] and built.counts.dtype == np.int64
    assert built.encode(["가", "<S>", "nowhere", "b", "</S>"]).tolist() == [8, UNK, UNK, 3, UNK]
    assert [built.id_of(word) for word in ("c", "C", "<S>")] == [7, UNK, UNK] and len(built) == 9


@given(counts=COUNTS, unit=st.sampled_from(["byte", "codepoint", "jamo"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_rebuilt_loaded_and_pickled_vocabularies_are_equal(tmp_path: Path, counts: dict[str, int], unit: str) -> None:
    spec = CharacterSpec(unit=unit, length=12)  # type: ignore[arg-type]
    built = Vocabulary.build(counts, spec)
    known = {word: count for word, count in counts.items() if word not in MARKS}
    assert [*built.words] == [*MARKS, *sorted(known, key=lambda word: (-known[word], word))]
    assert built.counts.sum() == sum(counts.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "CHUNK", 4)
        built.save(tmp_path / "vocab")
        again = Vocabulary.build(dict(reversed(counts.items())), spec)
        loaded = Vocabulary.load(tmp_path / "vocab")
        for other in (again, loaded, pickle.loads(pickle.dumps(built)), pickle.loads(pickle.dumps(loaded))):
            assert other.fingerprint == built.fingerprint and list(other.words) == list(built.words)
            assert (other.counts == built.counts).all() and other.counts.dtype == built.counts.dtype
            assert (other.spelling == built.characters.spell(built.words)).all() and other.spelling.dtype == built.spelling.dtype
            assert other.encode(list(counts)).tolist() == [built.id_of(word) for word in counts]


def test_a_loaded_spelling_is_mapped_and_not_pickled(tmp_path: Path) -> None:
    Vocabulary.build({f"word{number}": 1 for number in range(2000)}, CharacterSpec()).save(tmp_path / "vocab")
    loaded = Vocabulary.load(tmp_path / "vocab")
    assert isinstance(loaded.spelling, np.memmap)
    assert len(pickle.dumps(loaded)) < 100_000 < loaded.spelling.nbytes
    loaded.save(tmp_path / "vocab")  # over itself
    assert Vocabulary.load(tmp_path / "vocab").fingerprint == loaded.fingerprint


def test_the_fingerprint_tells_vocabularies_apart() -> None:
    def of(counts: dict[str, int], **spec: object) -> str:
        return Vocabulary.build(counts, CharacterSpec(**spec)).fingerprint  # type: ignore[arg-type]

    base = {"a": 2, "b": 1}
    others = [of(base), of({"a": 1, "b": 2}), of({"a": 2}), of(base, length=20), of(base, unit="jamo"), of(base, cut="byte"), of({"ab": 1})]
    assert len(set(others)) == len(others)
    assert of(base) == of({"a": 20, "b": 10})  # the same ids mean the same


@pytest.mark.parametrize("name", ["words.txt", "counts.npy", "spelling.npy", "characters.json"])
def test_what_has_changed_on_disk_is_refused(tmp_path: Path, name: str) -> None:
    Vocabulary.build({"a": 2, "b": 1}, CharacterSpec()).save(tmp_path / "vocab")
    path = tmp_path / "vocab" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(MalmoiError, match=f"M020.*{name}"):
        Vocabulary.load(tmp_path / "vocab")
    path.unlink()
    with pytest.raises(MalmoiError, match=f"M021.*{name}"):
        Vocabulary.load(tmp_path / "vocab")
    with pytest.raises(MalmoiError, match="M006"):
        Vocabulary.load(tmp_path)


def test_a_word_with_a_line_feed_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        Vocabulary.build({"a\nb": 1}, CharacterSpec())


def test_every_row_of_a_vocabulary_longer_than_a_chunk_is_spelt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "CHUNK", 3)
    monkeypatch.setattr(characters, "CHUNK", 3)
    built = Vocabulary.build({f"w{number}": number + 1 for number in range(20)}, CharacterSpec(unit="codepoint"))
    assert (built.spelling == built.characters.spell(built.words)).all()
    assert set(built.characters.inventory) == set("w0123456789")
