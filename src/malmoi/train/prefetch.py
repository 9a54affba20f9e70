"""Batches that are made by threads while the device computes. What is in them does not change: a batch is a function of its number."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from typing import Any

from malmoi.core.errors import MalmoiError
from malmoi.train.budget import Batches

PATIENCE = 600.0
"""Seconds to wait for one batch."""


class Prefetched:
    """`batches`, the next `ahead` of each that was asked for being made by `threads` threads; with 0 threads they are made when asked for.

    Raises MalmoiError M049, naming the batch, for one that fails or takes more than `patience` seconds.
    """

    def __init__(self, batches: Batches, *, threads: int, ahead: int = 4, patience: float = PATIENCE) -> None:
        self.tokens_per_step, self.positions = batches.tokens_per_step, batches.positions
        self.unit = getattr(batches, "unit", "words")
        self._batches, self._ahead, self._patience = batches, ahead, patience
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="batches") if threads else None
        self._coming: dict[int, Future[Any]] = {}

    def batch(self, step: int) -> Any:
        """Batch `step`."""
        if self._threads is None:
            return self._batches.batch(step)
        wanted = range(step, step + self._ahead + 1)
        self._coming = {number: future for number, future in self._coming.items() if number in wanted}
        for number in wanted:
            if number not in self._coming:
                self._coming[number] = self._threads.submit(self._batches.batch, number)
        try:
            return self._coming.pop(step).result(self._patience)
        except TooSlow:
            raise MalmoiError("M049", number=step, problem=f"it is not there after {self._patience:g} seconds") from None
        except MalmoiError:
            raise
        except Exception as failure:
            raise MalmoiError("M049", number=step, problem=f"{type(failure).__name__}: {failure}") from failure

    def close(self) -> None:
        """End the threads, without waiting for what nobody wants any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
