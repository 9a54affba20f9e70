"""Pages of the web -> text, in a process of its own: one that hangs, eats memory or crashes costs its page and nothing else.

with Extractor(reading) as extractor:
    found = extractor.extract(data, charset="cp949")
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import IO, Literal

from malmoi.core.errors import MalmoiError
from malmoi.corpus.reading.spec import ReadingSpec

Reason = Literal["time", "memory", "crash", "empty", "charset"]
COMMAND = "from malmoi.corpus.pages.html_worker import main; main()"
ENDINGS = ("time", "memory", "crash")
"""Reasons after which the child process is replaced."""
DETAIL = 200
"""Characters of a reason's detail."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The main text of a page, one paragraph a line, without its title (which may be empty).

    extractor: who found it; "fast" under `reading.extractor = "precise"` where the precise one found nothing.
    """

    text: str
    title: str
    extractor: Literal["fast", "precise"]


@dataclass(frozen=True, slots=True)
class Failed:
    """A page without text.

    time: it took longer than `reading.seconds`; memory: more than `reading.megabytes`; crash: a fault of the parser; charset: the bytes are
    not of the charset; empty: there is no main text in it.
    """

    reason: Reason
    detail: str = ""


class Extractor:
    """Takes pages apart, one after the other, in one child process, which starts with the first page and is replaced when it had to end.

    A page is given `reading.seconds` of processor time (ten times that by the clock) and `reading.megabytes` of address space beyond what
    the process needs to start. A page that takes too much memory or crashes in a process that met others before is tried once more in a new
    one: the answer depends on the page alone. Raises MalmoiError M005 where the package of `reading.extractor` is missing.
    """

    def __init__(self, reading: ReadingSpec) -> None:
        needed = {"fast": ("resiliparse",), "precise": ("resiliparse", "trafilatura")}[reading.extractor]
        for package in needed:
            if find_spec(package) is None:
                extra = "html" if package == "resiliparse" else "precise"
                raise MalmoiError("M005", what="taking text out of HTML", package=package, extra=extra)
        self.reading = reading
        self._met_others = False
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def extract(self, page: bytes, *, charset: str) -> Extracted | Failed:
        """The text of a page whose bytes are in `charset` (strictly)."""
        found = self._ask(page, charset)
        if isinstance(found, Failed) and found.reason in ("memory", "crash") and self._child is None and self._met_others:
            found = self._ask(page, charset)
        return found

    def close(self) -> None:
        """End the child process. The next page starts another."""
        child, self._child = self._child, None
        if child is not None and self._errors is not None:
            child.kill()
            child.communicate()
            self._errors.close()

    def _ask(self, page: bytes, charset: str) -> Extracted | Failed:
        self._met_others = self._child is not None
        child = self._child or self._start()
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps({"charset": charset, "bytes": len(page)}).encode() + b"\n")
            child.stdin.write(page)
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = b""
        answer = json.loads(line) if line.endswith(b"\n") else self._post_mortem(child)
        if answer.get("reason") in ENDINGS:
            self.close()
        return Failed(**answer) if "reason" in answer else Extracted(**answer)

    def _start(self) -> subprocess.Popen[bytes]:
        self._errors = tempfile.TemporaryFile()
        limits = json.dumps({"extractor": self.reading.extractor, "seconds": self.reading.seconds, "megabytes": self.reading.megabytes})
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._child = subprocess.Popen(
            [sys.executable, "-c", COMMAND, limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,
        )
        return self._child

    def _post_mortem(self, child: subprocess.Popen[bytes]) -> dict[str, str]:
        """Why the child has gone."""
        status = child.wait()
        assert self._errors is not None
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()[-DETAIL:]
        if -status in (signal.SIGPROF, signal.SIGALRM):
            return {"reason": "time", "detail": f"more than {self.reading.seconds:g} s"}
        if -status == signal.SIGKILL or "memory" in said.lower():
            return {"reason": "memory", "detail": f"more than {self.reading.megabytes} MB"}
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return {"reason": "crash", "detail": f"{name}: {said}" if said else name}
