"""`malmoi doctor`."""

from __future__ import annotations

from typing import Annotated, Any, TextIO

import typer

from malmoi.cli.base import Debug, Json, answer, answering
from malmoi.cli.failures import FAILED

EXAMPLE = "malmoi doctor runs/small"

MARKS = {"error": ("✗", "bold red"), "warning": ("!", "bold yellow"), "info": ("✓", "green")}


def doctor(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A corpus, shards or a run.", show_default=False)],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check a corpus, shards or a run for silent failures.

    Unknown words, leaks, untrained parameters, dropout, tying, state, collapse: every check that fits the path is run. Each
    finding has a code, a sentence and the next step. The exit status is 1 when one of them is an error.
    """
    from malmoi import api

    with answering(json):
        result = api.doctor(path)
    answer(result, json, show_findings)
    if not result["ok"]:
        raise typer.Exit(FAILED)


def show_findings(result: dict[str, Any], out: TextIO) -> None:
    """One line a finding, worst first, and the next step below it."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, soft_wrap=True, highlight=False)
    worst_first = list(MARKS)
    for finding in sorted(result["findings"], key=lambda each: worst_first.index(each["level"])):
        mark, style = MARKS[finding["level"]]
        console.print(Text.assemble((f"{mark} {finding['code']}", style), " ", finding["message"]))
        if finding["level"] != "info":
            console.print(Text.assemble(("  next: ", "dim"), finding["next"]))
    errors = sum(finding["level"] == "error" for finding in result["findings"])
    warnings = sum(finding["level"] == "warning" for finding in result["findings"])
    verdict = Text("✓ healthy", "bold green") if result["ok"] else Text("✗ not healthy", "bold red")
    console.print(Text.assemble(verdict, f": {_count(errors, 'error')}, {_count(warnings, 'warning')}"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
