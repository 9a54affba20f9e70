"""malmoi: pre-train representations of language on a corpus of your own, check that they can be trusted, and use them.

The public functions mirror the verbs of the command and are loaded on first use, so `import malmoi` is instant.
`corpus`, `recipes` and `export` are also the names of packages, so these three verbs are called as `malmoi.api.corpus(...)`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "MalmoiError": "malmoi.core.errors",
    "doctor": "malmoi.api",
    "embed": "malmoi.api",
    "evaluate": "malmoi.api",
    "finetune": "malmoi.api",
    "import_": "malmoi.api",
    "load": "malmoi.api",
    "neighbours": "malmoi.api",
    "pretrain": "malmoi.api",
    "probe": "malmoi.api",
    "quickstart": "malmoi.api",
}
__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from malmoi.core.errors import MalmoiError as MalmoiError


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'malmoi' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
