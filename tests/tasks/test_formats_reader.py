"""Which file is which, splits that no file holds, and what is said where something is wrong."""

import gzip
import lzma

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.tasks import TASKS, find_task
from malmoi.tasks.formats.reader import by_first, by_id, divided
from malmoi.tasks.task import Texts

SST = "sentence\tlabel\ngood\t1\nbad\t0\n"
RTE = "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n"


def test_every_task_is_whole():
    for name, task in TASKS.items():
        assert task.name == name and task.paper and task.write is not None and callable(task.read), name
        assert bool(task.labels) == (task.kind in ("sentence", "pair", "tagging", "context")), name
    assert len(TASKS) >= 40


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(MalmoiError, match="M151.*'korst'; did you mean 'korsts'"):
        find_task("korst")


def test_packed_files_are_read_and_plain_ones_preferred(tmp_path):
    (tmp_path / "train.tsv.xz").write_bytes(lzma.compress(SST.encode()))
    (tmp_path / "dev.tsv.gz").write_bytes(gzip.compress(SST.encode()))
    splits = find_task("sst2").read(tmp_path)
    assert [example.first for example in splits.train] == ["good", "bad"] == [example.first for example in splits.dev]


@pytest.mark.parametrize("content", [b"\xfd7zXZ\x00broken", lzma.compress(SST.encode())[:-10]])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "train.tsv.xz").write_bytes(content)
    with pytest.raises(MalmoiError, match="M015.*train.tsv.xz"):
        find_task("sst2").read(tmp_path)


def test_text_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "train.tsv").write_bytes(SST.encode() + "나쁨\t0\n".encode("cp949"))
    with pytest.raises(MalmoiError, match="M011.*line 4"):
        find_task("sst2").read(tmp_path)


def test_what_is_not_there(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(MalmoiError, match="M010.*did you mean 'data'"):
        find_task("sst2").read(tmp_path / "datas")
    with pytest.raises(MalmoiError, match="M152.*sst2: no file has a name of it"):
        find_task("sst2").read(tmp_path / "data")


@pytest.mark.parametrize(
    ("task", "name", "content", "like"),
    [
        ("sst2", "train.tsv", RTE, "rte"),
        ("cola", "train.tsv", SST, "sst2"),
        ("korsts", "sts-train.tsv", "sentence1\tsentence2\tgold_label\na\tb\tneutral\n", "kornli"),
        (
            "klue-nli",
            "klue-nli-v1.1_dev.json",
            '[{"guid": "1", "sentence1": "a", "sentence2": "b", "labels": {"real-label": 1}}]',
            "klue-sts",
        ),
        ("klue-ner", "ud.tsv", "1\ta\ta\tX\t_\t_\t_\t_\t_\t_\n", "ud-pos"),
        ("ud-pos", "x-train.conllu", "Ann\tB-person\n\n", "conll2003-ner, wnut17"),
        ("wnut17", "wnut17train.conll", "## a\n## klue-ner-v1_dev_0\t김\n김\tB-PS\n", "klue-ner"),
        ("squad1", "train-v1.1.json", '[{"id": "1", "lemma": "a", "pos": "b", "start1": "1"}]', "mcl-wic"),
        ("commonsenseqa", "train_data.jsonl", '{"gold_label": "x", "pairID": "1", "sentence1": "a", "sentence2": "b"}\n', "snli"),
        ("codah", "train.tsv", "ID\tText\tQuestion\tAnswer\n1\ta\tb\tTrue\n", "kobest-boolq"),
        ("simlex", "SimLex-999.txt", SST, "sst2"),
        ("nsmc", "reviews.tsv", RTE, "rte"),
    ],
)
def test_files_of_another_task_are_recognized(tmp_path, task, name, content, like):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(MalmoiError, match=f"M152.*cannot be read as {task}.*looks like a file of {like}"):
        find_task(task).read(tmp_path)


def test_an_unknown_label_is_named_with_its_line(tmp_path):
    (tmp_path / "train.tsv").write_text(SST + "fine\t2\n", encoding="utf-8")
    with pytest.raises(MalmoiError, match="M154.*train.tsv line 4: '2' is no label of sst2; its labels are 0, 1"):
        find_task("sst2").read(tmp_path)


def test_an_empty_split_is_named(tmp_path):
    (tmp_path / "train.tsv").write_text(SST, encoding="utf-8")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\n", encoding="utf-8")
    with pytest.raises(MalmoiError, match="M155.*dev.tsv: the dev split of sst2 is empty"):
        find_task("sst2").read(tmp_path)
    (tmp_path / "dev.tsv").unlink()
    (tmp_path / "train.tsv").write_text("sentence\tlabel\ngood\t1\n", encoding="utf-8")
    with pytest.raises(MalmoiError, match="M155.*1 examples are too few"):
        find_task("sst2").read(tmp_path)


def test_two_files_for_one_split_are_not_guessed_between(tmp_path):
    for folder in ("SST-2", "RTE"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.tsv").write_text(SST, encoding="utf-8")
    with pytest.raises(MalmoiError, match="M152.*its train could be RTE/train.tsv, SST-2/train.tsv"):
        find_task("sst2").read(tmp_path)


def test_a_single_file_of_any_name_is_divided(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text("sentence\tlabel\n" + "".join(f"text {number}\t{number % 2}\n" for number in range(100)), encoding="utf-8")
    splits = find_task("sst2").read(path)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (70, 10, 20) and set(splits.made) == {"train", "dev", "test"}


def test_a_division_depends_on_the_examples_alone_and_keeps_groups_whole():
    examples = [Texts(str(place), f"premise {place // 3}", "h") for place in range(120)]
    once, turned = (divided(some, {"test": 0.2, "dev": 0.1}, group=by_first) for some in (examples, examples[::-1]))
    assert {split: {one.id for one in some} for split, some in once.items()} == {
        split: {one.id for one in some} for split, some in turned.items()
    }
    assert {split: len(some) for split, some in once.items()} == {"train": 84, "test": 24, "dev": 12}
    firsts = [{one.first for one in some} for some in once.values()]
    assert sum(map(len, firsts)) == len(set.union(*firsts)) == 40
    assert [one.id for one in once["train"]] == sorted((one.id for one in once["train"]), key=int)
    assert divided(examples, {"dev": 0.1}, group=by_id)["dev"] != divided(examples, {"dev": 0.1}, group=by_first)["dev"]
