"""Downstream tasks: what a representation is good for. A task = a reader of its official files, a kind, its official metric.

`probe` reads a frozen model, `tune` moves all of it; `baselines` stand beside both.
"""

from malmoi.tasks.catalogue import TASKS, find_task

__all__ = ["TASKS", "find_task"]
