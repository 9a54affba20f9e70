"""Questions, choices, words in contexts, word pairs, on invented files in the published forms."""

import json
import zipfile

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.tasks import find_task
from malmoi.tasks.task import Choice, InContext, Question, WordPair

CONTEXT = "Anna bought the mill in 1871."


def squad(*questions, id="id", title="T"):
    return {
        "version": "x",
        "data": [{"title": title, "paragraphs": [{"context": CONTEXT, "qas": [{id: f"q{n}", **one} for n, one in enumerate(questions)]}]}],
    }


ANSWERED = {"question": "Who?", "answers": [{"text": "Anna", "answer_start": 0}]}
UNANSWERED = {"question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": [{"text": "1871", "answer_start": 24}]}


def put(folder, **files):
    for name, value in files.items():
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("task", "pattern", "id"),
    [
        ("squad1", "{}-v1.1.json", "id"),
        ("squad2", "{}-v2.0.json", "id"),
        ("korquad", "KorQuAD_v1.0_{}.json", "id"),
        ("klue-mrc", "klue-mrc-v1.1_{}.json", "guid"),
    ],
)
def test_questions_of_each_form(tmp_path, task, pattern, id):
    both = task in ("squad2", "klue-mrc")
    content = squad(ANSWERED, *([UNANSWERED] if both else []), id=id)
    splits = find_task(task).read(put(tmp_path, **{pattern.format(split): content for split in ("train", "dev")}))
    assert splits.dev[0] == Question("q0", "Who?", CONTEXT, (("Anna", 0),), "T")
    assert [question.answers for question in splits.dev[1:]] == [()] * both


def test_an_answer_that_stands_elsewhere_is_an_error(tmp_path):
    moved = squad({"question": "Who?", "answers": [{"text": "Anna", "answer_start": 5}]})
    with pytest.raises(MalmoiError, match="M153.*article 1, paragraph 1: the answer 'Anna' does not stand at character 5"):
        find_task("squad1").read(put(tmp_path, **{"train-v1.1.json": moved}))


def test_squad_2_is_not_squad_1(tmp_path):
    with pytest.raises(MalmoiError, match="M152.*squad1.*looks like a file of squad2"):
        find_task("squad1").read(put(tmp_path, **{"train-v1.1.json": squad(ANSWERED, UNANSWERED)}))


def test_swag(tmp_path):
    header = ",video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label\n"
    row = '0,v,1,"A man, smiling. He",A,He,gold,a,"b, c",d,e,1\n'
    splits = find_task("swag").read(put(tmp_path, **{"train.csv": header + row, "val.csv": header + row}))
    assert splits.dev == [Choice("dev-0", "A man, smiling. He", ("a", "b, c", "d", "e"), 1)]


def test_codah_commonsense_copa_and_hellaswag(tmp_path):
    line = "o\tI am. I\ta\tb\tc\td\t3\n"
    [example] = find_task("codah").read(put(tmp_path, **dict.fromkeys(("train.tsv", "dev.tsv", "test.tsv"), line))).test
    assert example == Choice("test-0", "I am. I", ("a", "b", "c", "d"), 3)
    asked = {"id": "1", "question": {"stem": "Where?", "choices": [{"label": "A", "text": "here"}, {"label": "B", "text": "there"}]}}
    files = {"train_rand_split.jsonl": {**asked, "answerKey": "B"}, "dev_rand_split.jsonl": {**asked, "answerKey": "A"}}
    splits = find_task("commonsenseqa").read(put(tmp_path, **files, **{"test_rand_split_no_answers.jsonl": asked}))
    assert [split[0].label for split in (splits.train, splits.dev, splits.test)] == [1, 0, None]
    copa = "ID\tsentence\tquestion\t1\t2\tAnswer\n"
    copa += "7\t비가 왔다.\t원인\t구름이 꼈다.\t해가 떴다.\t1\r\n8\t비가 왔다.\t결과\t젖었다.\t말랐다.\t2\n"
    first, second = find_task("kobest-copa").read(put(tmp_path, **{"train.tsv": copa, "dev.tsv": copa, "test.tsv": copa})).dev
    assert first == Choice("7", "비가 왔다. 왜냐하면", ("구름이 꼈다.", "해가 떴다."), 0)
    assert second == Choice("8", "비가 왔다. 그래서", ("젖었다.", "말랐다."), 1)
    swag = "context\tchoice1\tchoice2\tchoice3\tchoice4\tlabel\n글\t가\t나\t다\t라\t2\n"
    [example] = find_task("kobest-hellaswag").read(put(tmp_path, **{"train.tsv": swag, "dev.tsv": swag, "test.tsv": swag})).dev
    assert example == Choice("dev-0", "글", ("가", "나", "다", "라"), 2)


