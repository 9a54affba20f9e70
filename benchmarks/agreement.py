"""Before anything is timed: with the same weights on the same rows and the same masks, both sides compute the same loss.

Rows are whole blocks of one document, nothing is dropped out. Every function returns |malmoi - other| by the name of the loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import LENGTH, NanoGPT, blocks, nano_weights

from malmoi.core.batch import Batch
from malmoi.core.recipe import RunSpec
from malmoi.export.imported import parts_of
from malmoi.export.transformers import write_transformers
from malmoi.objectives import Causal, Masked, Objective, Replaced, build
from malmoi.shards import Shards
from malmoi.vocab import Subwords

ALLOWED = 1e-5


def exported(spec: RunSpec, vocabulary: Subwords, out: Path) -> Objective:
    """malmoi's fresh weights, and the same in transformers' directory `out` (left alone where it is there)."""
    objective = build(spec, **vocabulary.sizes()).eval()
    if not out.exists():
        write_transformers(out, spec=spec, parts=parts_of(spec, objective), vocabulary=vocabulary)
    return objective


def rows_of(shards: Shards, vocabulary: Subwords, *, rows: int = 8, length: int = LENGTH) -> Batch:
    """Blocks as the other side cuts them, taken for one document each, with keys and the next tokens."""
    ids = torch.from_numpy(blocks(shards, vocabulary.marks, length)[:rows].astype(np.int64))
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    following = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -1)], dim=1)
    keys = torch.arange(1, len(ids) + 1)
    return Batch(ids=ids, segments=torch.ones_like(ids), positions=positions, targets={"next": following}, keys=keys)


@torch.no_grad()
def masked(objective: Masked, place: Path, batch: Batch) -> dict[str, float]:
    """Against BertForMaskedLM or AlbertForMaskedLM."""
    import transformers

    view = objective.view(batch)
    other = transformers.AutoModelForMaskedLM.from_pretrained(place).eval()
    labels = view.targets["masked"].masked_fill(view.targets["masked"] < 0, -100)
    return {"masked": _apart(objective.loss(view).total, other(input_ids=view.ids, labels=labels).loss)}


@torch.no_grad()
def causal(objective: Causal, place: Path, batch: Batch) -> dict[str, float]:
    """Against GPT2LMHeadModel, which shifts the labels itself."""
    import transformers

    other = transformers.AutoModelForCausalLM.from_pretrained(place).eval()
    return {"causal": _apart(objective.loss(batch).total, other(input_ids=batch.ids, labels=batch.ids).loss)}


@torch.no_grad()
def replaced(objective: Replaced, place: Path, batch: Batch) -> dict[str, float]:
    """Against the two heads, which read what malmoi's generator drew."""
    import transformers

    view = objective.view(batch)
    filled = objective._filled(view)[1]
    parts = objective.loss(view).parts
    generator = transformers.ElectraForMaskedLM.from_pretrained(place / "generator").eval()
    discriminator = transformers.ElectraForPreTraining.from_pretrained(place / "discriminator").eval()
    labels = view.targets["masked"].masked_fill(view.targets["masked"] < 0, -100)
    return {
        "generator": _apart(parts["generator"], generator(input_ids=view.ids, labels=labels).loss),
        "replaced": _apart(parts["replaced"], discriminator(input_ids=filled.ids, labels=filled.targets["replaced"]).loss),
    }


@torch.no_grad()
def nano(objective: Causal, spec: RunSpec, batch: Batch) -> dict[str, float]:
    """Against NanoGPT, whose vocabulary is not padded here."""
    model: Any = spec.model
    other = NanoGPT(
        vocabulary=objective.output_size,
        length=model.frontend.length,
        depth=model.backbone.depth,
        width=model.width,
        heads=model.backbone.mixer.heads,
        padded=False,
    ).eval()
    other.load_state_dict(nano_weights(objective.model))
    return {"causal": _apart(objective.loss(batch).total, other(batch.ids, batch.targets["next"]))}


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return abs(float(one) - float(other))
