"""One writer a directory."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from malmoi.core.errors import MalmoiError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else writes into `path` meanwhile. Raises MalmoiError M008 naming the owner, M046 for a place that cannot be written.

    The system's own lock on the file decides on this machine, and ends with its process; what stands in it is for people, and for
    other machines that see the same disk.
    """
    if any(0xD800 <= ord(letter) < 0xE000 for letter in os.fspath(path)):  # how Python writes bytes that are not UTF-8
        raise MalmoiError("M046", path=path, problem="its name is not UTF-8, and safetensors and Parquet read no other")
    file = path / ".lock"
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    with _taken(file) as lock:
        owner = _owner(file)
        if owner and owner["host"] != mine["host"]:
            raise MalmoiError("M008", path=path, **owner)
        lock.truncate(0)
        json.dump(mine, lock)
        lock.flush()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


@contextmanager
def _taken(file: Path) -> Iterator[TextIO]:
    """The lock file, open and locked."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_CREAT | os.O_RDWR)
        except OSError as refusal:
            raise MalmoiError("M046", path=file.parent, problem=refusal.strerror) from refusal
        with os.fdopen(descriptor, "r+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                unknown = {"pid": "(unknown)", "host": socket.gethostname(), "since": "just now"}
                raise MalmoiError("M008", path=file.parent, **(_owner(file) or unknown)) from None
            if file.exists() and file.stat().st_ino == os.fstat(descriptor).st_ino:
                yield lock
                return
            # else its owner has just ended and taken the file away: once more


def _owner(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return None
    return found if isinstance(found, dict) and {"pid", "host", "since"} <= set(found) else None
