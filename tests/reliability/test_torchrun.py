"""The whole of it: `malmoi supervise` over torchrun over two processes of `malmoi pretrain`, one of which is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from malmoi.core.journal import read_journal
from malmoi.run import load_run

MALMOI = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())"]
SMALL = ["model.width=8", "model.backbone.mixer.cell=8", "model.frontend.filters=[[1,4],[2,4]]", "stream.streams=4", "stream.window=5"]
SETTINGS = [*SMALL, "training.save_steps=10", "training.validations=4"]


def workers(supervisor):
    """Processes of `pretrain` below the supervisor, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            environment = dict(part.split(b"=", 1) for part in (entry / "environ").read_bytes().split(b"\0") if b"=" in part)
        except (OSError, ValueError):
            continue
        if environment.get(b"MALMOI_TEST") == str(supervisor).encode() and b"RANK" in environment:
            found[int(environment[b"RANK"])] = int(entry.name)
    return found


@pytest.mark.slow
def test_a_killed_process_is_survived(tmp_path):
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes are found through /proc")
    corpus, out = tmp_path / "corpus.txt", tmp_path / "run"
    corpus.write_text("\n\n".join(f"w{n % 7} w{n % 11} and w{n % 3}" for n in range(300)), encoding="utf-8")
    train = [
        *MALMOI,
        "pretrain",
        "elmo-tiny",
        "--corpus",
        str(corpus),
        "--out",
        str(out),
        "--steps",
        "400",
        "--device",
        "cpu",
        "--allow-unknown",
    ]
    train += [part for each in SETTINGS for part in ("--set", each)]
    group = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", *train]
    mark = os.getpid()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALMOI_TEST": str(mark)}
    log = open(tmp_path / "log.txt", "w")  # noqa: SIM115
    process = subprocess.Popen([*MALMOI, "supervise", "--json", "--", *group], env=environment, stdout=subprocess.PIPE, stderr=log)
    deadline = time.monotonic() + 300
    while not list(out.glob("checkpoints/step-*/manifest.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.kill(workers(mark)[1], signal.SIGKILL)
    answer, _ = process.communicate(timeout=300)
    told = (tmp_path / "log.txt").read_text(errors="replace")
    assert process.returncode == 0, told[-3000:]
    facts = json.loads(answer)
    assert facts == {"starts": 2, "status": 0, "checkpoint": 400} and "once more from step" in told
    assert [line["step"] for line in read_journal(out / "metrics.jsonl") if "loss" in line] == list(range(1, 401))
    assert load_run(out).step <= 400
