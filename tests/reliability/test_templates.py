"""The scripts for several machines, against stand-ins for torchrun, srun, scontrol and malmoi that write down how they were called."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "examples" / "several_nodes"
STAND_IN = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$LOG"
case "$(basename "$0")" in
  scontrol) if [ "$1" = show ]; then echo node-a; echo node-b; fi ;;
  srun) while [ "$1" != bash ]; do shift; done; "$@" ;;
  malmoi) if [ "$1" = supervise ]; then while [ "$1" != -- ]; do shift; done; shift; "$@"; fi ;;
  torchrun) exit "${STATUS:-0}" ;;
esac
"""


@pytest.fixture
def call(tmp_path):
    """Run a script; (its status, the calls it made)."""
    for name in ("torchrun", "srun", "scontrol", "malmoi"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)

    def run(script, *arguments, **environment):
        log = tmp_path / "log.txt"
        log.write_text("")
        known = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log)}
        ran = subprocess.run(["bash", str(SCRIPTS / script), *arguments], env={**known, **environment}, capture_output=True, text=True)
        return ran, log.read_text().splitlines()

    return run


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.iterdir()))
def test_it_is_a_script_that_names_what_it_lacks(call, script):
    assert subprocess.run(["bash", "-n", str(SCRIPTS / script)]).returncode == 0
    ran, calls = call(script)
    assert ran.returncode != 0 and calls == []
    assert re.search(r"(NODE|OUT): ", ran.stderr)


def test_by_hand(call, tmp_path):
    known = {"NODE": "1", "NODES": "2", "HEAD": "node-a", "OUT": "/runs/b", "CORPUS": "a text.txt", "GPUS": "4"}
    ran, calls = call("torchrun.sh", "--shard", **known)
    assert ran.returncode == 0, ran.stderr
    assert calls[0].startswith("malmoi supervise --crashes 3 -- torchrun")
    assert calls[1] == (
        "torchrun --nnodes 2 --node-rank 1 --nproc-per-node 4 --master-addr node-a --master-port 29500 "
        "--no-python malmoi pretrain bert-small --corpus a text.txt --out /runs/b --shard"
    )


SLURM = {
    "SLURM_JOB_NODELIST": "node-[a-b]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NODEID": "0",
    "SLURM_JOB_ID": "7",
    "SLURM_GPUS_ON_NODE": "4",
}


def test_slurm(call, tmp_path):
    out = tmp_path / "run"
    ran, calls = call("slurm.sbatch", OUT=str(out), CORPUS="text.txt", **SLURM)
    assert ran.returncode == 0, ran.stderr
    line = (
        "torchrun --nnodes 2 --node-rank 0 --nproc-per-node 4 --master-addr node-a --master-port 29500 "
        f"--no-python malmoi pretrain bert-small --corpus text.txt --out {out}"
    )
    assert calls[-1] == line and not any("requeue" in call for call in calls)
    (out / "checkpoints" / "step-00000005").mkdir(parents=True)
    (out / "checkpoints" / "step-00000005" / "manifest.json").write_text("{}")
    ran, calls = call("slurm.sbatch", OUT=str(out), CORPUS="text.txt", STATUS="1", **SLURM)
    assert ran.returncode == 1 and line + " --resume" in calls and calls[-1] == "scontrol requeue 7"
    ran, calls = call("slurm.sbatch", OUT=str(out), CORPUS="text.txt", STATUS="1", SLURM_RESTART_COUNT="20", **SLURM)
    assert ran.returncode == 1 and not any("requeue" in call for call in calls)
