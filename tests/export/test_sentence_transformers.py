"""sentence-transformers opens what malmoi writes for it. It is no dependency of the tests (it brings scipy and scikit-learn): install it to
run this file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from malmoi.core.batch import Batch
from malmoi.export.imported import parts_of
from malmoi.export.transformers import write_sentence_transformers
from malmoi.readout import TokenEncoder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None, reason="needs sentence-transformers>=6 (pip install sentence-transformers)"
)
TEXTS = ["안녕하세요, 말모이 사전입니다!", "The quick 갈색 fox", "😀 웃는 얼굴", "a"]


@pytest.mark.parametrize("family", ["bert", "albert", "electra", "distilbert", "gpt2", "openai-gpt"])
def test_the_mean_over_the_tokens(family: str, make_spec: Any, subwords: Any, make_objective: Any, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    spec, vocabulary = make_spec(family), subwords()
    objective = make_objective(spec, vocabulary)
    write_sentence_transformers(tmp_path / "out", spec=spec, parts=parts_of(spec, objective), vocabulary=vocabulary)
    opened = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert opened.max_seq_length == 40 and opened.get_sentence_embedding_dimension() == 32
    found = opened.encode(TEXTS, batch_size=4)
    marks = vocabulary.marks
    end = [] if family in ("gpt2", "openai-gpt") else [marks.end]
    for text, vector in zip(TEXTS, found, strict=True):
        ids = torch.tensor([[marks.begin, *vocabulary.encode(text), *end]])
        with torch.no_grad():
            last = objective.model.encode(Batch(ids, torch.ones_like(ids), torch.arange(ids.shape[1])[None])).last
        tokens = last[0, 1 : ids.shape[1] - len(end)]
        np.testing.assert_allclose(vector, tokens.mean(0).numpy(), atol=1e-5)
    own = TokenEncoder(objective.model, vocabulary, 40, layout=objective.reading).encode(TEXTS, layer="top", pool="mean")
    np.testing.assert_allclose(found, own, atol=1e-5)
