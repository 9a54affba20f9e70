"""`malmoi recipes`."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any, TextIO

import typer

from malmoi.cli.base import Debug, Json, answer

EXAMPLE = "malmoi recipes diff bert-small albert-small"


def recipes(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME | diff NAME NAME]", help="A recipe, or module:function; or `diff` and two.", show_default=False),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the recipes, show the fields of one, or compare two.

    A field is shown as `path: value`, which --set takes as path=value.
    """
    from malmoi.core.errors import MalmoiError
    from malmoi.recipes import describe, difference

    match names or []:
        case []:
            answer(describe(), json, _show_list)
        case ["diff", one, other]:
            answer(difference(one, other), json, _show_difference)
        case [name] if name != "diff":
            answer(describe(name), json, _show_one)
        case _:
            raise MalmoiError("M098", problem="one recipe, or `diff` and two recipes, are wanted", command="malmoi recipes")


def _show_list(found: dict[str, Any], out: TextIO) -> None:
    width = max(len(recipe["name"]) for recipe in found["recipes"])
    for recipe in found["recipes"]:
        out.write(f"{recipe['name']:<{width}}  {recipe['summary']}\n")


def _show_one(recipe: dict[str, Any], out: TextIO) -> None:
    from malmoi.core.recipe import RunSpec
    from malmoi.core.spec import flat

    out.write(flat(RunSpec.model_validate(recipe["spec"])))


def _show_difference(found: dict[str, Any], out: TextIO) -> None:
    width = max((len(each["field"]) for each in found["differences"]), default=0)
    for each in found["differences"]:
        before, after = (json_module.dumps(value, ensure_ascii=False) for value in each["values"])
        out.write(f"{each['field']:<{width}}  {before} -> {after}\n")
