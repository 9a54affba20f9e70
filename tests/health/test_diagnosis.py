"""What the doctor is given: it finds out what a path is, and which vocabulary belongs to it."""

import json

import pytest

from malmoi.core.artifact import writing
from malmoi.core.recipe import CharacterSpec, SubwordSpec
from malmoi.diagnosis import diagnose
from malmoi.shards import write_shards
from malmoi.vocab import Subwords, Vocabulary


@pytest.fixture
def texts(documents):
    return [" ".join(words) for words in documents(200)]


@pytest.mark.parametrize("kind", ["words", "subwords"])
def test_shards_find_their_vocabulary_beside_them(tmp_path, texts, kind):
    if kind == "subwords":
        vocabulary = Subwords.train(texts, SubwordSpec(size=80, minimum_count=1))
        write_shards(tmp_path / "shards", vocabulary.encode_batch(texts), vocabulary)
    else:
        counts = {}
        for word in " ".join(texts).split():
            counts[word] = counts.get(word, 0) + 1
        vocabulary = Vocabulary.build(counts, CharacterSpec(length=12))
        write_shards(tmp_path / "shards", [text.split() for text in texts], vocabulary)
    assert [finding.code for finding in diagnose(tmp_path / "shards")] == ["M021"]
    vocabulary.save(tmp_path / "vocab")
    findings = diagnose(tmp_path / "shards")
    assert not [finding for finding in findings if finding.level == "error"]
    assert any("frequency" in finding.message or "falling count" in finding.message for finding in findings) == (kind == "words")


def test_a_counted_corpus_is_held_against_its_subwords(tmp_path, texts):
    (tmp_path / "text.txt").write_text("\n\n".join(texts), encoding="utf-8")
    place = tmp_path / "corpus"
    place.mkdir()
    Subwords.train(texts, SubwordSpec(size=80, minimum_count=1)).save(place / "vocab")
    (place / "corpus.json").write_text(json.dumps({"sources": [str(tmp_path / "text.txt")], "text": {}}))
    findings = diagnose(place)
    assert any("pieces of the corpus are <unk> with 80 words" in finding.message for finding in findings)


def test_an_artifact_without_checks_of_its_own_is_whole_or_not(tmp_path):
    place = tmp_path / "sts"
    with writing(place, "tuned") as (folder, fields):
        (folder / "spec.json").write_text("{}")
        fields["base"] = "runs/bert"
    [finding] = diagnose(place)
    assert (
        finding.level == "info"
        and "a tuned model, which answers a task; all 1 files are as they were written, which is all" in finding.message
    )
    assert f"`malmoi evaluate {place} --data DIR` scores it, and runs/bert is the run" in finding.message
    (place / "spec.json").write_text("{]")
    [finding] = diagnose(place)
    assert finding.code == "M020" and finding.level == "error"


def test_a_text_is_a_text(tmp_path, texts):
    (tmp_path / "text.txt").write_text("\n\n".join(texts), encoding="utf-8")
    assert {finding.code for finding in diagnose(tmp_path / "text.txt")} <= {"M100", "M103", "M105"}
