from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from malmoi import api
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import SubwordSpec
from malmoi.vocab import SubwordReport, Subwords, load_vocabulary, refuse_unknown

TEXTS = [
    "말모이는 사전이다. the dictionary 말을",
    "",
    "K팝을 듣는 사람들, the people! 12 34",
    unicodedata.normalize("NFD", "말모이는") + " 龘",
]


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "byte_bpe", "unigram"])
def test_the_report_is_what_counting_word_by_word_gives(algorithm: str) -> None:
    vocabulary = Subwords.train([*TEXTS[:3]] * 2, SubwordSpec(algorithm=algorithm, size=400))  # type: ignore[arg-type]
    found = vocabulary.report(iter(TEXTS))
    words = [word for text in TEXTS for word in unicodedata.normalize("NFC", text).split()]
    groups = {
        "text": words,
        "korean": ["말모이는", "사전이다.", "말을", "K팝을", "듣는", "사람들,", "말모이는"],
        "english": ["the", "dictionary", "the", "people!"],
    }
    for name, chosen in groups.items():
        facts = getattr(found, name)
        ids = [id for word in chosen for id in vocabulary.encode(f" {word}").tolist()]
        assert (facts.words, facts.tokens) == (len(chosen), len(ids))
        assert facts.unknown == pytest.approx(ids.count(1) / len(ids))
        assert facts.tokens_per_word == pytest.approx(len(ids) / len(chosen))
        assert facts.bytes_per_token == pytest.approx(sum(len(word.encode()) + 1 for word in chosen) / len(ids))
    assert (found.text.unknown > 0) == (algorithm == "wordpiece")  # the hanja, which no text of the training had
    assert (found.size, found.types) == (len(vocabulary), len(set(words)))
    assert SubwordReport.model_validate_json(found.model_dump_json()) == found
    assert vocabulary.report([]).text.tokens == 0


def test_a_flood_of_unknown_subwords_is_refused_with_what_helps() -> None:
    vocabulary = Subwords.train(["가 가 나"], SubwordSpec())
    refuse_unknown(vocabulary.report(["가 가 가 가 나"]))  # 20% is the limit
    with pytest.raises(MalmoiError, match=r"M026: 25\.0% .*subwords\.algorithm=bpe.*subwords\.minimum_count"):
        refuse_unknown(vocabulary.report(["가 가 가 나"]))
    refuse_unknown(vocabulary.report(["가 가 가 나"]), limit=0.3)


def test_the_verb_corpus_trains_and_reports(tmp_path: Path) -> None:
    source = tmp_path / "text.txt"
    source.write_text("\n\n".join(["말모이는 사전이다.", "the dictionary of the people"] * 5), encoding="utf-8")
    found = api.corpus([source], out=tmp_path / "out", subwords="unigram", size=300)
    vocabulary = load_vocabulary(tmp_path / "out" / "vocab")
    assert isinstance(vocabulary, Subwords)
    assert found["documents"] == 10 and found["size"] == len(vocabulary) <= 300 and found["pieces"]["unknown"] == 0.0
    assert found["korean"]["words"] == 10 and found["english"]["words"] == 25 and found["tokens"] == found["pieces"]["tokens"]
    assert found["subwords"] == SubwordSpec(algorithm="unigram", size=300).model_dump()
    stored = json.loads((tmp_path / "out" / "corpus.json").read_text(encoding="utf-8"))
    assert {key: stored[key] for key in ("pieces", "korean", "english", "subwords")} == {
        key: found[key] for key in ("pieces", "korean", "english", "subwords")
    }
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(MalmoiError, match="M013"):
        api.corpus([tmp_path / "empty.txt"], out=tmp_path / "none", subwords="bpe")
    with pytest.raises(MalmoiError, match="M002"):
        api.corpus([source], out=tmp_path / "none", subwords="sentencepiece")
    assert not (tmp_path / "none").exists()
