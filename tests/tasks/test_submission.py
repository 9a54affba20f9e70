"""What is written can be read again, and by the official scorers."""

import json
import math

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.tasks import TASKS, find_task, submission
from malmoi.tasks.task import Choice, InContext, Question, Tagged, Texts, WordPair

PAIRS = [Texts("0", "하나\t둘", "셋", "neutral"), Texts("1", "넷", "다섯", "entailment")]
TAGS = [Tagged("s-1", ("A", "b"), ("B-person", "O")), Tagged("s-2", ("C",), ("O",))]


def test_glue(tmp_path):
    find_task("rte").write(tmp_path / "RTE.tsv", PAIRS, ["entailment", "not_entailment"])
    assert (tmp_path / "RTE.tsv").read_text() == "index\tprediction\n0\tentailment\n1\tnot_entailment\n"
    find_task("stsb").write(tmp_path / "STS-B.tsv", PAIRS, [1.23456, 5.0])
    assert (tmp_path / "STS-B.tsv").read_text() == "index\tprediction\n0\t1.235\n1\t5.000\n"
    find_task("codah").write(tmp_path / "codah.tsv", [Choice("a", "b", ("c", "d"))], [1])
    assert (tmp_path / "codah.tsv").read_text() == "index\tprediction\n0\t1\n"


def test_squad_and_its_doubts(tmp_path):
    questions = [Question("a", "누구?", "김"), Question("b", "why?", "x")]
    for name in ("squad2", "korquad", "klue-mrc"):
        find_task(name).write(tmp_path / "p.json", questions, ["김", ""])
        assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8")) == {"a": "김", "b": ""}
    submission.no_answer(tmp_path / "na_prob.json", questions, [0.25, 0.75])
    assert json.loads((tmp_path / "na_prob.json").read_text()) == {"a": 0.25, "b": 0.75}


def test_conll_columns_with_and_without_gold(tmp_path):
    find_task("wnut17").write(tmp_path / "w", TAGS, [("O", "O"), ("B-person",)])
    assert (tmp_path / "w").read_text() == "A\tB-person\tO\nb\tO\tO\n\nC\tO\tB-person\n\n"
    find_task("conll2003-ner").write(tmp_path / "c", [Tagged("x", ("A",))], [("B-PER",)])
    assert (tmp_path / "c").read_text() == "A B-PER\n\n"


@pytest.mark.parametrize(
    ("name", "file", "examples", "predictions"),
    [
        ("klue-tc", "ynat-v1.1_{}.json", [Texts("g1", "제목 하나", label="정치"), Texts("g2", "둘", label="경제")], ["경제", "스포츠"]),
        ("klue-nli", "klue-nli-v1.1_{}.json", PAIRS, ["contradiction", "neutral"]),
        ("klue-sts", "klue-sts-v1.1_{}.json", PAIRS, [2.96, 0.5]),
        ("kornli", "xnli.{}.ko.tsv", PAIRS, ["contradiction", "neutral"]),
        ("korsts", "sts-{}.tsv", PAIRS, [2.125, 0.5]),
        ("nsmc", "ratings_{}.txt", [Texts("7", "좋다"), Texts("8", ""), *(Texts(str(n), "음") for n in range(20))], ["1", "0", *"01" * 10]),
    ],
)
def test_published_forms_are_read_again(tmp_path, name, file, examples, predictions):
    for split in ("train", "dev", "test"):
        task = find_task(name)
        task.write(tmp_path / file.format("train" if name == "nsmc" and split == "dev" else split), examples, predictions)
    if name == "kornli":
        (tmp_path / "xnli.train.ko.tsv").rename(tmp_path / "multinli.train.ko.tsv")
    found = task.read(tmp_path).test
    assert [example.label for example in found] == predictions
    assert [example.first for example in found] == [
        example.first.replace("\t", " ") if file.endswith("tsv") else example.first for example in examples
    ]


def test_tags_are_read_again(tmp_path):
    words = [Tagged("klue-ner-v1_test_0", ("김", " ", "씨"), ())]
    for name, file, told in (
        ("klue-ner", "klue-ner-v1.1_{}.tsv", ("B-PS", "O", "O")),
        ("ud-pos", "ko-ud-{}.conllu", ("NOUN", "PUNCT", "X")),
    ):
        for split in ("train", "dev", "test"):
            find_task(name).write(tmp_path / file.format(split), words, [told])
        assert find_task(name).read(tmp_path).test == [Tagged("klue-ner-v1_test_0", ("김", " ", "씨"), told)]


def test_mcl_wic_commonsense_and_word_pairs_are_read_again(tmp_path):
    pair = {
        "id": "x",
        "sentence1": "a b",
        "sentence2": "c",
        "start1": "0",
        "end1": "1",
        "start2": "0",
        "end2": "1",
        "lemma": "a",
        "pos": "N",
    }
    (tmp_path / "test.en-en.data").write_text(json.dumps([pair]))
    find_task("mcl-wic").write(tmp_path / "test.en-en.gold", [InContext("x", "a b", (0, 1), "c", (0, 1))], ["T"])
    assert find_task("mcl-wic").read(tmp_path).test[0].label == "T"
    choices = [Choice("1", "Where?", ("here", "there"), 0)]
    for split in ("train", "dev"):
        find_task("commonsenseqa").write(tmp_path / f"{split}_data.jsonl", choices, [1])
    assert find_task("commonsenseqa").read(tmp_path).dev == [Choice("1", "Where?", ("here", "there"), 1)]
    find_task("simlex").write(tmp_path / "SimLex-999.txt", [WordPair("a-b", "a", "b", 3.0)], [0.5])
    assert find_task("simlex").read(tmp_path).test == [WordPair("a-b", "a", "b", 0.5)]
    find_task("simlex").write(tmp_path / "none.txt", [WordPair("a-b", "a", "b", 3.0)], [None])
    assert math.isnan(float((tmp_path / "none.txt").read_text().split("\t")[2]))


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_missing_prediction_is_an_error_for_every_task(tmp_path, name):
    examples = {"tagging": TAGS, "span": [Question("a", "b", "c")] * 2}.get(TASKS[name].kind, PAIRS)
    with pytest.raises(MalmoiError, match="M156.*written.*1 for 2"):
        TASKS[name].write(tmp_path / "out", examples, ["x"])
    assert not (tmp_path / "out").exists()
