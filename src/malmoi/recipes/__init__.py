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
from malmoi.core.spec import leaves
from malmoi.recipes import albert, bert, electra, elmo, gpt1, gpt2, transformer, word2vec

Recipe = Callable[[], RunSpec]

RECIPES: dict[str, Recipe] = {
    "elmo-tiny": elmo.elmo_tiny,
    "elmo-small": elmo.elmo_small,
    "elmo-medium": elmo.elmo_medium,
    "elmo-original": elmo.elmo_original,
    "gpt1-tiny": gpt1.gpt1_tiny,
    "gpt1-small": gpt1.gpt1_small,
    "gpt1-original": gpt1.gpt1_original,
    "gpt2-tiny": gpt2.gpt2_tiny,
    "gpt2-small": gpt2.gpt2_small,
    "gpt2-base": gpt2.gpt2_base,
    "gpt2-original": gpt2.gpt2_original,
    "bert-tiny": bert.bert_tiny,
    "bert-small": bert.bert_small,
    "bert-base": bert.bert_base,
    "bert-large": bert.bert_large,
    "albert-tiny": albert.albert_tiny,
    "albert-small": albert.albert_small,
    "albert-base": albert.albert_base,
    "albert-large": albert.albert_large,
    "electra-tiny": electra.electra_tiny,
    "electra-small": electra.electra_small,
    "electra-original-small": electra.electra_original_small,
    "electra-base": electra.electra_base,
    "transformer-tiny": transformer.transformer_tiny,
    "transformer-small": transformer.transformer_small,
    "transformer-base": transformer.transformer_base,
    "transformer-big": transformer.transformer_big,
    "word2vec-tiny": word2vec.word2vec_tiny,
    "word2vec-small": word2vec.word2vec_small,
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


def difference(one: str, other: str) -> dict[str, Any]:
    """What `malmoi recipes diff` shows: `{"recipes": [one, other], "differences": [{"field", "values": [.., ..]}]}`.

    Name and paper apart. A field that one of the two does not have is None there. Raises as `find`.
    """
    before, after = dict(leaves(find(one))), dict(leaves(find(other)))
    fields = [field for field in {**before, **after} if field not in ("name", "paper") and before.get(field) != after.get(field)]
    return {"recipes": [one, other], "differences": [{"field": field, "values": [before.get(field), after.get(field)]} for field in fields]}


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
