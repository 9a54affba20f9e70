"""The checks of a cleaned corpus: silent on a sound one, each with its code on damage that was planted."""

import json
import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmoi.api import corpus as clean
from malmoi.api import doctor
from malmoi.core.artifact import MANIFEST, write_manifest

WORDS = "바다 산 강물 기차 자동차 친구 가족 여행 음식 김치 영화 음악 노래 이야기 역사 과학 기술 언어 모델 훈련 자료 연구 결과".split()


def sentences(count, seed=0):
    random_ = random.Random(seed)
    return [" ".join(random_.choices(WORDS, k=30)) + f" {number}번." for number in range(count)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A small corpus with duplicates, some text of every split, and a line that was taken out."""
    root = tmp_path_factory.mktemp("cleaned")
    texts = sentences(80)
    (root / "a.txt").write_text("\n\n".join([*texts, *texts[:9], "짧다", texts[3] + "\nⓒ 신문 무단전재 및 재배포 금지"]), encoding="utf-8")
    clean([root / "a.txt"], out=root / "out", profile="web-ko", settings=["valid=0.2", "test=0.2"])
    return root / "out"


@pytest.fixture
def corpus(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "corpus", ignore=shutil.ignore_patterns("work"))
    return tmp_path / "corpus"


def seal(corpus):
    """Write the manifest anew, as if nothing had happened."""
    (corpus / MANIFEST).unlink()
    write_manifest(corpus, "corpus", {})


def codes(corpus, level="error"):
    return {finding["code"] for finding in doctor(corpus)["findings"] if finding["level"] == level}


def edit_report(corpus, change):
    report = json.loads((corpus / "report.json").read_text(encoding="utf-8"))
    change(report)
    (corpus / "report.json").write_text(json.dumps(report), encoding="utf-8")
    seal(corpus)


def test_a_sound_corpus_passes_and_says_what_was_looked_at(corpus):
    found = doctor(corpus)
    assert found["ok"] and {finding["code"] for finding in found["findings"] if finding["level"] == "warning"} == {"M105"}  # it is small
    told = " ".join(finding["message"] for finding in found["findings"])
    assert "91 documents were read" in told and "none of" in told and "of the documents" in told


def test_a_flipped_bit_and_a_missing_file(corpus):
    file = corpus / "train" / "part-00000.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert codes(corpus) == {"M020"}
    file.unlink()
    assert codes(corpus) == {"M021"}


def test_a_corpus_that_was_not_finished(corpus):
    (corpus / MANIFEST).unlink()
    assert codes(corpus) == {"M006"}


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report["splits"]["train"].__setitem__(0, report["splits"]["train"][0] + 1),
        lambda report: report.__setitem__("documents", report["documents"] + 1),
        lambda report: report["steps"][2]["out"].__setitem__(1, 5),
        lambda report: next(step for step in report["steps"] if step["name"] == "exact")["reasons"].clear(),
        lambda report: next(step for step in report["steps"] if step["taken"])["taken"].clear(),
    ],
)
def test_counts_that_do_not_add_up(corpus, change):
    edit_report(corpus, change)
    assert codes(corpus) == {"M146"}


def test_rows_that_are_gone(corpus):
    file = corpus / "removed" / "part-00000.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    seal(corpus)
    assert codes(corpus) == {"M146"}


def test_a_held_out_document_that_is_almost_in_train(corpus):
    held = pq.read_table(corpus / "valid" / "part-00000.parquet")
    file = corpus / "train" / "part-00000.parquet"
    table = pq.read_table(file)
    planted = table.slice(0, 1).to_pylist()[0] | {"id": "planted:1", "text": held.to_pylist()[0]["text"] + " 끝"}
    pq.write_table(pa.Table.from_pylist([*table.to_pylist()[1:], planted], schema=table.schema), file)
    seal(corpus)
    found = next(finding for finding in doctor(corpus)["findings"] if finding["code"] == "M147")
    assert found["level"] == "error" and "planted:1" in found["message"] and held.to_pylist()[0]["id"] in found["message"]


def test_so_much_removed_that_the_profile_does_not_fit(corpus):
    def change(report):
        report["kept"] = report["documents"] // 20

    edit_report(corpus, change)
    found = [finding for finding in doctor(corpus)["findings"] if finding["code"] == "M148"]
    assert [finding["level"] for finding in found] == ["warning"] and "exact (duplicate)" in found[0]["message"]


def test_nothing_held_out_is_said_unless_that_was_asked_for(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(sentences(3)), encoding="utf-8")
    for share, told in (("0.0000001", True), ("0", False)):
        out = tmp_path / f"out{share}"
        clean([tmp_path / "a.txt"], out=out, profile="web-ko", settings=[f"valid={share}", "test=0"])
        assert any("could be held out" in finding["message"] for finding in doctor(out)["findings"]) is told
