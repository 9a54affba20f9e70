"""Every task by its name: how its files are read, how it is scored, how predictions are handed in."""

from __future__ import annotations

from malmoi.core.errors import MalmoiError, nearest
from malmoi.tasks.catalogue.reading import CHOICES, QUESTIONS
from malmoi.tasks.catalogue.texts import PAIRS, REGRESSIONS, SENTENCES
from malmoi.tasks.catalogue.words import CONTEXTS, SIMILARITY, TAGGING
from malmoi.tasks.formats.plain import SIMCSE
from malmoi.tasks.task import Task

_ALL = (*SENTENCES, *PAIRS, *REGRESSIONS, *TAGGING, *QUESTIONS, *CHOICES, *CONTEXTS, *SIMILARITY)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def find_task(name: str) -> Task:
    """The task of this name. Raises MalmoiError M151, which tells the nearest name."""
    if name == SIMCSE.name:  # no official files: any text
        return SIMCSE
    if name not in TASKS:
        raise MalmoiError("M151", name=name, nearest=nearest(name, [*TASKS, SIMCSE.name]))
    return TASKS[name]
