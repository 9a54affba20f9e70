"""The oracle as a fixture: test folders are no packages, so it is loaded by its path."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """tests/oracles/numpy_elmo.py."""
    path = Path(__file__).resolve().parents[1] / "oracles" / "numpy_elmo.py"
    spec = importlib.util.spec_from_file_location("numpy_elmo", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
