"""What a cleaning puts at its place: the record of what is cleaned and how, then the corpus with its report and manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from malmoi.core.artifact import (
    MANIFEST,
    fingerprint,
    reached,
    read_manifest,
    read_sealed,
    refuse_full,
    seal,
    sha256,
    sync_directory,
    sync_file,
    verify,
    versions,
    write_json,
    write_text,
)
from malmoi.core.errors import MalmoiError
from malmoi.corpus.cleaning.phases import Phases, described
from malmoi.corpus.cleaning.writing import KIND as PART
from malmoi.corpus.document import Document
from malmoi.corpus.reading.planning import Shard
from malmoi.corpus.report import page
from malmoi.corpus.report.tally import SPLITS
from malmoi.corpus.steps import Change, make
from malmoi.corpus.steps.spec import CorpusSpec, PersonalSpec

KIND = "corpus"
INPUTS = "inputs.json"
FOLDERS = (*SPLITS, "removed")
OURS = {INPUTS, "work", *FOLDERS, "report.json", "report.html", MANIFEST}
DAMAGED = "start the same command again: it is mended from what was stored."
NAMED = 5
"""Differences that are told."""


def inputs_of(shards: Sequence[Shard], spec: CorpusSpec, steps: Phases) -> dict[str, Any]:
    """What decides the corpus: the files by name with their SHA-256, and every setting."""
    paths = {part.name: part.path for shard in shards for part in shard.parts}
    reading = {f"reading.{field}": value for field, value in spec.reading.model_dump(mode="json").items()}
    settings = {**reading, "reading.version": spec.reading.version, "valid": spec.valid, "test": spec.test}
    settings |= {"steps": steps.names, **described((*steps.before, *steps.together, *steps.after))}
    files = {name: sha256(Path(path)) for name, path in paths.items()}
    return {"files": files, "settings": settings, "shards": fingerprint([shard.key for shard in shards])}


def refuse_other(out: Path, inputs: Mapping[str, Any]) -> None:
    """Raise MalmoiError M004 if `out` holds what no cleaning wrote, M140 if it was begun with other settings, or with a file that has
    changed or is not given any more. Files that were added are no hindrance."""
    if not (out / INPUTS).is_file():
        if other := sorted(path.name for path in out.iterdir() if not path.name.startswith(".")):
            raise MalmoiError(
                "M004", path=out, what=f"other files ({', '.join(other[:NAMED])})", instead="empty it (what it holds is lost)"
            )
        return
    before = read_sealed(out / INPUTS, next=f"remove {out}, and clean again.")
    _refuse(out, "settings", list(_differences(before["settings"], inputs["settings"])))
    missing = [f"{name} is not given" for name in before["files"] if name not in inputs["files"]]
    edited = [f"{name} has changed" for name, digest in before["files"].items() if inputs["files"].get(name, digest) != digest]
    _refuse(out, "sources", missing + edited)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Settings that are not what they were; of steps that came or went only the name."""
    for steps, other, what in ((now, before, "is new"), (before, now, "is gone")):
        yield from (f"step {name} {what}" for name in steps["steps"] if name not in other["steps"])
    if before["steps"] != now["steps"] and sorted(before["steps"]) == sorted(now["steps"]):
        yield f"the steps were {', '.join(before['steps'])}"
    for name, value in now.items():
        if name != "steps" and name in before and before[name] != value:
            yield f"{name} was {json.dumps(before[name], ensure_ascii=False)}, is {json.dumps(value, ensure_ascii=False)}"


def _refuse(out: Path, what: str, differences: Sequence[str]) -> None:
    if differences:
        more = f" and {len(differences) - NAMED:,} more" if len(differences) > NAMED else ""
        raise MalmoiError("M140", path=out, what=what, differences="; ".join(differences[:NAMED]) + more)


def remember(out: Path, inputs: Mapping[str, Any]) -> None:
    """Write down what is being cleaned."""
    seal(out / INPUTS, dict(inputs))


def finished(out: Path, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report of `out` if it is the whole corpus of these inputs, every file as it was written."""
    try:
        manifest = verify(out, KIND)
    except MalmoiError:
        return None
    if manifest["inputs"] != fingerprint(inputs):
        return None
    found: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return found


def refuse_full_disk(out: Path, shards: Sequence[Shard]) -> None:
    """Raise MalmoiError M045 if the disk has less room than the sources take (what is compressed counts three times) and the work that is
    done does not fill already."""
    paths = {part.path for shard in shards for part in shard.parts}
    sizes = (os.path.getsize(path) * (1 if path.endswith((".txt", ".jsonl")) else 3) for path in paths)
    there = sum(path.stat().st_size for path in (out / "work").rglob("*") if path.is_file())
    refuse_full(out, sum(sizes) - there, what="the cleaned corpus with its work")


def mask_samples(report: dict[str, Any], spec: CorpusSpec) -> dict[str, Any]:
    """Take personal data out of the samples too, if that is a step: a report is shown around."""
    for step in spec.steps:
        if isinstance(step, PersonalSpec):
            mask = make(step)
            for sample in (sample for each in report["steps"] for sample in each["samples"]):
                for field in ("before", "after"):
                    masked = mask(Document(sample["id"], sample[field]))
                    sample[field] = masked.text if isinstance(masked, Change) else sample[field]
    return report


def publish(out: Path, parts: Sequence[Path], *, report: dict[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Put the parts, in order, at their place; then the report, and last the manifest. Returns the report, with `data`."""
    (out / MANIFEST).unlink(missing_ok=True)
    for folder in FOLDERS:
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir()
    files: dict[str, Any] = {}
    for number, part in enumerate(parts):
        for name, facts in read_manifest(part, PART)["files"].items():
            folder = name.removesuffix(".parquet")
            if folder in FOLDERS:
                place = f"{folder}/part-{number:05d}.parquet"
                _link(part / name, out / place)
                files[place] = facts
    for folder in FOLDERS:
        sync_directory(out / folder)
    files = dict(sorted(files.items()))
    report = {**report, "data": fingerprint(files)}
    reached("corpus-linked")
    write_json(out / "report.json", report)
    write_text(out / "report.html", page.render(report))
    for name in ("report.json", "report.html"):
        files[name] = {"bytes": (out / name).stat().st_size, "sha256": sha256(out / name)}
    facts = {name: report[name] for name in ("profile", "documents", "kept", "removed", "splits", "data")}
    seal(out / MANIFEST, {"kind": KIND, "versions": versions(), **facts, "inputs": fingerprint(inputs), "files": files})
    return report


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        sync_file(target)
