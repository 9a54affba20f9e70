"""`malmoi evaluate`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TextIO

import typer

from malmoi.cli.base import SOURCE_HELP, SOURCES, Debug, Device, Document, Json, Run, answer, answering, number, show_facts
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
    task: Annotated[
        str | None,
        typer.Option(
            "--task", metavar="TASK", help="For a tuned run: a task of its kind and labels. [default: the learned one]", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help="For a tuned run: the files of the task as they were published.", show_default=False),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", help="With --data: write predictions there, as they are handed in.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="With --data: answer at most so many examples a split.")] = None,
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

    A run that `malmoi finetune` wrote answers tasks instead: --data names the official files, of which dev and test are answered and
    scored by the official metric. Splits without known answers get predictions, with --out, and no scores.
    """
    from malmoi import api

    if task is not None and data is None:
        raise MalmoiError("M098", problem="Missing option '--data': the files of the task", command="malmoi evaluate")
    if on is None and pairs is None and data is None:
        raise MalmoiError("M098", problem="Missing option '--on', or '--data' for a tuned run", command="malmoi evaluate")
    if data is None and (out is not None or limit is not None):
        raise MalmoiError("M098", problem="--out and --limit belong to --data", command="malmoi evaluate")
    chosen: dict[str, Any] = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    if data is not None:
        chosen |= {"task": task, "data": data, "out": out, "limit": limit}
    with answering(json), progress() as shown:
        result = api.evaluate(run, on=on or (), pairs=pairs or (), state=state, document=document, device=device, progress=shown, **chosen)
    answer(result, json, show_task if data is not None else show_facts)


def show_task(result: Any, out: TextIO) -> None:
    """A line a split, the official number first; below it what is to be known about it."""
    from malmoi.tasks.table import table

    scores, main = result["scores"], result["metric"]
    names = sorted(dict.fromkeys(name for numbers in scores.values() for name in numbers), key=lambda name: name != main)
    rows = [
        [split, *(_shown(scores.get(split, {}).get(name)) for name in names), number(count)] for split, count in result["examples"].items()
    ]
    out.write(f"{result['task']}, by {result['run']}, tuned on {result['tuned_on']}\n")
    out.write(table(["", *names, "examples"], rows) + "\n")
    for split, how in result["made"].items():
        out.write(f"{split}: {how}\n")
    for split, cuts in result["inputs"].items():
        if cuts["cut"]:
            lost = f"{number(cuts['cut'])} of {number(cuts['examples'])} examples were too long and lost {number(cuts['pieces'])} pieces"
            out.write(f"{split}: {lost}\n")
    unknown = [split for split in result["examples"] if split not in scores]
    for split in unknown:
        out.write(f"{split}: its answers are not known{'' if result['predictions'] else '; --out DIR writes what is predicted'}\n")
    for path in result["predictions"]:
        out.write(f"predictions: {path}\n")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
