"""The whole cleaning on a small corpus: nothing is lost, nothing depends on who does the work, and nothing is done twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from small_corpus import MENU, SIZE, SPEC, content, kept, rows, run, write

from malmoi.core import artifact
from malmoi.core.errors import MalmoiError
from malmoi.core.lock import locked
from malmoi.core.progress import Silent
from malmoi.corpus.cleaning import clean as cleaning
from malmoi.corpus.cleaning import mapping, writing
from malmoi.corpus.cleaning.chain import FAULT
from malmoi.corpus.files.rows import Rows
from malmoi.corpus.steps import normalize
from malmoi.corpus.steps.spec import ExactSpec, LengthSpec, NoiseSpec


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sources") / "texts")


@pytest.fixture(scope="module")
def done(sources, tmp_path_factory):
    """(out, report) of one process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    return out, run(sources, out)


class Heard(Silent):
    """Remembers the notes, and may raise at a place."""

    def __init__(self, *, stop=None):
        self.notes, self.stages, self._stop = [], [], stop

    def stage(self, name, total=None):
        self.stages.append(name)

    def advance(self, done, facts=None):
        if (self.stages[-1], done) == self._stop:
            raise KeyboardInterrupt

    def note(self, text):
        self.notes.append(text)


def test_every_document_is_kept_or_removed_with_a_reason(done):
    out, report = done
    removed = [row for row in rows(out, "removed") if not row["part"]]
    ids = [row["id"] for row in kept(out) + removed]
    expected = {f"{n}.txt" for n in range(4)} | {"4.jsonl", "5.txt.gz"}
    assert report["documents"] == len(ids) == len(set(ids)) == 6 * 25 + 1
    assert (report["kept"], report["removed"]) == (len(kept(out)), len(removed))
    assert {id.rpartition(":")[0] for id in ids} == expected
    reasons = {}
    for row in removed:
        reasons.setdefault((row["step"], row["reason"]), []).append(row)
    counts = {key: len(found) for key, found in reasons.items()}
    assert counts == {
        ("read", "field"): 1,
        ("language", "language"): 6,
        ("length", "short"): 6,
        ("exact", "duplicate"): 5,
        ("near", "near_duplicate"): 5,
    }
    assert {row["duplicate_of"] for row in reasons["exact", "duplicate"]} == {"0.txt:1"}
    assert {row["duplicate_of"] for row in reasons["near", "near_duplicate"]} == {"0.txt:3"}
    assert all(row["text"] for row in removed)
    stories = [(json.loads(row["story"]), len(row["text"])) for row in reasons["exact", "duplicate"]]
    assert all(story == [["exact", "duplicate", length, 0]] for story, length in stories)


def test_parts_that_were_taken_out_are_removed_too(done):
    out, report = done
    parts = [row for row in rows(out, "removed") if row["part"]]
    assert [(row["step"], row["reason"], row["text"]) for row in parts] == [("paragraphs", "repeated_line", MENU)] * 5
    assert len({row["id"] for row in parts}) == 5
    with_menu = [row["id"] for row in kept(out) if MENU in row["text"]]
    assert with_menu == ["0.txt:5"], "the first one keeps it"
    paragraphs = next(step for step in report["steps"] if step["name"] == "paragraphs")
    assert paragraphs["taken"] == {"repeated_line": [5, 5 * len(MENU)]}


def test_stories_tell_what_was_done(done):
    out, _ = done
    stories = {row["id"]: json.loads(row["story"]) for row in kept(out)}
    texts = {row["id"]: row["text"] for row in kept(out)}
    changed = [id for id, story in stories.items() if [entry[0] for entry in story] == ["normalize"]]
    assert len(changed) == 6 and all("ㅋㅋㅋ" in texts[id] and "ㅋㅋㅋㅋ" not in texts[id] and "\u200b" not in texts[id] for id in changed)
    step, counts, before, after = stories[changed[0]][0]
    assert counts["repeats"] == 1 and before - after == 28 and after == len(texts[changed[0]])
    masked = [id for id, story in stories.items() if [entry[0] for entry in story] == ["personal"]]
    assert len(masked) == 6 and all("010-1234" not in texts[id] for id in masked)


