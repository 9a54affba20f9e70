"""Recipes: one file a paper, one function a size, each returning the whole choice of a run as a RunSpec.

A recipe is found by its name, or as `module:function` when it is your own. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any

from malmoi.core.errors import MalmoiError, nearest
from malmoi.core.locate import locate
from malmoi.core.recipe import RunSpec
from malmoi.recipes import elmo

Recipe = Callable[[], RunSpec]

RECIPES: dict[str, Recipe] = {
    "elmo-tiny": elmo.elmo_tiny,
    "elmo-small": elmo.elmo_small,
    "elmo-medium": elmo.elmo_medium,
    "elmo-original": elmo.elmo_original,
}


def names() -> list[str]:
    """The recipes that malmoi carries, smallest first within a paper."""
    return list(RECIPES)


def find(name: str) -> RunSpec:
    """The RunSpec of recipe `name`, or of a function of your own named as `module:function`.

    Raises MalmoiError M001 for an unknown name (naming the nearest), M009 for a `module:function` that cannot be had or
    that returns something else.
    """
    return _call(_function(name), name)


def describe(name: str | None = None) -> dict[str, Any]:
    """What `malmoi recipes` shows: `{"recipes": [{"name", "summary", "paper"}]}`, or with `name` one recipe whole.

    One recipe is `{"name", "summary", "about", "paper", "spec"}`: `about` is its documentation, `spec` the tree as JSON values.
    Raises as `find`.
    """
    if name is None:
        return {"recipes": [{"name": each, "summary": _about(each).split("\n")[0], "paper": find(each).paper} for each in names()]}
    spec = find(name)
    about = _about(name)
    return {"name": name, "summary": about.split("\n")[0], "about": about, "paper": spec.paper, "spec": spec.model_dump(mode="json")}


def _function(name: str) -> Recipe:
    if ":" in name:
        return locate(name, argument="the recipe")
    if name not in RECIPES:
        raise MalmoiError("M001", name=name, nearest=nearest(name, RECIPES))
    return RECIPES[name]


def _call(recipe: Recipe, name: str) -> RunSpec:
    spec = recipe()
    if not isinstance(spec, RunSpec):
        problem = f"it returns {type(spec).__name__}"
        raise MalmoiError("M009", argument="the recipe", value=name, problem=problem, next="return a malmoi.core.recipe.RunSpec from it.")
    return spec


def _about(name: str) -> str:
    return cleandoc(_function(name).__doc__ or "")
