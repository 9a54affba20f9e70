"""What every test may use: the shared data folder, and a fair share of the processor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("malmoi", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
settings.load_profile("malmoi")

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, so that workers do not fight over the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with corpora and fixtures: MALMOI_SHARED, or `shared` beside the checkout. Skips where there is none."""
    path = Path(os.environ.get("MALMOI_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not path.is_dir():
        pytest.skip(f"no shared data at {path} (set MALMOI_SHARED)")
    return path
