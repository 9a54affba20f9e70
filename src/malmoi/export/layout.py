"""Where each number of an ELMo stands in AllenNLP's (bilm-tf's) HDF5 file and in our modules.

The file follows TensorFlow: y = x @ W, gates in the order input, candidate, forget, output, [x ; h] in one matrix. Every conversion here
only moves numbers, so both ways are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from malmoi.core.recipe import BackboneSpec, CharacterCNNSpec, LSTMSpec, ModelSpec

CHARACTERS = 261
"""256 bytes, <S>, </S>, begin of word, end of word, padding."""

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """One dataset of the file: its name and shape, the parameters that it holds, and how to get them out and in."""

    name: str
    shape: tuple[int, ...]
    parameters: tuple[str, ...]
    unpack: Callable[[np.ndarray], Arrays]
    pack: Callable[[Sequence[np.ndarray]], np.ndarray]


def datasets(model: ModelSpec, *, projected: bool) -> Iterator[Dataset]:
    """Every dataset of a checkpoint of this model. Parameters are named as in `BiLM.named_parameters()`, without the head.

    projected False: the LSTMs have no projection in the file; ours is then the identity, which changes nothing.
    """
    assert isinstance(model.frontend, CharacterCNNSpec) and isinstance(model.backbone, BackboneSpec)
    yield from _frontend(model.frontend, model.width)
    mixer = model.backbone.mixer
    assert isinstance(mixer, LSTMSpec)
    for index, direction in enumerate(("forward", "backward")):
        for layer in range(model.backbone.depth):
            root = f"RNN_{index}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            ours = f"{direction}_model.backbone.blocks.{layer}.mixer."
            yield _kernel(root + "W_0", ours, width=model.width, cell=mixer.cell)
            yield Dataset(root + "B", (4 * mixer.cell,), (ours + "bias",), lambda b: [_swapped(b)], lambda parts: _swapped(parts[0]))
            if projected:
                yield _matrix(root + "W_P_0", ours + "projection", mixer.cell, model.width)


def identities(model: ModelSpec) -> dict[str, np.ndarray]:
    """The projections of LSTMs whose file has none: name -> value."""
    assert isinstance(model.backbone, BackboneSpec)
    names = [
        f"{way}_model.backbone.blocks.{layer}.mixer.projection" for way in ("forward", "backward") for layer in range(model.backbone.depth)
    ]
    return {name: np.eye(model.width, dtype=np.float32) for name in names}


def _frontend(spec: CharacterCNNSpec, width: int) -> Iterator[Dataset]:
    ours = "forward_model.frontend."
    yield _same("char_embed", ours + "embedding", CHARACTERS, spec.width)
    for number, (wide, count) in enumerate(spec.filters):
        yield Dataset(
            f"CNN/W_cnn_{number}",
            (1, wide, spec.width, count),
            (f"{ours}convolutions.{number}.weight",),
            lambda w: [w[0].transpose(2, 1, 0)],
            lambda parts: parts[0].transpose(2, 1, 0)[None],
        )
        yield _same(f"CNN/b_cnn_{number}", f"{ours}convolutions.{number}.bias", count)
    total = sum(count for _, count in spec.filters)
    for number in range(spec.highway):
        for theirs, part in (("carry", "gate"), ("transform", "transform")):
            yield _matrix(f"CNN_high_{number}/W_{theirs}", f"{ours}highways.{number}.{part}.weight", total, total)
            yield _same(f"CNN_high_{number}/b_{theirs}", f"{ours}highways.{number}.{part}.bias", total)
    if total != width:
        yield _matrix("CNN_proj/W_proj", ours + "projection.weight", total, width)
        yield _same("CNN_proj/b_proj", ours + "projection.bias", width)


def _same(name: str, parameter: str, *shape: int) -> Dataset:
    return Dataset(name, shape, (parameter,), lambda array: [array], lambda parts: parts[0])


def _matrix(name: str, parameter: str, rows: int, columns: int) -> Dataset:
    return Dataset(name, (rows, columns), (parameter,), lambda array: [array.T], lambda parts: parts[0].T)


def _kernel(name: str, ours: str, *, width: int, cell: int) -> Dataset:
    def unpack(w: np.ndarray) -> Arrays:
        both = _swapped(w.T)
        return [both[:, :width], both[:, width:]]

    def pack(parts: Sequence[np.ndarray]) -> np.ndarray:
        return _swapped(np.concatenate(parts, axis=1)).T

    return Dataset(name, (2 * width, 4 * cell), (ours + "input", ours + "recurrent"), unpack, pack)


def _swapped(gates: np.ndarray) -> np.ndarray:
    """Exchange the second and third quarter of the first axis: candidate and forget gate (its own inverse)."""
    first, second, third, fourth = np.split(gates, 4, axis=0)
    return np.concatenate([first, third, second, fourth], axis=0)
