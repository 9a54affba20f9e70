"""What reading gives: a text or a page as it came, or the name of what could not be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

EXCERPT = 1000
"""Characters of what was refused that are kept to show it."""


@dataclass(slots=True)
class Raw:
    """One document before cleaning. Of kind "text" it has `text`; of kind "html" `data`, the bytes of the page.

    id: `name:number` (of the line or the record, from 1); pages have no number. charset: what the server declared for `data`.
    """

    id: str
    text: str | None
    data: bytes | None
    kind: Literal["text", "html"] = "text"
    charset: str | None = None
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Refused:
    """What could not be read. `reason` is one of a few fixed words, `detail` says more; `excerpt` shows its beginning."""

    id: str
    reason: str
    detail: str = ""
    excerpt: str = ""


class Unreadable(Exception):
    """The rest of a file cannot be read: `reason` and `detail` of the Refused that stands for it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def excerpt(data: bytes) -> str:
    r"""The beginning of bytes that are not (all) text: what is not UTF-8 stands as `\x8f`."""
    return data[: 4 * EXCERPT].decode("utf-8", "backslashreplace")[:EXCERPT].replace("\0", "\\x00")
