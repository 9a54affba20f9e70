"""`malmoi quickstart`."""

from __future__ import annotations

from typing import Annotated, Any, TextIO

import typer

from malmoi.cli.base import Debug, Json, answer, answering, show_facts
from malmoi.cli.doctor import show_findings
from malmoi.cli.neighbours import show_neighbours
from malmoi.cli.progress import progress

EXAMPLE = "malmoi quickstart --out runs/first"


def quickstart(
    out: Annotated[str | None, typer.Option("--out", metavar="RUN", help="Where the run is written.", show_default=False)] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, help="How long to train at most.")] = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a small ELMo on text that every Python carries.

    The text is the documentation of Python and of its packages: no download and no data of your own are needed. Shows perplexity
    beside that of word frequencies alone, the doctor's verdict, words and their neighbours in context, and what to do next.
    """
    from malmoi import api

    with answering(json), progress() as shown:
        result = api.quickstart(out, minutes=minutes, progress=shown)
    answer(result, json, _show)


def _show(result: dict[str, Any], out: TextIO) -> None:
    rest = {name: value for name, value in result.items() if name not in ("doctor", "neighbours", "next")}
    show_facts(rest, out)
    if "doctor" in result:
        out.write("\ndoctor\n")
        show_findings(result["doctor"], out)
    if "neighbours" in result:
        out.write("\nneighbours in context\n")
        show_neighbours(result["neighbours"], out)
    show_facts({"next": result.get("next", [])}, out)
