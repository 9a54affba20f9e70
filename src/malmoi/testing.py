"""Contracts that any part, ours or yours, can be held to. Each check raises MalmoiError and says which module breaks it.

    from malmoi.testing import check_visibility
    check_visibility(objective)        # M031: the model sees what it should predict: ... through ... (LSTM, bidirectional=True)

They run the real model on a few random words, take less than a second for most models, and leave it as it was: weights, mode,
gradients, dropout and random state.
"""

from __future__ import annotations

from malmoi.core.batch import Batch
from malmoi.health.bench import random_batch, window
from malmoi.health.evaluation import dropout_asleep, training_equals_evaluation
from malmoi.health.finding import raise_errors
from malmoi.health.leak import visibility
from malmoi.health.path import one_path
from malmoi.health.state import continuity
from malmoi.objectives import BiLM


def check_visibility(objective: BiLM, *, rows: int = 3, length: int = 5, batch: Batch | None = None) -> None:
    """No prediction depends on what it predicts: forbidden gradients are exactly 0, in both directions and across rows.

    objective: with any backbone, a module of your own in `nn.ForeignBackbone` too. rows (a direction), length: of the random
    batch, different from each other and length at least 3; batch: one of your own, if the front-end reads something else than words.
    Raises MalmoiError M031 or M110, naming the module; M111 if the gradients say nothing (not finite, or none at all).
    """
    assert rows >= 1 and length >= 3 and length not in (rows, 2 * rows), "rows and positions must not be mistaken for each other"
    raise_errors(visibility(objective, batch or random_batch(objective, rows=rows, length=length)))


def check_path(objective: BiLM, *, rows: int = 3, length: int = 5, batch: Batch | None = None) -> None:
    """Training moves what `encode` reads through, and nothing else but the heads. Raises MalmoiError M112 or M113, naming parameters."""
    raise_errors(one_path(objective, batch or random_batch(objective, rows=rows, length=length)))


def check_evaluation(objective: BiLM, *, rows: int = 3, length: int = 5, batch: Batch | None = None) -> None:
    """Evaluation repeats itself bit for bit (M117) and computes what training computes with dropout 0 (M116)."""
    batch = batch or random_batch(objective, rows=rows, length=length)
    raise_errors([*dropout_asleep(objective, batch), *training_equals_evaluation(objective, batch)])


def check_continuity(objective: BiLM, *, rows: int = 3, length: int = 5, windows: int = 3, batch: Batch | None = None) -> None:
    """Windows with the carry handed on score as one long window (M121), and the carry has an effect (M123).

    batch: one of your own, of which the first windows x length positions are read.
    """
    batch = batch or random_batch(objective, rows=rows, length=windows * length)
    raise_errors(continuity(objective, window(batch, 0, windows * length), windows=windows))
