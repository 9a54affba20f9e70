"""Specs: frozen, validated descriptions. A recipe returns a tree of them; a run stores it; `--set` edits it.

JSON goes both ways without loss, an unknown field names its nearest neighbour, and `flat` writes a tree as `path: value`
lines, which is what `tests/golden/` keeps under review.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from malmoi.core.errors import MalmoiError, nearest

S = TypeVar("S", bound="Spec")


class Spec(BaseModel):
    """Base of every spec: immutable, and closed to fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def flat(spec: Spec) -> str:
    """The tree as sorted-by-declaration lines `model.backbone.depth: 2` (strings as JSON)."""
    return "".join(f"{path}: {json.dumps(value, ensure_ascii=False)}\n" for path, value in leaves(spec))


def leaves(spec: Spec) -> Iterator[tuple[str, Any]]:
    """Every `(path, value)` below `spec`, in the order of declaration."""
    yield from _leaves("", spec.model_dump(mode="json"))


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else key, child)
    else:
        yield prefix, value


def override(spec: S, settings: Sequence[str], *, shown: str = "recipes NAME") -> S:
    """A copy of `spec` with each `path=value` applied and validated. Values are JSON, or bare strings.

    Setting another `kind` starts that part anew with the defaults of the new kind. shown: the words after `malmoi` that show every field.
    Raises MalmoiError M002 for a malformed setting, an unknown path (naming the nearest) or a value that does not fit.
    """
    tree = spec.model_dump(mode="json")
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise MalmoiError("M002", field=f"--set {setting!r}", problem="is not of the form path=value", shown=shown)
        _assign(tree, path.strip(), parsed(text.strip()), shown)
    return validate(type(spec), tree, shown=shown)


def validate(kind: type[S], tree: Any, *, shown: str = "recipes NAME") -> S:
    """`tree` (plain JSON values) as a spec of type `kind`; MalmoiError M002 names the first field that does not fit."""
    try:
        return kind.model_validate(tree)
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if not _is_tag(str(part), tree)) or "the spec"
        problem = f"does not fit: {first['msg']}"
        if first["type"] == "extra_forbidden":
            known = [path for path, _ in _leaves("", tree)]
            unknown = [path for path in known if path == where or path.startswith(where + ".")]
            where = unknown[0]
            problem = "is not a field" + nearest(where, [path for path in known if path not in unknown])
        raise MalmoiError("M002", field=where, problem=problem, shown=shown) from None


def _is_tag(part: str, tree: Any) -> bool:
    """Pydantic puts the discriminator's value into the location; a path that users type has no such part."""
    return part in {value for path, value in _leaves("", tree) if path.endswith("kind") and isinstance(value, str)}


def parsed(text: str) -> Any:
    """The value of a setting: JSON, or else a bare string."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def _assign(tree: dict[str, Any], path: str, value: Any, shown: str) -> None:
    """Put `value` at `path`, even where there is nothing yet: whether it belongs there is for validation to say."""
    *parents, last = path.split(".")
    node: Any = tree
    for part in parents:
        if node.get(part) is None:  # an optional part that is not there yet
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            known = [leaf for leaf, _ in _leaves("", tree)]
            raise MalmoiError("M002", field=path, problem="is not a field" + nearest(path, known), shown=shown)
    if last == "kind" and node.get("kind", value) != value:
        node.clear()
    node[last] = value
