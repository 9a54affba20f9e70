"""The perplexity of the original program where it is right (batch size 1), whatever the batch size here."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from malmoi.core.recipe import SampledSoftmaxSpec, VocabularyHeadSpec
from malmoi.evals import evaluate


@pytest.mark.parametrize("batch_tokens", [1, 2, 7, 64, 138, 139, 8192])
def test_the_recorded_perplexity(golden: ModuleType, shared: Path, batch_tokens: int) -> None:
    text, _ = golden.trace_text(shared)
    with golden.open_trace(shared) as trace:
        recorded = float(trace.attrs["test_perplexity_batch_size_1"])
        objective = golden.load_trace_objective(trace["weights_after"])
    assert recorded == pytest.approx(19.256, abs=5e-4)
    found = evaluate(objective, text, state="compat", batch_tokens=batch_tokens)
    assert found.perplexity == pytest.approx(recorded, rel=1e-5)
    assert (found.tokens, found.documents, found.scored) == (134, 5, 139)
    assert found.perplexity == pytest.approx(math.sqrt(found.forward_perplexity * found.backward_perplexity), rel=1e-12)


def test_what_the_wrong_reading_would_give(golden: ModuleType, shared: Path) -> None:
    """The recording can tell the modes apart: documents that begin from zeros score differently, and so do weights before."""
    text, _ = golden.trace_text(shared)
    with golden.open_trace(shared) as trace:
        after, before = (golden.load_trace_objective(trace[name]) for name in ("weights_after", "weights_before"))
    compat = evaluate(after, text, state="compat").perplexity
    assert abs(evaluate(after, text).perplexity - compat) > 1e-3
    assert evaluate(before, text, state="compat").perplexity > 30
    assert np.isclose(evaluate(after, text).perplexity, evaluate(after, text, batch_tokens=3).perplexity, rtol=1e-6)


def test_a_sampled_softmax_is_evaluated_in_full(golden: ModuleType, shared: Path) -> None:
    text, _ = golden.trace_text(shared)
    head = VocabularyHeadSpec(size=32, softmax=SampledSoftmaxSpec(samples=4))
    with golden.open_trace(shared) as trace:
        recorded = float(trace.attrs["test_perplexity_batch_size_1"])
        objective = golden.load_trace_objective(trace["weights_after"], head=head)
    assert objective.head.sparse
    assert evaluate(objective.train(), text, state="compat").perplexity == pytest.approx(recorded, rel=1e-5)
    assert objective.training and objective.forward_model.training
