"""Which layers, how they are mixed, and how the words of a line become one vector.

L layers (layer 0 = the words without context), R rows, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from malmoi.core.errors import MalmoiError

Pool = Literal["none", "mean", "first"]
Choice = int | Literal["mean", "all"]
EPSILON = 1e-12


class ScalarMix(nn.Module):
    """gamma * sum over layers of softmax(weights)_l * layer_l: what a task learns (ELMo section 3.2, equation 1).

    Inputs: L tensors (R, T, D), and with `normalize` optionally valid (R, T), True where there is a word.
    Output: (R, T, D).
    normalize: each layer is brought to mean 0 and variance 1 over all valid numbers of the batch first, as bilm-tf's
    `weight_layers` does; a vector then depends on its batch. Both weights start even: softmax(0) is the plain mean, gamma 1.
    An L2 penalty on `weights` (the paper's lambda) belongs to the task's loss.
    """

    def __init__(self, layers: int, *, normalize: bool = False) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(()))
        self.normalize = normalize

    def forward(self, layers: Sequence[Tensor], valid_RT: Tensor | None = None) -> Tensor:
        """L x (R, T, D) -> (R, T, D)."""
        assert len(layers) == len(self.weights), f"{len(layers)} layers, {len(self.weights)} weights"
        if self.normalize:
            layers = [_normalized(layer, valid_RT) for layer in layers]
        shares = torch.softmax(self.weights, dim=0)
        mixed = shares[0] * layers[0]
        for share, layer in zip(shares[1:], layers[1:], strict=True):
            mixed = mixed + share * layer
        return self.gamma * mixed


def _normalized(x_RTD: Tensor, valid_RT: Tensor | None) -> Tensor:
    """Mean and variance are two numbers, over all words of the batch and all of their components."""
    used = x_RTD if valid_RT is None else x_RTD[valid_RT]
    mean = used.mean()
    return (x_RTD - mean) * torch.rsqrt((used - mean).square().mean() + EPSILON)


def choose(layer: str | int, count: int, *, others: str = "mix, mean, top, all") -> Choice:
    """A layer as users name it -> its number, or "mean" or "all". `mix` is the mean as long as no task has learned weights.

    Raises MalmoiError M009 for a name or number that is none of the `count` layers. others: the names that the error offers.
    """
    if layer in ("mix", "mean"):
        return "mean"
    if layer == "all":
        return "all"
    if layer == "top":
        return count - 1
    number = int(layer) if isinstance(layer, int) or layer.isdecimal() else -1
    if not 0 <= number < count:
        raise MalmoiError("M009", argument="layer", value=layer, problem=f"there are layers 0 to {count - 1}", next=f"or {others}.")
    return number


def pooled(vectors: np.ndarray, pool: str) -> np.ndarray:
    """(..., tokens, D) -> (..., D); "none" leaves it. A line without words becomes zeros. MalmoiError M009 for an unknown name."""
    if pool not in get_args(Pool):
        raise MalmoiError("M009", argument="pool", value=pool, problem="there is no such pooling", next="use none, mean or first.")
    if pool == "none":
        return vectors
    if vectors.shape[-2] == 0:
        return np.zeros((*vectors.shape[:-2], vectors.shape[-1]), dtype=vectors.dtype)
    return vectors.mean(axis=-2) if pool == "mean" else np.ascontiguousarray(vectors[..., 0, :])
