"""The document: one text with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Document:
    """One text. `id` says where it came from (`path:line`, lines counted from 1); `text` is NFC."""

    id: str
    text: str
    meta: Mapping[str, str] = field(default_factory=dict)
