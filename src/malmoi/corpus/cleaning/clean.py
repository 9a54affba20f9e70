"""The whole cleaning of a corpus: plan, first half of every shard, decisions over all, second half, publication.

OUT/inputs.json              what is cleaned, and how: written first, compared when the same command is started again
OUT/work/KEY/                the stages of each shard, stored under the fingerprint of all that their bytes depend on. What is there and
                             whole is not done again; it may be deleted when the corpus is finished, and costs time then if files are added
OUT/train valid test removed the corpus, in part-NNNNN.parquet with N the number of the shard
OUT/report.json report.html  what was done
OUT/manifest.json            written last. `data` is the fingerprint of the corpus: the same for every engine and number of workers
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from malmoi.core.artifact import fingerprint, reached, read_manifest, sweep, verify
from malmoi.core.errors import MalmoiError
from malmoi.core.lock import locked
from malmoi.core.progress import Progress, Silent
from malmoi.corpus.cleaning import decisions, mapping, writing
from malmoi.corpus.cleaning.chain import FAULT
from malmoi.corpus.cleaning.engines import FULL, Engine, run
from malmoi.corpus.cleaning.phases import Phases, absolute, described, made_with, phases
from malmoi.corpus.cleaning.publication import finished, inputs_of, mask_samples, publish, refuse_full_disk, refuse_other, remember
from malmoi.corpus.reading.planning import SIZE, Shard, plan
from malmoi.corpus.report.tally import SPLITS, Tally
from malmoi.corpus.steps.spec import CorpusSpec

FORMAT = 1
"""Raised when the same steps would be stored in another way: all work is done again."""
Sources = Sequence[str | Path] | str | Path


def clean(
    sources: Sources,
    *,
    spec: CorpusSpec,
    out: str | Path,
    workers: int = 1,
    engine: Engine = "local",
    address: str | None = None,
    size: int = SIZE,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Clean `sources` into `out` and return the report (`report.json`): documents, kept, removed, data, seconds, spec, and the tally.

    size: bytes of input in a shard, about: a shard is what a worker does, what is done again after a kill, and what becomes one file.
    Killed or interrupted, the same call goes on where it ended. A finished `out` answers at once; files that were added are the only
    ones that are worked on. With `engine="ray"` all machines of the cluster must see `sources` and `out` under the same paths.
    Raises MalmoiError M004 for an `out` with something else in it, M140 for one that was begun with other files or another spec, M008 if
    it is in use, M002 for steps in an impossible order, M010 to M019 for sources, M045 and M145 for a disk that is full, M141 for a
    shard whose process died twice, M142 if documents were lost.
    """
    place, heard = Path(os.path.abspath(out)), progress or Silent()
    given = [sources] if isinstance(sources, str | Path) else sources
    with locked(place):
        work = _Work(place, absolute(spec), _Hands(workers, engine, address), heard)
        try:
            return work([os.path.abspath(source) for source in given], size)
        except KeyboardInterrupt:
            heard.note("Interrupted. The same command goes on from here: what is finished is kept.")
            raise
        except OSError as failure:
            if failure.errno in FULL:
                raise MalmoiError("M145", path=place, problem=failure.strerror) from failure
            raise
        finally:
            for folder in (place / "work").glob("*"):
                sweep(folder)  # workers that were ended leave halves behind


@dataclass(frozen=True)
class _Hands:
    """Who does the work."""

    workers: int
    engine: Engine
    address: str | None


