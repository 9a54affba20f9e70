"""Initializations by paper. Each part also has one of its own, which `parts` leaves as it is."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from malmoi.nn.attention import Attention, CrossAttention
from malmoi.nn.backbone import MLP, Backbone
from malmoi.nn.frontends import SoftOneHot, TokenEmbedding

STD = 0.02


def initialize(module: nn.Module, paper: Literal["parts", "bert", "gpt2", "transformer"]) -> None:
    """Draw the weights of `module` anew.

    bert: matrices and embeddings from N(0, 0.02), biases 0, norms 1 and 0 (Devlin et al. 2019's code; GPT-1 section 4.1).
    gpt2: the same, but what writes into the residual stream is divided by the root of the number of such parts (Radford et al. 2019,
    section 2.3). transformer: Xavier's uniform for matrices, N(0, 1 / width) for embeddings (tensor2tensor).
    """
    if paper == "parts":
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
    if paper == "gpt2":
        for backbone in (part for part in module.modules() if isinstance(part, Backbone)):
            _quieter(backbone)


def _quieter(backbone: Backbone) -> None:
    """The matrices that write into the residual stream: two a block, three in a decoder; shared ones once."""
    writers = [part.out if isinstance(part, Attention | CrossAttention) else part.down for part in _parts(backbone)]
    for writer in {id(each): each for each in writers}.values():
        nn.init.normal_(writer.weight, std=STD / math.sqrt(len(writers)))


def _parts(backbone: Backbone) -> list[Attention | CrossAttention | MLP]:
    found = [part for block in backbone.blocks for part in block.modules()]
    return [part for part in found if isinstance(part, Attention | CrossAttention | MLP)]
