"""Word similarity: two words and a score, separated by tabs, commas or spaces."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from malmoi.tasks.formats.source import Source
from malmoi.tasks.task import WordPair


@dataclass(frozen=True)
class Pairs:
    """WordSim-353, SimLex-999 and lists like them. low, high: of the scores. score: the field that holds them (SimLex-999.txt: 3)."""

    low: float = 0.0
    high: float = 10.0

    def __call__(self, source: Source) -> list[WordPair]:
        """A first line without a score is a header. Raises MalmoiError M152 where no line is of this form, M153 for a broken one."""
        found: list[WordPair] = []
        place = 2
        for line, text in source.lines():
            if not text.strip() or text.startswith("#"):
                continue
            fields = [field.strip() for field in re.split(r"[\t,;]" if re.search(r"[\t,;]", text) else r" +", text)]
            if line == 1 and _value(fields, 2) is None:
                place = next(
                    (at for at, name in enumerate(fields) if name.lower().startswith(("simlex", "human", "kor_score", "score"))), 2
                )
                continue
            value = _value(fields, place)
            if value is None or not self.low <= value <= self.high:
                problem = f"line {line} is not two words and a score from {self.low:g} to {self.high:g}"
                raise source.of_another_task(problem) if not found else source.broken(f"line {line}", problem)
            found.append(WordPair(f"{fields[0]}-{fields[1]}", fields[0], fields[1], value))
        return found


def _value(fields: list[str], place: int) -> float | None:
    try:
        value = float(fields[place])
    except (ValueError, IndexError):
        return None
    return value if math.isfinite(value) else None
