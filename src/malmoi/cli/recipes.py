"""`malmoi recipes`."""

from __future__ import annotations

from typing import Annotated, Any, TextIO

import typer

from malmoi.cli.base import Debug, Json, answer

EXAMPLE = "malmoi recipes elmo-small"


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A recipe, or module:function.", show_default=False)] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the recipes, or show every field of one.

    A field is shown as `path: value`, which --set takes as path=value.
    """
    from malmoi.recipes import describe

    answer(describe(name), json, _show_list if name is None else _show_one)


def _show_list(found: dict[str, Any], out: TextIO) -> None:
    width = max(len(recipe["name"]) for recipe in found["recipes"])
    for recipe in found["recipes"]:
        out.write(f"{recipe['name']:<{width}}  {recipe['summary']}\n")


def _show_one(recipe: dict[str, Any], out: TextIO) -> None:
    from malmoi.core.recipe import RunSpec
    from malmoi.core.spec import flat

    out.write(flat(RunSpec.model_validate(recipe["spec"])))
