"""Texts of unknown origin as HTML: escaped, cut, with what is invisible made visible and what was changed marked."""

from __future__ import annotations

import html
import re
from difflib import SequenceMatcher

from malmoi.corpus.report.tally import EXCERPT

LONGEST = 400
"""Characters of an excerpt that are shown."""
SHORTEST = 3
"""Characters that two texts must share between two changes to count as unchanged."""
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Controls, zero-width characters, changes of direction and halves of surrogate pairs: named, for they would not be seen, or disturb."""


def plain(text: str, *, longest: int = LONGEST) -> str:
    """`text` as HTML that shows every character, cut after `longest`; a cut is said."""
    return _visible(text[:longest]) + _rest(len(text) - longest)


def changed(before: str, after: str, *, longest: int = LONGEST) -> str:
    """Two excerpts that begin at the same place as one text in HTML, what only one of them has inside `<del>` and `<ins>`."""
    one, other = before[:longest], after[:longest]
    pieces = []
    for same, a, b, c, d in _edits(one, other):
        pieces.append(_visible(max(one[a:b], other[c:d], key=len)) if same else _tagged("del", one[a:b]) + _tagged("ins", other[c:d]))
    return "".join(pieces) + _rest(len(after) - longest)


def _edits(one: str, other: str) -> list[tuple[bool, int, int, int, int]]:
    """`(same, begin and end in one, begin and end in other)` in order. Common runs of one or two characters between two changes belong
    to these; where one excerpt is full, the other's surplus at the end is no change: it would be there if it were longer."""
    edits: list[tuple[bool, int, int, int, int]] = []
    found = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    for place, (kind, a, b, c, d) in enumerate(found):
        surplus = place == len(found) - 1 and len(one if kind == "insert" else other) >= EXCERPT and kind in ("insert", "delete")
        same = surplus or (kind == "equal" and (b - a >= SHORTEST or place in (0, len(found) - 1)))
        if edits and edits[-1][0] is same:
            _, a, _, c, _ = edits.pop()
        edits.append((same, a, b, c, d))
    return edits


def _tagged(tag: str, text: str) -> str:
    return f"<{tag}>{_visible(text)}</{tag}>" if text else ""


def _visible(text: str) -> str:
    """Escaped, with a small label for each character that cannot be seen."""
    pieces, end = [], 0
    for found in _HIDDEN.finditer(text):
        pieces += [html.escape(text[end : found.start()]), f"<i>U+{ord(found[0]):04X}</i>"]
        end = found.end()
    return "".join([*pieces, html.escape(text[end:])])


def _rest(characters: int) -> str:
    return f"<small> … {characters:,} more</small>" if characters > 0 else ""
