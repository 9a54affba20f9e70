"""What a backbone returns: always the same named structure.

R rows, T positions, D width, P recurrent width, H cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

State = tuple[tuple[Tensor, ...], ...]
"""What a backbone carries from one window to the next: for each block its tensors, rows first. LSTM: (h_RP, c_RH)."""


@dataclass(frozen=True)
class Trace:
    """last (R, T, D); layers: front-end output first, then the output of each block, each (R, T, D); the state after the last
    position; losses of the backbone's own, by name."""

    last: Tensor
    layers: tuple[Tensor, ...]
    state: State = ()
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
