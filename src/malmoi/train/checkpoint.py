"""Checkpoints: one directory a step, safetensors and JSON, whole or absent, hashed, and never unpickled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from malmoi.core.artifact import NEW, reached, read_manifest, read_sealed, seal, verify, write_json, writing
from malmoi.core.errors import MalmoiError
from malmoi.train.processes import local, placed, whole

KIND = "checkpoint"
BEST = "best.json"
AGAIN = "restore it from a copy, or go back to an earlier checkpoint of the run."


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on: numbers, and three sets of tensors."""

    step: int
    facts: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    carry: dict[str, Tensor] = field(default_factory=dict)


def module_tensors(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(each tensor once by its first name, further names -> first name). Shared weights are written once and stay shared."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        key = (id(tensor) if local(tensor) is not tensor else tensor.data_ptr(), tuple(tensor.shape))
        if key in first and tensor.numel():
            aliases[name] = first[key]
        else:
            first[key] = name
            tensors[name] = tensor.detach().contiguous()
    return tensors, aliases


def save(directory: Path, checkpoint: Checkpoint, module: nn.Module, *, writer: bool = True) -> Path:
    """Write `directory/step-…`, whole or not at all. Returns its path.

    What is divided among processes is gathered: every process has to call this, the one that is `writer` writes.
    """
    path = directory / f"step-{checkpoint.step:08d}"
    tensors, aliases = module_tensors(module)
    groups = {"model": tensors, "optimizer": checkpoint.optimizer, "carry": checkpoint.carry}
    if not writer:
        for tensor in (tensor for group in groups.values() for tensor in group.values()):
            whole(tensor)
        return path
    with writing(path, KIND) as (temporary, fields):
        for name, group in groups.items():
            if group:
                found = {key: whole(value).detach().contiguous() for key, value in group.items()}
                save_file(found, temporary / f"{name}.safetensors", metadata={"aliases": json.dumps(aliases)} if name == "model" else None)
                reached(f"{name}-written")
        write_json(temporary / "state.json", checkpoint.facts)
        fields["step"] = checkpoint.step
    return path


def load(path: Path) -> Checkpoint:
    """Read a checkpoint but its model; every file is verified first (M006, M020, M021)."""
    manifest = verify(path, KIND, next=AGAIN)
    groups = {}
    for name in ("optimizer", "carry"):
        file = path / f"{name}.safetensors"
        with _parsing(file):
            groups[name] = load_file(file) if file.exists() else {}
    facts = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return Checkpoint(step=manifest["step"], facts=facts, **groups)


def load_carry(path: Path) -> Any:
    """The carry of a checkpoint that was verified before; None if it has none."""
    file = path / "carry.safetensors"
    return unflatten(load_file(file)) if file.exists() else None


def load_step(path: Path) -> int:
    """The optimizer step of a checkpoint."""
    return int(read_manifest(path, KIND, next=AGAIN)["step"])


def load_module(path: Path, module: nn.Module, *, verified: bool = False) -> None:
    """Put the weights of checkpoint `path` into `module`, in place, so that what shares storage goes on sharing it.

    Names and shapes must agree exactly, and so must what is shared with what (MalmoiError M032).
    """
    if not verified:
        verify(path, KIND, next=AGAIN)
    own, own_aliases = module_tensors(module)
    with _parsing(path / "model.safetensors"), safe_open(path / "model.safetensors", framework="pt") as file:
        aliases = json.loads((file.metadata() or {}).get("aliases", "{}"))
        names = set(file.keys())
        if names != set(own) or aliases != own_aliases:
            odd = sorted(
                (names ^ set(own)) | {name for name in set(aliases) | set(own_aliases) if aliases.get(name) != own_aliases.get(name)}
            )
            raise MalmoiError(
                "M032",
                what=path,
                problem=f"its weights are not those of the spec (first: {odd[0]})",
                next="load it with its own spec.json.",
            )
        for name, tensor in own.items():
            found = file.get_tensor(name)
            if found.shape != tensor.shape:
                problem = f"{name} is {tuple(found.shape)}, the spec says {tuple(tensor.shape)}"
                raise MalmoiError("M032", what=path, problem=problem, next="load it with its own spec.json.")
            tensor.copy_(placed(found, tensor))


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """A file that is no safetensors, whatever its checksum, is refused (MalmoiError M032); nothing else is ever tried on it."""
    try:
        yield
    except SafetensorError as failure:
        raise MalmoiError("M032", what=path, problem=f"it is not safetensors ({failure})", next=AGAIN) from None


def steps(directory: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(path for path in directory.glob("step-*") if (path / "manifest.json").is_file())


def best(directory: Path) -> Path | None:
    """The checkpoint with the lowest validation loss, if one is recorded and there. Raises MalmoiError M006 for a damaged record."""
    recorded = read_best(directory)
    path = directory / recorded["checkpoint"] if recorded else None
    return path if path is not None and path.is_dir() else None


def read_best(directory: Path) -> dict[str, Any] | None:
    """{"checkpoint", "loss"} of the best one, if one is recorded."""
    file = directory / BEST
    return (
        read_sealed(file, next="restore it from a copy, or take it away: the newest checkpoint is used then.") if file.is_file() else None
    )


def name_best(directory: Path, path: Path, loss: float) -> None:
    """Record that the checkpoint `path` is the best."""
    seal(directory / BEST, {"checkpoint": path.name, "loss": loss})


def last_good(directory: Path) -> tuple[Path | None, list[MalmoiError]]:
    """The newest checkpoint whose files are what its manifest says, and what was wrong with newer ones."""
    problems: list[MalmoiError] = []
    for path in reversed(steps(directory)):
        try:
            verify(path, KIND, next=AGAIN)
            return path, problems
        except MalmoiError as problem:
            problems.append(problem)
    return None, problems


def prune(directory: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and the best; and what an interrupted save left behind."""
    chosen = best(directory)
    for path in steps(directory)[:-keep]:
        if path != chosen:
            aside = path.with_name(f".{path.name}.{os.getpid()}{NEW}")
            os.replace(path, aside)  # in one go: half of a checkpoint would look like a damaged one
            reached("pruned-aside")
            shutil.rmtree(aside)
    for path in directory.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def flatten(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    """A tree of dicts and tuples of tensors as `a/0/1` -> tensor."""
    if isinstance(tree, Tensor):
        return {prefix: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree or ())
    return {name: tensor for key, child in items for name, tensor in flatten(child, f"{prefix}/{key}" if prefix else str(key)).items()}


def unflatten(tensors: dict[str, Tensor]) -> Any:
    """The tree that `flatten` took apart; None for no tensors."""
    if not tensors:
        return None
    if "" in tensors:
        return tensors[""]
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        head, _, rest = name.partition("/")
        groups.setdefault(head, {})[rest] = tensor
    children = {head: unflatten(group) for head, group in groups.items()}
    return tuple(children[str(index)] for index in range(len(children))) if all(head.isdigit() for head in children) else children
