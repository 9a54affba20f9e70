"""Rows at rest, steps in a row, decisions, and the second half of a shard."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from malmoi.core.artifact import write_json, writing
from malmoi.core.errors import MalmoiError
from malmoi.corpus.cleaning.chain import Chain, Item, totals_of
from malmoi.corpus.cleaning.decisions import write_decisions
from malmoi.corpus.cleaning.duplicates import sign
from malmoi.corpus.cleaning.mapping import KIND as MAP
from malmoi.corpus.cleaning.phases import made_with, phases, refuse_other_versions
from malmoi.corpus.cleaning.writing import WriteTask, split_of, write_shard
from malmoi.corpus.document import Document
from malmoi.corpus.files import rows as rows_module
from malmoi.corpus.files.rows import KEPT, REMOVED, Rows, read_rows
from malmoi.corpus.report.tally import Tally
from malmoi.corpus.steps import Change, Removal, Taken
from malmoi.corpus.steps.spec import CorpusSpec, ExactSpec, LengthSpec, NearSpec, ParagraphsSpec

GOLDEN = ["train", "train", "train", "train", "train", "valid", "test", "valid", "train", "train", "train", "train"]
LINE = "이 줄은 모든 문서에 똑같이 들어 있는 긴 줄입니다 정말로 그렇습니다"


def item(id, text, **meta):
    return Item(Document(id, text, meta), len(text.split()))


def test_a_file_is_there_once_it_has_rows_and_its_bytes_depend_on_them_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "CHARACTERS", 100)
    for name in ("a", "b", "empty"):
        with Rows(tmp_path / name, KEPT) as rows:
            for number in range(0 if name == "empty" else 50):
                rows.add(f"x:{number}", "가" * number, "{}", "[]", characters=number)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() and not (tmp_path / "empty").exists()
    found = pq.ParquetFile(tmp_path / "a").metadata
    assert found.num_rows == 50 and found.num_row_groups > 5, "some are written at a time"
    assert max(found.row_group(group).num_rows for group in range(found.num_row_groups)) < 50
    batches = list(read_rows(tmp_path / "a", ("text", "id"), size=7))
    assert [id for batch in batches for _, id in batch] == [f"x:{number}" for number in range(50)]
    assert max(map(len, batches)) <= 7 and list(read_rows(tmp_path / "empty")) == []


def test_a_chain_carries_out_what_steps_say(tmp_path):
    answers = {
        "stays": None,
        "goes": Removal("short", "3 < 20"),
        "changes": Change("둘 셋", {"words": 1}, [Taken("menu", "하나 ")], {"han": "5"}),
        "is empty": Change("  \n", {}, [Taken("menu", "하나 둘 셋")]),
    }
    tally = Tally(["noise", "length"])
    items = [item(name, "하나 둘 셋", page="1") for name in answers]
    with Rows(tmp_path / "removed", REMOVED) as removed:
        steps = [("noise", lambda document: answers[document.id]), ("length", lambda document: None)]
        left = Chain(steps, tally=tally, removed=removed)(items)
    assert [(each.document.id, each.document.text, each.words) for each in left] == [("stays", "하나 둘 셋", 3), ("changes", "둘 셋", 2)]
    assert left[1].document.meta == {"page": "1", "han": "5"} and left[0].told == "[]"
    assert json.loads(left[1].told) == [["noise", {"words": 1, "flag han": "5"}, 6, 3]]
    gone = {(row["id"], row["reason"], row["part"], row["text"]) for row in pq.read_table(tmp_path / "removed").to_pylist()}
    assert gone == {
        ("goes", "short", False, "하나 둘 셋"),
        ("changes", "menu", True, "하나 "),
        ("is empty", "empty", False, "하나 둘 셋"),
    }, "what is nothing but parts goes whole"
    noise, length = (step.json() for step in tally.steps.values())
    assert (noise["in"], noise["out"], length["in"], length["out"]) == ([4, 24, 12], [2, 9, 5], [2, 9, 5], [2, 9, 5])
    assert totals_of(left) == length["out"]


def first_half(place, number, texts, steps):
    """What the first half of a shard writes."""
    with writing(place / str(number) / "first", MAP) as (folder, facts):
        with Rows(folder / "kept.parquet", KEPT) as kept:
            for row, text in enumerate(texts):
                kept.add(f"{number}.txt:{row}", text, "{}", "[]", characters=len(text))
        half = len(texts) // 2
        for chunk, some in enumerate((texts[:half], texts[half:])):
            sign(some, steps).save(folder / f"signatures-{chunk:05d}.npz")
        write_json(folder / "tally.json", Tally([]).json())
        facts["chunks"] = [half, len(texts) - half]
    return place / str(number) / "first"


def texts_of(seed, count):
    draw = np.random.default_rng(seed)
    return ["".join(map(chr, draw.integers(0xAC00, 0xD000, 80))) + f"\n{seed} {number}" for number in range(count)]


@pytest.fixture
def halves(tmp_path):
    """Two shards: (spec, first halves). 1.txt:1 is 0.txt:2; 1.txt:3 is 1.txt:2; a line stands in four documents."""
    together = (ExactSpec(), NearSpec(), ParagraphsSpec(times=3))
    spec = CorpusSpec(profile="test", steps=(*together, LengthSpec(characters=10, words=1)), valid=0.3, test=0.3)
    one, two = texts_of(1, 6), texts_of(2, 6)
    two[1], two[3] = one[2], f"{two[2]} "
    for texts, row in ((one, 0), (one, 5), (two, 0)):
        texts[row] = f"{texts[row]}\n{LINE}"
    two[4] = LINE
    return spec, [first_half(tmp_path, number, texts, together) for number, texts in enumerate((one, two))]


def test_decisions_are_cut_back_into_shards(halves, tmp_path):
    spec, firsts = halves
    write_decisions(firsts, [step for _, step in phases(spec).together], out=tmp_path / "decisions")
    found = [[row for rows in read_rows(tmp_path / "decisions" / f"0000{number}.parquet") for row in rows] for number in (0, 1)]
    assert found[0] == [(5, "", "", "2")]
    assert found[1] == [(0, "", "", "2"), (1, "exact", "0.txt:2", ""), (3, "exact", "1.txt:2", ""), (4, "", "", "0")]
    assert sorted(path.name for path in (tmp_path / "decisions").iterdir()) == ["00000.parquet", "00001.parquet", "manifest.json"]


def test_the_second_half_of_a_shard(halves, tmp_path):
    spec, firsts = halves
    write_decisions(firsts, [step for _, step in phases(spec).together], out=tmp_path / "decisions")
    write_shard(WriteTask(firsts[1], tmp_path / "decisions" / "00001.parquet", spec, tmp_path / "part", made_with()))
    removed = [row for rows in read_rows(tmp_path / "part" / "removed.parquet") for row in rows]
    assert {row[:5] for row in removed} == {
        ("1.txt:0", "paragraphs", "repeated_line", "", True),
        ("1.txt:1", "exact", "duplicate", "of 0.txt:2", False),
        ("1.txt:3", "exact", "duplicate", "of 1.txt:2", False),
        ("1.txt:4", "paragraphs", "empty", "nothing is left of it", False),
    }
    assert {row[0]: row[6] for row in removed if row[6]} == {"1.txt:1": "0.txt:2", "1.txt:3": "1.txt:2"}
    for name in ("train", "valid", "test"):
        for rows in read_rows(tmp_path / "part" / f"{name}.parquet"):
            assert all(split_of(id, valid=0.3, test=0.3) == name and LINE not in text for id, text, _, _ in rows)
    tally = json.loads((tmp_path / "part" / "tally.json").read_text(encoding="utf-8"))
    assert sum(totals[0] for totals in tally["splits"].values()) == 3


def test_the_split_of_an_id_never_changes():
    names = [split_of(f"a.txt:{number}", valid=0.1, test=0.2) for number in range(10_000)]
    assert names[:12] == GOLDEN
    assert 850 < names.count("valid") < 1150 and 1850 < names.count("test") < 2150
    assert {split_of(f"a.txt:{number}", valid=0, test=0) for number in range(100)} == {"train"}
    more = [split_of(f"a.txt:{number}", valid=0.2, test=0.2) for number in range(10_000)]
    assert all(new == "test" for old, new in zip(names, more, strict=True) if old == "test"), "test stays test with a larger valid"


def test_another_version_of_what_decides_the_bytes_is_refused():
    refuse_other_versions(made_with())
    with pytest.raises(MalmoiError, match="M143: a worker has pyarrow .*, not pyarrow 1.0: its output would not be the same"):
        refuse_other_versions({**made_with(), "pyarrow": "1.0"})
