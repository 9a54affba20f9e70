"""Where to compute."""

from __future__ import annotations

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
