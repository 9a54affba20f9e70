"""What each kind of artifact is called, what wrote it, and what is done with it: said when one stands where another is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.core.errors import MalmoiError


@dataclass(frozen=True)
class Kind:
    """name: with its article. use: what may be done with one at `path` (of `base`, if it was made of another). written: by which verbs, of
    what users name by themselves."""

    name: str
    use: str
    written: str = ""


PART = Kind("a part of a cleaning that goes on", "the `malmoi corpus` that began it finishes it when it is started again")
KINDS: dict[str, Kind] = {
    "run": Kind("a run", "`malmoi evaluate {path} --on SOURCE` scores it", "`malmoi pretrain --out` or `malmoi import --out`"),
    "tuned": Kind(
        "a tuned model, which answers a task",
        "`malmoi evaluate {path} --data DIR` scores it, and {base} is the run that it was made of",
        "`malmoi finetune --out`",
    ),
    "corpus": Kind(
        "a cleaned corpus", "`malmoi pretrain RECIPE --corpus {path} --out RUN` trains on it", "`malmoi corpus --profile NAME --out`"
    ),
    "vocabulary": Kind("a vocabulary", "it belongs to {parent}"),
    "shards": Kind("a set of shards", "it belongs to {parent}"),
    "checkpoint": Kind("a checkpoint", "it belongs to {run}"),
    "probe": Kind("an answer of `malmoi probe`", "{path}/table.md shows it"),
    "predictions": Kind("predictions of `malmoi evaluate`", "they are for the scorer of their task"),
    "allennlp": Kind(
        "an export for AllenNLP", "`malmoi import allennlp {path}/options.json {path}/weights.hdf5 --out RUN` makes a run of it"
    ),
    "transformers": Kind("an export for transformers", "`malmoi import transformers {path} --out RUN` makes a run of it"),
    "corpus-map": PART,
    "corpus-decisions": PART,
    "corpus-part": PART,
}


def named(kind: Any) -> str:
    """What a kind is called, with its article."""
    return KINDS[kind].name if kind in KINDS else repr(kind)


def use_of(directory: Path, manifest: Mapping[str, Any]) -> str:
    """What may be done with the artifact that is there; nothing for a kind that is not known."""
    if manifest.get("kind") not in KINDS:
        return ""
    places = {"path": directory, "base": manifest.get("base", "another"), "parent": directory.parent, "run": directory.parent.parent}
    return KINDS[manifest["kind"]].use.format(**places)


def mistaken(directory: Path, manifest: Mapping[str, Any], *, wanted: str, next: str) -> MalmoiError:
    """The error that tells what is there, where an artifact of another kind was asked for. next: where that kind lies within another."""
    if wanted in KINDS and KINDS[wanted].written:
        hints = [use_of(directory, manifest), f"{named(wanted)} is what {KINDS[wanted].written} wrote"]
        next = "; ".join(filter(None, hints)) + "."
    return MalmoiError("M007", path=directory, wanted=named(wanted), problem=f"it is {named(manifest.get('kind'))}", next=next)
