"""A saved vocabulary of either kind."""

from __future__ import annotations

from pathlib import Path

from malmoi.vocab.subwords import FILE, Subwords
from malmoi.vocab.vocabulary import Vocabulary


def load_vocabulary(directory: Path) -> Vocabulary | Subwords:
    """The vocabulary in `directory`, of words or of subwords. Raises MalmoiError M006, M020, M021 or M022."""
    return Subwords.load(directory) if (Path(directory) / FILE).is_file() else Vocabulary.load(directory)
