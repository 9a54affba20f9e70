"""Losses of vectors of texts, against slow versions written from the papers' formulas; the vectors themselves, against the encoder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
import torch

from malmoi.objectives import Causal
from malmoi.readout import TokenEncoder
from malmoi.tasks.inputs import Form
from malmoi.tasks.sentences import form_of
from malmoi.tasks.spec import LearningSpec, TuneSpec
from malmoi.tasks.task import Texts
from malmoi.tasks.towers import Compared, Contrast, Contrasted, Cosine, Towers
from malmoi.tasks.tune import begun

WIDTH = 6
TEXTS = [
    "the old house",
    "바람",
    "",
    "a new river walks slowly there 오늘 그 작은 길",
    "stone light",
    "the a the a the",
    "nobodyknows this",
]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def cosine(u: np.ndarray, v: np.ndarray) -> float:
    return float(sum(a * b for a, b in zip(u, v, strict=True)) / math.sqrt(sum(a * a for a in u) * sum(b * b for b in v)))


def projected(head: Contrasted, x: torch.Tensor) -> np.ndarray:
    weight, bias = (part.detach().double().numpy() for part in (head.projection.weight, head.projection.bias))
    return np.tanh(x.double().numpy() @ weight.T + bias)


def cross_entropy(scores: list[float], own: int) -> float:
    return -math.log(math.exp(scores[own]) / sum(math.exp(score) for score in scores))


def made_head(*, views: bool) -> Contrasted:
    torch.manual_seed(3)
    head = Contrasted(WIDTH, views=views)
    with torch.no_grad():
        head.projection.weight.normal_()
        head.projection.bias.normal_()
    return head


def test_the_squared_error_of_a_cosine() -> None:
    """Reimers and Gurevych 2019, section 3: regression objective function."""
    x, gold = vectors(8), [0.1, 0.9, 0.5, 1.0]
    pairs = x.double().numpy().reshape(4, 2, WIDTH)
    told = [cosine(u, v) for u, v in pairs]
    head = Cosine()
    wanted = sum((one - two) ** 2 for one, two in zip(told, gold, strict=True)) / 4
    assert head.loss(x, [2] * 4, gold).item() == pytest.approx(wanted, rel=1e-5)
    assert head.predict(x, [2] * 4) == pytest.approx(told, abs=1e-6)


def test_softmax_over_both_and_their_distance() -> None:
    """Reimers and Gurevych 2019, section 3: o = softmax(W (u, v, |u - v|))."""
    torch.manual_seed(1)
    head, x, labels = Compared(WIDTH, labels=3, dropout=0.0), vectors(10), [2, 0, 1, 1, 0]
    with torch.no_grad():
        head.out.weight.normal_()
        head.out.bias.normal_()
    weight, bias = head.out.weight.detach().double().numpy(), head.out.bias.detach().double().numpy()
    losses, told = [], []
    for (u, v), label in zip(x.double().numpy().reshape(5, 2, WIDTH), labels, strict=True):
        scores = [float(row @ np.concatenate([u, v, np.abs(u - v)]) + shift) for row, shift in zip(weight, bias, strict=True)]
        losses.append(cross_entropy(scores, label))
        told.append(int(np.argmax(scores)))
    assert head.loss(x, [2] * 5, labels).item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert head.predict(x, [2] * 5) == told


def test_two_views_of_a_text() -> None:
    """Gao et al. 2021, equation 4, once from each view."""
    head, x = made_head(views=True), vectors(10, seed=2)
    z = projected(head, x)
    first, second = z[0::2], z[1::2]
    losses = []
    for one, other in ((first, second), (second, first)):
        losses.append([cross_entropy([cosine(one[i], other[j]) / 0.05 for j in range(5)], i) for i in range(5)])
    wanted = np.mean(losses, axis=0)
    assert head.losses(x, [2] * 5).tolist() == pytest.approx(wanted.tolist(), rel=1e-4)
    assert head.loss(x, [2] * 5, [0] * 5).item() == pytest.approx(wanted.mean(), rel=1e-4)
    hits = [int(np.argmax([cosine(first[i], second[j]) for j in range(5)])) == i for i in range(5)]
    found = head.predict(x, [2] * 5)
    assert [hit for hit, _ in found] == hits and [loss for _, loss in found] == pytest.approx(wanted.tolist(), rel=1e-4)


@pytest.mark.parametrize("counts", [[3, 3, 3, 3], [2, 3, 2, 3], [2, 2, 2, 2]])
def test_entailed_texts_among_hard_negatives(counts: list[int]) -> None:
    """Gao et al. 2021, equation 5; examples without a contradiction have no hard negative of their own."""
    head, x = made_head(views=False), vectors(sum(counts), seed=4)
    z = projected(head, x)
    begins = np.cumsum([0, *counts])
    examples = [z[begin : begin + count] for begin, count in zip(begins, counts, strict=False)]
    candidates = [each[1] for each in examples] + [each[2] for each in examples if len(each) == 3]
    scores = [[cosine(each[0], other) / 0.05 for other in candidates] for each in examples]
    wanted = [cross_entropy(row, place) for place, row in enumerate(scores)]
    assert head.losses(x, counts).tolist() == pytest.approx(wanted, rel=1e-4)
    assert [hit for hit, _ in head.predict(x, counts)] == [int(np.argmax(row)) == place for place, row in enumerate(scores)]


def towers_of(family: str, path: Path, *, dropout: float = 0.0, kind: Any = "regression", form: Form | None = None, **spec: Any) -> Towers:
    run = made.run_of(family, path, dropout=dropout)
    settings = TuneSpec(encoder="bi", length=made.LENGTH, lm_weight=0.0, learning=LearningSpec(batch=4), **spec)
    form = form or form_of(made.task_of(kind), made.splits_of(kind, train=16).train)
    found = begun(run, form=form, spec=settings, seed=0, from_scratch=False)
    assert isinstance(found, Towers)
    return found.eval()


@pytest.mark.parametrize("family", ["bert", "albert", "electra", "gpt"])
def test_the_vectors_are_those_of_the_encoder(family: str, tmp_path: Path) -> None:
    run, towers = made.run_of(family, tmp_path), towers_of(family, tmp_path)
    items = towers.inputs.items([Texts("", one, other) for one, other in zip(TEXTS, TEXTS[::-1], strict=True)])
    with torch.no_grad():
        found, counts = towers.vectors(items)
    assert counts == [2] * len(TEXTS)
    encoder = TokenEncoder(
        run.objective.model, run.vocabulary, made.LENGTH, layout="causal" if isinstance(run.objective, Causal) else "single"
    )  # type: ignore[arg-type]
    wanted = np.stack(encoder.encode(TEXTS, layer="top", pool="mean"))
    np.testing.assert_allclose(found[0::2].numpy(), wanted, atol=1e-5)
    np.testing.assert_allclose(found[1::2].numpy(), wanted[::-1], atol=1e-5)
    assert not found[4].any(), "a text without tokens"


def test_a_text_that_is_too_long_keeps_its_beginning(tmp_path: Path) -> None:
    towers = towers_of("bert", tmp_path)
    long = "the old house " * 20
    [item] = towers.inputs.items([Texts("", long, "바람", 2.5)])
    ids = towers.inputs.vocabulary.encode(long)  # type: ignore[union-attr]
    assert len(item.rows[0].ids) == made.LENGTH and item.rows[0].ids[1:-1].tolist() == ids[: made.LENGTH - 2].tolist()
    assert item.target == 0.5, "5 is a cosine of 1"
    assert towers.inputs.cuts.cut == 1 and towers.inputs.cuts.pieces == len(ids) - (made.LENGTH - 2)


def test_views_differ_by_dropout_alone(tmp_path: Path) -> None:
    plain = Form(task="x", kind="sentences")
    items = [Contrast(str(number), text) for number, text in enumerate(TEXTS) if text]
    same, other = (towers_of("bert", tmp_path, dropout=share, form=plain) for share in (0.0, 0.2))
    assert (same.views(same.inputs.items(items), seed=0) > 1 - 1e-9).all()
    cosines = other.views(other.inputs.items(items), seed=0)
    assert (cosines < 1 - 1e-4).all() and (cosines > 0).all() and not other.training
    torch.testing.assert_close(cosines, other.views(other.inputs.items(items), seed=0))  # decided by the seed
    assert (other.views(other.inputs.items(items), seed=1) != cosines).any()


def test_held_out_texts_are_found_under_dropout_that_is_decided(tmp_path: Path) -> None:
    towers = towers_of("bert", tmp_path, dropout=0.2, form=Form(task="x", kind="sentences"))
    examples = [Contrast(str(number), text) for number, text in enumerate(TEXTS) if text]
    before = torch.random.get_rng_state()
    one, other = (towers.answers(examples, towers.inputs.items(examples))[0] for _ in range(2))
    assert one == other and all(loss > 0 for _, loss in one) and len(one) == 6  # type: ignore[misc, str-unpack]
    assert torch.equal(before, torch.random.get_rng_state()) and not towers.training


def test_where_the_head_learns_nothing_the_top_begins(tmp_path: Path) -> None:
    regression, pair = towers_of("bert", tmp_path), towers_of("bert", tmp_path, kind="pair")
    for towers, first in ((regression, "backbone.blocks.1"), (pair, "")):
        groups = towers.groups(TuneSpec(unfreeze=True, layer_decay=0.5))
        assert [group.begins for group in groups] == list(range(len(groups))) and groups[0].rate == 1.0
        assert sum(len(group.parameters) for group in groups) == len(list(towers.parameters()))
        names = {id(parameter): name for name, parameter in towers.reader.model.named_parameters()}
        assert all(names.get(id(parameter), "").startswith((first, "backbone.norm")) for parameter in groups[0].parameters)
