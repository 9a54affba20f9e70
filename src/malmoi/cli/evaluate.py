"""`malmoi evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from malmoi.cli.base import SOURCE_HELP, SOURCES, Debug, Device, Document, Json, Run, answer, answering
from malmoi.cli.progress import progress
from malmoi.core.errors import MalmoiError

EXAMPLE = "malmoi evaluate runs/small --on heldout.txt"


def evaluate(
    run: Run,
    on: Annotated[
        list[str] | None, typer.Option("--on", metavar=SOURCES, help=f"What to score: {SOURCE_HELP}.", show_default=False)
    ] = None,
    pairs: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--pairs", metavar="SOURCE TARGET", help="For a sequence model: two files, line by line, in place of --on.", show_default=False
        ),
    ] = None,
    state: Annotated[
        Literal["reset", "warm", "compat"],
        typer.Option(
            "--state", help="Of a biLM, where a document starts: from zero, from the warm state, or where the one before it ended."
        ),
    ] = "reset",
    batch_tokens: Annotated[
        int | None, typer.Option("--batch-tokens", help="Tokens scored at once; the result does not depend on it.")
    ] = None,
    document: Document = None,
    device: Device = "auto",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score text exactly: perplexity and bits per byte.

    With the unknown rate and how much was scored. Every token and one end mark a document count. A masked model gives the
    pseudo-perplexity, each token masked by itself, which takes a forward pass a token. The result does not depend on batch size or on
    how the text is cut in files.
    """
    from malmoi import api

    if on is None and pairs is None:
        raise MalmoiError("M098", problem="Missing option '--on'", command="malmoi evaluate")
    chosen = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    with answering(json), progress() as shown:
        result = api.evaluate(run, on=on or (), pairs=pairs or (), state=state, document=document, device=device, progress=shown, **chosen)
    answer(result, json)
