"""A run directory made from someone else's checkpoint: step 0, its own vocabulary, and the head if there was one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from malmoi.core.artifact import write_json, write_text, writing
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import ReplacedSpec, RunSpec
from malmoi.export.allennlp import KEPT
from malmoi.export.allennlp import Checkpoint as Read
from malmoi.export.foreign import Foreign, Shapes, read_transformers
from malmoi.export.layout import CHARACTERS
from malmoi.export.transformers import Part
from malmoi.objectives import BiLM, build
from malmoi.objectives.base import Objective
from malmoi.objectives.build import scaled
from malmoi.train import checkpoint
from malmoi.vocab import Subwords, Vocabulary

MARKS = 3
KEPT_CONFIG = "transformers.json"
"""In a run imported from transformers: its config as it was, and what was left behind."""


def objective_of(read: Read) -> BiLM:
    """The biLM with the weights that were read, in evaluation mode.

    Its head is a stand-in, fresh weights for the three marks: gradients pass, so that the checks for leaks can be made, but its
    likelihoods mean nothing.
    """
    objective = build(read.spec, words=MARKS, characters=CHARACTERS)
    assert isinstance(objective, BiLM)
    missing = objective.load_state_dict(read.state, strict=False)
    strange = [name for name in missing.missing_keys if ".heads." not in name and not name.startswith("backward_model.frontend.")]
    assert not missing.unexpected_keys and not strange, (missing.unexpected_keys, strange)
    return objective.eval()


def write_run(out: Path, read: Read) -> Path:
    """spec.json, metrics.jsonl, vocab/, checkpoints/step-00000000/, and `head: false` in the manifest, whole or not at all."""
    vocabulary = Vocabulary.build(Counter(), read.spec.characters)
    kept = {KEPT: {"options": read.options, "dropped": list(read.dropped)}}
    return _write(out, read.spec, objective_of(read), vocabulary, kept, imported="allennlp", head=False)


def import_transformers(path: Path | str, out: Path | str) -> tuple[Path, Foreign]:
    """Make a run directory of a directory of transformers, whole or not at all.

    Raises as `read_transformers`, and MalmoiError M004 when `out` is there already.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MalmoiError("M004", path=out, what="files", instead="remove it")
    read = read_transformers(path, shapes=shapes_of)
    kept = {KEPT_CONFIG: {"config": read.config, "dropped": list(read.dropped)}}
    return _write(out, read.spec, objective_with(read), read.vocabulary, kept, imported="transformers", head=read.head), read


def shapes_of(spec: RunSpec, vocabulary: Subwords) -> Shapes:
    """The shape of every parameter of a spec's objective, without making one."""
    with torch.device("meta"):
        objective = build(spec, **vocabulary.sizes())
    return {name: tuple(tensor.shape) for name, tensor in objective.state_dict().items()}


def objective_with(read: Foreign) -> Objective:
    """The objective with the weights that were read, in evaluation mode. Heads that were not there are fresh."""
    objective = build(read.spec, **read.vocabulary.sizes())
    loaded = objective.load_state_dict(read.state, strict=False)
    aliases = set(checkpoint.module_tensors(objective)[1])
    strange = [name for name in loaded.missing_keys if ".heads." not in name and name not in aliases]
    assert not loaded.unexpected_keys and not strange, (loaded.unexpected_keys, strange)
    return objective.eval()


def parts_of(spec: RunSpec, objective: Objective) -> dict[str, Part]:
    """What `write_transformers` writes of a run: its model, and the generator of replaced-token detection with a spec of its own."""
    models = objective.models()
    parts = {name: Part(spec.model, model.state_dict()) for name, model in models.items() if name in ("model", "generator")}
    if isinstance(spec.objective, ReplacedSpec):
        small = scaled(spec.model, spec.objective.generator)
        table = parts["generator"].state["frontend.weight"].shape[1]
        frontend = small.frontend.model_copy(update={"width": None if table == small.width else table})
        parts["generator"] = Part(small.model_copy(update={"frontend": frontend}), parts["generator"].state)
    return parts


def _write(out: Path, spec: RunSpec, objective: nn.Module, vocabulary: Any, kept: dict[str, Any], **facts: Any) -> Path:
    with writing(out, "run") as (temporary, fields):
        write_json(temporary / "spec.json", spec.model_dump(mode="json"))
        write_text(temporary / "metrics.jsonl", "")
        for name, content in kept.items():
            write_json(temporary / name, content)
        vocabulary.save(temporary / "vocab")
        checkpoint.save(temporary / "checkpoints", checkpoint.Checkpoint(step=0), objective)
        fields.update(facts)
    return out
