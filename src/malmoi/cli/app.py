"""The verbs, in the order in which a user meets them."""

from __future__ import annotations

from typing import Annotated

import typer

from malmoi import __version__
from malmoi.cli import (
    corpus,
    doctor,
    embed,
    evaluate,
    export,
    finetune,
    generate,
    import_,
    neighbours,
    pretrain,
    probe,
    quickstart,
    recipes,
    supervise,
)
from malmoi.cli.base import Verb, Verbs

app = typer.Typer(
    name="malmoi",
    cls=Verbs,
    help="Pre-train representations of language on a corpus of your own, check that they can be trusted, and use them.",
    epilog="Begin with: malmoi quickstart",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback(invoke_without_command=True)
def _malmoi(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"malmoi {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _name, _verb, _example in (
    ("quickstart", quickstart.quickstart, quickstart.EXAMPLE),
    ("recipes", recipes.recipes, recipes.EXAMPLE),
    ("corpus", corpus.corpus, corpus.EXAMPLE),
    ("pretrain", pretrain.pretrain, pretrain.EXAMPLE),
    ("supervise", supervise.supervise, supervise.EXAMPLE),
    ("evaluate", evaluate.evaluate, evaluate.EXAMPLE),
    ("embed", embed.embed, embed.EXAMPLE),
    ("neighbours", neighbours.neighbours, neighbours.EXAMPLE),
    ("generate", generate.generate, generate.EXAMPLE),
    ("probe", probe.probe, probe.EXAMPLE),
    ("finetune", finetune.finetune, finetune.EXAMPLE),
    ("doctor", doctor.doctor, doctor.EXAMPLE),
    ("import", import_.import_, import_.EXAMPLE),
    ("export", export.export, export.EXAMPLE),
):
    app.command(_name, cls=Verb, epilog=f"Example: {_example}")(_verb)
