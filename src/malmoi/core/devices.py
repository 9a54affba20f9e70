"""Where to compute, and with how much memory."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import torch

from malmoi.core.errors import MalmoiError


def find_device(name: str) -> torch.device:
    """`auto` (CUDA where it is, else the CPU), `cpu`, `cuda` or `cuda:N`. Raises MalmoiError M003 for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise MalmoiError("M003", device=name, problem="there is no such kind of device") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MalmoiError("M003", device=name, problem="torch finds no CUDA device on this machine")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MalmoiError("M003", device=name, problem=f"there are {torch.cuda.device_count()}")
    if device.type not in ("cpu", "cuda"):
        raise MalmoiError("M003", device=name, problem="only cpu and cuda are supported")
    return device


def exactly() -> None:
    """Only operations that give the same bits each time; RuntimeError from torch where there is none. Nothing changes on a CPU."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)


def resident() -> int:
    """Bytes that this process holds now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available() -> int | None:
    """Bytes of memory that are free on this machine, where it tells."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None
