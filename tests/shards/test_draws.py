"""Keys and draws against SplitMix64 as it was published, one number at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.seeds import seed_of
from malmoi.shards.draws import draws_of, keys_of

MASK = (1 << 64) - 1


def splitmix(state: int) -> tuple[int, int]:
    """The next state and the number that comes with it."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return state, z ^ (z >> 31)


@given(st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=5), st.integers(1, 5))
def test_draws_are_the_numbers_that_follow_a_key(keys: list[int], count: int) -> None:
    drawn = draws_of(np.array(keys, dtype=np.int64), count)
    assert drawn.shape == (len(keys), count) and drawn.dtype == np.float64
    for key, row in zip(keys, drawn.tolist(), strict=True):
        for value in row:
            key, number = splitmix(key)
            assert value == (number >> 11) / 2.0**53 and 0 <= value < 1


def test_the_first_published_numbers() -> None:
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert (draws_of(np.zeros(1, np.int64), 3)[0] * 2.0**53).astype(np.uint64).tolist() == [number >> 11 for number in expected]


@given(st.integers(0, 1 << 62), st.integers(0, 9))
def test_keys_are_numbers_of_one_sequence(number: int, seed: int) -> None:
    key = keys_of(np.array([[number]]), seed, "row")
    start = (seed_of(seed, "row") + (number - 1) * 0x9E3779B97F4A7C15) & MASK
    assert key.tolist() == [[splitmix(start)[1] >> 1]] and key.dtype == np.int64
    assert key.tolist() != keys_of(np.array([[number]]), seed, "piece").tolist()


def test_draws_are_even() -> None:
    drawn = draws_of(keys_of(np.arange(50_000), 3, "x"), 2)
    assert np.abs(np.histogram(drawn, bins=20, range=(0, 1))[0] / 5000 - 1).max() < 0.06
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.02 and abs(np.corrcoef(drawn[1:, 0], drawn[:-1, 0])[0, 1]) < 0.02
