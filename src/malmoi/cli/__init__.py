"""The command `malmoi`: one file a verb, each a thin shell over the function of that name in `malmoi.api`.

What a verb needs is imported when it runs, so that `malmoi --help` and `malmoi recipes` never wait for torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from malmoi.cli.app import app
from malmoi.cli.failures import BROKEN_PIPE, INTERRUPTED, Exit, answer_failure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 0, 1 for an error (3, 4, 5 for some, see `failures`), 130 for Ctrl-C, 141 where the
    reader has gone.

    Errors are one line on standard error (`malmoi: M012: ... next: ...`); with `--json` also `{"error": {"code", "message",
    "next"}}` on standard output; with `--debug` a traceback besides.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _prepare()
    try:
        status = _run(given)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush, at exit, is silent too
        return BROKEN_PIPE
    except KeyboardInterrupt:
        sys.stderr.write("malmoi: interrupted\n")
        return INTERRUPTED
    except Exception as failure:
        return answer_failure(failure, given)


def _run(arguments: list[str]) -> int:
    import typer

    command = typer.main.get_command(app)
    try:
        with command.make_context("malmoi", arguments) as context:
            command.invoke(context)
    except Exit as done:
        return done.exit_code
    return 0


def _prepare() -> None:
    """Names from other encodings are shown escaped rather than refused; `module:function` may stand in the current directory."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
