"""The child process of `corpus.pages.html`: pages in on standard input, texts out on standard output, under limits that the kernel keeps.

A page is a line of JSON (`charset`, `bytes`) and its bytes; the answer is a line of JSON, the fields of `Extracted` or of `Failed`.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

WALL = 10
"""How much longer than its processor time a page may take by the clock: a machine may be busy."""


def main() -> None:
    """Answer pages until standard input ends, or until a page takes too much memory."""
    settings = json.loads(sys.argv[1])
    logging.disable(logging.CRITICAL)
    extract = extractor(settings["extractor"])
    limit_memory(settings["megabytes"])
    pages, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := pages.readline():
        request = json.loads(line)
        page = pages.read(request["bytes"])
        answer = answer_page(page, request["charset"], extract, settings["seconds"])
        answers.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        answers.flush()


def extractor(name: str) -> Callable[[str], dict[str, Any]]:
    """The function of "fast" or "precise", with all that it imports."""
    from malmoi.corpus.pages import html_text

    found: Callable[[str], dict[str, Any]] = {"fast": html_text.fast, "precise": html_text.precise}[name]
    found("<p>once, so that everything is imported</p>")
    return found


def limit_memory(megabytes: int) -> None:
    """Address space from here on; the first process that the kernel ends when the machine's memory is short."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20),) * 2)


def answer_page(page: bytes, charset: str, extract: Callable[[str], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The answer to one page. A page that takes too long ends the process: no handler stands between the timers and the kernel."""
    try:
        text = page.decode(charset).removeprefix("\ufeff")
    except (UnicodeDecodeError, LookupError) as failure:
        return {"reason": "charset", "detail": str(failure)}
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * WALL)
    try:
        found = extract(text)
        return found if found["text"] else {"reason": "empty", "detail": ""}
    except MemoryError:
        return {"reason": "memory", "detail": ""}
    except Exception as failure:
        reason = "memory" if type(failure).__name__ == "HTMLParserException" else "crash"  # there is no page that does not parse
        return {"reason": reason, "detail": f"{type(failure).__name__}: {failure}"[:200]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
