"""What every test may use: the shared data folder, and a fair share of the processor."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("malmoi", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
settings.load_profile("malmoi")

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, so that workers do not fight over the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as a shell leaves it to what it starts in the background, and to all that this starts
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with corpora and fixtures: MALMOI_SHARED, or `shared` beside the checkout. Skips where there is none."""
    path = Path(os.environ.get("MALMOI_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not path.is_dir():
        pytest.skip(f"no shared data at {path} (set MALMOI_SHARED)")
    return path


@pytest.fixture(scope="session")
def small():
    """(kind, settings) -> a small objective over rows: causal, masked, next, order, replaced or sequence, of 60 subwords and two blocks.

    settings: fields of the front-end, of the backbone, `model` (further fields of ModelSpec), `objective` (fields of its spec).
    """
    import numpy as np
    import torch

    from malmoi.core.marks import Marks
    from malmoi.core.recipe import RunSpec
    from malmoi.objectives import build

    continues = np.zeros(60, bool)
    continues[30:] = True
    marks = Marks(pad=0, unknown=1, begin=2, end=3, mask=4, continues=continues)

    def make(kind, *, frontend=None, backbone=None, mixer=None, head=None, model=None, objective=None, seed=0, spec=False):
        torch.set_num_threads(1)
        pair = kind if kind in ("next", "order") else "none"
        chosen = {"kind": "masked", "pair": pair} if kind in ("masked", "next", "order") else {"kind": kind}
        chosen |= {"generator": 0.5} if kind == "replaced" else {}
        transform = "gelu" if kind == "replaced" or (frontend or {}).get("width") else "none"
        sees = "causal" if kind == "causal" else "full"
        blocks = {
            "kind": "blocks",
            "depth": 2,
            "mixer": {"kind": "attention", "heads": 2, "sees": sees, "dropout": 0.2} | (mixer or {}),
            "residual_from": None,
        }
        blocks |= {"feedforward": {"width": 24}, "norm": "post"}
        front = {"kind": "token_embedding", "positions": "learned", "length": 32, "types": 2 if pair != "none" else 0, "norm": True}
        parts = {
            "width": 16,
            "dropout": 0.1,
            "frontend": frontend if (frontend or {}).get("kind") else front | (frontend or {}),
            "backbone": backbone if (backbone or {}).get("kind") else blocks | (backbone or {}),
            "head": {"size": 60, "tied": True, "transform": transform} | (head or {}),
            "initialization": "bert",
        }
        run = RunSpec.model_validate(
            {
                "name": "test",
                "seed": seed,
                "subwords": {},
                "objective": chosen | (objective or {}),
                "stream": {"kind": "rows", "rows": 4, "length": 16},
                "model": parts | (model or {}),
            }
        )
        return run if spec else build(run, words=60, characters=0, marks=marks)

    return make