class _Work:
    """One cleaning on its way."""

    def __init__(self, out: Path, spec: CorpusSpec, hands: _Hands, heard: Progress) -> None:
        self._out, self._spec, self._hands, self._heard = out, spec, hands, heard
        self._steps: Phases = phases(spec)
        self._versions = made_with()
        self._used: set[str] = set()
        """Keys of all work that belongs to this corpus."""

    def __call__(self, sources: Sequence[str], size: int) -> dict[str, Any]:
        begun = time.monotonic()
        sweep(self._out)
        self._heard.stage("looking at the sources")
        shards = plan(sources, self._spec.reading, size=size)
        inputs = inputs_of(shards, self._spec, self._steps)
        refuse_other(self._out, inputs)
        if (report := finished(self._out, inputs)) is not None:
            return report
        remember(self._out, inputs)
        refuse_full_disk(self._out, shards)
        maps = self._map(shards)
        decided, seconds = self._decide(maps)
        parts = self._write(maps, decided)
        reached("parts-written")
        report = self._report(maps, parts, seconds)
        facts = {"workers": self._hands.workers, "engine": self._hands.engine, "seconds": round(time.monotonic() - begun, 3)}
        report = publish(self._out, parts, report={**report, **facts}, inputs=inputs)
        self._forget()
        return report

    def _map(self, shards: Sequence[Shard]) -> list[Path]:
        """The first halves of all shards."""
        how = {"format": FORMAT, "versions": self._versions, "reading": self._spec.reading.model_dump(mode="json")}
        how |= {"reading version": self._spec.reading.version, "before": described(self._steps.before)}
        how |= {"together": described(self._steps.together)}
        places = [self._place({**how, "shard": shard.key}, "first") for shard in shards]
        tasks = [
            (_name(shard), mapping.MapTask(shard, self._spec, place, self._versions)) for shard, place in zip(shards, places, strict=True)
        ]
        self._do("reading and filtering", mapping.map_shard, mapping.KIND, tasks)
        return places

    def _decide(self, maps: Sequence[Path]) -> tuple[Path | None, float]:
        """What the global steps say, and the seconds that it took; None without such steps."""
        steps = [step for _, step in self._steps.together]
        if not steps:
            return None, 0.0
        place = self._place({"format": FORMAT, "maps": [str(path.parent.name) for path in maps]}, "decisions")
        begun = time.process_time()
        if not whole(place, decisions.KIND):
            self._heard.stage("finding duplicates")
            decisions.write_decisions(maps, steps, out=place)
        return place, time.process_time() - begun

    def _write(self, maps: Sequence[Path], decided: Path | None) -> list[Path]:
        """The second halves of all shards."""
        how = {"format": FORMAT, "versions": self._versions, "after": described(self._steps.after)}
        how |= {"valid": self._spec.valid, "test": self._spec.test}
        files = read_manifest(decided, decisions.KIND)["files"] if decided else {}
        places, tasks = [], []
        for number, first in enumerate(maps):
            name = f"{number:05d}.parquet"
            verdict = files.get(name, {}).get("sha256", "")
            place = self._place({**how, "first": first.parent.name, "decided": verdict}, "part")
            file = decided / name if decided is not None and verdict else None
            tasks.append((f"part {number}", writing.WriteTask(first, file, self._spec, place, self._versions)))
            places.append(place)
        self._do("writing", writing.write_shard, writing.KIND, tasks)
        return places

    def _place(self, key: dict[str, Any], name: str) -> Path:
        """Where work with these ingredients is stored."""
        digest = fingerprint(key)[:32]
        self._used.add(digest)
        return self._out / "work" / digest / name

    def _do(self, stage: str, function: Callable[[Any], None], kind: str, tasks: Sequence[tuple[str, Any]]) -> None:
        """Every task whose output is not there yet."""
        self._heard.stage(stage, len(tasks))
        due = {str(task.out): (name, task) for name, task in tasks if not whole(task.out, kind)}
        done = len(tasks) - len(due)
        self._heard.advance(done)
        if done and due:
            self._heard.note(f"{stage}: {done:,} of {len(tasks):,} parts were finished before and are kept.")
        hands, notice = self._hands, self._heard.note
        for _ in run(function, due.values(), workers=hands.workers, engine=hands.engine, address=hands.address, notice=notice):
            done += 1
            self._heard.advance(done)

    def _report(self, maps: Sequence[Path], parts: Sequence[Path], deciding: float) -> dict[str, Any]:
        """What all shards counted. Raises MalmoiError M142 unless every document that was read is kept or removed."""
        tally, read, kept, removed = Tally(self._steps.names), 0, 0, 0
        tally.spent("decide", deciding)
        for first, part in zip(maps, parts, strict=True):
            for place in (first, part):
                tally.merge(Tally.of(json.loads((place / "tally.json").read_text(encoding="utf-8"))))
            read += read_manifest(first, mapping.KIND)["documents"]
            kept += sum(_rows(part / f"{name}.parquet") for name in SPLITS)
            removed += _rows(part / "removed.parquet")
        removed -= sum(number for step in tally.steps.values() for number, _ in step.taken.values())
        counted = {"documents": read, "kept": kept, "removed": removed}
        refuse_lost(counted, tally)
        for step in tally.steps.values():
            if FAULT in step.reasons:
                self._heard.note(
                    f"The step {step.name} failed at {step.reasons[FAULT][0]:,} documents: they are in removed/, please report it."
                )
        found = mask_samples(tally.json(), self._spec)
        return {"profile": self._spec.profile, **counted, **found, "spec": self._spec.model_dump(mode="json")}

    def _forget(self) -> None:
        """Take away work that does not belong to this corpus."""
        for path in (self._out / "work").iterdir():
            if path.name not in self._used:
                shutil.rmtree(path, ignore_errors=True)


def whole(place: Path, kind: str) -> bool:
    """Whether an artifact is there with every file as it was written."""
    try:
        verify(place, kind)
    except MalmoiError:
        return False
    return True


def refuse_lost(counted: dict[str, int], tally: Tally) -> None:
    """Raise MalmoiError M142 unless the documents that were read are those that lie in the files, and those of the tally."""
    read, kept, removed = counted.values()
    if read != kept + removed:
        problem = f"{abs(read - kept - removed):,} are {'missing' if read > kept + removed else 'too many'}"
        raise MalmoiError("M142", read=read, kept=kept, removed=removed, problem=problem)
    steps = list(tally.steps.values())
    if (steps[0].before[0], steps[-1].after[0]) != (read, kept):
        problem = f"the report tells of {steps[0].before[0]:,} and {steps[-1].after[0]:,}"
        raise MalmoiError("M142", read=read, kept=kept, removed=removed, problem=problem)


def _name(shard: Shard) -> str:
    """A shard as people see it."""
    first, last = shard.parts[0].name, shard.parts[-1].name
    place = f" from line {shard.parts[0].line:,}" if shard.parts[0].line > 1 else ""
    return f"part {shard.number} ({first}{place})" if first == last else f"part {shard.number} ({first} ... {last})"


def _rows(path: Path) -> int:
    """Rows of a file as its own footer tells; 0 if there is none."""
    return int(pq.read_metadata(path).num_rows) if path.is_file() else 0
