"""Checks of text, vocabulary and shards."""

import gzip
import json

import numpy as np
import pytest

from malmoi.core.recipe import CharacterSpec, TextSpec
from malmoi.health import examine_corpus, examine_shards
from malmoi.health.data import ranks
from malmoi.shards import write_shards
from malmoi.vocab import Vocabulary


def counted(documents):
    counts = {}
    for word in (word for document in documents for word in document):
        counts[word] = counts.get(word, 0) + 1
    return counts


def by_code(findings):
    return {finding.code: finding for finding in findings if finding.code != "M100"}


@pytest.fixture
def corpus(tmp_path, documents):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(" ".join(words) for words in documents(3000, types=500)), encoding="utf-8")
    return path


def test_a_good_corpus_is_good_and_small(corpus):
    found = examine_corpus([corpus])
    assert {finding.code: finding.level for finding in found} == {"M100": "info", "M105": "warning"}
    assert any("0.00% of the tokens in the corpus are <unk>" in finding.message for finding in found)


def test_duplicates_are_counted_with_an_example(tmp_path, documents):
    lines = [" ".join(words) for words in documents(500, types=400)] + ["read our terms of use before you go on"] * 100
    (tmp_path / "t.txt").write_text("\n".join(lines))
    found = by_code(examine_corpus([tmp_path / "t.txt"], text=TextSpec(document="line")))
    assert found["M103"].level == "warning" and "100 times: 'read our terms" in found["M103"].message


def test_repeated_lines_inside_of_different_documents_are_counted(tmp_path, documents):
    texts = [f"{' '.join(words)} {number}\nshare this page" for number, words in enumerate(documents(200))]
    (tmp_path / "t.txt").write_text("\n\n".join(texts))
    found = by_code(examine_corpus([tmp_path / "t.txt"]))
    assert "49.8% of the lines" in found["M103"].message and "199 of 400" in found["M103"].message


def test_documents_without_words_are_named(tmp_path):
    lines = [json.dumps({"text": "a b c d" if number % 4 else "  "}) for number in range(100)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n")
    found = by_code(examine_corpus([tmp_path / "t.jsonl"]))
    assert found["M104"].level == "warning" and "25 of 100 documents" in found["M104"].message


def test_a_flood_of_unknown_words_is_known_before_training(corpus):
    found = by_code(examine_corpus([corpus], size=20))
    assert found["M101"].level == "error" and "with 20 words" in found["M101"].message


def test_a_vocabulary_of_another_corpus_is_found(corpus, spec):
    other = Vocabulary.build({"bird": 5, "tree": 4}, spec().characters)
    found = by_code(examine_corpus([corpus], vocabulary=other))
    assert found["M102"].level == "error" and "lacks 100.0% of the tokens" in found["M102"].message


def test_its_own_vocabulary_is_well(corpus, spec, documents):
    own = Vocabulary.build(counted(documents(3000, types=500)), spec().characters)
    assert "M102" not in by_code(examine_corpus([corpus], vocabulary=own))


def test_damage_of_a_file_is_a_finding(tmp_path, corpus):
    whole = gzip.compress(corpus.read_bytes())
    (tmp_path / "t.txt.gz").write_bytes(whole[: len(whole) // 2])
    (finding,) = examine_corpus([tmp_path / "t.txt.gz"])
    assert (finding.code, finding.level) == ("M015", "error")
    (missing,) = examine_corpus([tmp_path / "nowhere"])
    assert missing.code == "M010"


def test_shards_and_their_vocabulary_agree(tmp_path, documents, spec):
    texts = documents(300)
    vocabulary = Vocabulary.build(counted(texts), spec().characters)
    write_shards(tmp_path / "s", texts, vocabulary)
    found = examine_shards(tmp_path / "s", vocabulary)
    assert by_code(found).keys() == {"M105"}
    assert any("its counts are those of the shards" in finding.message for finding in found)


def test_shards_of_another_text_than_the_vocabulary_are_found(tmp_path, documents, spec):
    texts = documents(300)
    vocabulary = Vocabulary.build(counted(texts), spec().characters)
    write_shards(tmp_path / "near", texts[:290], vocabulary)
    assert by_code(examine_shards(tmp_path / "near", vocabulary))["M102"].level == "warning"
    write_shards(tmp_path / "far", [["w59", "w58"]] * 50, vocabulary)
    far = by_code(examine_shards(tmp_path / "far", vocabulary))["M102"]
    assert far.level == "error" and "of the mass is elsewhere" in far.message


def test_damaged_shards_and_another_vocabulary_are_findings(tmp_path, documents, spec):
    texts = documents(50)
    vocabulary = Vocabulary.build(counted(texts), spec().characters)
    write_shards(tmp_path / "s", texts, vocabulary)
    other = Vocabulary.build({"x": 1}, spec().characters)
    assert examine_shards(tmp_path / "s", other)[0].code == "M022"
    file = tmp_path / "s" / "ids-00000.bin"
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(bytes(data))
    (finding,) = examine_shards(tmp_path / "s", vocabulary)
    assert (finding.code, finding.level) == ("M020", "error")


def test_documents_that_are_repeated_or_empty_at_rest_are_found(tmp_path, documents, spec):
    texts = documents(200) + [["w1", "w2", "w3"]] * 50 + [[]] * 20
    vocabulary = Vocabulary.build(counted(texts), spec().characters)
    write_shards(tmp_path / "s", texts, vocabulary)
    found = by_code(examine_shards(tmp_path / "s", vocabulary))
    assert "50 times: 'w1 w2 w3'" in found["M103"].message and "20 of 270 documents" in found["M104"].message
    assert found["M104"].message.endswith("(first: document 250).")


def test_ids_that_are_no_frequency_ranks_are_found():
    vocabulary = Vocabulary.build({"a": 9, "b": 5, "c": 3}, CharacterSpec(length=10))
    assert ranks(vocabulary)[0].level == "info"
    swapped = Vocabulary(words=vocabulary.words, counts=np.array([0, 0, 0, 5, 9, 3]), characters=vocabulary.characters)
    (finding,) = ranks(swapped)
    assert (finding.code, finding.level) == ("M106", "error") and "id 3 ('a', 5 times) stands before id 4 ('b', 9 times)" in finding.message
