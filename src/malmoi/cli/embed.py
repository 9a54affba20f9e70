"""`malmoi embed`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from malmoi.cli.base import Debug, Device, Json, Run, answer, answering, layer_of

EXAMPLE = "malmoi embed runs/small --input lines.txt --output vectors.npz"


def embed(
    run: Run,
    input: Annotated[str, typer.Option("--input", metavar="FILE", help="One text a line.", show_default=False)],
    output: Annotated[
        str, typer.Option("--output", metavar="FILE", help=".npz (one array a line) or .parquet (line, token, vector).", show_default=False)
    ],
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="mix|top|mean|all|N",
            help="Which layer; 0 is the word vector. [default: mix; of trained sentence vectors top]",
            show_default=False,
        ),
    ] = None,
    pool: Annotated[
        Literal["none", "mean", "first", "cls"],
        typer.Option("--pool", help="One vector a token, or one a line; cls: that of a Transformer's first mark."),
    ] = "none",
    state: Annotated[
        Literal["reset", "warm", "compat"],
        typer.Option("--state", help="Of a biLM; compat: each row goes on from the row of the batch before, as the original."),
    ] = "reset",
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Lines at once; only compat depends on it.")] = None,
    device: Device = "auto",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the vectors of every line of a file.

    A word of a biLM, a subword of a Transformer has one vector. The order is that of the file. But with --state compat a line's vectors do
    not depend on the other lines, on their order or on the batch size.
    """
    from malmoi import api

    chosen = {} if batch_size is None else {"batch_size": batch_size}
    with answering(json):
        result = api.embed(
            run, input=input, output=output, layer=layer_of(layer) if layer else None, pool=pool, state=state, device=device, **chosen
        )
    answer(result, json)
