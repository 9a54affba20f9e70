"""Tables and JSON of texts, on invented files in the published forms."""

import json

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.tasks import find_task
from malmoi.tasks.formats.nsmc import drawn
from malmoi.tasks.task import Texts


def put(folder, **files):
    """Write files; `__` in a name is a dot."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def rows(*lines):
    return "".join("\t".join(line) + "\n" for line in lines)


def labels(examples):
    return [example.label for example in examples]


def test_sst2_and_its_unlabelled_test_file(tmp_path):
    table = rows(("sentence", "label"), ('a "good" one ', "1"), ("bad", "0"))
    splits = find_task("sst2").read(put(tmp_path, train__tsv=table, dev__tsv=table, test__tsv=rows(("index", "sentence"), ("0", "so so"))))
    assert [example.first for example in splits.train] == ['a "good" one ', "bad"] and labels(splits.dev) == ["1", "0"]
    assert splits.test == [Texts("0", "so so")] and splits.made == {}


def test_cola_in_both_published_forms(tmp_path):
    line = rows(("gj04", "1", "", "They left."), ("gj04", "0", "*", "Left they."))
    glue = find_task("cola").read(put(tmp_path, train__tsv=line, dev__tsv=line, test__tsv=rows(("index", "sentence"), ("0", "He sang."))))
    assert labels(glue.train) == ["1", "0"] and labels(glue.test) == [None] and glue.test[0].first == "He sang."
    (tmp_path / "raw").mkdir()
    put(tmp_path / "raw", in_domain_train__tsv=line, in_domain_dev__tsv=line, out_of_domain_dev__tsv=line)
    assert "out-of-domain" in find_task("cola").read(tmp_path / "raw").made["test"]


def test_mrpc_rte_and_mnli(tmp_path):
    header = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    table = "\ufeff" + rows(header, ("1", "10", "11", 'He said "yes', "Yes, he said"))
    mrpc = find_task("mrpc").read(put(tmp_path, msr_paraphrase_train__txt=table, dev__tsv=table))
    assert mrpc.train == [Texts("train-0", 'He said "yes', "Yes, he said", "1")]
    (tmp_path / "rte").mkdir()
    table = rows(("index", "sentence1", "sentence2", "label"), ("0", "a", "b", "entailment"), ("1", "c", "d", "not_entailment"))
    rte = find_task("rte").read(put(tmp_path / "rte", train__tsv=table, dev__tsv=table))
    assert labels(rte.dev) == ["entailment", "not_entailment"] and rte.dev[1].id == "1"
    (tmp_path / "mnli").mkdir()
    header = ("index", "pairID", "genre", "sentence1", "sentence2", "label1", "gold_label")
    table = rows(header, ("0", "7e", "fiction", "a", "b", "neutral", "neutral"))
    mnli = find_task("mnli").read(put(tmp_path / "mnli", train__tsv=table, dev_matched__tsv=table, dev_mismatched__tsv=table))
    assert mnli.dev == [Texts("7e", "a", "b", "neutral")] and not mnli.test


def test_snli_leaves_out_pairs_without_a_majority(tmp_path):
    lines = [
        {"gold_label": label, "sentence1": "a man", "sentence2": "b", "pairID": str(place)} for place, label in enumerate(["neutral", "-"])
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    splits = find_task("snli").read(put(tmp_path, **{"snli_1.0_train.jsonl": text, "snli_1.0_dev.jsonl": text}))
    assert splits.train == [Texts("0", "a man", "b", "neutral")] == splits.dev


def test_snli_as_three_files_of_lines(tmp_path):
    files = {
        f"{name}.{split}": text
        for split in ("train", "dev")
        for name, text in (("s1", "a \nb\n"), ("s2", "c\nd\n"), ("labels", "neutral\nentailment\n"))
    }
    splits = find_task("snli").read(put(tmp_path, **files))
    assert splits.dev == [Texts("dev-0", "a", "c", "neutral"), Texts("dev-1", "b", "d", "entailment")]
    put(tmp_path, **{"s2.dev": "c\n"})
    with pytest.raises(MalmoiError, match="M153.*line 2.*2, 1 and 2 lines"):
        find_task("snli").read(tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        rows(("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"))
        + rows(("0", "news", "f", "2012", "1", "x", "y", "A, b", 'c "d"', "4.25")),
        rows(("news", "f", "2012", "1", "4.25", "A, b", 'c "d"', "licence")),
        '"A, b","c ""d""",4.25\n',
    ],
)
def test_stsb_in_three_published_forms(tmp_path, table):
    splits = find_task("stsb").read(put(tmp_path, **{"sts-train.csv": table, "sts-dev.csv": table}))
    [example] = splits.train
    assert (example.first, example.second, example.label) == ("A, b", 'c "d"', 4.25)


def test_sst5_as_trees_and_as_lines(tmp_path):
    trees = "(3 (2 It) (4 (2 's) (4 (3 lovely) (2 .))))\n(0 (1 Awful) (2 -LRB-))\n"
    lines = "3 It 's lovely .\n0 Awful -LRB-\n"
    found = find_task("sst5").read(put(tmp_path, train__txt=trees, dev__txt=lines))
    assert [(example.first, example.label) for example in found.train] == [("It 's lovely .", "3"), ("Awful -LRB-", "0")]
    assert [example.first for example in found.train] == [example.first for example in found.dev]


