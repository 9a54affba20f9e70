"""Where sentences begin, by a rule that needs no language: marks that end one and white space, or a line break."""

from __future__ import annotations

import re

import numpy as np

END = r"[.!?。！？…‥؟।]+[\"'”’»)\]}」』】〉》]*"
BREAK = re.compile(rf"(?P<end>{END})\s+(?=\S)|\s*[\n\u2028\u2029]\s*(?=\S)")
NOT_AN_END = re.compile(r"(?:^|[\s(\[\"'“‘])(?:[A-Za-z]|\d{1,3})\.$")


def sentence_breaks(text: str) -> np.ndarray:
    """Places `(sentences - 1,)` int64 where a text may be cut: the last white space before each sentence but the first.

    A single Latin letter or a short number with a full stop ("J. Kim", "3. Step") ends no sentence.
    """
    found = []
    for match in BREAK.finditer(text):
        end = match.end("end")
        if end < 0 or "\n" in match[0] or not NOT_AN_END.search(text[max(end - 5, 0) : end]):
            found.append(match.end() - 1)
    return np.array(found, np.int64)
