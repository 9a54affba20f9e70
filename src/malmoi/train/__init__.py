"""Training: the loop, optimizers, checkpoints. It sees an objective and a source of batches, and looks inside neither."""

from malmoi.train.checkpoint import Checkpoint
from malmoi.train.loop import Batches, Outcome, fit, total_steps
from malmoi.train.optimizer import Optimizer
from malmoi.train.processes import Alone, processes

__all__ = ["Alone", "Batches", "Checkpoint", "Optimizer", "Outcome", "fit", "processes", "total_steps"]
