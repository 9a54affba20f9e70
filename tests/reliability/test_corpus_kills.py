"""A cleaning killed anywhere goes on where it ended: the same bytes, and what was finished is not done again."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_corpus
from small_corpus import content, write

from malmoi.core import artifact
from malmoi.core.progress import Silent
from malmoi.corpus.cleaning import clean, decisions, mapping, publication, writing

PLACES = [
    "inputs.json-written",
    "inputs.json-renamed",
    "map-batch",
    "artifact-begun",
    "tally.json-written",
    "tally.json-renamed",
    "artifact-written",
    "manifest.json-written",
    "manifest.json-renamed",
    "artifact-sealed",
    "artifact-renamed",
    "write-batch",
    "parts-written",
    "corpus-linked",
    "report.json-written",
    "report.json-renamed",
    "report.html-written",
    "report.html-renamed",
]
LAST = {"manifest.json-written", "manifest.json-renamed", "artifact-sealed", "artifact-renamed", "artifact-begun", "artifact-written"}
"""Reached in each shard, for the decisions and at the end: killed at several of them."""
CASES = [(place, 1) for place in PLACES] + [(place, times) for place in sorted(LAST) for times in (2, 4, 5)]
CASES += [("manifest.json-written", 8)]


SIZE = 30_000
"""Bytes of a shard: there are three."""


def run(sources, out, **options):
    small_corpus.run(sources, out, size=SIZE, **options)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sources") / "texts")


@pytest.fixture(scope="module")
def alone(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out"
    run(sources, out)
    return content(out)


def work(sources, out, place=""):
    artifact.FAILPOINT = place
    run(sources, out)


def shards_of(out):
    """Finished work by name, with the time of its making."""
    found = [*out.glob("work/*/first/manifest.json"), *out.glob("work/*/part/manifest.json"), *out.glob("work/*/decisions/manifest.json")]
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in found}


@pytest.mark.parametrize(("place", "times"), CASES)
def test_killed_there(sources, alone, tmp_path, place, times):
    out = tmp_path / "out"
    child = multiprocessing.get_context("fork").Process(target=work, args=(sources, out, f"{place}:{times}"))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL, f"{place} was not reached {times} times"
    before = shards_of(out)
    work(sources, out)
    assert content(out) == alone
    after = shards_of(out)
    assert before.items() <= after.items(), "what was finished is not done again"
    assert [path.name for path in out.rglob(".*")] == [], "what the killed process left behind is gone"
    artifact.verify(out, "corpus")


def test_every_place_is_tried(sources, tmp_path, monkeypatch):
    """No place was added and forgotten here."""
    met = set()
    for module in (artifact, clean, decisions, mapping, publication, writing):
        if hasattr(module, "reached"):
            monkeypatch.setattr(module, "reached", met.add)
    run(sources, tmp_path / "out")
    assert met == set(PLACES)


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_some_time(sources, alone, tmp_path, seed):
    """The first process, or one of its workers, with a signal that cannot be caught; again and again until it is done."""
    out, draw = tmp_path / "out", random.Random(seed)
    code = (
        "import sys, small_corpus; from pathlib import Path; small_corpus.run(Path(sys.argv[1]), Path(sys.argv[2]), size=30_000, workers=2)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    kills = 0
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", code, str(sources), str(out)], env=environment, start_new_session=True)
        try:
            process.wait(0.4 + 0.4 * draw.random() + 1.5 * kills)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        if process.wait() == 0:
            break
    assert kills and process.returncode == 0 and content(out) == alone
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.killpg(process.pid, 0)
            time.sleep(0.05)


def test_a_worker_that_is_killed_costs_nothing_but_time(sources, alone, tmp_path):
    out, notes = tmp_path / "out", []
    killed = []

    def kill_one(name):
        process = engines_running()
        if process and not killed:
            killed.append(process)
            os.kill(process, signal.SIGKILL)

    class Killing(Silent):
        def advance(self, done, facts=None):
            kill_one(done)

        def note(self, text):
            notes.append(text)

    run(sources, out, workers=2, progress=Killing())
    assert killed and content(out) == alone
    assert [note for note in notes if "was killed (SIGKILL)" in note and "it is done once more" in note]


def engines_running():
    """A process that is at work for this one."""
    server = [int(line) for line in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]
    children = [int(child) for each in server for child in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
    return children[0] if children else None
