"""Plots as inline SVG: histograms of lengths and shares of character classes, before and after. Colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 520, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 8, 14, 54
"""Margins of a plot with axes, in units of its view box."""
ROW, NAMES = 34, 74
"""Height of a row of paired bars, and the width of their names."""


def lengths(before: Sequence[int], after: Sequence[int]) -> str:
    """Documents by length, in bins that double: bin 0 is empty, bin n holds 2^(n-1) to 2^n - 1 characters."""
    count = max(len(before), len(after), 1)
    pairs = [(before[place] if place < len(before) else 0, after[place] if place < len(after) else 0) for place in range(count)]
    used = [place for place, pair in enumerate(pairs) if any(pair)]
    first, last = (min(used), max(used)) if used else (0, 0)
    ticks = round_ticks(max(max(pair) for pair in pairs))
    inner, high = (WIDTH - LEFT - RIGHT) / (last - first + 1), HEIGHT - TOP - BOTTOM
    parts = [_gridline(tick, ticks[-1], high) for tick in ticks]
    for place in range(first, last + 1):
        x = LEFT + (place - first) * inner
        parts += [_bar(x, inner, number, ticks[-1], high, name, place) for name, number in zip(("was", "is"), pairs[place], strict=True)]
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}">{_bound(place)}</text>')
    parts.append(
        f'<text class="unit" x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 8}">characters in a document, each bin twice as wide</text>'
    )
    middle = TOP + high / 2
    parts.append(f'<text class="unit" transform="rotate(-90 14 {middle:.0f})" x="14" y="{middle:.0f}">documents</text>')
    return _svg(parts, height=HEIGHT, label="documents by length, before and after")


def classes(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """The share of each class among all characters, in percent."""
    names, high = list(before), ROW * len(before)
    parts = []
    for tick in range(0, 101, 20):
        x = NAMES + (WIDTH - NAMES - LEFT) * tick / 100
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{high + 4}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{high + 20}">{tick}%</text>')
    for row, name in enumerate(names):
        parts.append(f'<text class="name" x="{NAMES - 10}" y="{row * ROW + 22}">{escape(name)}</text>')
        for line, (shade, counted) in enumerate((("was", before), ("is", after))):
            share = counted.get(name, 0) / max(sum(counted.values()), 1)
            y, wide = row * ROW + 5 + line * 12, (WIDTH - NAMES - LEFT) * share
            title = f"{name}, {'after' if line else 'before'}: {counted.get(name, 0):,} characters, {share:.2%}"
            parts.append(
                f'<rect class="{shade}" x="{NAMES}" y="{y}" width="{wide:.1f}" height="11" rx="2"><title>{escape(title)}</title></rect>'
            )
            parts.append(f'<text class="value" x="{NAMES + wide + 6:.1f}" y="{y + 10}">{percent(share) if share else ""}</text>')
    parts.append(f'<text class="unit" x="{(NAMES + WIDTH - LEFT) / 2:.0f}" y="{high + 42}">share of all characters</text>')
    return _svg(parts, height=high + 50, label="shares of character classes, before and after")


def round_ticks(largest: float, *, most: int = 5) -> list[int]:
    """0 and up to `most` round steps, the last one at or above `largest`."""
    if largest <= 0:
        return [0, 1]
    rough = largest / most
    power = 10 ** math.floor(math.log10(rough))
    step = max(1, math.ceil(next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)))
    return [step * place for place in range(math.ceil(largest / step) + 1)]


def short(number: float) -> str:
    """A number of at most four letters: 950, 1.2k, 34k, 5.6M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def percent(share: float) -> str:
    """A share as people read it: 12.3%, 0.04%, <0.01%, and neither 0% nor 100% unless it is that."""
    if share <= 0 or share >= 1:
        return f"{share:.0%}"
    if share < 0.0001:
        return "<0.01%"
    return f"{share:.2%}" if share < 0.01 else f"{min(share, 0.999):.1%}"


def _smallest(place: int) -> int:
    return 1 << (place - 1) if place else 0


def _bound(place: int) -> str:
    """Where a bin begins, as its label: 512, 1k (1,024), 2k."""
    number = _smallest(place)
    return next((f"{number >> shift}{unit}" for shift, unit in ((30, "G"), (20, "M"), (10, "k")) if number >> shift), str(number))


def _gridline(tick: int, top: int, high: float) -> str:
    y = TOP + high * (1 - tick / top)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="mark" x="{LEFT - 8}" y="{y + 4:.1f}">{short(tick)}</text>'
    )


def _bar(x: float, inner: float, number: int, top: int, high: float, shade: str, place: int) -> str:
    """The bar of a bin: before at its left, after at its right."""
    if not number:
        return ""
    wide, tall = inner * 0.42, max(high * number / top, 1.0)
    left = x + inner * (0.07 if shade == "was" else 0.51)
    title = (
        f"{_smallest(place):,} to {max((1 << place) - 1, 0):,} characters, {'before' if shade == 'was' else 'after'}: {number:,} documents"
    )
    place_of = f'x="{left:.1f}" y="{TOP + high - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
    return f'<rect class="{shade}" {place_of} rx="1.5"><title>{title}</title></rect>'


def _svg(parts: Sequence[str], *, height: float, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
