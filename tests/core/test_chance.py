"""Random numbers as a function of row, place and purpose: uniform, independent, and the same everywhere for good."""

import numpy as np
import pytest
import torch

from malmoi.core.chance import uniform


def splitmix(z):
    """The finalizer of SplitMix64 on Python's integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def slow(key, place, purpose):
    golden = 0x9E3779B97F4A7C15
    shifted = ((golden - 2**64) >> 7) % 2**64
    inner = splitmix((place * golden + (purpose + 1) * shifted) % 2**64)
    return (splitmix((key + inner) % 2**64) >> 11) * 2.0**-53


def test_it_is_the_same_arithmetic_on_unsigned_integers():
    keys = [0, 1, 12345, 2**62 - 1, 2**63 - 1]
    found = uniform(torch.tensor(keys), 6, 3)
    expected = [[slow(key, place, 3) for place in range(6)] for key in keys]
    assert found.dtype == torch.float64 and found.tolist() == expected


def test_golden_numbers():
    """A change here changes every corruption of every run: a resumed run would go on with other gaps."""
    found = uniform(torch.tensor([0, 7]), 2, 1).flatten().tolist()
    assert [number.hex() for number in found] == [
        "0x1.d6d782012aae4p-2",
        "0x1.78eb6db2b9f10p-5",
        "0x1.18eabce92deb2p-1",
        "0x1.067b219559109p-1",
    ]


def test_numbers_are_uniform():
    """Chi-square over 64 cells (99.9 % at 63 degrees of freedom: 103.4), and the first two moments."""
    keys = torch.randint(1 << 62, (400,), generator=torch.Generator().manual_seed(0))
    x = uniform(keys, 500, 0).numpy().ravel()
    assert 0.0 <= x.min() and x.max() < 1.0 and len(np.unique(x)) == len(x)
    counts = np.bincount((x * 64).astype(int), minlength=64)
    assert ((counts - len(x) / 64) ** 2 / (len(x) / 64)).sum() < 103.4
    assert x.mean() == pytest.approx(0.5, abs=0.003) and x.var() == pytest.approx(1 / 12, abs=0.001)


@pytest.mark.parametrize("keys", [list(range(200)), [number << 40 for number in range(200)]], ids=["neighbours", "high bits"])
def test_rows_places_and_purposes_are_independent(keys):
    x = torch.stack([uniform(torch.tensor(keys), 200, purpose) for purpose in range(4)]).numpy()
    limit = 5 / np.sqrt(200 * 199)
    away = ~np.eye(200, dtype=bool)
    pairs = [(x[0, :-1], x[0, 1:]), (x[0, :, :-1], x[0, :, 1:]), (x[0], x[1]), (x[2], x[3]), (x[0][away], x[0].T[away])]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < limit


def test_a_row_does_not_depend_on_the_rows_beside_it_nor_on_its_length():
    keys = torch.tensor([5, 6, 7])
    whole = uniform(keys, 20, 2)
    assert torch.equal(uniform(keys[1:2], 20, 2), whole[1:2])
    assert torch.equal(uniform(keys.flip(0), 9, 2), whole.flip(0)[:, :9])
