"""Functions that tests of engines give to other processes, which find them by their module."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def double(number):
    return 2 * number


def failing(number):
    if number == 3:
        raise FileNotFoundError(2, "not there", "three")
    return number


def dying(argument):
    """Dies as often as told: a file counts."""
    counter, times = argument
    path = Path(counter)
    met = len(path.read_text()) if path.is_file() else 0
    path.write_text("x" * (met + 1))
    if met < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return met + 1


def slow(path):
    """Tells its process, then works on."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


class Odd(Exception):
    """Does not travel."""

    def __init__(self, a, b):
        super().__init__(f"{a}{b}")


def odd(number):
    raise Odd("strange ", number)
