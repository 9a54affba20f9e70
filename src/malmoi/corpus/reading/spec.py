"""The spec of reading, of a cleaning."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from malmoi.core.spec import Spec


class ReadingSpec(Spec):
    """How sources become documents."""

    version: ClassVar[int] = 1
    document: Literal["paragraph", "line", "file"] = "paragraph"
    """What one document is in plain text."""
    field: str = "text"
    """The field of a JSON object, or the column of a table."""
    extractor: Literal["fast", "precise"] = "fast"
    """How HTML becomes text: resiliparse, or trafilatura (about five times slower)."""
    seconds: Annotated[float, Field(gt=0)] = 10.0
    """Longest time for one page."""
    megabytes: Annotated[int, Field(ge=64)] = 1024
    """Largest memory of the process that takes pages apart."""