def test_the_funnel_adds_up(done):
    out, report = done
    steps = report["steps"]
    assert [step["name"] for step in steps] == ["read", *(step.kind for step in SPEC.steps)]
    for before, after in zip(steps, steps[1:], strict=False):
        assert before["out"] == after["in"]
    for step in steps:
        assert step["in"][0] - step["out"][0] == sum(documents for documents, _ in step["reasons"].values())
    assert steps[-1]["out"] == [sum(column) for column in zip(*report["splits"].values(), strict=True)]
    assert steps[-1]["out"][1:] == [sum(len(row["text"]) for row in kept(out)), sum(len(row["text"].split()) for row in kept(out))]
    assert {name: totals[0] for name, totals in report["splits"].items()} == {n: len(rows(out, n)) for n in ("train", "valid", "test")}
    assert min(totals[0] for totals in report["splits"].values()) > 3
    assert sum(report["after"]["lengths"]) == report["kept"]
    assert report == json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert artifact.verify(out, "corpus")["data"] == report["data"] and "<html" in (out / "report.html").read_text(encoding="utf-8")


def test_the_samples_show_no_personal_data(done):
    out, _ = done
    assert "010-1234" not in (out / "report.json").read_text(encoding="utf-8") + (out / "report.html").read_text(encoding="utf-8")


def test_the_bytes_do_not_depend_on_workers_or_on_where_the_sources_stand(sources, done, tmp_path):
    moved = shutil.copytree(sources, tmp_path / "elsewhere")
    report = run(moved, tmp_path / "out", workers=3)
    assert report["data"] == done[1]["data"] and content(tmp_path / "out") == content(done[0])
    assert len(content(done[0])) > 12, "there are several shards"


def test_a_finished_corpus_answers_at_once(sources, done, monkeypatch):
    out, report = done
    for module, name in ((mapping, "map_shard"), (writing, "write_shard"), (cleaning, "publish")):
        monkeypatch.setattr(module, name, None)
    assert run(sources, out) == report


def test_only_new_files_are_worked_on(sources, done, tmp_path, monkeypatch):
    folder = shutil.copytree(sources, tmp_path / "texts")
    out = shutil.copytree(done[0], tmp_path / "out")
    (folder / "6.txt").write_text("\n\n".join(["새로운 문서가 하나 들어왔습니다 그리고 이것은 깁니다"] * 400), encoding="utf-8")
    met = []
    work = mapping.map_shard
    monkeypatch.setattr(mapping, "map_shard", lambda task: met.append([part.name for part in task.shard.parts]) or work(task))
    heard = Heard()
    report = run(folder, out, progress=heard)
    assert {name for names in met for name in names} <= {"5.txt.gz", "6.txt"} and len(met) <= 3
    assert any("were finished before and are kept" in note for note in heard.notes)
    assert report["data"] == run(folder, tmp_path / "anew")["data"] and report["documents"] == done[1]["documents"] + 400
    assert {path.name for path in (out / "work").iterdir()} == {path.name for path in (tmp_path / "anew" / "work").iterdir()}


