"""Objectives: models and the loss that trains them."""

from malmoi.objectives.base import Carry, Loss, Objective, Score
from malmoi.objectives.bilm import BiLM
from malmoi.objectives.build import build

__all__ = ["BiLM", "Carry", "Loss", "Objective", "Score", "build"]
