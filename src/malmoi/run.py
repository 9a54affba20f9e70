"""A run on disk: how it is begun, found again, opened.

RUN/spec.json        the whole choice of the run
RUN/manifest.json    kind, versions, fingerprints of the parents (corpus, vocabulary, shards), arguments, counts, result
RUN/vocab  shards  checkpoints  evals  metrics.jsonl
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from malmoi.core.artifact import MANIFEST, kind_at, read_manifest, refuse_absent, seal, sha256, versions, write_json
from malmoi.core.errors import MalmoiError
from malmoi.core.kinds import KINDS, named
from malmoi.core.lock import locked as locked
from malmoi.core.recipe import RunSpec
from malmoi.core.spec import leaves, validate
from malmoi.nn import State
from malmoi.objectives import Objective, build
from malmoi.train import checkpoint as checkpoints
from malmoi.vocab import Subwords, Vocabulary, load_vocabulary

KIND = "run"
BUDGET = ("training.steps", "training.tokens", "training.minutes", "training.epochs")


@dataclass(frozen=True)
class Run:
    """An opened run: its spec, vocabulary and objective with the weights of one checkpoint, in evaluation mode."""

    path: Path
    spec: RunSpec
    manifest: dict[str, Any]
    vocabulary: Vocabulary | Subwords
    objective: Objective
    checkpoint: Path
    step: int
    warm: dict[str, State] | None
    """The mean of the states in which training stood at the checkpoint, of one row a direction: where a text goes on as training did.
    None for an imported run."""

    @property
    def has_head(self) -> bool:
        """False for a run that was imported without its softmax, or whose vectors of texts were trained: it embeds, but has no
        likelihoods."""
        return bool(self.manifest.get("head", True))

    @property
    def headless(self) -> str:
        """Why it has no output layer."""
        if "sentences" in self.manifest:
            told = self.manifest["sentences"]
            return f"its vectors of texts were fine-tuned on {told['task']} ({told['encoder']}), and what stood above them no longer fits"
        return "it was imported from a format that carries none"

    def refuse_headless(self) -> None:
        """Raise MalmoiError M052 for a run without output layer."""
        if not self.has_head:
            base = self.manifest.get("sentences", {}).get("base")
            next = f"to score or to write, use {base}, which it was made of." if base else "to score, train a run here."
            raise MalmoiError("M052", path=self.path, problem=self.headless, next=next)


def begin(path: Path, spec: RunSpec, **facts: Any) -> None:
    """Write spec and manifest of a new run (or again, with what has become known)."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "spec.json", spec.model_dump(mode="json"))
    record(path, **facts)


def claim(spec: RunSpec, out: Path, *, resume: bool) -> RunSpec:
    """Begin the run directory, or with `resume` go on in it. Returns the spec to train with.

    Raises MalmoiError M004 for a directory that holds something else, M041 for a resume with another spec, M042 for nothing to resume, M060
    for a run that was not trained here, M006 for a damaged one. What is there stays as it is.
    """
    holds = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.is_dir() else []
    kind = kind_at(out)
    begun = (out / MANIFEST).is_file() and kind in (KIND, None)
    manifest = read_manifest(out, KIND, next="restore it from a copy, or name another --out.") if begun else {}
    untrained = begun and not checkpoints.steps(out / "checkpoints")
    if resume and begun:
        if "state" not in manifest:
            problem = "it was not trained by `malmoi pretrain`, and has nothing to go on from"
            raise MalmoiError("M060", path=out, what="be resumed", problem=problem, next="name another --out, without --resume.")
        if changed := differences(read_spec(out)[0], spec):
            raise MalmoiError("M041", path=out, differences="; ".join(changed[:5]))
        begin(out, spec)
        return spec
    # spec.json alone: a start that was killed before it had begun; untrained: one that was refused, its vocabulary say
    if holds == ["spec.json"] or not (holds or resume) or untrained:
        begin(out, spec, state="begun")
        return spec
    if resume:
        raise MalmoiError("M042", path=out)
    if "state" in manifest:
        raise MalmoiError("M004", path=out, what="another run", instead="go on with that run by --resume")
    what = named(kind) if kind in KINDS else f"other files ({holds[0]})"
    raise MalmoiError("M004", path=out, what=what, instead="empty it (what it holds is lost)")


def record(path: Path, **facts: Any) -> None:
    """Add facts to a run's manifest."""
    before = read_manifest(path, KIND) if (path / MANIFEST).is_file() else {}
    files = {"spec.json": {"bytes": (path / "spec.json").stat().st_size, "sha256": sha256(path / "spec.json")}}
    seal(path / MANIFEST, {**before, "kind": KIND, "versions": versions(), **facts, "files": files})


def read_spec(path: Path) -> tuple[RunSpec, dict[str, Any]]:
    """Spec and manifest of a run. Raises MalmoiError M010 for a path that is not there, M007 for what is no run, M020 for a changed
    spec."""
    refuse_absent(path)
    manifest = read_manifest(path, KIND) if (path / MANIFEST).is_file() else {}
    for missing in (MANIFEST, "spec.json"):
        if not (path / missing).is_file():
            next = f"give the directory that {KINDS[KIND].written} wrote."
            raise MalmoiError("M007", path=path, wanted=named(KIND), problem=f"it has no {missing}", next=next)
    expected, found = manifest["files"]["spec.json"]["sha256"], sha256(path / "spec.json")
    if expected != found:
        raise MalmoiError("M020", path=path / "spec.json", found=found[:12], expected=expected[:12], next="restore it from a copy.")
    return validate(RunSpec, json.loads((path / "spec.json").read_text(encoding="utf-8"))), manifest


def load_run(path: str | Path, *, device: torch.device | str = "cpu") -> Run:
    """Open a run with its best checkpoint (lowest validation loss), or its last good one. Everything is verified on the way."""
    path = Path(path)
    spec, manifest = read_spec(path)
    vocabulary = load_vocabulary(path / "vocab")
    chosen = checkpoints.best(path / "checkpoints")
    problems: list[MalmoiError] = []
    if chosen is None:
        chosen, problems = checkpoints.last_good(path / "checkpoints")
    if chosen is None:
        problem = problems[0].message if problems else "no checkpoint was ever finished"
        raise MalmoiError("M043", path=path, problem=problem)
    objective = build(spec, **vocabulary.sizes())
    checkpoints.load_module(chosen, objective)
    objective.to(device).eval()
    warm = _mean(checkpoints.load_carry(chosen), device)
    return Run(path, spec, manifest, vocabulary, objective, chosen, checkpoints.load_step(chosen), warm)


def _mean(carry: Any, device: torch.device | str) -> Any:
    """A carry of one row: the mean over the rows of every tensor (rows first) of a tree of dicts and tuples."""
    if isinstance(carry, torch.Tensor):
        return carry.float().mean(0, keepdim=True).to(device)
    if isinstance(carry, dict):
        return {name: _mean(part, device) for name, part in carry.items()}
    return None if carry is None else tuple(_mean(part, device) for part in carry)


def differences(before: RunSpec, after: RunSpec) -> list[str]:
    """Fields in which two specs differ, the budget apart: `path: old -> new`."""
    old, new = dict(leaves(before)), dict(leaves(after))
    return [
        f"{path}: {old.get(path)} -> {new.get(path)}" for path in {**old, **new} if path not in BUDGET and old.get(path) != new.get(path)
    ]
