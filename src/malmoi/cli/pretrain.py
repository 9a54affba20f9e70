"""`malmoi pretrain`."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from malmoi.cli.base import SOURCE_HELP, SOURCES, Debug, Device, Document, Json, Words, answer, answering
from malmoi.cli.progress import progress

EXAMPLE = "malmoi pretrain elmo-small --corpus texts/*.txt --valid heldout.txt --out runs/small --minutes 20"


def pretrain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name of `malmoi recipes`, or module:function.", show_default=False)],
    out: Annotated[str, typer.Option("--out", metavar="RUN", help="The directory of the run.", show_default=False)],
    corpus: Annotated[list[str] | None, typer.Option("--corpus", metavar=SOURCES, help=f"What to train on: {SOURCE_HELP}.")] = None,
    pairs: Annotated[
        tuple[str, str] | None,
        typer.Option("--pairs", metavar="SOURCE TARGET", help="For transformer-*: two files, line by line, in place of --corpus."),
    ] = None,
    valid: Annotated[
        list[str] | None,
        typer.Option("--valid", metavar=SOURCES, help="Held-out text, scored while training (of pairs: --valid SOURCE --valid TARGET)."),
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="End after this long.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="End after so many steps.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", help="End after so many words or pieces were read.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the recipe, e.g. model.width=256; repeatable."),
    ] = None,
    document: Document = None,
    words: Words = None,
    seed: Annotated[int | None, typer.Option("--seed", help="[default: the recipe's]")] = None,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, exactly where it stopped.")] = False,
    allow_unknown: Annotated[bool, typer.Option("--allow-unknown", help="Train even if more than 20% of the tokens are unknown.")] = False,
    shard: Annotated[bool, typer.Option("--shard", help="Under torchrun: divide the model among the processes (FSDP2).")] = False,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="The same bits on a GPU each time; slower there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show parameters, memory and time.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a recipe on your own text.

    Counts words, writes shards, checks for leaks, trains, validates and saves. Ctrl-C saves and says how to go on. Every stage
    that is already done for the same input is taken as it is.
    """
    from malmoi import api

    text = {"text.document": document, "text.words": words}
    chosen = [f"{path}={value}" for path, value in text.items() if value is not None]
    with answering(json), progress() as shown:
        summary = api.pretrain(
            recipe,
            corpus=corpus or (),
            pairs=pairs or (),
            out=out,
            valid=valid or (),
            minutes=minutes,
            steps=steps,
            tokens=tokens,
            settings=[*chosen, *(settings or ())],
            seed=seed,
            device=device,
            resume=resume,
            allow_unknown=allow_unknown,
            shard=shard,
            deterministic=deterministic,
            dry_run=dry_run,
            progress=shown,
        )
    if os.environ.get("RANK", "0") == "0":  # of several processes the first one answers
        answer(summary, json)
    stopped = summary.get("stopped", "done")
    if stopped != "done":
        raise typer.Exit(128 + signal.Signals[stopped])
