"""Contracts that any part, ours or yours, can be held to. Each check raises MalmoiError and says which module breaks it.

    from malmoi.testing import check_visibility
    check_visibility(objective)        # M031: the model sees what it should predict: ... through ... (LSTM, bidirectional=True)

They run the real model on a few random words, take less than a second for most models, and leave it as it was: weights, mode,
gradients, dropout and random state. `batch` is one of your own, as it lies in the corpus (gaps are made by the objective), if
the front-end reads something else than words. length None: 5 positions for a biLM, 16 for rows that hold several documents.
"""

from __future__ import annotations

from malmoi.core.batch import Batch
from malmoi.health.batches import random_batch, usual_length, window
from malmoi.health.detector import detection
from malmoi.health.evaluation import dropout_asleep, training_equals_evaluation
from malmoi.health.finding import raise_errors
from malmoi.health.leak import visibility
from malmoi.health.path import one_path
from malmoi.health.rows import accumulation, packing
from malmoi.health.state import continuity
from malmoi.objectives import BiLM, Objective, Replaced


def check_visibility(objective: Objective, *, rows: int = 3, length: int | None = None, batch: Batch | None = None) -> None:
    """No prediction depends on anything but what `objective.may_see` names: all other gradients are exactly 0, across rows, documents
    and directions; nor on what stands behind a mask.

    objective: with any backbone, a module of your own in `nn.ForeignBackbone` too. rows (of a biLM: a direction), length: of the random
    batch, different from each other and length at least 3. Raises MalmoiError M031 or M110, naming the module; M111 if the gradients say
    nothing (not finite, or none at all); M134 if a model that looks for replaced tokens does not read what the generator wrote.
    """
    length = length or usual_length(objective)
    assert rows >= 1 and length >= 3 and length not in (rows, 2 * rows), "rows and positions must not be mistaken for each other"
    batch = batch or random_batch(objective, rows=rows, length=length)
    found = visibility(objective, batch)
    raise_errors([*found, *detection(objective, batch)] if isinstance(objective, Replaced) else found)


def check_path(objective: Objective, *, rows: int = 3, length: int | None = None, batch: Batch | None = None) -> None:
    """Training moves what `encode` reads through, and nothing else but heads, generator and decoder. Raises MalmoiError M112 or M113,
    naming parameters."""
    raise_errors(one_path(objective, batch or random_batch(objective, rows=rows, length=length or usual_length(objective))))


def check_evaluation(objective: Objective, *, rows: int = 3, length: int | None = None, batch: Batch | None = None) -> None:
    """Evaluation repeats itself bit for bit (M117) and computes what training computes with dropout 0 (M116)."""
    batch = batch or random_batch(objective, rows=rows, length=length or usual_length(objective))
    raise_errors([*dropout_asleep(objective, batch), *training_equals_evaluation(objective, batch)])


def check_packing(objective: Objective, *, rows: int = 3, length: int | None = None, batch: Batch | None = None) -> None:
    """A document has the same vectors, to 1e-5, between others in a row as alone (M135). Not for a biLM, whose rows are streams."""
    raise_errors(packing(objective, batch or random_batch(objective, rows=rows, length=length or usual_length(objective))))


def check_accumulation(objective: Objective, *, rows: int = 4, length: int | None = None, batch: Batch | None = None) -> None:
    """Loss and gradients of a batch are, to 1e-6, the mean of its halves', each as heavy as its predictions (M136). rows: even."""
    raise_errors(accumulation(objective, batch or random_batch(objective, rows=rows, length=length or usual_length(objective))))


def check_continuity(objective: BiLM, *, rows: int = 3, length: int = 5, windows: int = 3, batch: Batch | None = None) -> None:
    """Windows with the carry handed on score as one long window (M121), and the carry has an effect (M123).

    batch: one of your own, of which the first windows x length positions are read.
    """
    batch = batch or random_batch(objective, rows=rows, length=windows * length)
    raise_errors(continuity(objective, window(batch, 0, windows * length), windows=windows))