def test_mcl_wic_from_archives_with_and_without_gold(tmp_path):
    pair = {"id": "test.en-en.0", "lemma": "play", "pos": "NOUN", "sentence1": "a play", "sentence2": "plays here"}
    pair |= {"start1": "2", "end1": "6", "start2": "0", "end2": "5"}
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("MCL-WiC/test/multilingual/test.en-en.data", json.dumps([pair]))
        archive.writestr("MCL-WiC/test/multilingual/test.fr-fr.data", json.dumps([pair]))
    expected = InContext("test.en-en.0", "a play", (2, 6), "plays here", (0, 5), None, "play")
    assert find_task("mcl-wic").read(tmp_path).test == [expected]
    with zipfile.ZipFile(tmp_path / "gold.zip", "w") as archive:
        archive.writestr("test.en-en.gold", json.dumps([{"id": "test.en-en.0", "tag": "F"}]))
    assert find_task("mcl-wic").read(tmp_path).test[0].label == "F"
    with zipfile.ZipFile(tmp_path / "gold.zip", "w") as archive:
        archive.writestr("test.en-en.gold", json.dumps([{"id": "test.en-en.1", "tag": "F"}]))
    with pytest.raises(MalmoiError, match="M153.*no answer for 'test.en-en.0'"):
        find_task("mcl-wic").read(tmp_path)


def test_kobest_wic_takes_the_brackets_off(tmp_path):
    header = "ID\tTarget\tSENTENCE1\tDictionary 1\tLink 1\tSENTENCE2\tDictionary 2\tLink2\tANSWER\n"
    text = header + "1\t배\t맑은 날 [배]를 탔다.\t1\tx\t배 한 상자\t2\ty\tFalse\n"
    [example] = find_task("kobest-wic").read(put(tmp_path, **{"train.tsv": text, "dev.tsv": text})).dev
    assert example == InContext("1", "맑은 날 배를 탔다.", (5, 6), "배 한 상자", (0, 1), "False", "배")
    assert example.first[slice(*example.first_span)] == "배"


@pytest.mark.parametrize(
    ("task", "name", "text", "expected"),
    [
        ("wordsim353", "combined.csv", "Word 1,Word 2,Human (mean)\nlove,sex,6.77\n", ("love", "sex", 6.77)),
        ("wordsim353", "EN-WS-353-ALL.txt", "love\tsex\t6.77\n", ("love", "sex", 6.77)),
        ("wordsim353", "wordsim353.tsv", "# comment\nlove\tsex\t6.77\n", ("love", "sex", 6.77)),
        ("wordsim353-ko", "WS353_korean.csv", "\ufeffword 1,word 2,kor_score\n사랑,책,1.5\n", ("사랑", "책", 1.5)),
        ("simlex", "SimLex-999.txt", "word1\tword2\tPOS\tSimLex999\tconc(w1)\nold\tnew\tA\t1.58\t2.72\n", ("old", "new", 1.58)),
        ("simlex", "EN-SIMLEX-999.txt", "old\tnew\t1.58\n", ("old", "new", 1.58)),
    ],
)
def test_word_lists_in_their_forms(tmp_path, task, name, text, expected):
    splits = find_task(task).read(put(tmp_path, **{name: text}))
    assert splits.test == [WordPair(f"{expected[0]}-{expected[1]}", *expected)] and not splits.train and splits.made == {}


def test_a_score_beyond_the_scale_is_named(tmp_path):
    with pytest.raises(MalmoiError, match="M153.*line 2"):
        find_task("simlex").read(put(tmp_path, **{"SimLex-999.txt": "old\tnew\t1.5\nold\tyoung\t11\n"}))
