"""Work in this process, in several, on a Ray cluster that loses a node: the same results, and failures that are told."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from engine_tasks import Odd, double, dying, failing, odd
from small_corpus import content, write
from small_corpus import run as run_corpus

from malmoi.core.errors import MalmoiError
from malmoi.corpus.cleaning.engines import run

TASKS = [(f"task {number}", number) for number in range(7)]


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_every_task_is_done_once(workers):
    assert sorted(run(double, TASKS, workers=workers)) == [(f"task {number}", 2 * number) for number in range(7)]


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_are_drawn_when_there_is_somebody_to_do_them(workers):
    drawn = []
    results = run(double, ((name, drawn.append(name) or number) for name, number in TASKS), workers=workers)
    next(results)
    assert len(drawn) <= workers + 1
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_raises_is_raised_here(workers):
    with pytest.raises(FileNotFoundError, match="not there") as caught:
        list(run(failing, TASKS, workers=workers))
    assert caught.value.filename == "three"
    assert workers == 1 or any("engine_tasks.py" in note for note in caught.value.__notes__), "where it happened is told"


def test_what_does_not_travel_is_told_too():
    with pytest.raises(Odd):
        list(run(odd, TASKS[:1]))
    with pytest.raises(MalmoiError, match="M099: unexpected Odd: strange 0"):
        list(run(odd, TASKS[:1], workers=2))


def test_a_process_that_dies_is_named_and_its_task_done_again(tmp_path):
    notes = []
    tasks = [("part 4 (a.txt)", (str(tmp_path / "one"), 1)), ("part 5", (str(tmp_path / "two"), 0))]
    assert sorted(run(dying, tasks, workers=2, notice=notes.append)) == [("part 4 (a.txt)", 2), ("part 5", 1)]
    assert notes == ["part 4 (a.txt): its process was killed (SIGKILL), perhaps for want of memory; it is done once more."]


def test_a_task_whose_process_dies_twice_is_told(tmp_path):
    with pytest.raises(MalmoiError, match=r"M141: part 4 could not be done: its process was killed .*, twice. next: .*--workers"):
        list(run(dying, [("part 4", (str(tmp_path / "one"), 2))], workers=2))


def test_processes_end_with_the_one_that_started_them(tmp_path):
    code = (
        "import sys; from engine_tasks import slow; from malmoi.corpus.cleaning.engines import run;"
        "list(run(slow, [('a', sys.argv[1])], workers=2))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "pid")], env=environment)
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    child = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.kill(child, 0)
            time.sleep(0.05)


def test_ray_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MalmoiError, match=r"M005: --engine ray needs the package ray. next: pip install 'malmoi\[ray\]'"):
        list(run(double, TASKS, engine="ray"))


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one processor each, as processes of this machine."""
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["PYTHONPATH"], before = os.pathsep.join(filter(None, sys.path)), os.environ.get("PYTHONPATH", "")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.second = made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()
    os.environ["PYTHONPATH"] = before


def test_ray_tells_what_a_task_raises(cluster):
    assert sorted(run(double, TASKS, engine="ray", address=cluster.address)) == [(f"task {number}", 2 * number) for number in range(7)]
    with pytest.raises(FileNotFoundError, match="not there"):
        list(run(failing, TASKS, engine="ray", address=cluster.address))


def test_a_cluster_that_loses_a_node_writes_the_same_bytes(cluster, tmp_path):
    sources = write(tmp_path / "texts")
    report, midway = run_corpus(sources, tmp_path / "alone"), []

    def remove():
        while not list((tmp_path / "out").glob("work/*/first/manifest.json")):
            time.sleep(0.01)
        midway.append(not (tmp_path / "out" / "manifest.json").exists())
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=remove)
    killer.start()
    found = run_corpus(sources, tmp_path / "out", engine="ray", address=cluster.address)
    killer.join()
    assert midway == [True] and len(cluster.worker_nodes) == 0
    assert (found["data"], found["engine"]) == (report["data"], "ray")
    assert content(tmp_path / "out") == content(tmp_path / "alone")


def test_an_address_without_a_cluster_is_told(monkeypatch):
    ray = pytest.importorskip("ray", reason="needs the extra ray")

    def refusing(**settings):
        raise ConnectionError("Could not connect.\nAnd more")

    monkeypatch.setattr(ray, "init", refusing)  # it asks for a minute
    with pytest.raises(MalmoiError, match="M009: --address is 'auto', but no Ray cluster answers there .Could not connect.\\."):
        list(run(double, TASKS, engine="ray", address="auto"))


def test_a_cluster_that_is_not_there_is_told_at_once():
    pytest.importorskip("ray")
    with pytest.raises(MalmoiError, match="M009: --address is '127.0.0.1:1'.*no Ray cluster answers there"):
        list(run(str, [("one", 1)], workers=1, engine="ray", address="127.0.0.1:1"))
