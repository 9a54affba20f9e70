"""Words and tags, on invented files in the published forms."""

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.tasks import find_task
from malmoi.tasks.formats.columns import bio, iob2, spelled
from malmoi.tasks.task import Tagged


def test_conll2003_becomes_iob2_and_documents_are_left_out(tmp_path):
    text = "-DOCSTART- -X- -X- O\n\nAnn NNP I-NP I-PER\nBo NNP I-NP B-PER\nof IN I-PP O\nOslo NNP I-NP I-LOC\n\nyes UH O O\n"
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    splits = find_task("conll2003-ner").read(tmp_path)
    assert splits.dev == [Tagged("dev-0", ("Ann", "Bo", "of", "Oslo"), ("B-PER", "B-PER", "O", "B-LOC")), Tagged("dev-1", ("yes",), ("O",))]


def test_conll2000_has_no_dev_set(tmp_path):
    text = "".join(f"He{number} PRP B-NP\nran VBD B-VP\n\n" for number in range(20))
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    (tmp_path / "test.txt").write_text(text, encoding="utf-8")
    splits = find_task("conll2000").read(tmp_path)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (18, 2, 20) and "2 of the 20" in splits.made["dev"]
    assert splits.test[0].tags == ("B-NP", "B-VP")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("I-A I-A O I-A", "B-A I-A O B-A"),
        ("I-A B-A I-A", "B-A B-A I-A"),
        ("I-A I-B I-B", "B-A B-B I-B"),
        ("B-A I-A O", "B-A I-A O"),
    ],
)
def test_iob1_by_hand(before, after):
    assert iob2(before.split()) == tuple(after.split())


def test_the_labels_stand_in_the_order_of_klue():
    assert bio(("PS", "LC")) == ("B-PS", "I-PS", "B-LC", "I-LC", "O")
    assert find_task("klue-ner").labels == (*(f"{p}-{k}" for k in ("PS", "LC", "OG", "DT", "TI", "QT") for p in "BI"), "O")


def test_conllu_reads_words_alone(tmp_path):
    def line(number, form, tag):
        return "\t".join((number, form, form, tag, *"______"))

    rows = [
        "# sent_id = s-1",
        "# text = don't",
        line("1-2", "don't", "_"),
        line("1", "do", "AUX"),
        line("2", "n't", "PART"),
        line("2.1", "x", "X"),
        "",
    ]
    for split in ("train", "dev", "test"):
        (tmp_path / f"xx-ud-{split}.conllu").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert find_task("ud-pos").read(tmp_path).test == [Tagged("s-1", ("do", "n't"), ("AUX", "PART"))]
    (tmp_path / "xx-ud-dev.conllu").write_text("\n".join(rows).replace("AUX", "AUXX"), encoding="utf-8")
    with pytest.raises(MalmoiError, match="M154.*line 4: 'AUXX' is no label of ud-pos"):
        find_task("ud-pos").read(tmp_path)


def test_klue_ner_keeps_spaces_and_marks_of_comments(tmp_path):
    text = (
        "## 컬럼명 : CHAR\tNE_TAG\n## klue-ner-v1_dev_0-x\t<김:PS> #\n김\tB-PS\n \tO\n#\tO\n#\tO\n\n## klue-ner-v1_dev_1-x\t이\n이\tO\n\n"
    )
    for split in ("train", "dev"):
        (tmp_path / f"klue-ner-v1.1_{split}.tsv").write_text(text, encoding="utf-8")
    splits = find_task("klue-ner").read(tmp_path)
    assert splits.dev[0] == Tagged("klue-ner-v1_dev_0-x", ("김", " ", "#", "#"), ("B-PS", "O", "O", "O"))
    assert [example.id for example in splits.dev] == ["klue-ner-v1_dev_0-x", "klue-ner-v1_dev_1-x"]


def test_a_broken_line_is_named(tmp_path):
    good = "Ann\tB-person\nran\tO\n\n"
    for name in ("wnut17train.conll", "emerging.dev.conll"):
        (tmp_path / name).write_text(good + "Bo\n", encoding="utf-8")
    with pytest.raises(MalmoiError, match="M153.*wnut17train.conll line 4"):
        find_task("wnut17").read(tmp_path)


@pytest.mark.parametrize(
    ("words", "text", "spans"),
    [
        (("a", "bc", "."), "a bc .", ((0, 1), (2, 4), (5, 6))),
        (("김", " ", "씨"), "김 씨", ((0, 1), (1, 2), (2, 3))),
        ((), "", ()),
    ],
)
def test_where_words_stand_in_their_text(words, text, spans):
    assert spelled(words) == (text, spans)
    assert all(text[begin:end] == word for word, (begin, end) in zip(words, spans, strict=True))
