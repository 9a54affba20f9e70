"""Everything random is a pure function of named integers: no hidden generator state has to be saved or restored."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(*key: int | str) -> int:
    """A 63-bit seed for a purpose, e.g. `seed_of(run_seed, "dropout", step)`. Independent of platform and process."""
    text = "\x1f".join(str(part) for part in key).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def permutation(count: int, *key: int | str) -> np.ndarray:
    """A permutation of `range(count)`, shape `(count,)` int64, decided by `key` alone."""
    return np.random.Generator(np.random.Philox(seed_of(*key))).permutation(count)
