"""`malmoi export`."""

from __future__ import annotations

from typing import Annotated

import typer

from malmoi.cli.base import Debug, Json, Run, answer, answering

EXAMPLE = "malmoi export runs/small transformers --out exports/small"

FORMATS = """transformers (BERT, ALBERT, ELECTRA, DistilBERT, GPT-2 or OpenAI-GPT, whichever the run is), sentence-transformers
(its encoder with the mean over the tokens), or allennlp (an ELMo's options.json and weights.hdf5)"""


def export(
    run: Run,
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=FORMATS, show_default=False)],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Where the files are written.", show_default=False)],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a run in the format of another library."""
    from malmoi import api

    with answering(json):
        result = api.export(run, format=format, out=out)
    answer(result, json)
