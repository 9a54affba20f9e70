"""Several seeds -> a mean with its interval; rows -> a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev

FEW = {1: 12.706205, 2: 4.302653, 3: 3.182446, 4: 2.776445, 5: 2.570582, 6: 2.446912, 7: 2.364624, 8: 2.306004, 9: 2.262157}
"""The 97.5% quantiles of Student's t for few degrees of freedom."""


@dataclass(frozen=True)
class Interval:
    """mean, and half the width of its 95% interval by Student's t; None for a single number. deviation: of the sample."""

    mean: float
    half: float | None
    deviation: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if self.half is None else f"{self.mean:.4f} ± {self.half:.4f}"


def interval(values: Sequence[float]) -> Interval:
    """Of independent values, at least one: those of several seeds."""
    if len(values) < 2:
        return Interval(values[0], None, None, 1)
    deviation = stdev(values)
    return Interval(mean(values), student(len(values) - 1) * deviation / math.sqrt(len(values)), deviation, len(values))


def difference(values: Sequence[float], others: Sequence[float]) -> Interval:
    """How far `values` lie above `others`, seed by seed (paired). One number on a side stands for every seed of the other."""
    count = max(len(values), len(others))
    both = (list(side) * count if len(side) == 1 else list(side) for side in (values, others))
    return interval([one - other for one, other in zip(*both, strict=True)])


def student(freedom: int) -> float:
    """The 97.5% quantile of Student's t: half of a 95% interval in standard errors.

    Exact to six places for few degrees of freedom, else by its expansion around the normal quantile (Abramowitz and Stegun 1964, 26.7.5),
    to 1e-5.
    """
    if freedom in FEW:
        return FEW[freedom]
    z = NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, markdown: bool = False) -> str:
    """Lines of cells: the first column to the left, the others to the right; a markdown table, or padded text without rules."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    if markdown:
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
        return "\n".join([lines[0], "|" + "|".join(["---", *["---:"] * (len(header) - 1)]) + "|", *lines[1:]])
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    padded = ([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))] for row in cells)
    return "\n".join("  ".join(row).rstrip() for row in padded)
