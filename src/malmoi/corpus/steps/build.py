"""Specs -> steps."""

from __future__ import annotations

from malmoi.corpus.steps import spec as specs
from malmoi.corpus.steps.base import Step


def make(spec: specs.Local) -> Step:
    """The function of a spec. Files that it names are read here. Raises MalmoiError M005 for a missing extra, M010 to M019 for a file."""
    match spec:
        case specs.RepairSpec():
            from malmoi.corpus.steps.repair import repair

            return repair(spec)
        case specs.NormalizeSpec():
            from malmoi.corpus.steps.normalize import normalize

            return normalize(spec)
        case specs.NoiseSpec():
            from malmoi.corpus.steps.noise import noise

            return noise(spec)
        case specs.LanguageSpec():
            from malmoi.corpus.steps.language import language

            return language(spec)
        case specs.ForeignSpec():
            from malmoi.corpus.steps.language import foreign

            return foreign(spec)
        case specs.LengthSpec():
            from malmoi.corpus.steps.filters import length

            return length(spec)
        case specs.SymbolsSpec():
            from malmoi.corpus.steps.filters import symbols

            return symbols(spec)
        case specs.RepetitionSpec():
            from malmoi.corpus.steps.filters import repetition

            return repetition(spec)
        case specs.BlocklistSpec():
            from malmoi.corpus.steps.filters import blocklist

            return blocklist(spec)
        case specs.DecontaminateSpec():
            from malmoi.corpus.steps.contamination import decontaminate

            return decontaminate(spec)
        case specs.PersonalSpec():
            from malmoi.corpus.steps.personal import personal

            return personal(spec)
        case specs.QualitySpec():
            from malmoi.corpus.steps.quality import quality

            return quality(spec)
