"""What a cleaning step is: a pure function of one document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from malmoi.corpus.document import Document


@dataclass(frozen=True, slots=True)
class Taken:
    """A part that a step takes out of a document that stays: it goes to `removed/` like a whole one."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """A document that stays, with its new text.

    counts: what was done, by name (`{"zero_width": 3}`). taken: what was cut out of it. flags: added to `Document.meta`.
    """

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)
    taken: Sequence[Taken] = ()
    flags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Removal:
    """A document that goes. `reason` is one of a few fixed words, which are counted; `detail` says more (`"0.12 < 0.20"`)."""

    reason: str
    detail: str = ""


Step = Callable[[Document], Change | Removal | None]
"""None: the document stays as it is. A step depends on nothing but the document and its own spec, and raises nothing."""
