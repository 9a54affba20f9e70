"""The cleaning steps: one spec and one pure function each."""

from malmoi.corpus.steps.base import Change, Removal, Step, Taken
from malmoi.corpus.steps.build import make

__all__ = ["Change", "Removal", "Step", "Taken", "make"]
