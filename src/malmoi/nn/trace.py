"""What a backbone returns: always the same named structure.

R rows, T positions, D width, P recurrent width, H cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

State = tuple[tuple[Tensor, ...], ...]
"""What a backbone carries from one window to the next: for each block its tensors, rows first. LSTM: (h_RP, c_RH). Attention: (keys,
values), each (R, S, heads, K), of the S positions read before; only while generating."""


@dataclass(frozen=True)
class Layout:
    """What attention must know of the rows beside their vectors; recurrent backbones do without.

    segments, positions, prefix (R, T): as in Batch; prefix None: there is none.
    memory (R, S, D), memory_segments (R, S): what a decoder attends to.
    scores: also return attention weights, by the exact slow path.
    """

    segments: Tensor
    positions: Tensor
    prefix: Tensor | None = None
    memory: Tensor | None = None
    memory_segments: Tensor | None = None
    scores: bool = False


@dataclass(frozen=True)
class Trace:
    """last (R, T, D): what heads read; layers: front-end output first, then the output of each block, each (R, T, D), the last one
    after the backbone's last norm; the state after the last position; attention weights of each block (R, heads, T, S), if they were asked
    for; losses of the backbone's own, by name."""

    last: Tensor
    layers: tuple[Tensor, ...]
    state: State = ()
    attention: tuple[Tensor, ...] = ()
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
