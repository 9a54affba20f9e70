"""Objectives: models and the loss that trains them."""

from malmoi.objectives.base import Carry, Loss, Objective, Score
from malmoi.objectives.bilm import BiLM
from malmoi.objectives.build import build
from malmoi.objectives.causal import Causal
from malmoi.objectives.masked import Masked
from malmoi.objectives.replaced import Replaced
from malmoi.objectives.sequence import Sequence
from malmoi.objectives.skipgram import SkipGram

__all__ = ["BiLM", "Carry", "Causal", "Loss", "Masked", "Objective", "Replaced", "Score", "Sequence", "SkipGram", "build"]
