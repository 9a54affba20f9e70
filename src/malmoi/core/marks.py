"""The marks of a vocabulary of subwords, as far as a model must know them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Marks:
    """Ids of the marks; a vocabulary that malmoi made has all five, an imported one may use one id for several.

    begin, end: stand around every text that a model reads ([CLS] and [SEP]; GPT-2's <|endoftext|> is both). end also stands between the
    segments of a pair. mask: what a masked model reads in a gap; None where there is none.
    continues (V,) bool: True for pieces that go on with the word before them (for masking whole words).
    """

    pad: int
    unknown: int
    begin: int
    end: int
    mask: int | None = None
    continues: np.ndarray | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """Every mark once."""
        found = (self.pad, self.unknown, self.begin, self.end, self.mask)
        return tuple(dict.fromkeys(id for id in found if id is not None))
