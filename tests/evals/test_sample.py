"""Quick scores during training: the training loss with dropout 0 over fixed rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from malmoi.evals import evaluate_causal, evaluate_pairs, validate
from malmoi.shards import Packed, Shards

_spec = importlib.util.spec_from_file_location("pieces_of_tests", Path(__file__).with_name("test_pieces.py"))
assert _spec is not None and _spec.loader is not None
pieces = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pieces)
LENGTH, MARKS, tiny, text_of, some = pieces.LENGTH, pieces.MARKS, pieces.tiny, pieces.text_of, pieces.some

EXPECTED = {
    "causal": {"loss", "perplexity", "accuracy"},
    "masked": {"loss", "masked_accuracy"},
    "order": {"loss", "masked_accuracy", "pair_accuracy"},
    "replaced": {"loss", "generator", "replaced", "masked_accuracy", "replaced_accuracy", "replaced_base", "replaced_found"},
    "sequence": {"loss", "perplexity", "accuracy"},
}


def held_out(kind: str) -> Any:
    return (text_of(some(longest=LENGTH, seed=1)), text_of(some(longest=LENGTH, seed=2))) if kind == "sequence" else text_of(some())


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_names_and_that_it_repeats(kind: str) -> None:
    objective = tiny(kind).train()
    torch.manual_seed(1)
    first = validate(objective, held_out(kind), marks=MARKS, length=LENGTH)
    torch.manual_seed(2)
    assert validate(objective, held_out(kind), marks=MARKS, length=LENGTH) == first and objective.training
    assert set(first) == EXPECTED[kind] and all(np.isfinite(value) for value in first.values())
    even = np.full(pieces.V, 1 / pieces.V)
    with_unigram = validate(objective, held_out(kind), marks=MARKS, length=LENGTH, unigram=even)
    assert with_unigram.pop("unigram") == pytest.approx(np.log(pieces.V)) and with_unigram == first


@pytest.mark.parametrize("kind", ["causal", "masked", "order", "replaced"])
def test_the_batch_size_changes_nothing(kind: str) -> None:
    found = [validate(tiny(kind), held_out(kind), marks=MARKS, length=LENGTH, tokens=100, batch_tokens=size) for size in (1, 30, 8192)]
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize(("kind", "layout"), [("causal", "causal"), ("masked", "single"), ("replaced", "single")])
def test_the_loss_is_that_of_training_without_dropout(kind: str, layout: Any) -> None:
    objective, text = tiny(kind).eval(), held_out(kind)
    shards = Shards.of(text.ids, text.ends)
    batch = Packed(shards, marks=MARKS, layout=layout, rows=3, length=LENGTH, seed=0).batch(0)
    with torch.no_grad():
        loss = objective.loss(batch)
    found = validate(objective, text, marks=MARKS, length=LENGTH, tokens=3 * LENGTH)
    assert found["loss"] == pytest.approx(loss.total.item(), rel=1e-5)
    if kind == "replaced":
        assert found["loss"] == pytest.approx(found["generator"] + objective.spec.weight * found["replaced"], rel=1e-5)


def test_short_documents_score_as_in_the_exact_measure() -> None:
    """Where no document is cut and all are read, packing changes nothing."""
    causal = tiny("causal")
    text = text_of([[5 + place] * (LENGTH // 2 - 1) for place in range(8)])
    quick = validate(causal, text, marks=MARKS, length=LENGTH, tokens=10**6)["loss"]
    assert quick == pytest.approx(np.log(evaluate_causal(causal, text, marks=MARKS, length=LENGTH).perplexity), rel=1e-5)
    sides, sequence = held_out("sequence"), tiny("sequence")
    quick = validate(sequence, sides, marks=MARKS, length=LENGTH)["loss"]
    assert quick == pytest.approx(np.log(evaluate_pairs(sequence, *sides, marks=MARKS, length=LENGTH).perplexity), rel=1e-5)


def test_fewer_tokens_are_fewer_rows() -> None:
    objective, text = tiny("causal"), text_of(some(count=30))
    few, many = (validate(objective, text, marks=MARKS, length=LENGTH, tokens=tokens)["loss"] for tokens in (LENGTH, 10**6))
    assert few != many