def test_klue_json(tmp_path):
    tc = [{"guid": "ynat-v1_dev_0", "title": "삼성 … 새 전화기", "label": "IT과학", "url": "x", "date": "2016"}]
    splits = find_task("klue-tc").read(put(tmp_path, **{"ynat-v1.1_train.json": json.dumps(tc), "ynat-v1.1_dev.json": json.dumps(tc)}))
    assert splits.dev == [Texts("ynat-v1_dev_0", "삼성 … 새 전화기", label="IT과학")]
    sts = [{"guid": "s", "sentence1": "가", "sentence2": "나", "labels": {"label": 3.0, "real-label": 2.96, "binary-label": 1}}]
    assert find_task("klue-sts").read(put(tmp_path, **{"klue-sts-v1.1_dev.json": json.dumps(sts)})).dev == [Texts("s", "가", "나", 2.96)]


def test_kornli_joins_its_two_training_files(tmp_path):
    table = rows(("sentence1", "sentence2", "gold_label"), ("가", "나", "entailment"))
    names = ("multinli.train.ko.tsv", "snli_1.0_train.ko.tsv", "xnli.dev.ko.tsv", "xnli.test.ko.tsv")
    splits = find_task("kornli").read(put(tmp_path, **dict.fromkeys(names, table)))
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (2, 1, 1)


def test_kobest_spells_truth_in_two_ways(tmp_path):
    header = ("ID", "Text", "Question", "Answer")
    files = {"train.tsv": rows(header, ("1", "글", "맞나?", "TRUE")), "dev.tsv": rows(header, ("1", "글", "맞나?", "False\r"))}
    splits = find_task("kobest-boolq").read(put(tmp_path, **files))
    assert labels([*splits.train, *splits.dev]) == ["True", "False"]


def ratings(*marks):
    return [
        {"review": f"평 {place}\r\n 끝", "rating": str(mark), "review_id": str(100 + place), "movie_id": "1"}
        for place, mark in enumerate(marks)
    ]


def test_nsmc_ratings_are_read_and_a_dev_set_is_made(tmp_path):
    table = rows(("id", "document", "label"), *((str(place), f"글 {place}", str(place % 2)) for place in range(30)), ("99", "", "1"))
    splits = find_task("nsmc").read(put(tmp_path, ratings_train__txt=table, ratings_test__txt=table))
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (27, 4, 31) and set(splits.made) == {"train", "dev"}
    assert [example.id for example in find_task("nsmc").read(tmp_path).dev] == [example.id for example in splits.dev]


def test_the_crawl_of_nsmc_leaves_out_middling_ratings(tmp_path):
    (tmp_path / "raw").mkdir()
    put(tmp_path / "raw", **{"1.json": json.dumps(ratings(*(1, 4, 5, 8, 9, 10) * 10))})
    splits = find_task("nsmc").read(tmp_path)
    everything = [*splits.train, *splits.dev, *splits.test]
    assert len(everything) == 40 and all((int(example.id) - 100) % 6 in ((0, 1), (4, 5))[int(example.label)] for example in everything)
    assert everything[0].first.endswith(" 끝") and "\n" not in everything[0].first and len(splits.test) == 10


def test_the_draw_of_nsmc_is_balanced_and_the_same_every_time():
    reviews = [Texts(str(place), "글", label="1" if place % 4 else "0") for place in range(400)]
    once, twice = drawn(reviews, where="x", a_class=80), drawn(reviews, where="x", a_class=80)
    assert once == twice and len(once.train) + len(once.dev) == 120 and len(once.test) == 40
    assert sum(example.label == "0" for example in (*once.train, *once.dev, *once.test)) == 80


def test_broken_lines_and_scores_are_named(tmp_path):
    table = rows(("sentence1", "sentence2", "score"), ("가", "나", "3.0"), ("다", "라", "7"))
    with pytest.raises(MalmoiError, match="M153.*sts-train.tsv line 3: the score is '7', not a number from 0 to 5"):
        find_task("korsts").read(put(tmp_path, **{"sts-train.tsv": table, "sts-dev.tsv": table}))
    put(tmp_path, **{"sts-train.tsv": table.replace("\t7", "")})
    with pytest.raises(MalmoiError, match="M153.*line 3: it has 2 fields, not 3"):
        find_task("korsts").read(tmp_path)
    put(tmp_path, **{"klue-nli-v1.1_dev.json": '[{"guid": "1",\n "premise": }]'})
    with pytest.raises(MalmoiError, match="M153.*line 2: this is not JSON"):
        find_task("klue-nli").read(tmp_path)
    put(tmp_path, **{"1.json": '[{"review": "x", "rating": "?", "review_id": "1"}]'})
    with pytest.raises(MalmoiError, match="M153.*review 1.*rating"):
        find_task("nsmc").read(tmp_path)
