"""`malmoi corpus`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from malmoi.cli.base import SOURCE_HELP, Debug, Document, Json, Words, answer, answering
from malmoi.cli.progress import progress

EXAMPLE = "malmoi corpus texts/*.txt --out runs/corpus"


def corpus(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help=f"Each {SOURCE_HELP}.", show_default=False)],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Where the corpus is written.", show_default=False)],
    document: Document = None,
    words: Words = None,
    subwords: Annotated[
        Literal["wordpiece", "bpe", "byte_bpe", "unigram"] | None,
        typer.Option("--subwords", help="Train a vocabulary of subwords instead, and report on it.", show_default=False),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=1, metavar="N", help="Pieces of that vocabulary, marks included. [default: 30000]")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Read text, count its words and report on them.

    The report gives tokens, types, the unknown rate by vocabulary size, and the longest tokens. With --subwords: the share of unknown
    pieces, pieces per word and bytes per piece, for Korean and English apart.
    """
    from malmoi import api

    with answering(json), progress() as shown:
        report = api.corpus(sources, out=out, document=document, words=words, subwords=subwords, size=size, progress=shown)
    answer(report, json)
