"""The checks behind `malmoi doctor`, each a small function over plain parts that returns findings."""

from malmoi.health.cleaned import examine_cleaned
from malmoi.health.examine import examine_corpus, examine_objective, examine_shards
from malmoi.health.finding import BrokenContract, Finding, Level, raise_errors
from malmoi.health.trained import examine_run, history_of

__all__ = [
    "BrokenContract",
    "Finding",
    "Level",
    "examine_cleaned",
    "examine_corpus",
    "examine_objective",
    "examine_run",
    "examine_shards",
    "history_of",
    "raise_errors",
]
