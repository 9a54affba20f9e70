"""What a vocabulary of some size would do to its corpus, known from counts before any training."""

from __future__ import annotations

from heapq import nlargest

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.core.spec import Spec
from malmoi.vocab.characters import CHUNK
from malmoi.vocab.subword_report import SubwordReport
from malmoi.vocab.vocabulary import Vocabulary

RATES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Unknown rates for which the report gives the size that reaches them."""


class VocabularyReport(Spec):
    """Facts of a corpus under an output vocabulary of `size` words (marks included)."""

    tokens: int
    types: int
    size: int
    unknown_tokens: float
    """Share of the tokens that are outside of the output vocabulary."""
    unknown_types: float
    """Share of the types that are."""
    coverage: tuple[tuple[int, float], ...]
    """(size, share of the tokens inside): the curve, up to all types."""
    sizes: tuple[tuple[float, int], ...]
    """(unknown rate, smallest size that stays at or under it)."""
    longest: tuple[tuple[str, int], ...]
    """(word, its units), longest first: often what a splitter failed to split."""
    over_length: float
    """Share of the tokens that are longer than their spelling has room for, and are cut."""


def report(vocabulary: Vocabulary, size: int) -> VocabularyReport:
    """The report of `vocabulary` cut to its first `size` words."""
    size = min(size, len(vocabulary))
    total = int(vocabulary.counts.sum())
    covered = np.cumsum(vocabulary.counts) - vocabulary.counts[2]  # words written like a mark are outside at every size
    types = len(vocabulary) - 3
    round_sizes = {step * 10**power for power in range(3, 8) for step in (1, 2, 5)}
    steps = sorted({step for step in round_sizes if step < len(vocabulary)} | {size, len(vocabulary)})
    missing = total - covered
    reached = {rate: int(np.argmax(missing <= rate * total)) + 1 for rate in RATES if missing[-1] <= rate * total}
    longest, over = _lengths(vocabulary)
    return VocabularyReport(
        tokens=total,
        types=types,
        size=size,
        unknown_tokens=float(missing[max(size, 3) - 1]) / max(total, 1),
        unknown_types=(len(vocabulary) - max(size, 3)) / max(types, 1),
        coverage=tuple((step, float(covered[step - 1]) / max(total, 1)) for step in steps),
        sizes=tuple(reached.items()),
        longest=longest,
        over_length=over / max(total, 1),
    )


def refuse_unknown(report: VocabularyReport | SubwordReport, *, limit: float = 0.20) -> None:
    """Raise MalmoiError M012 if more than `limit` of the words would be unknown, with the sizes that would do; M026 for subwords."""
    if isinstance(report, SubwordReport):
        if report.text.unknown > limit:
            raise MalmoiError("M026", rate=report.text.unknown, size=report.size, limit=limit)
        return
    if report.unknown_tokens <= limit:
        return
    enough = [f"--set model.head.size={size} leaves {rate:.0%}" for rate, size in report.sizes if rate <= limit][:3]
    sizes = ", ".join(enough) or f"no size would do, {report.types + 3:,} words are all"
    raise MalmoiError("M012", rate=report.unknown_tokens, types=report.unknown_types, size=report.size, limit=limit, sizes=sizes)


def _lengths(vocabulary: Vocabulary) -> tuple[tuple[tuple[str, int], ...], int]:
    """The ten longest words with their units, and how many tokens are cut."""
    longest: list[tuple[int, int]] = []
    over = 0
    for start in range(3, len(vocabulary), CHUNK):
        units = vocabulary.characters.units(vocabulary.words[start : start + CHUNK])
        over += int(vocabulary.counts[start : start + CHUNK][units > vocabulary.characters.length - 2].sum())
        first = np.argsort(-units, kind="stable")[:10]
        longest = nlargest(10, [*longest, *((int(units[place]), -(start + int(place))) for place in first)])
    return tuple((vocabulary.words[-place], units) for units, place in longest), over
