"""`malmoi supervise`: a run that is started again when it dies, in fresh processes, from its last good checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from malmoi.cli.base import Debug, Json, answer
from malmoi.cli.failures import FAILED, STATUS
from malmoi.core.errors import MalmoiError

EXAMPLE = "malmoi supervise -- torchrun --nproc-per-node 2 --no-python malmoi pretrain bert-small --corpus texts/*.txt --out runs/bert"
LONGEST = 60.0
"""Seconds between two starts at most."""
STOPPED = {128 + number for number in (signal.SIGINT, signal.SIGTERM)} | {-signal.SIGINT, -signal.SIGTERM}
"""Statuses of a command that was told to stop."""


def supervise(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The command, `malmoi pretrain` or torchrun with it.")],
    crashes: Annotated[int, typer.Option("--crashes", min=1, help="Give up after so many in a row without a new checkpoint.")] = 3,
    wait: Annotated[float, typer.Option("--wait", min=0.0, help="Seconds before the second start; doubled at each crash in a row.")] = 1.0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Start a run again whenever it dies.

    Each start is a fresh process, with --resume once there is a checkpoint. What is refused (status 1 of `malmoi pretrain` itself),
    numbers that have gone bad (3), a full disk (4) and Ctrl-C end it: another start would end the same way.
    """
    facts = keep_running(
        command, crashes=crashes, wait=wait, stdout=sys.stderr if json else None, tell=lambda text: typer.echo(text, err=True)
    )
    if json:
        answer(facts, json)
    if facts["status"]:
        raise typer.Exit(facts["status"] if facts["status"] > 0 else 128 - facts["status"])


def keep_running(command: Sequence[str], *, crashes: int, wait: float, stdout: Any, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run `command` until it ends by itself: {"starts", "status", "checkpoint"}. Raises MalmoiError M096 for crashes without progress."""
    place = checkpoints_of(command)
    hopeless = {*STATUS.values()} - {STATUS["M044"]} | (set() if in_a_group(command) else {FAILED})
    starts = lost = 0
    while True:
        before, starts = newest(place), starts + 1
        status = _run(resuming(command, before), stdout=stdout)
        if status == 0 or status in STOPPED or status in hopeless:
            return {"starts": starts, "status": status, "checkpoint": newest(place)}
        reached = newest(place)
        lost = 0 if reached > before else lost + 1
        if lost >= crashes:
            raise MalmoiError("M096", command=command[0], times=lost, status=status)
        pause = min(wait * 2 ** max(lost - 1, 0), LONGEST)
        tell(f"malmoi: the command ended with status {status}; once more from {_name(reached)} in {pause:g} s")
        time.sleep(pause)


def checkpoints_of(command: Sequence[str]) -> Path:
    """Where the command keeps its checkpoints. Raises MalmoiError M098 if it names no --out."""
    for place, argument in enumerate(command):
        if argument == "--out" and place + 1 < len(command):
            return Path(command[place + 1]) / "checkpoints"
        if argument.startswith("--out="):
            return Path(argument.removeprefix("--out=")) / "checkpoints"
    raise MalmoiError("M098", problem="the command names no --out, so its checkpoints cannot be found", command="malmoi supervise")


def in_a_group(command: Sequence[str]) -> bool:
    """Whether something between hides the statuses of `malmoi pretrain`: torchrun ends with 1 whatever its processes ended with."""
    return any(Path(word).name in ("torchrun", "srun") or word == "torch.distributed.run" for word in command)


def newest(place: Path) -> int:
    """The step of the newest finished checkpoint, -1 if there is none."""
    return max((int(path.parent.name.removeprefix("step-")) for path in place.glob("step-*/manifest.json")), default=-1)


def resuming(command: Sequence[str], step: int) -> list[str]:
    """The command, told to go on if there is something to go on from."""
    return [*command, *(["--resume"] if step >= 0 and "--resume" not in command else [])]


def _name(step: int) -> str:
    return f"step {step:,}" if step >= 0 else "the start"


def _run(command: Sequence[str], *, stdout: Any) -> int:
    """The status of one start, negative for a signal. SIGINT and SIGTERM are handed on; nobody of its group is left behind."""
    with subprocess.Popen(command, stdout=stdout, start_new_session=True) as process, _handing_on(process):
        status = process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return status


@contextmanager
def _handing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda received, _: process.send_signal(received))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
