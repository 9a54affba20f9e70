"""The recording of the original program as a fixture: test folders are no packages, so it is loaded by its path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # toy_training


@pytest.fixture(scope="session")
def golden() -> ModuleType:
    """tests/golden_elmo.py."""
    spec = importlib.util.spec_from_file_location("golden_elmo", Path(__file__).resolve().parents[1] / "golden_elmo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
