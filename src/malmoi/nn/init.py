"""Initializations by paper. Each part also has one of its own, which `parts` leaves as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from malmoi.nn.attention import Attention, CrossAttention
from malmoi.nn.backbone import MLP, Backbone
from malmoi.nn.frontends import SoftOneHot, TokenEmbedding
from malmoi.nn.heads import VocabularyHead
from malmoi.nn.model import Model

STD = 0.02
WAVES = 4 * STD
"""Height of the waves of `neighbours`: against tokens of 0.02 they decide where a head looks, and leave most of a vector to the token."""
SHARPNESS = 8.0
"""Score of the place that such a head looks at: it takes about four fifths of the weight."""
RANGE = 64.0
"""Longest over shortest wave; the shortest is two positions long."""


def initialize(module: nn.Module, paper: Literal["parts", "bert", "gpt2", "transformer", "neighbours", "word2vec"]) -> None:
    """Draw the weights of `module` anew.

    bert: matrices and embeddings from N(0, 0.02), biases 0, norms 1 and 0 (Devlin et al. 2019's code; GPT-1 section 4.1).
    gpt2: the same, but what writes into the residual stream is divided by the root of the number of such parts (Radford et al. 2019,
    section 2.3). transformer: Xavier's uniform for matrices, N(0, 1 / width) for embeddings (tensor2tensor). neighbours: as bert, and the
    heads begin by looking at the places beside each token, one before, one behind, two before ... (`look_around`). word2vec: words from
    U(-0.5, 0.5) / width, output rows of zeros (word2vec.c).
    """
    if paper == "parts":
        return
    if paper == "word2vec":
        _static(module)
        return
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight) if paper == "transformer" else nn.init.normal_(part.weight, std=STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, TokenEmbedding | SoftOneHot):
            for weights in (part.weight, getattr(part, "positions", None), getattr(part, "types", None)):
                if weights is not None:
                    nn.init.normal_(weights, std=weights.shape[1] ** -0.5 if paper == "transformer" else STD)
    if paper == "neighbours":
        look_around([part for part in module.modules() if isinstance(part, Model)])
    if paper == "gpt2":
        for backbone in (part for part in module.modules() if isinstance(part, Backbone)):
            _quieter(backbone)


def _static(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, TokenEmbedding):
            nn.init.uniform_(part.weight, -0.5 / part.weight.shape[1], 0.5 / part.weight.shape[1])
        elif isinstance(part, VocabularyHead):
            nn.init.zeros_(part.weight)


def _quieter(backbone: Backbone) -> None:
    """The matrices that write into the residual stream: two a block, three in a decoder; shared ones once."""
    writers = [part.out if isinstance(part, Attention | CrossAttention) else part.down for part in _parts(backbone)]
    for writer in {id(each): each for each in writers}.values():
        nn.init.normal_(writer.weight, std=STD / math.sqrt(len(writers)))


def _parts(backbone: nn.Module) -> list[Attention | CrossAttention | MLP]:
    found = [part for block in backbone.blocks for part in block.modules()]  # type: ignore[union-attr]
    return [part for part in found if isinstance(part, Attention | CrossAttention | MLP)]


@torch.no_grad()
def look_around(models: Sequence[Model]) -> None:
    """Heads that attend to fixed distances, -1, 1, -2, 2, ..., made of weights alone; training is free to change them.

    With N(0, 0.02) attention is spread evenly at first, and a small masked model needs tens of millions of tokens to find out that gaps are
    filled from beside them; until then it knows word frequencies. Here the first K dimensions of the positions (K = width of a head)
    are waves, which are turned by a rotation where the position moves by a distance (Vaswani et al. 2017, section 3.5), so that
    queries that turn them and keys that do not meet at that distance. Trockman and Kolter 2023 ("Mimetic initialization of
    self-attention layers") do the like for what trained models look like. The architecture is BERT's, unchanged. The waves take at most a
    quarter of the table, so that tokens and positions weigh alike, and pass a projection behind the table as they are. models: all that
    share their embeddings.
    """
    heads = {id(model): [part for part in _parts(model.backbone) if isinstance(part, Attention)] for model in models}
    width = max(parts[0].out.in_features // parts[0].heads for parts in heads.values())
    for model in models:
        front = model.frontend
        assert isinstance(front, TokenEmbedding) and front.positions is not None, "heads find their neighbours by learned positions"
        length, table = front.positions.shape
        width = min(width, table // 4)
        front.positions[:, :width] = WAVES * waves(length, width)
        others = STD**2 * (2 if front.types is not None else 1)  # what tokens and types add to each dimension
        total = math.sqrt(others + STD**2 * (1 - width / table) + WAVES**2 / 2 * width / table)  # the front-end's norm divides by it
        if isinstance(front.projection, nn.Linear):
            nn.init.normal_(front.projection.weight, std=table**-0.5)  # vectors keep their length behind a narrow table
            nn.init.eye_(front.projection.weight[:width])
        for layer, attention in enumerate({id(part): part for part in heads[id(model)]}.values()):
            _look(attention, width, total / WAVES, first=layer * attention.heads)


def _look(attention: Attention, width: int, scale: float, *, first: int) -> None:
    """Queries and keys of every head that meet at its distance; the first `width` dimensions of its input, times `scale`, are the waves.
    first: heads below it: where a layer has fewer than four, those above go on with the distances."""
    q_HKD, k_HKD, _ = attention.qkv.weight.view(3, attention.heads, -1, attention.out.in_features)
    seen = min(width, q_HKD.shape[1])
    gain = scale * math.sqrt(2 * SHARPNESS * math.sqrt(q_HKD.shape[1]) / seen)
    for head in range(attention.heads):
        place = (first + head) % max(attention.heads, 4)
        distance = (place // 2 + 1) * (-1, 1)[place % 2]
        q_HKD[head, :seen, :seen] += gain * turn(width, distance)[:seen, :seen]
        k_HKD[head, :seen, :seen] += gain * torch.eye(seen)


def waves(length: int, width: int) -> Tensor:
    """(length, width): sines and cosines side by side, of wave lengths from 2 to 128 positions."""
    angle = torch.arange(length, dtype=torch.float64)[:, None] * _rates(width)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1).float()


def turn(width: int, distance: int) -> Tensor:
    """(width, width): the rotation that takes the waves of every position to those `distance` further."""
    angle = _rates(width) * distance
    blocks = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
    return torch.block_diag(*blocks).float()


def _rates(width: int) -> Tensor:
    """Radians a position."""
    return math.pi * RANGE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
