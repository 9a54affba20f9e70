"""What long work tells of itself. The library calls this protocol and never prints; the command draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """The three things that long work may say."""

    def stage(self, name: str, total: float | None = None) -> None:
        """A new stage begins; `total` is what `advance` will reach at its end, None where that is not known."""

    def advance(self, done: float, facts: Mapping[str, float | str] | None = None) -> None:
        """`done` of the stage's total is reached (not an increment); `facts` are shown beside it, e.g. {"loss": 5.2}."""

    def note(self, text: str) -> None:
        """A sentence that stays visible."""


class Silent:
    """The default: says nothing."""

    def stage(self, name: str, total: float | None = None) -> None:
        """Nothing."""

    def advance(self, done: float, facts: Mapping[str, float | str] | None = None) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
