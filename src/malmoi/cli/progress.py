"""Progress on standard error: a live bar on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from malmoi.cli.base import number
from malmoi.core.progress import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID

EVERY = 10.0
"""Seconds between two plain lines."""
REDRAW = 0.1
"""Seconds between two updates of the bar."""


@contextmanager
def progress() -> Iterator[Progress]:
    """The progress that fits standard error, closed at the end."""
    shown: Bar | Lines = Bar() if sys.stderr.isatty() else Lines(sys.stderr)
    try:
        yield shown
    finally:
        shown.close()


class Lines:
    """Plain lines: where a stage begins, every ten seconds, and where it ends. `now` gives seconds."""

    def __init__(self, out: TextIO, *, now: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._now = now
        self._name = ""
        self._total: float | None = None
        self._done = self._begun = self._told = 0.0
        self._facts: dict[str, float | str] = {}

    def stage(self, name: str, total: float | None = None) -> None:
        """See core.progress."""
        self.close()
        self._name, self._total, self._done, self._facts = name, total, 0.0, {}
        self._begun = self._told = self._now()
        self.note(f"{name} ...")

    def advance(self, done: float, facts: Mapping[str, float | str] | None = None) -> None:
        """See core.progress."""
        self._done = done
        self._facts = dict(facts) if facts else self._facts
        now = self._now()
        if now - self._told >= EVERY:
            self._told = now
            self.note(self._line(now - self._begun))

    def note(self, text: str) -> None:
        """See core.progress."""
        self._out.write(text + "\n")
        self._out.flush()

    def close(self) -> None:
        """Say how the stage ended, if one is open."""
        if self._name:
            self.note("  ".join([f"{self._name} took {_span(self._now() - self._begun)}", *_shown(self._facts)]))
            self._name = ""

    def _line(self, spent: float) -> str:
        parts = [self._name]
        if self._total:
            parts.append(f"{min(self._done / self._total, 1.0):.0%}")
        parts += _shown(self._facts)
        if self._total and self._done > 0:
            parts.append(f"{_span(spent * max(self._total / self._done - 1.0, 0.0))} left")
        return "  ".join(parts)


class Bar:
    """rich's live display: one bar a stage, the facts beside it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        self._bars = RichProgress(
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[facts]}", markup=False),
            console=self._console,
        )
        self._bars.start()
        self._stage: TaskID | None = None
        self._done, self._facts, self._drawn = 0.0, "", 0.0

    def stage(self, name: str, total: float | None = None) -> None:
        """See core.progress."""
        self._end_stage(whole=True)
        self._done, self._facts = 0.0, ""
        self._stage = self._bars.add_task(name, total=total, facts="")

    def advance(self, done: float, facts: Mapping[str, float | str] | None = None) -> None:
        """See core.progress."""
        self._done = done
        if facts:
            self._facts = "  ".join(_shown(facts))
        if time.monotonic() - self._drawn >= REDRAW:
            self._drawn = time.monotonic()
            self._draw()

    def note(self, text: str) -> None:
        """See core.progress."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """End the stage and give the terminal back."""
        self._end_stage(whole=False)
        self._bars.stop()

    def _draw(self) -> None:
        if self._stage is not None:
            self._bars.update(self._stage, completed=self._done, facts=self._facts)

    def _end_stage(self, *, whole: bool) -> None:
        """`whole`: another stage begins, so this one is done, whatever it said last; otherwise it may have been cut short."""
        if self._stage is not None:
            self._draw()
            total = self._bars.tasks[-1].total or self._done or 1.0  # a bar without an end would go on pulsing
            self._bars.update(self._stage, total=total, completed=total if whole else self._done)
            self._bars.stop_task(self._stage)
            self._stage = None


def _shown(facts: Mapping[str, float | str]) -> list[str]:
    return [f"{name.replace('_', ' ')} {number(value)}" for name, value in facts.items()]


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
