"""The oracle of the CRF on cases that can be told without it."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def oracle():
    spec = importlib.util.spec_from_file_location("all_paths", Path(__file__).with_name("all_paths.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_scores_every_path_counts_the_same(oracle):
    nothing = [0.0] * 3, [[0.0] * 3] * 3, [0.0] * 3
    assert oracle.log_partition([[0.0] * 3] * 4, *nothing) == pytest.approx(4 * math.log(3))


def test_without_steps_the_places_are_apart(oracle):
    scores = [[0.5, -1.0], [2.0, 0.25], [0.0, 1.0]]
    nothing = [0.0] * 2, [[0.0] * 2] * 2, [0.0] * 2
    expected = sum(math.log(sum(math.exp(value) for value in row)) for row in scores)
    assert oracle.log_partition(scores, *nothing) == pytest.approx(expected)
    assert oracle.best(scores, *nothing) == ([0, 0, 1], 3.5)


def test_rules_leave_paths_out(oracle):
    allowed = [[True, False], [True, True]]
    assert list(oracle.paths(3, 2, allowed=allowed)) == [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)]
    assert list(oracle.paths(2, 2, begins=[True, False])) == [(0, 0), (0, 1)]
