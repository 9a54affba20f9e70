"""The oracle itself against numbers of the original program: a judge must be judged first."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")


def test_reproduces_the_ten_batches_of_bilm_tf(oracle: ModuleType, shared: Path) -> None:
    folder = shared / "fixtures" / "elmo" / "bilm-tf" / "model"
    model = oracle.load(folder / "options.json", folder / "lm_weights.hdf5")
    sentences = json.loads((folder / "lm_embeddings_sentences.json").read_text())
    state: dict[Any, Any] = {}
    worst = 0.0
    for number in range(10):
        found = model.batch([sentences[row][number].split() for row in range(3)], state)
        for row, layers in enumerate(found):
            with h5py.File(folder / f"lm_embeddings_{row}.hdf5", "r") as file:
                expected = np.concatenate(list(file[str(number)][...]), axis=1)  # (2 directions, n, width) -> (n, 2 width)
            np.testing.assert_allclose(layers[-1], expected, rtol=1e-5, atol=1e-6)
            worst = max(worst, float(np.abs(layers[-1] - expected).max()))
    assert 0.0 < worst < 2e-6


def test_spells_as_the_original(oracle: ModuleType) -> None:
    model = oracle.NumpyElmo(oracle.options_of(max_characters_per_token=8), {})
    assert model.spell("ab") == [258, 97, 98, 259, 260, 260, 260, 260]
    assert model.spell("말모이") == [258, *"말모이".encode()[:6], 259]
    assert model.spell("<S>") == [258, 256, 259, 260, 260, 260, 260, 260]
