"""What a training step will hold in memory, from the spec alone: shapes are known before anything is allocated.

N positions of a step (both directions), D width, H cells, V output words, S candidates, W distinct words, C characters a word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from malmoi.core.marks import Marks
from malmoi.core.recipe import (
    AttentionSpec,
    BackboneSpec,
    CharacterCNNSpec,
    RowsSpec,
    RunSpec,
    SampledSoftmaxSpec,
    SkipGramSpec,
)
from malmoi.nn.frontends import LENGTH_GROUPS
from malmoi.nn.heads import CACHED_ELEMENTS, CHUNK_ELEMENTS
from malmoi.objectives.build import build
from malmoi.objectives.skipgram import TILE

FLOAT = 4


@dataclass(frozen=True)
class Estimate:
    """Parameters (count), those of the output layer among them, and bytes by what holds them at the peak of a step."""

    parameters: int
    output_parameters: int
    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes in all, without what the process holds before (interpreter, libraries, vocabulary)."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate(
    spec: RunSpec,
    *,
    words: int,
    characters: int,
    marks: Marks | None = None,
    counts: np.ndarray | None = None,
    distinct: int = 0,
    places: int = 0,
) -> Estimate:
    """Memory of training `spec`. words, characters, marks, counts: as for `build`; `distinct` words a step, `places` convolved in them."""
    with torch.device("meta"):
        objective = build(spec, words=words, characters=characters, marks=marks, counts=counts)
    parameters = sum(parameter.numel() for parameter in objective.parameters())
    output = sum(parameter.numel() for parameter in objective.head.parameters())
    rows = _sampled_rows(spec, objective.output_size)
    dense = parameters - (objective.output_size * spec.model.width if rows else 0)
    states = {"adagrad": 1, "adamw": 2, "sgd": 0}[spec.training.optimizer.kind]
    kept, passing = _frontend(spec, distinct=distinct, places=places)
    # the backbone has let go of its own when the backward pass reaches the front-end
    activations = kept + max(_backbone(spec), passing) + _head(spec, objective.output_size, rows)
    if isinstance(spec.objective, SkipGramSpec):
        dense, rows, activations = 0, _positions(spec), _pairs(spec, spec.objective)
    return Estimate(
        parameters=parameters,
        output_parameters=output,
        weights=FLOAT * parameters,
        gradients=FLOAT * (dense + 4 * rows * spec.model.width),
        optimizer=FLOAT * states * parameters,
        activations=FLOAT * activations,
    )


def _pairs(spec: RunSpec, objective: SkipGramSpec) -> int:
    """Of skip-gram: vectors of the tiles and around them, their products, and the gradients of all."""
    around = TILE + 2 * objective.window
    vectors = (3 * TILE + 2 * around) * spec.model.width // TILE
    return _positions(spec) * (2 * vectors + 6 * (around + TILE))


def _positions(spec: RunSpec) -> int:
    if isinstance(spec.stream, RowsSpec):
        return spec.stream.rows * spec.stream.length
    return 2 * spec.stream.streams * spec.stream.window


def _sampled_rows(spec: RunSpec, size: int) -> int:
    """Rows of the output layer that get a gradient; 0 where all of them do."""
    softmax = spec.model.head.softmax
    sampled = isinstance(softmax, SampledSoftmaxSpec) and 2 * softmax.samples < size
    return _positions(spec) + softmax.samples if sampled and isinstance(softmax, SampledSoftmaxSpec) else 0


def _backbone(spec: RunSpec) -> int:
    """Kept for the backward pass: gates (4H), cells, squashed cells (H each), outputs, inputs and dropout masks (D each); while one
    layer goes back, the gradients of its gates as well."""
    backbone, width = spec.model.backbone, spec.model.width
    if not isinstance(backbone, BackboneSpec):
        return 0
    if isinstance(backbone.mixer, AttentionSpec):
        return _attention(spec, backbone, backbone.mixer)
    cells = backbone.mixer.cell
    return _positions(spec) * (backbone.depth * (6 * cells + 6 * width) + (5 * cells + 2 * width) // 2)


def _attention(spec: RunSpec, backbone: BackboneSpec, mixer: AttentionSpec) -> int:
    """Kept by each block: what enters its parts and norms (7D), queries, keys and values (3D), what attention gives (D), the feed-forward
    part before and behind its activation, weights of attention where they drop out. Generator and decoder count as a share of it."""
    assert backbone.feedforward is not None and isinstance(spec.stream, RowsSpec)
    width, inner = spec.model.width, backbone.feedforward.width
    kept = 11 * width + 2 * inner + (3 * mixer.heads * spec.stream.length if mixer.dropout else 0)
    if spec.model.dropout:
        kept += 2 * width
    beside = {"replaced": getattr(spec.objective, "generator", 0.0), "sequence": 1.5}.get(spec.objective.kind, 0.0)
    return int(_positions(spec) * (backbone.depth * kept + 2 * inner) * (1.0 + beside))


def _predictions(spec: RunSpec) -> int:
    """Positions that the output layer sees."""
    return int(_positions(spec) * getattr(spec.objective, "rate", 1.0))


def _frontend(spec: RunSpec, *, distinct: int, places: int) -> tuple[int, int]:
    """(kept, passing): convolution outputs at every place, highway layers, projection; the gradients of one filter width and group."""
    frontend = spec.model.frontend
    if not isinstance(frontend, CharacterCNNSpec):
        return _positions(spec) * spec.model.width, 0
    filters = sum(count for _, count in frontend.filters)
    largest = max(count for _, count in frontend.filters)
    kept = places * (filters + 3 * frontend.width) + distinct * filters * (2 + 6 * frontend.highway)
    return kept + _positions(spec) * spec.model.width, 3 * places // LENGTH_GROUPS * largest


def _head(spec: RunSpec, size: int, rows: int) -> int:
    """Sampled: a chunk of logits, the gathered rows and their gradients. Full: one chunk of logits, and the gradient of the weights."""
    positions, width = _predictions(spec), spec.model.width
    if rows:
        return 2 * CACHED_ELEMENTS + 3 * positions * width + 4 * rows * width
    if spec.model.head.softmax.kind == "adaptive":
        return 3 * positions * 4000
    return min(CHUNK_ELEMENTS, positions * size) + size * width
