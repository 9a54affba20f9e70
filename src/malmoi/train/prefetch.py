"""Batches that are made by threads while the device computes. What is in them does not change: a batch is a function of its number."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from queue import SimpleQueue
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
        self._coming: dict[int, Future[Any]] = {}
        self._orders: SimpleQueue[tuple[int, Future[Any]] | None] = SimpleQueue()
        self._threads = threads
        for _ in range(threads):  # daemons: one that hangs must not keep the process from ending
            threading.Thread(target=self._make, daemon=True).start()

    def batch(self, step: int) -> Any:
        """Batch `step`."""
        if not self._threads:
            return self._batches.batch(step)
        wanted = range(step, step + self._ahead + 1)
        self._coming = {number: future for number, future in self._coming.items() if number in wanted}
        for number in wanted:
            if number not in self._coming:
                self._coming[number] = Future()
                self._orders.put((number, self._coming[number]))
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
        for future in self._coming.values():
            future.cancel()
        for _ in range(self._threads):
            self._orders.put(None)

    def _make(self) -> None:
        while (order := self._orders.get()) is not None:
            number, future = order
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._batches.batch(number))
                except BaseException as failure:  # it belongs to whoever asks for the batch
                    future.set_exception(failure)
