"""`malmoi import`."""

from __future__ import annotations

from typing import Annotated

import typer

from malmoi.cli.base import Debug, Json, answer, answering

EXAMPLE = "malmoi import transformers path/to/bert --out runs/imported"

FORMATS = "transformers or allennlp"
PATHS = """transformers: a directory with config.json, model.safetensors and tokenizer.json of BERT, ALBERT, ELECTRA (or one that holds
discriminator/ and generator/), DistilBERT, GPT-2 or OpenAI-GPT; nothing in it is executed. allennlp: options.json weights.hdf5"""


def import_(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=FORMATS, show_default=False)],
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help=PATHS, show_default=False)],
    out: Annotated[str, typer.Option("--out", metavar="RUN", help="The directory of the run to write.", show_default=False)],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a run of a checkpoint that another program trained."""
    from malmoi import api

    with answering(json):
        result = api.import_(format, paths=paths, out=out)
    answer(result, json)