def test_another_spec_or_other_files_are_refused(sources, done, tmp_path):
    out, _ = done
    steps = (*SPEC.steps[:3], LengthSpec(characters=30), *SPEC.steps[4:], NoiseSpec())
    with pytest.raises(MalmoiError, match=r"M140: .* settings: step noise is new; length.characters was 20, is 30; length.words was 3"):
        run(sources, out, spec=SPEC.model_copy(update={"steps": steps}))
    with pytest.raises(MalmoiError, match=r"M140: .* other sources: 0.txt is not given"):
        run([sources / f"{n}.txt" for n in (1, 2, 3)], out)
    folder = shutil.copytree(sources, tmp_path / "texts")
    with open(folder / "2.txt", "a", encoding="utf-8") as file:
        file.write("\n\n하나 더")
    with pytest.raises(MalmoiError, match=r"M140: .* other sources: 2.txt has changed"):
        run(folder, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    with pytest.raises(MalmoiError, match=r"M004: .*thesis.doc"):
        run(sources, tmp_path / "full")
    with locked(out), pytest.raises(MalmoiError, match="M008"):
        run(sources, out)


def test_global_steps_that_do_not_stand_together_are_refused(sources, tmp_path):
    spec = SPEC.model_copy(update={"steps": (*SPEC.steps, ExactSpec())})
    with pytest.raises(MalmoiError, match="M002: steps .* side by side"):
        run(sources, tmp_path / "out", spec=spec)


@pytest.mark.parametrize("name", ["train/part-00001.parquet", "work/*/first/kept.parquet", "work/*/part/tally.json"])
def test_damage_is_mended(sources, done, tmp_path, name):
    out = shutil.copytree(done[0], tmp_path / "out")
    path = sorted(out.glob(name))[-1]
    path.write_bytes(path.read_bytes()[:-5] + b"12345")
    if name.startswith("work"):
        (out / "manifest.json").unlink()
    run(sources, out)
    assert content(out) == content(done[0])


def test_lost_documents_are_told(sources, tmp_path, monkeypatch):
    add = Rows.add

    def losing(self, *values, characters):
        if not (values[0] == "1.txt:13" and self._path.name == "train.parquet"):
            add(self, *values, characters=characters)

    monkeypatch.setattr(Rows, "add", losing)
    with pytest.raises(MalmoiError, match="M142: 151 documents were read, but .* 1 are missing"):
        run(sources, tmp_path / "out", spec=SPEC.model_copy(update={"valid": 0, "test": 0}))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_document_at_which_a_step_fails_is_set_apart(sources, tmp_path, monkeypatch):
    make = normalize.normalize

    def failing(spec):
        step = make(spec)

        def one(document):
            if document.id == "1.txt:13":
                raise IndexError("out of range")
            return step(document)

        return one

    monkeypatch.setattr(normalize, "normalize", failing)
    heard = Heard()
    report = run(sources, tmp_path / "out", progress=heard)
    (row,) = (row for row in rows(tmp_path / "out", "removed") if row["reason"] == FAULT)
    assert (row["id"], row["step"], row["detail"]) == ("1.txt:13", "normalize", "IndexError: out of range")
    assert report["documents"] == 151
    assert heard.notes == ["The step normalize failed at 1 documents: they are in removed/, please report it."]


@pytest.mark.parametrize(("stage", "workers"), [("reading and filtering", 1), ("reading and filtering", 2), ("writing", 1)])
def test_an_interrupted_cleaning_goes_on(sources, done, tmp_path, stage, workers):
    heard = Heard(stop=(stage, 2))
    with pytest.raises(KeyboardInterrupt):
        run(sources, tmp_path / "out", progress=heard, workers=workers)
    assert heard.notes == ["Interrupted. The same command goes on from here: what is finished is kept."]
    assert not [path for path in (tmp_path / "out").rglob(".*")], "no lock, nothing half done"
    again = Heard()
    run(sources, tmp_path / "out", progress=again)
    assert content(tmp_path / "out") == content(done[0])
    assert any(note.startswith(f"{stage}: ") for note in again.notes)


def test_a_disk_that_is_too_small_is_told_before(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(artifact.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(MalmoiError, match="M045: .* the cleaned corpus with its work needs"):
        run(sources, tmp_path / "out")


def test_a_disk_that_fills_up_is_told(sources, done, tmp_path):
    code = (
        "import resource, small_corpus, sys; from pathlib import Path; resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000));"
        "small_corpus.run(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(sources), str(tmp_path / "out")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "M145: the disk of" in ended.stderr and ended.returncode == 1, ended.stderr
    run(sources, tmp_path / "out")
    assert content(tmp_path / "out") == content(done[0])


def test_ctrl_c_ends_workers_too(sources, tmp_path):
    """The signal reaches the whole group, as from a terminal."""
    code = "import small_corpus, sys; from pathlib import Path; small_corpus.run(Path(sys.argv[1]), Path(sys.argv[2]), workers=2)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(sources), str(tmp_path / "out")]
    for _ in range(5):
        process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
        while not list((tmp_path / "out").glob("work/*/first")) and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
        if process.returncode:
            break
        shutil.rmtree(tmp_path / "out")  # it was done before the signal came
    assert said.rstrip().endswith("KeyboardInterrupt") and said.count("Traceback") == 1
    with pytest.raises(ProcessLookupError):
        for _ in range(200):  # the servers of processes end when they see that nobody needs them
            os.killpg(process.pid, 0)
            time.sleep(0.05)


def test_the_size_of_shards_changes_the_files_only(sources, done, tmp_path):
    run(sources, tmp_path / "out", size=10 * SIZE)
    key = ("id", "text", "story")
    assert [[row[name] for name in key] for row in kept(tmp_path / "out")] == [[row[name] for name in key] for row in kept(done[0])]
    assert len(content(tmp_path / "out")) < len(content(done[0]))
