"""A run killed (SIGKILL) again and again goes on each time, and ends with the weights of one that nobody disturbed, bit for bit.

    python benchmarks/kill_resume.py --kills 30 --seed 1

Everything goes through the command: `malmoi pretrain ... --resume` in a process of its own. The moments are seeded and of three
kinds: before the first checkpoint of a start (imports, reading, restoring, first steps), a little after a new checkpoint, and while one
is being written. At the end weights, optimizer, LSTM states and the recorded losses of every step are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Kind = Literal["start", "steps", "save"]
KINDS: tuple[Kind, ...] = ("steps", "save", "start")
COMMAND = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())"]
SETTINGS = {
    "model.width": 16,
    "model.backbone.mixer.cell": 32,
    "model.frontend.filters": [[1, 8], [2, 8], [3, 16]],
    "model.head.size": 600,
    "model.head.softmax.samples": 64,
    "stream.streams": 4,
    "stream.window": 5,
    "training.save_steps": 5,
    "training.validations": 6,
}
PATIENCE = 120.0


def write_text(path: Path, words: int, seed: int) -> None:
    """Paragraphs of words in Zipf's proportions."""
    chance = random.Random(seed)
    lines = []
    while words > 0:
        length = chance.randint(1, 60)
        lines.append(" ".join(f"w{int(1200 ** chance.random()):x}" for _ in range(length)))
        words -= length
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def command(folder: Path, run: str, *, steps: int, resume: bool) -> list[str]:
    """The command line of one start."""
    settings = [part for path, value in SETTINGS.items() for part in ("--set", f"{path}={json.dumps(value)}")]
    sources = ["--corpus", str(folder / "train.txt"), "--valid", str(folder / "valid.txt"), "--out", str(folder / run)]
    budget = ["--steps", str(steps), "--device", "cpu", "--json"]
    return [*COMMAND, "pretrain", "elmo-tiny", *sources, *budget, *settings, *(["--resume"] if resume else [])]


def start(folder: Path, run: str, *, steps: int, threads: int) -> subprocess.Popen[bytes]:
    """Begin the run, or go on with it if it has begun."""
    resume = (folder / run / "spec.json").is_file()
    with open(folder / "log.txt", "ab") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        line = command(folder, run, steps=steps, resume=resume)
        return subprocess.Popen(line, stdout=log, stderr=log, env=environment, start_new_session=True)


def wait(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> bool:
    """Until `ready`, looking every millisecond. False if the process ended before."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        if ready():
            return True
        assert time.monotonic() < deadline, "nothing happened for two minutes"
        time.sleep(0.001)
    return False


def kill(process: subprocess.Popen[bytes], place: Path, kind: Kind, chance: random.Random, *, warming: float) -> bool:
    """SIGKILL at a seeded moment of `kind`. False if the process ended by itself before. warming: seconds before a first checkpoint."""
    if kind == "start":
        moment = time.monotonic() + chance.uniform(0.0, warming)
        reached = wait(process, lambda: time.monotonic() > moment)
    elif kind == "save":
        skip, seen = chance.randint(0, 2), set[str]()

        def writing() -> bool:
            seen.update(path.name for path in place.glob(".step-*"))
            return len(seen) > skip

        reached = wait(process, writing)
    else:
        before, more = finished(place), 5 * chance.randint(0, 3)
        reached = wait(process, lambda: finished(place) > before + more)
        moment = time.monotonic() + chance.uniform(0.0, 0.1)
        reached = reached and wait(process, lambda: time.monotonic() > moment)
    if reached:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return reached and process.returncode == -signal.SIGKILL


def finished(place: Path) -> int:
    """The step of the newest whole checkpoint; -1 if there is none."""
    return max((int(path.parent.name.removeprefix("step-")) for path in place.glob("step-*/manifest.json")), default=-1)


def digest(run: Path, step: int) -> dict[str, str]:
    """What the last checkpoint holds and what was recorded on the way, times (and the seals over them) apart."""
    checkpoint = run / "checkpoints" / f"step-{step:08d}"
    names = ("model.safetensors", "optimizer.safetensors", "carry.safetensors")
    found = {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in names}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    timeless = [{key: value for key, value in line.items() if key not in ("seconds", "tokens_per_second", "seal")} for line in lines]
    return {**found, "metrics": hashlib.sha256(json.dumps(timeless).encode()).hexdigest()}


def kill_and_compare(folder: Path, *, kills: int, seed: int, steps: int, words: int = 20_000, threads: int = 2) -> dict[str, Any]:
    """One run left alone, one killed `kills` times (or until it is done); what differs between them.

    Raises RuntimeError with the end of the log if a start failed in another way than by a kill.
    """
    write_text(folder / "train.txt", words, seed=1)
    write_text(folder / "valid.txt", 500, seed=2)
    chance = random.Random(seed)
    began = time.monotonic()
    alone = start(folder, "alone", steps=steps, threads=threads)
    wait(alone, lambda: finished(folder / "alone" / "checkpoints") >= 0)
    warming = time.monotonic() - began
    _check(alone.wait(), folder)
    seconds_alone = time.monotonic() - began
    record: list[dict[str, Any]] = []
    place = folder / "killed" / "checkpoints"
    done = False
    while len(record) < kills and not done:
        kind = KINDS[len(record)] if len(record) < len(KINDS) else chance.choices(KINDS, weights=(3, 2, 1))[0]
        process = start(folder, "killed", steps=steps, threads=threads)
        done = not kill(process, place, kind, chance, warming=warming)
        if done:
            _check(process.returncode, folder)
        else:
            record.append({"kind": kind, "checkpoint": finished(place), "half_written": len(list(place.glob(".step-*")))})
    if not done:
        _check(start(folder, "killed", steps=steps, threads=threads).wait(), folder)
    one, other = digest(folder / "alone", steps), digest(folder / "killed", steps)
    return {
        "kills": len(record),
        "kinds": dict(Counter(each["kind"] for each in record)),
        "killed_while_writing": sum(each["half_written"] > 0 for each in record),
        "steps": steps,
        "seconds_alone": round(seconds_alone, 1),
        "seconds": round(time.monotonic() - began, 1),
        "identical": {name: one[name] == other[name] for name in one},
        "sha256": one,
        "record": record,
    }


def _check(status: int, folder: Path) -> None:
    if status != 0:
        raise RuntimeError(f"a start ended with status {status}:\n" + (folder / "log.txt").read_text(errors="replace")[-3000:])


def main() -> None:
    """The command."""
    from common import RESULTS, finish

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "kill_resume.json")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="malmoi-kill-"))
    facts = kill_and_compare(folder, kills=arguments.kills, seed=arguments.seed, steps=arguments.steps, threads=arguments.threads)
    finish("kill_resume", {"seed": arguments.seed, **facts}, arguments.out)
    shutil.rmtree(folder)
    if not all(facts["identical"].values()) or facts["kills"] < arguments.kills:
        sys.exit(1)


if __name__ == "__main__":
    main()
