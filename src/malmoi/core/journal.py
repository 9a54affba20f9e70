"""Journals: files of JSON lines that are only ever added to, and in which every line is sealed together with those before it.

A line is a JSON object whose last field is `seal`, the start of the SHA-256 of the seal before it and of the rest of the line. They read
as plain JSON lines; a changed, missing or exchanged line is found. Half a line at the end is what a killed writer leaves, and is
no damage.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from malmoi.core.artifact import write_text
from malmoi.core.errors import MalmoiError

MARK = ', "seal": "'
DIGITS = 12
END = DIGITS + 2
"""Length of what follows MARK in a whole line: the digits, a quote, a brace."""


class Journal:
    """Adds lines to `path`, which is there from the first one on. Raises MalmoiError M131 if what stands there is damaged.

    after: of an older file the lines with a larger `step` are dropped (they will be written again), and so is half a line.
    """

    def __init__(self, path: Path, *, after: int) -> None:
        before = read_journal(path)
        kept = [facts for facts in before if facts["step"] <= after]
        self._seal = ""
        if path.is_file():
            write_text(path, "".join(self._next(facts) for facts in kept))
        self._path = path
        self._file: TextIO | None = None

    def write(self, facts: Mapping[str, Any]) -> None:
        """Add an object, which must have a `step`."""
        if self._file is None:
            self._file = open(self._path, "a", encoding="utf-8")
        self._file.write(self._next(facts))

    def _next(self, facts: Mapping[str, Any]) -> str:
        """The line of an object that follows those before."""
        body = json.dumps(facts, ensure_ascii=False)[:-1]
        self._seal = _digest(self._seal, body)
        return f'{body}{MARK}{self._seal}"}}\n'

    def flush(self, *, sync: bool = False) -> None:
        """Nothing of what was written is lost when the process is killed; with `sync`, when the power fails."""
        if self._file is not None:
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """No more lines."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The objects of a journal, without their seals; none if there is no file. Raises MalmoiError M131 for a damaged one."""
    if not path.is_file():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    found: list[dict[str, Any]] = []
    before = ""
    for number, data in enumerate(lines, start=1):
        body, mark, seal = data.decode("utf-8", errors="replace").rpartition(MARK)
        if not mark or seal != _digest(before, body) + '"}':
            raise _damaged(path, number)
        before = seal[:-2]
        found.append(json.loads(body + "}"))
    if rest[: -END - 1].endswith(MARK.encode()):
        raise _damaged(path, len(lines) + 1)  # a whole line with something else than a line end behind it
    return found


def _digest(before: str, body: str) -> str:
    return hashlib.sha256((before + body).encode()).hexdigest()[:DIGITS]


def _damaged(path: Path, number: int) -> MalmoiError:
    problem = f"line {number} is not what was written there."
    next = "restore it from a copy, or take it away: the run's record begins anew, its weights are not affected."
    return MalmoiError("M131", path=path, problem=problem, next=next)
