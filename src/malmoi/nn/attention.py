"""Attention inside the documents of dense rows: fused where no weights are asked for, step by step where they are.

R rows, T positions that ask, S positions that answer, H heads, K width of a head, D = H x K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.recipe import AttentionSpec
from malmoi.nn.trace import Layout

BASE = 10_000.0
"""Of the wave lengths of sinusoidal and rotary positions (Vaswani et al. 2017, section 3.5; Su et al. 2021, section 3.2)."""


@dataclass(frozen=True)
class Sight:
    """What a forward pass works out once for all of its blocks.

    mask: None, or (R, 1, T, S) added to the scores, 0 or minus infinity. causal: without a mask, nothing later is seen.
    turn: cosines and sines (R, T, 1, K / 2) of rotary positions. memory_mask: as mask, for the memory of a decoder.
    """

    mask: Tensor | None = None
    causal: bool = False
    turn: tuple[Tensor, Tensor] | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None
    scores: bool = False


def sight(layout: Layout, sees: str, *, past: int, rotary: int | None, dtype: torch.dtype) -> Sight:
    """`Sight` of a layout. past: positions that a state holds; rotary: width of a head whose positions turn, or None."""
    turn = None if rotary is None else _turn(layout.positions, rotary)
    memory_mask = None
    if layout.memory is not None and layout.memory_segments is not None:
        memory_mask = _additive(layout.segments[:, :, None] == layout.memory_segments[:, None, :], dtype)
    mask, causal = None, not past and (sees == "causal" or (sees == "prefix" and layout.prefix is None))
    if past:  # generation: one document a row
        rows, new = layout.segments.shape
        steps = torch.arange(past + new, device=layout.segments.device)
        mask = _additive((steps <= steps[past:, None]).expand(rows, new, past + new), dtype) if new > 1 and sees != "full" else None
    elif _mixed(layout.segments, end_is_harmless=causal):
        mask, causal = _additive(allowed(layout, sees), dtype), False
    elif layout.prefix is not None and sees == "prefix":
        mask, causal = _additive(allowed(layout, sees), dtype), False
    return Sight(mask, causal, turn, layout.memory, memory_mask, layout.scores)


def allowed(layout: Layout, sees: str) -> Tensor:
    """(R, T, T) bool: whether position t attends to position s: always of the same document (`segments` 0 are one of their own)."""
    same = layout.segments[:, :, None] == layout.segments[:, None, :]
    if sees == "full":
        return same
    steps = torch.arange(layout.segments.shape[1], device=layout.segments.device)
    earlier = steps[None, :, None] >= steps[None, None, :]
    if sees == "prefix" and layout.prefix is not None:
        earlier = earlier | layout.prefix[:, None, :]
    return same & earlier


def _mixed(segments_RT: Tensor, *, end_is_harmless: bool) -> bool:
    """Whether a row holds more than one document. What stands behind the only one is never seen where attention is causal."""
    if segments_RT.is_cuda:  # to look would wait for the device
        return True
    first = segments_RT[:, :1]
    other = segments_RT != first
    return bool((other & (segments_RT != 0)).any() if end_is_harmless else other.any())


def _additive(allowed_RTS: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(allowed_RTS.shape, dtype=dtype, device=allowed_RTS.device).masked_fill_(~allowed_RTS, -math.inf)[:, None]


def _turn(positions_RT: Tensor, width: int) -> tuple[Tensor, Tensor]:
    rates = BASE ** (-torch.arange(0, width, 2, device=positions_RT.device, dtype=torch.float32) / width)
    angle = positions_RT[:, :, None, None].float() * rates
    return angle.cos(), angle.sin()


def turned(x_RTHK: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (Su et al. 2021, section 3.4): the halves of a head are the two coordinates that turn."""
    cos, sin = (part.to(x_RTHK.dtype) for part in turn)
    one, two = x_RTHK.chunk(2, dim=-1)
    return torch.cat([one * cos - two * sin, two * cos + one * sin], dim=-1)


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2): one matrix for queries, keys and values, one for the output."""

    def __init__(self, spec: AttentionSpec, width: int) -> None:
        super().__init__()
        self.heads = spec.heads
        self.drop = nn.Dropout(spec.dropout)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_RTD: Tensor, state: tuple[Tensor, ...] | None, sight: Sight) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """-> (R, T, D), the state if one was given, and attention weights (R, H, T, S) if `sight.scores`."""
        q, k, v = self.qkv(x_RTD).unflatten(-1, (3, self.heads, -1)).unbind(2)
        if sight.turn is not None:
            q, k = turned(q, sight.turn), turned(k, sight.turn)
        if state is not None:
            k, v = (torch.cat([past, new], dim=1) for past, new in zip(state, (k, v), strict=True))
        y_RTD, weights = attend(q, k, v, mask=sight.mask, causal=sight.causal, drop=self.drop, scores=sight.scores)
        return self.out(y_RTD), (k, v) if state is not None else (), weights

    def initial_state(self, rows: int) -> tuple[Tensor, Tensor]:
        """Nothing read yet: keys and values (R, 0, H, K)."""
        empty = self.out.weight.new_zeros(rows, 0, self.heads, self.out.in_features // self.heads)
        return empty, empty


class CrossAttention(nn.Module):
    """Attention of a decoder to the memory that an encoder left (Vaswani et al. 2017, section 3.2.3)."""

    def __init__(self, spec: AttentionSpec, width: int) -> None:
        super().__init__()
        self.heads = spec.heads
        self.drop = nn.Dropout(spec.dropout)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_RTD: Tensor, sight: Sight) -> Tensor:
        assert sight.memory is not None, "a decoder needs the memory of its encoder"
        q = self.q(x_RTD).unflatten(-1, (self.heads, -1))
        k, v = self.kv(sight.memory).unflatten(-1, (2, self.heads, -1)).unbind(2)
        return self.out(attend(q, k, v, mask=sight.memory_mask, causal=False, drop=self.drop, scores=False)[0])


def attend(
    q_RTHK: Tensor, k_RSHK: Tensor, v_RSHK: Tensor, *, mask: Tensor | None, causal: bool, drop: nn.Dropout, scores: bool
) -> tuple[Tensor, Tensor | None]:
    """-> (R, T, D), and with `scores` the weights (R, H, T, S), worked out step by step."""
    q, k, v = (x.transpose(1, 2) for x in (q_RTHK, k_RSHK, v_RSHK))
    if not scores:
        if mask is not None:
            mask = mask.to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=drop.p if drop.training else 0.0)
        return y.transpose(1, 2).flatten(2), None
    found = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        found = found.masked_fill(torch.ones_like(found, dtype=torch.bool).triu(1), -math.inf)
    weights = torch.softmax(found if mask is None else found + mask, dim=-1)
    return (drop(weights) @ v).transpose(1, 2).flatten(2), weights
