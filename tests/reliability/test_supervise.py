"""`malmoi supervise`: what is started again, from where, and when it gives up."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from malmoi.cli.supervise import checkpoints_of, in_a_group, keep_running
from malmoi.core.errors import MalmoiError

SCRIPT = """
import json, os, pathlib, signal, sys, time
out, plan = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]), json.loads(sys.argv[1])
out.mkdir(exist_ok=True)
log = out / "starts.txt"
number = len(log.read_text().splitlines()) if log.exists() else 0
with open(log, "a") as file:
    file.write(("resume" if "--resume" in sys.argv else "fresh") + "\\n")
step, end = plan[min(number, len(plan) - 1)]
if step is not None:
    (out / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    (out / "checkpoints" / f"step-{step:08d}" / "manifest.json").write_text("{}")
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if end == "sleep":
    time.sleep(60)
sys.exit(end)
"""


def command(tmp_path, plan):
    return [sys.executable, "-c", SCRIPT, json.dumps(plan), "--out", str(tmp_path / "run")]


def starts(tmp_path):
    return (tmp_path / "run" / "starts.txt").read_text().split()


def kept(tmp_path, plan, **options):
    told = []
    known = {"crashes": 3, "wait": 0.01, "stdout": None, "tell": told.append, **options}
    return keep_running(command(tmp_path, plan), **known), told


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path):
    facts, told = kept(tmp_path, [(None, "kill"), (5, "kill"), (9, 5), (12, 0)])
    assert facts == {"starts": 4, "status": 0, "checkpoint": 12}
    assert starts(tmp_path) == ["fresh", "fresh", "resume", "resume"]
    assert "status -9; once more from the start" in told[0] and "status 5; once more from step 9" in told[2]


def test_crashes_without_progress_end_it(tmp_path):
    """Progress starts the count anew."""
    with pytest.raises(MalmoiError, match="M096: .* ended 3 times without a new checkpoint, at last with status -9"):
        kept(tmp_path, [(None, "kill"), (None, "kill"), (5, "kill"), (None, "kill")])
    assert len(starts(tmp_path)) == 6


@pytest.mark.parametrize("status", [1, 3, 4, 130, 143])
def test_what_would_end_the_same_way_is_not_tried_again(tmp_path, status):
    facts, _ = kept(tmp_path, [(3, status)])
    assert facts == {"starts": 1, "status": status, "checkpoint": 3}


def test_the_pause_grows(tmp_path):
    began = time.monotonic()
    with pytest.raises(MalmoiError):
        kept(tmp_path, [(None, "kill")], wait=0.2)
    assert time.monotonic() - began >= 0.2 + 0.4


def test_torchrun_hides_statuses():
    assert in_a_group(["/usr/bin/torchrun", "-m", "malmoi"]) and in_a_group(["python", "-m", "torch.distributed.run"])
    assert not in_a_group(["malmoi", "pretrain"])
    with pytest.raises(MalmoiError, match="M098"):
        checkpoints_of(["malmoi", "pretrain", "elmo-tiny"])
    assert str(checkpoints_of(["malmoi", "--out=a/b"])) == "a/b/checkpoints"


def test_the_command_and_its_signal(tmp_path):
    """SIGTERM goes to the run, whose status is the answer."""
    main = "import sys; from malmoi.cli import main; sys.exit(main())"
    line = [sys.executable, "-c", main, "supervise", "--json", "--", *command(tmp_path, [(4, "sleep")])]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert json.loads(out) == {"starts": 1, "status": -15, "checkpoint": 4} and process.returncode == 143
