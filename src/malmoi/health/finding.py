"""What a check says: a code of the catalogue, how grave it is, a sentence, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from malmoi.core.errors import MalmoiError
from malmoi.core.spec import Spec

Level = Literal["info", "warning", "error"]


class Finding(Spec):
    """info: what was checked and is well; warning: worth a look; error: do not trust the result."""

    code: str
    level: Level
    message: str
    next: str

    @classmethod
    def of(cls, code: str, level: Level, **fields: object) -> Finding:
        """The entry `code` of the catalogue, filled in."""
        return cls.of_error(MalmoiError(code, **fields), level)

    @classmethod
    def of_error(cls, error: MalmoiError, level: Level = "error") -> Finding:
        """What a MalmoiError says, as a finding."""
        return cls(code=error.code, level=level, message=error.message, next=error.next)

    @classmethod
    def good(cls, check: str, facts: str) -> Finding:
        """All is well: which check, and what it looked at."""
        return cls.of("M100", "info", check=check, facts=facts)


class BrokenContract(MalmoiError):
    """A finding of level error, raised. To a caller it is a MalmoiError with the finding's code."""

    def __init__(self, finding: Finding) -> None:
        self.code, self.message, self.next = finding.code, finding.message, finding.next
        ValueError.__init__(self, f"{finding.code}: {finding.message} next: {finding.next}")


def raise_errors(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, unless one has level error: the first of those is raised."""
    found = list(findings)
    for finding in found:
        if finding.level == "error":
            raise BrokenContract(finding)
    return found


def listing(names: Iterable[Any], *, most: int = 4) -> str:
    """`a, b, c, d and 7 more`."""
    every = [str(name) for name in names]
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")
