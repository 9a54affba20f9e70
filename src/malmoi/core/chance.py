"""Random numbers as a function of (row, place, purpose): what is drawn for a row does not depend on what is drawn beside it.

A counter goes through the finalizer of SplitMix64 (Steele, Lea and Flood 2014), so any number can be had at once, on any device, the
same everywhere. R rows, T positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed number


def uniform(keys_R: Tensor, length: int, purpose: int) -> Tensor:
    """(R, length) float64 in [0, 1), decided by each row's key, the place and `purpose` (a small number)."""
    place_T = torch.arange(length, device=keys_R.device, dtype=torch.int64)
    state_RT = _mixed(keys_R[:, None] + _mixed(place_T * GOLDEN + (purpose + 1) * (GOLDEN >> 7)))
    return (state_RT >> 11 & ((1 << 53) - 1)).double() * 2.0**-53


def _mixed(z: Tensor) -> Tensor:
    """SplitMix64's finalizer on int64 (which wraps as unsigned numbers do)."""
    z = (z ^ _right(z, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    z = (z ^ _right(z, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return z ^ _right(z, 31)


def _right(z: Tensor, bits: int) -> Tensor:
    """Shift to the right that brings in zeros."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
