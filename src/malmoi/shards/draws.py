"""Numbers drawn for rows and for what stands in them: functions of a key, not of what was drawn before (see `core.chance`)."""

from __future__ import annotations

import numpy as np

from malmoi.core.seeds import seed_of

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def keys_of(numbers: np.ndarray, *key: int | str) -> np.ndarray:
    """A key for each of `numbers` (any shape, int64 >= 0): int64 >= 0, decided by the number and `key`."""
    return (_mixed(numbers.astype(np.uint64) * GOLDEN + np.uint64(seed_of(*key))) >> np.uint64(1)).astype(np.int64)


def draws_of(keys: np.ndarray, count: int) -> np.ndarray:
    """(n, count) float64 in [0, 1) for `keys` (n,) int64."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
    return (_mixed(keys.astype(np.uint64)[:, None] + steps) >> np.uint64(11)) * 2.0**-53


def _mixed(z: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer (Steele, Lea and Flood 2014) on uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
