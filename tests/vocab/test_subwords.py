"""Vocabularies of subwords: all four algorithms on Korean, English, emoji, rare hanja and decomposed text."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.recipe import CharacterSpec, SubwordSpec
from malmoi.vocab import Subwords, Vocabulary, encode_documents, load_vocabulary, lookup, text_chunks
from malmoi.vocab.marks import SUBWORD_MARKS

ALGORITHMS = ("wordpiece", "bpe", "byte_bpe", "unigram")
FALLING_BACK = ALGORITHMS[1:]
TEXTS = [
    "말모이는 주시경과 제자들이 만든 첫 국어사전의 원고이다. 말을 모은다는 뜻이다.",
    "Pre-training of deep bidirectional language models: the quick brown fox jumps over the lazy dog, don't it?",
    "사전을 만드는 사람들은 말을 모으고, 모은 말을 다듬고, 다듬은 말을 다시 모았다.",
    "Words are gathered, words are counted; the rarest words of the corpus (漢字, 國語) stay rare. 12 345 $5.00",
    "국어사전 國語辭典 국어사전 國語辭典. The dictionary of the language, the language of the dictionary!",
]
MIXED = (
    "나는 「말모이」를 READ 했다. 😀👨\u200d👩\u200d👧 𠮷野 龘 [MASK]를 don't\u00a0… "
    + unicodedata.normalize("NFD", "한국어 café")
    + "\n  끝"
)
ODD = st.sampled_from(
    ["가", "말모이", "the", "dog", "'s", " ", "  ", "\n", "\n\n", "\u3000", "\x1c", "\x85", "[MASK]", "[SEP]", "##", "😀", "龘", "é", "ㅋ"]
)
TEXT = st.lists(ODD | st.text(max_size=6), max_size=12).map("".join)


def spec(algorithm: str, **changed: object) -> SubwordSpec:
    return SubwordSpec(**{"algorithm": algorithm, "size": 600, "minimum_count": 1, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained() -> dict[str, Subwords]:
    return {algorithm: Subwords.train(TEXTS, spec(algorithm)) for algorithm in ALGORITHMS}


def bare(text: str) -> str:
    """A text in NFC without white space, and without the space sign, which only stands for it. Half surrogates cannot be encoded."""
    return "".join(unicodedata.normalize("NFC", text).replace("▁", " ").split())


def plain(vocabulary: Subwords) -> Tokenizer:
    """The same file, read by the engine alone."""
    found = Tokenizer.from_str(vocabulary.json)
    found.encode_special_tokens = True
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_first_ids_are_the_marks_and_all_ids_are_pieces(trained: dict[str, Subwords], algorithm: str) -> None:
    vocabulary = trained[algorithm]
    assert tuple(vocabulary.tokens[:5]) == SUBWORD_MARKS and len(set(vocabulary.tokens)) == len(vocabulary) <= 600
    marks = vocabulary.marks
    assert (marks.pad, marks.unknown, marks.begin, marks.end, marks.mask) == (0, 1, 2, 3, 4)
    assert vocabulary.sizes() == {"words": len(vocabulary), "characters": 0, "marks": marks}
    assert plain(vocabulary).get_vocab_size() == len(vocabulary)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_file_read_by_the_engine_alone_gives_the_same_ids(trained: dict[str, Subwords], algorithm: str, tmp_path: Path) -> None:
    vocabulary = trained[algorithm]
    vocabulary.save(tmp_path / "vocab")
    engine = Tokenizer.from_file(str(tmp_path / "vocab" / "tokenizer.json"))
    for text in (*TEXTS, MIXED.replace("[MASK]", "")):
        expected = engine.encode(text, add_special_tokens=False).ids
        assert vocabulary.encode(text).tolist() == expected
        assert engine.encode(text).ids == [2, *expected, 3]
    pair = engine.encode(TEXTS[0], TEXTS[1])
    first, second = vocabulary.encode(TEXTS[0]).tolist(), vocabulary.encode(TEXTS[1]).tolist()
    assert pair.ids == [2, *first, 3, *second, 3]
    assert pair.type_ids == [0] * (len(first) + 2) + [1] * (len(second) + 1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(texts=st.lists(TEXT, max_size=4))
@settings(max_examples=40)
def test_looking_words_up_changes_nothing(trained: dict[str, Subwords], algorithm: str, texts: list[str]) -> None:
    vocabulary = trained[algorithm]
    found = vocabulary.encode_batch(texts)
    assert [ids.dtype for ids in found] == [np.int64] * len(texts)
    engine = plain(vocabulary)
    assert [ids.tolist() for ids in found] == [engine.encode(text, add_special_tokens=False).ids for text in texts]
    for text, ids, (same, starts) in zip(texts, found, vocabulary.encode_sentences(texts), strict=True):
        assert ids.tolist() == vocabulary.encode(text).tolist() == same.tolist()
        assert starts[0] == 0 and (np.diff(starts) > 0).all() and (starts[1:] < len(ids)).all() and starts.dtype == np.int64


@pytest.mark.parametrize("algorithm", FALLING_BACK)
@given(text=TEXT)
@settings(max_examples=60)
def test_text_comes_back_and_nothing_is_unknown(trained: dict[str, Subwords], algorithm: str, text: str) -> None:
    vocabulary = trained[algorithm]
    ids = vocabulary.encode(text)
    assert not np.isin(ids, vocabulary.marks.ids).any()
    if algorithm == "byte_bpe":
        assert vocabulary.decode(ids) == unicodedata.normalize("NFC", text)
    else:
        assert bare(vocabulary.decode(ids)) == bare(text)


@given(text=st.text("말모이사전the dog,.'[]()#12 \n", max_size=30))
@settings(max_examples=60)
def test_known_characters_come_back_from_wordpiece(text: str) -> None:
    letters = "말모이사전thedog12"
    vocabulary = Subwords.train([f"{letters} {letters[1:]}{letters[0]} {',.[]()#' + chr(39)}"], spec("wordpiece"))
    assert bare(vocabulary.decode(vocabulary.encode(text))) == bare(text)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_mark_never_comes_from_text(algorithm: str) -> None:
    attack = "a [MASK] b[SEP]c [CLS][PAD] ##d [UNK] <0xEA><0xB0><0x80> [mask]"
    vocabulary = Subwords.train([*TEXTS, *[attack] * 50], spec(algorithm))
    ids = vocabulary.encode(attack)
    assert not np.isin(ids, [0, 1, 2, 3, 4]).any()
    assert bare(vocabulary.decode(ids)) == bare(attack)  # the letters, not the byte that they look like
    assert not np.isin(np.concatenate([ids for ids, _ in vocabulary.encode_sentences([attack])]), [0, 1, 2, 3, 4]).any()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_decomposed_text_has_the_ids_of_composed_text(trained: dict[str, Subwords], algorithm: str) -> None:
    vocabulary = trained[algorithm]
    composed = "말모이는 café 국어사전을"
    decomposed = unicodedata.normalize("NFD", composed)
    assert decomposed != composed
    assert vocabulary.encode(decomposed).tolist() == vocabulary.encode(composed).tolist()
    again = Subwords.train([unicodedata.normalize("NFD", text) for text in TEXTS], spec(algorithm))
    assert again.fingerprint == vocabulary.fingerprint


def test_hangul_stays_whole_and_case_is_kept_unless_asked() -> None:
    vocabulary = Subwords.train(["말모이 Word É"] * 3, spec("wordpiece"))
    assert all(not 0x1100 <= ord(letter) <= 0x11FF for piece in vocabulary.tokens for letter in piece)
    assert vocabulary.decode(vocabulary.encode("말모이 Word É")) == "말모이 Word É"
    assert vocabulary.encode("word").tolist() == [1]
    lower = Subwords.train(["말모이 Word É"] * 3, spec("wordpiece", lowercase=True))
    assert lower.decode(lower.encode("말모이 WORD É")) == "말모이 word é"  # the accent stays
    assert plain(lower).encode("WORD É", add_special_tokens=False).ids == lower.encode("WORD É").tolist() == lower.encode("word é").tolist()


def test_wordpiece_keeps_every_character_that_is_not_rare() -> None:
    syllables = [chr(0xAC00 + 7 * number) for number in range(1500)]  # more than the 1000 that the engine would keep
    vocabulary = Subwords.train([" ".join(syllables), " ".join(reversed(syllables)), "龘 hapax"], SubwordSpec(size=5000, minimum_count=2))
    assert not (vocabulary.encode(" ".join(syllables)) == 1).any()
    assert (vocabulary.encode("龘 hapax") == 1).all()  # seen once: unknown, and counted as such
    small = Subwords.train([" ".join(syllables)], SubwordSpec(size=1000, minimum_count=1))
    assert len(small) <= 1000 and (small.encode(" ".join(syllables)) == 1).sum() > 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_small_corpus_gives_a_small_vocabulary(algorithm: str) -> None:
    for texts in ([], [""], ["가"], ["가 나 나"]):
        vocabulary = Subwords.train(texts, spec(algorithm))
        assert 5 <= len(vocabulary) < 300
        assert encode_documents(texts, vocabulary).ends.shape == (len(texts),)
    with pytest.raises(MalmoiError, match=r"M009.*subwords\.size"):
        Subwords.train(TEXTS, spec(algorithm, size=4))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_process_trains_the_same_vocabulary(trained: dict[str, Subwords], algorithm: str) -> None:
    """The engine's hashes are seeded anew in every process, and so are Python's."""
    code = (
        "import sys, json; from malmoi.vocab import Subwords; from malmoi.core.recipe import SubwordSpec;"
        "texts, spec = json.load(sys.stdin); print(Subwords.train(reversed(texts), SubwordSpec(**spec)).fingerprint)"
    )
    task = json.dumps([TEXTS, spec(algorithm).model_dump()])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "RAYON_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    ran = subprocess.run([sys.executable, "-c", code], input=task, capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.strip() == trained[algorithm].fingerprint


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_saved_loaded_and_pickled_vocabularies_are_equal(trained: dict[str, Subwords], algorithm: str, tmp_path: Path) -> None:
    vocabulary = trained[algorithm]
    vocabulary.save(tmp_path / "vocab")
    for other in (load_vocabulary(tmp_path / "vocab"), pickle.loads(pickle.dumps(vocabulary))):
        assert isinstance(other, Subwords) and other.fingerprint == vocabulary.fingerprint and other.tokens == vocabulary.tokens
        assert other.encode(MIXED).tolist() == vocabulary.encode(MIXED).tolist()
        assert other.marks.continues.tolist() == vocabulary.marks.continues.tolist()  # type: ignore[union-attr]


def test_fingerprints_tell_vocabularies_apart(trained: dict[str, Subwords]) -> None:
    fingerprints = {vocabulary.fingerprint for vocabulary in trained.values()}
    other = Subwords.of(trained["bpe"].json, Marks(pad=0, unknown=1, begin=2, end=2, mask=4))
    lower = Subwords.train(TEXTS, spec("bpe", lowercase=True))
    assert len({*fingerprints, other.fingerprint, lower.fingerprint}) == 6
    indented = Subwords.of(json.dumps(json.loads(trained["bpe"].json), indent=2), trained["bpe"].marks)
    assert indented.fingerprint == trained["bpe"].fingerprint  # the content counts, not how it is laid out


def test_what_has_changed_on_disk_is_refused(trained: dict[str, Subwords], tmp_path: Path) -> None:
    trained["bpe"].save(tmp_path / "vocab")
    path = tmp_path / "vocab" / "tokenizer.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(MalmoiError, match=r"M020.*tokenizer\.json"):
        load_vocabulary(tmp_path / "vocab")
    path.unlink()
    with pytest.raises(MalmoiError, match=r"M021.*tokenizer\.json"):
        Subwords.load(tmp_path / "vocab")
    with pytest.raises(MalmoiError, match="M006"):
        load_vocabulary(tmp_path)
    Vocabulary.build({"a": 1}, CharacterSpec()).save(tmp_path / "words")
    assert isinstance(load_vocabulary(tmp_path / "words"), Vocabulary)
    with pytest.raises(MalmoiError, match="M006"):
        Subwords.load(tmp_path / "words")


def test_a_vocabulary_of_words_has_sizes_too() -> None:
    words = Vocabulary.build({"a": 1}, CharacterSpec())
    assert words.sizes() == {"words": 4, "characters": words.characters.size, "marks": None, "counts": words.counts}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pieces_that_go_on_with_a_word(trained: dict[str, Subwords], algorithm: str) -> None:
    vocabulary = trained[algorithm]
    continues = vocabulary.marks.continues
    assert continues is not None and continues.shape == (len(vocabulary),) and continues.dtype == bool
    assert not continues[:5].any()
    ids = vocabulary.encode("the dictionary, 말모이는 bidirectionally. 龘國語辭典學!")
    begins = [vocabulary.decode(part).strip() for part in np.split(ids, np.flatnonzero(~continues[ids]))[1:]]
    if algorithm == "byte_bpe":  # a text that begins without a space: its first piece is the beginning of a word all the same
        begins = [vocabulary.decode(part).strip() for part in np.split(ids, np.flatnonzero(~continues[ids] & (np.arange(len(ids)) > 0)))]
    words = ["the", "dictionary", ",", "말모이는", "bidirectionally", ".", "龘國語辭典學", "!"]
    assert begins == [word if algorithm != "wordpiece" or word[0] not in "龘" else "[UNK]" for word in words]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sentences_begin_where_they_should(trained: dict[str, Subwords], algorithm: str) -> None:
    vocabulary = trained[algorithm]
    text = '말을 모은다.  (The end!) "Words?" J. Dog gathered 3. words\n\n국어사전…」 다시 모았다. '
    ids, starts = vocabulary.encode_sentences([text, ""])[0]
    parts = [bare(vocabulary.decode(part)) for part in np.split(ids, starts[1:])]
    assert parts == [
        bare(part) for part in ("말을 모은다.", "(The end!)", '"Words?"', "J. Dog gathered 3. words", "국어사전…」", "다시 모았다.")
    ] or (algorithm == "wordpiece" and len(parts) == 6)
    assert vocabulary.encode_sentences(["", " \n "])[0][1].tolist() == [0]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_foreign_file_is_read_by_its_offsets(trained: dict[str, Subwords], algorithm: str) -> None:
    content = json.loads(trained[algorithm].json)
    content["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": "~"}, "content": "-"}],
    }
    content["padding"] = {
        "strategy": {"Fixed": 50},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    foreign = Subwords.of(json.dumps(content), Marks(pad=0, unknown=1, begin=2, end=3, mask=4))
    assert foreign.encode("").tolist() == [] and foreign.encode_batch([]) == []
    for text in (*TEXTS, MIXED, "one. two! three\nfour", ""):
        ids, starts = foreign.encode_sentences([text])[0]
        assert ids.tolist() == trained[algorithm].encode(text).tolist() == foreign.encode(text).tolist()
        own = trained[algorithm].encode_sentences([text])[0][1]
        assert len(starts) == len(own) and (algorithm == "byte_bpe" or starts.tolist() == own.tolist())


@given(texts=st.lists(TEXT | st.just("a\x0bb\x0cc \u200bd"), max_size=4))
@settings(max_examples=40)
def test_berts_own_normalizer_is_looked_up_exactly(trained: dict[str, Subwords], texts: list[str]) -> None:
    content = json.loads(trained["wordpiece"].json)
    content["normalizer"] = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    }
    foreign = Subwords.of(json.dumps(content), Marks(pad=0, unknown=1, begin=2, end=3, mask=4))
    engine = plain(foreign)
    normal = [unicodedata.normalize("NFC", text) for text in texts]
    assert [ids.tolist() for ids in foreign.encode_batch(texts)] == [engine.encode(text, add_special_tokens=False).ids for text in normal]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_half_a_surrogate_pair_is_no_crash(trained: dict[str, Subwords], algorithm: str) -> None:
    vocabulary = trained[algorithm]
    assert vocabulary.encode("a\ud83d b").tolist() == vocabulary.encode("a\ufffd b").tolist()
    assert Subwords.train(["a\ud83d b"], spec(algorithm)).fingerprint == Subwords.train(["a\ufffd b"], spec(algorithm)).fingerprint
    assert encode_documents(["a\ud83d b"], vocabulary).bytes == 7 and vocabulary.report(["a\ud83d b"]).text.words == 2


def test_chunks_of_texts_are_bounded() -> None:
    texts = ["a" * 10] * 5 + ["b" * 100] + ["c"]
    assert [len(chunk) for chunk in text_chunks(texts, most=3, characters=50)] == [3, 3, 1]
    assert [text for chunk in text_chunks(iter(texts), most=2, characters=5) for text in chunk] == texts and list(text_chunks([])) == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_words_beyond_the_bound_are_cut_each_time(trained: dict[str, Subwords], algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "WORDS", 7)
    vocabulary = Subwords.of(trained[algorithm].json, trained[algorithm].marks)
    expected = [ids.tolist() for ids in trained[algorithm].encode_batch(TEXTS)]
    for _ in range(2):
        assert [vocabulary.encode(text).tolist() for text in TEXTS] == expected
    assert [ids.tolist() for ids in vocabulary.encode_batch(TEXTS)] == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_documents_of_subwords(trained: dict[str, Subwords], algorithm: str) -> None:
    vocabulary = trained[algorithm]
    documents = [TEXTS[0], "", unicodedata.normalize("NFD", "가나"), MIXED]
    text = encode_documents(documents, vocabulary)
    parts = np.split(text.ids, text.ends[:-1])
    assert [part.tolist() for part in parts] == [vocabulary.encode(document).tolist() for document in documents]
    assert text.extra == [] and text.vocabulary is vocabulary and text.ids.dtype == text.ends.dtype == np.int64
    assert text.bytes == sum(len(unicodedata.normalize("NFC", document).encode()) + 1 for document in documents)
