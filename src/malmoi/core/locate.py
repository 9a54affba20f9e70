"""`module:function`: how a recipe, a word splitter or a backbone of the user's own is named."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from malmoi.core.errors import MalmoiError, nearest


def locate(reference: str, *, argument: str) -> Callable[..., Any]:
    """The callable behind `module:function`.

    `argument` is what the user calls the place where the reference stands, e.g. `text.words`. Raises MalmoiError M009 when
    the form is wrong, the module cannot be imported, or it has no such function.
    """
    module_name, colon, name = reference.partition(":")

    def refuse(problem: str) -> MalmoiError:
        next = f"name an importable function as module:function; the module is looked for in the current directory too ({argument})."
        return MalmoiError("M009", argument=argument, value=reference, problem=problem, next=next)

    if not (module_name and colon and name):
        raise refuse("is not of the form module:function")
    try:
        module = import_module(module_name)
    except Exception as failure:  # a user's module may fail in any way while it is imported
        raise refuse(f"importing {module_name!r} failed with {type(failure).__name__}: {failure}") from failure
    found = getattr(module, name, None)
    if not callable(found):
        raise refuse(f"{module_name!r} has no function {name!r}{nearest(name, [key for key in vars(module) if not key.startswith('_')])}")
    return found
