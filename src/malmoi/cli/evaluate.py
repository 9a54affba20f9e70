"""`malmoi evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from malmoi.cli.base import SOURCE_HELP, SOURCES, Debug, Device, Document, Json, Run, answer, answering
from malmoi.cli.progress import progress

EXAMPLE = "malmoi evaluate runs/small --on heldout.txt"


def evaluate(
    run: Run,
    on: Annotated[list[str], typer.Option("--on", metavar=SOURCES, help=f"What to score: {SOURCE_HELP}.", show_default=False)],
    state: Annotated[
        Literal["reset", "warm", "compat"],
        typer.Option("--state", help="Where a document starts: from zero, from the warm state, or where the one before it ended."),
    ] = "reset",
    batch_tokens: Annotated[
        int | None, typer.Option("--batch-tokens", help="Words scored at once; the result does not depend on it.")
    ] = None,
    document: Document = None,
    device: Device = "auto",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score text exactly: perplexity and bits per byte.

    Forward, backward and mean, with the unknown rate and how much was scored. Every word and one end mark a document count. The
    result does not depend on batch size or on how the text is cut in files.
    """
    from malmoi import api

    chosen = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    with answering(json), progress() as shown:
        result = api.evaluate(run, on=on, state=state, document=document, device=device, progress=shown, **chosen)
    answer(result, json)
