"""The recorded training of the original program (derived/golden_train_trace.hdf5) in terms of malmoi.

The layout is written down here from the description of the recording and shares nothing with `malmoi.export`. There `<S>` is
word 0 and `</S>` word 1; here it is the other way round.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.recipe import BackboneSpec, CharacterCNNSpec, CharacterSpec, LSTMSpec, ModelSpec, RunSpec, VocabularyHeadSpec
from malmoi.objectives import BiLM, build
from malmoi.vocab import EncodedText, Vocabulary, encode_documents

CHARACTERS = 261
IDS = np.array([1, 0, *range(2, 32)])
"""A word's id in the recording -> its id here (the exchange of the first two is its own inverse)."""


def open_trace(shared: Path) -> h5py.File:
    """The recording: groups weights_before, weights_after, step00 ... step11."""
    return h5py.File(shared / "fixtures/elmo/derived/golden_train_trace.hdf5")


def trace_spec(trace: h5py.File, *, head: VocabularyHeadSpec | None = None) -> RunSpec:
    """The spec of the recorded model."""
    options = json.loads(trace.attrs["options"])
    cnn, lstm = options["char_cnn"], options["lstm"]
    mixer = LSTMSpec(cell=lstm["dim"], cell_clip=lstm["cell_clip"], projection_clip=lstm["proj_clip"], forget_bias=1.0)
    frontend = CharacterCNNSpec(
        width=cnn["embedding"]["dim"], filters=cnn["filters"], activation=cnn["activation"], highway=cnn["n_highway"]
    )
    return RunSpec(
        name="golden",
        characters=CharacterSpec(length=cnn["max_characters_per_token"], cut="byte"),
        model=ModelSpec(
            width=lstm["projection_dim"],
            dropout=options["dropout"],
            frontend=frontend,
            backbone=BackboneSpec(depth=lstm["n_layers"], mixer=mixer, residual_from=1),
            head=head or VocabularyHeadSpec(size=options["n_tokens_vocab"]),
        ),
    )


def weights_of(group: h5py.Group) -> dict[str, np.ndarray]:
    """The weights of a group under the names of `BiLM.named_parameters()`."""
    theirs = {name.replace("|", "/"): group[name][:] for name in group}
    ours = {"forward_model.frontend.embedding": theirs["char_embed"]}
    for index in range(3):
        ours[f"forward_model.frontend.convolutions.{index}.weight"] = theirs[f"CNN/W_cnn_{index}"][0].transpose(2, 1, 0)
        ours[f"forward_model.frontend.convolutions.{index}.bias"] = theirs[f"CNN/b_cnn_{index}"]
    for index in range(2):
        for name, part in (("carry", "gate"), ("transform", "transform")):
            ours[f"forward_model.frontend.highways.{index}.{part}.weight"] = theirs[f"CNN_high_{index}/W_{name}"].T
            ours[f"forward_model.frontend.highways.{index}.{part}.bias"] = theirs[f"CNN_high_{index}/b_{name}"]
    ours["forward_model.frontend.projection.weight"] = theirs["CNN_proj/W_proj"].T
    ours["forward_model.frontend.projection.bias"] = theirs["CNN_proj/b_proj"]
    for index, direction in enumerate(("forward", "backward")):
        for layer in range(2):
            cell, mixer = f"RNN_{index}/rnn/multi_rnn_cell/cell_{layer}/lstm_cell", f"{direction}_model.backbone.blocks.{layer}.mixer"
            kernel, bias = _gates(theirs[f"{cell}/kernel"]), _gates(theirs[f"{cell}/bias"])
            width = kernel.shape[0] // 2
            ours[f"{mixer}.input"], ours[f"{mixer}.recurrent"], ours[f"{mixer}.bias"] = kernel[:width].T, kernel[width:].T, bias
            ours[f"{mixer}.projection"] = theirs[f"{cell}/projection/kernel"].T
    ours["forward_model.heads.words.weight"] = theirs["softmax/W"][IDS]
    ours["forward_model.heads.words.bias"] = theirs["softmax/b"][IDS]
    return ours


def load_trace_objective(group: h5py.Group, *, head: VocabularyHeadSpec | None = None) -> BiLM:
    """The recorded model with the weights of `group` (weights_before or weights_after)."""
    objective = build(trace_spec(group.file, head=head), words=len(IDS), characters=CHARACTERS)
    weights = weights_of(group)
    parameters = dict(objective.named_parameters())
    assert parameters.keys() == weights.keys(), parameters.keys() ^ weights.keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            value = torch.from_numpy(np.ascontiguousarray(weights[name]))
            assert parameter.shape == value.shape, name
            parameter.copy_(value)
    return objective


def trace_batch(step: h5py.Group) -> Batch:
    """The batch of a recorded step, word for word, and characters as they were."""
    ids = torch.from_numpy(IDS[np.concatenate([step["in_token_ids"][:], step["in_token_ids_reverse"][:]])])
    targets = torch.from_numpy(IDS[np.concatenate([step["in_next_token_id"][:], step["in_next_token_id_reverse"][:]])])
    spelt = np.concatenate([step["in_tokens_characters"][:], step["in_tokens_characters_reverse"][:]]).astype(np.int64)
    characters, words = np.unique(spelt.reshape(-1, spelt.shape[-1]), axis=0, return_inverse=True)
    return Batch(
        ids=ids,
        segments=torch.ones_like(ids),
        positions=torch.zeros_like(ids),
        targets={"next": targets},
        words=torch.from_numpy(words.reshape(ids.shape)),
        characters=torch.from_numpy(characters),
    )


def trace_carry(step: h5py.Group) -> dict[str, tuple[tuple[Tensor, Tensor], ...]]:
    """The states after a recorded step, as a carry: for each direction and layer (h, c)."""
    final = [torch.from_numpy(step[name][:]) for name in sorted(name for name in step if name.startswith("final_state"))]
    pairs = [(h, c) for c, h in zip(final[::2], final[1::2], strict=True)]
    return {"forward": tuple(pairs[:2]), "backward": tuple(pairs[2:])}


def trace_text(shared: Path) -> tuple[EncodedText, Vocabulary]:
    """train/data.txt, one document a line, with the recorded vocabulary."""
    folder = shared / "fixtures/elmo/bilm-tf/train"
    known = (folder / "vocab.txt").read_text(encoding="utf-8").split()
    counts: dict[str, Any] = {word: len(known) - rank for rank, word in enumerate(known[3:])}
    vocabulary = Vocabulary.build(counts, CharacterSpec(length=10, cut="byte"))
    assert list(vocabulary.words) == [known[1], known[0], *known[2:]]
    lines = (folder / "data.txt").read_text(encoding="utf-8").splitlines()
    return encode_documents([line.split() for line in lines], vocabulary), vocabulary


def _gates(columns: np.ndarray) -> np.ndarray:
    """Input, candidate, forget, output -> input, forget, candidate, output (last axis)."""
    i, j, f, o = np.split(columns, 4, axis=-1)
    return np.concatenate([i, f, j, o], axis=-1)
