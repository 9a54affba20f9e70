"""Intervals over seeds, and tables."""

import pytest

from malmoi.tasks.table import difference, interval, student, table


def test_quantiles_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (*range(1, 40), 100, 1000):
        assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-5)


def test_interval_by_hand():
    """Gosset's way: mean 3, deviation 1, standard error 1 / sqrt(3), t = 4.3027."""
    found = interval([2.0, 3.0, 4.0])
    assert (found.mean, found.deviation, found.count) == (3.0, 1.0, 3)
    assert found.half == pytest.approx(2.484138, abs=1e-5)
    assert str(found) == "3.0000 ± 2.4841"


def test_one_number_has_no_interval():
    assert interval([0.5]).half is None and str(interval([0.5])) == "0.5000"


def test_differences_are_paired():
    found = difference([0.9, 0.7, 0.5], [0.8, 0.6, 0.4])
    assert found.mean == pytest.approx(0.1) and found.half == pytest.approx(0.0, abs=1e-9)
    assert difference([0.9, 0.7], [0.5]).mean == pytest.approx(0.3)
    with pytest.raises(ValueError, match="argument 2"):
        difference([0.9, 0.7], [0.5, 0.4, 0.3])


def test_tables():
    rows = [["0", 0.25], ["a|b", ""]]
    assert table(["layer", "x"], rows) == "layer     x\n0      0.25\na|b"
    assert table(["layer", "x"], rows, markdown=True).splitlines() == ["| layer | x |", "|---|---:|", "| 0 | 0.25 |", "| a\\|b |  |"]
