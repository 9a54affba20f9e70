"""`malmoi neighbours`."""

from __future__ import annotations

from typing import Annotated, Any, TextIO

import typer

from malmoi.cli.base import Debug, Device, Json, Run, answer, answering, layer_of

EXAMPLE = "malmoi neighbours runs/small 'she sat on the *bank* of the river' 'the *bank* raised its rates' --among lines.txt"
AROUND = 60
"""Characters shown on either side of a neighbour."""


def neighbours(
    run: Run,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help="Each with one *marked* word.", show_default=False)],
    among: Annotated[
        str, typer.Option("--among", metavar="FILE", help="Where to look for neighbours: one text a line.", show_default=False)
    ],
    count: Annotated[int, typer.Option("--count", min=1, help="Neighbours of each text.")] = 5,
    layer: Annotated[str, typer.Option("--layer", metavar="mix|top|mean|N", help="Which layer: 0 is the word vector.")] = "top",
    same_word: Annotated[bool, typer.Option("--same-word", help="Only other occurrences of the marked word itself.")] = False,
    device: Device = "auto",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find the words that are nearest to a marked word, in context.

    The vector of the *marked* word in each text is compared with that of every word of a file.
    """
    from malmoi import api

    with answering(json):
        result = api.neighbours(run, texts=texts, among=among, count=count, layer=layer_of(layer), same_word=same_word, device=device)
    answer(result, json, show_neighbours)


def show_neighbours(result: Any, out: TextIO) -> None:
    """Each query, and below it `score  line: some text with the *neighbour* marked`."""
    for query in result["queries"]:
        out.write(f"{query['text']}\n")
        for found in query["neighbours"]:
            out.write(f"  {found['score']:6.3f}  {found['line'] + 1}: {_excerpt(found['text'], '*' + found['word'] + '*')}\n")


def _excerpt(text: str, marked: str) -> str:
    """What stands around `marked` in `text`, cut between words."""
    before, found, after = text.partition(marked)
    if len(before) > AROUND:
        before = "... " + before[-AROUND:].partition(" ")[2]
    if len(after) > AROUND:
        after = after[:AROUND].rpartition(" ")[0] + " ..."
    return before + found + after
