"""The checks behind `malmoi doctor`, each a small function over plain parts that returns findings."""

from malmoi.health.examine import examine_corpus, examine_objective, examine_run, examine_shards, history_of
from malmoi.health.finding import BrokenContract, Finding, Level, raise_errors

__all__ = [
    "BrokenContract",
    "Finding",
    "Level",
    "examine_corpus",
    "examine_objective",
    "examine_run",
    "examine_shards",
    "history_of",
    "raise_errors",
]
