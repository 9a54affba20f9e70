"""How a failure is told: a code, a sentence, what to do next; never a traceback without --debug."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from malmoi.core.errors import MalmoiError, nearest

FAILED, INTERRUPTED, BROKEN_PIPE = 1, 130, 141
STATUS = {"M040": 3, "M047": 3, "M045": 4, "M044": 5}
"""Exit statuses of failures that a supervisor tells apart: the numbers have gone bad, the disk is full, another process was lost."""

Exit = typer.Exit
_UsageError: Any = typer.BadParameter.__mro__[1]  # typer carries click under a name that differs between its versions


def answer_failure(failure: Exception, arguments: Sequence[str]) -> int:
    """Tell `failure` on standard error, and with `--json` among `arguments` on standard output too. Returns the exit status."""
    known = as_malmoi_error(failure)
    given = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    if "--debug" in given:
        sys.stderr.write("".join(traceback.format_exception(failure)))
    if "--json" in given:
        sys.stdout.write(json.dumps({"error": {"code": known.code, "message": known.message, "next": known.next}}) + "\n")
        sys.stdout.flush()
    sys.stderr.write(f"malmoi: {known}\n")
    return STATUS.get(known.code, FAILED)


def as_malmoi_error(failure: Exception) -> MalmoiError:
    """The failure with a code: its own, or M098 for a wrong command line, M097 for the system's refusals, M099 for the rest."""
    if isinstance(failure, MalmoiError):
        return failure
    if isinstance(failure, _UsageError):
        return _usage(failure)
    if isinstance(failure, OSError):
        return MalmoiError("M097", problem=_sentence(str(failure)))
    return MalmoiError("M099", kind=type(failure).__name__, problem=_sentence(str(failure)) or "no message")


def _usage(failure: Any) -> MalmoiError:
    context = failure.ctx
    command = context.command_path if context else "malmoi"
    option = getattr(failure, "option_name", None)
    if option is not None and context and type(failure).__name__ == "NoSuchOption":
        known = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
        return MalmoiError("M098", problem=f"there is no option {option}{nearest(option, [*known, '--help'])}", command=command)
    problem = _sentence(failure.format_message()).replace("Value error, ", "")
    return MalmoiError("M098", problem=problem, command=command)


def _sentence(text: str) -> str:
    """One line without a full stop: the catalogue sets its own."""
    return " ".join(text.split()).rstrip(".")
