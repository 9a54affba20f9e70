"""Causal, masked, replaced and sequence objectives against plain torch over the same vectors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from malmoi.core.chance import uniform
from malmoi.health.batches import random_batch, rows_of
from malmoi.objectives.corruption import DRAW, masked

KINDS = ("causal", "masked", "next", "order", "replaced", "sequence")


def rows(objective, count=4):
    return random_batch(objective, rows=count, length=16)


def slow_logits(model, x_RTD):
    """Logits of all places; a tied head behind a transform, step by step."""
    head = model.heads["words"]
    x_RTD = head.transform(x_RTD)
    return x_RTD @ head.weight.T + head.bias


def assert_close(found, expected):
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-5, atol=1e-6)


def test_a_causal_loss_is_the_cross_entropy_of_the_next_tokens(small):
    objective = small("causal").eval()
    batch = rows(objective)
    batch.targets["next"][1, 3] = -1
    logits = slow_logits(objective.model, objective.model.encode(batch).last)
    nll = F.cross_entropy(logits.transpose(1, 2), batch.targets["next"], ignore_index=-1, reduction="none")
    loss, score = objective.loss(batch), objective.score(batch)
    assert loss.count == 63 and loss.carry is None
    assert_close(loss.total, nll.sum() / 63)
    torch.testing.assert_close(score.nll, nll.detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(score.hit, (logits.argmax(2) == batch.targets["next"]) & (batch.targets["next"] >= 0))


def test_targets_past_the_output_vocabulary_are_unknown(small):
    objective = small("causal").eval()
    batch = rows(objective)
    other = replace(batch, targets={"next": batch.targets["next"].clone()})
    batch.targets["next"][0, 2], other.targets["next"][0, 2] = 77, 1
    assert torch.equal(objective.score(batch).nll, objective.score(other).nll)
    assert_close(objective.loss(batch).total, objective.loss(other).total)


@pytest.mark.parametrize("kind", ["masked", "next", "order"])
def test_a_masked_loss_is_the_cross_entropy_at_the_gaps_and_that_of_the_pairs(small, kind):
    objective = small(kind).eval()
    batch = rows(objective)
    view = masked(batch, objective.marks, size=60, rate=0.15, mask=0.8, random=0.1)
    assert torch.equal(objective.view(batch).ids, view.ids) and torch.equal(objective.view(batch).targets["masked"], view.targets["masked"])
    x_RTD = objective.model.encode(view).last
    gap = view.targets["masked"] >= 0
    expected = F.cross_entropy(slow_logits(objective.model, x_RTD)[gap], view.targets["masked"][gap])
    loss = objective.loss(batch)
    assert_close(loss.parts["masked"], expected)
    assert loss.count == int(gap.sum()) == 8
    assert set(loss.parts) == ({"masked", "pair"} if kind != "masked" else {"masked"})
    if kind == "masked":
        assert_close(loss.total, expected)
        return
    means, right, told = [], 0, 0
    for row in range(4):
        places = (batch.targets["pair"][row] >= 0).nonzero().flatten()
        logits = objective.model.heads["pair"](x_RTD[row, places])
        label = batch.targets["pair"][row, places]
        means.append(F.cross_entropy(logits, label))
        right, told = right + int((logits.argmax(1) == label).sum()), told + len(places)
    assert_close(loss.parts["pair"], sum(means) / 4)
    assert_close(loss.total, expected + sum(means) / 4)
    assert objective.score(batch).counts == {"pair": (right, told)} and told > 4


def test_a_row_without_a_pair_counts_as_nothing(small):
    objective = small("next").eval()
    batch = objective.view(rows(objective))
    before, one = objective.loss(batch), float(objective.loss(rows_of(batch, [0])).parts["pair"])
    batch.targets["pair"][0] = -1
    after = objective.loss(batch)
    assert float(before.total - after.total) == pytest.approx(one / 4, abs=1e-6), "in what is minimized it is 0"
    assert float(after.parts["pair"]) == pytest.approx((4 * float(before.parts["pair"]) - one) / 3, rel=1e-5), (
        "in the record it is left out"
    )
    batch.targets["pair"].fill_(-1)
    loss = objective.loss(batch)
    assert float(loss.parts["pair"]) == 0.0 and torch.isfinite(loss.total)
    loss.total.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in objective.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_replaced_tokens_are_drawn_from_the_generator_and_told_apart(small, temperature):
    objective = small("replaced", objective={"temperature": temperature, "weight": 20.0}).eval()
    with torch.no_grad():
        objective.head.bias[30] = 5.0  # a likely token, so that some draws are the original
    batch = rows(objective)
    batch.ids[(batch.ids > 4) & (torch.arange(16) % 2 == 0)] = 30
    view = objective.view(batch)
    gap = view.targets["masked"] >= 0
    assert ((view.ids == batch.ids) | (view.ids == 4))[gap].all(), "a gap reads the mask or its own token"
    logits = slow_logits(objective.generator, objective.generator.encode(view).last)[gap]
    chance = torch.softmax(logits.double() / temperature, dim=1).detach().numpy()
    draws = uniform(view.keys, 16, DRAW)[gap].numpy()
    drawn = [int(np.searchsorted(np.cumsum(row), draw, side="right")) for row, draw in zip(chance, draws, strict=True)]
    filled = view.ids.clone()
    filled[gap] = torch.tensor(drawn)
    labels = filled != batch.ids
    assert labels[gap].any() and not labels[gap].all() and not labels[~gap].any()
    said = objective.model.heads["replaced"](objective.model.encode(replace(view, ids=filled)).last)
    detection = F.binary_cross_entropy_with_logits(said, labels.float())
    generator = F.cross_entropy(logits, view.targets["masked"][gap])
    loss, score = objective.loss(batch), objective.score(batch)
    assert_close(loss.parts["generator"], generator)
    assert_close(loss.parts["replaced"], detection)
    assert_close(loss.total, generator + 20.0 * detection)
    found = said > 0
    assert score.counts["replaced"] == (int((found == labels).sum()), 64)
    assert score.counts["replaced_base"] == (int((~labels).sum()), 64)
    assert score.counts["replaced_found"] == (int((found & labels).sum()), int(labels.sum()))
    assert_close(score.nll.sum() / gap.sum(), generator)


def test_what_is_no_document_is_not_judged(small):
    objective = small("replaced").eval()
    batch = rows(objective)
    behind = batch.segments == 3
    batch.segments[behind], batch.ids[behind], batch.positions[behind] = 0, 0, 0
    judged = objective.score(batch).counts["replaced"][1]
    assert judged == int((batch.segments > 0).sum()) < 64
    other = replace(batch, ids=torch.where(behind, 50, batch.ids))
    assert_close(objective.loss(other).total, objective.loss(batch).total)


def test_a_sequence_loss_is_smoothed_in_training_alone(small):
    objective = small("sequence", model={"dropout": 0.0}, mixer={"dropout": 0.0}, objective={"smoothing": 0.2})
    batch = rows(objective)
    memory = objective.model.encode(batch.source).last
    x_RTD = objective.decoder.encode(batch, memory=memory, memory_segments=batch.source.segments).last
    logits = slow_logits(objective.decoder, x_RTD).flatten(0, 1)
    target = batch.targets["next"].flatten()
    plain = F.cross_entropy(logits, target, ignore_index=-1)
    smooth = F.cross_entropy(logits, target, ignore_index=-1, label_smoothing=0.2)
    assert_close(objective.train().loss(batch).total, smooth)
    assert_close(objective.train().loss(batch).parts["next"], plain)
    assert_close(objective.eval().loss(batch).total, plain)
    nll = objective.score(batch).nll
    assert_close(nll.sum() / (batch.targets["next"] >= 0).sum(), plain)
    assert not nll[batch.targets["next"] < 0].any()
    assert set(objective.models()) == {"model", "decoder"} and [name for name, _ in objective.directions()] == ["model"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_be_seen_stays_in_the_document(small, kind):
    objective = small(kind)
    batch = rows(objective)
    for row, position in [(0, 0), (1, 7), (3, 12), (2, 15)]:
        seen = objective.may_see(batch, row, position)
        assert seen[[other for other in range(4) if other != row]].sum() == 0
        for place in range(16):
            same = bool(batch.segments[row, place] == batch.segments[row, position])
            later = kind in ("causal", "sequence") and place > position
            assert bool(seen[row, place]) == (same and not later)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_targets_costs_nothing(small, kind):
    objective = small(kind).eval()
    batch = objective.view(rows(objective))
    batch.targets[objective.target].fill_(-1)
    if "pair" in batch.targets:
        batch.targets["pair"].fill_(-1)
    loss = objective.loss(batch)
    assert loss.count == 0 and all(torch.isfinite(part) for part in loss.parts.values())
    if kind != "replaced":
        assert loss.total.item() == 0.0
    assert not objective.score(batch).nll.any()


@pytest.mark.parametrize("kind", ["masked", "order", "replaced"])
def test_a_view_is_its_own_view_and_gaps_are_new_each_time(small, kind):
    objective = small(kind)
    batch = rows(objective)
    view = objective.view(batch)
    assert objective.view(view) is view
    again = objective.view(replace(batch, keys=batch.keys + 1))
    assert not torch.equal(view.targets["masked"], again.targets["masked"]), "another epoch has other keys"
    assert torch.equal(objective.view(batch).ids, view.ids)


def test_whole_words_follow_the_vocabulary(small):
    objective = small("masked", objective={"whole_words": True, "rate": 0.4})
    batch = rows(objective, 20)
    view = objective.view(batch)
    expected = masked(
        batch, objective.marks, size=60, rate=0.4, mask=0.8, random=0.1, continues_V=torch.from_numpy(objective.marks.continues)
    )
    assert torch.equal(view.ids, expected.ids) and torch.equal(view.targets["masked"], expected.targets["masked"])
    assert not torch.equal(small("masked", objective={"rate": 0.4}).view(batch).ids, view.ids)


def test_the_generator_is_smaller_and_shares_the_embedding(small):
    objective = small("replaced", frontend={"width": 8, "types": 2}, backbone={"depth": 3})
    model, generator = objective.model, objective.generator
    assert generator.frontend.weight is model.frontend.weight is objective.head.weight
    assert generator.backbone.blocks[0].attention.norm.weight.shape == (8,) and len(generator.backbone.blocks) == 3
    assert generator.backbone.blocks[0].feedforward.part.up.weight.shape == (12, 8)
    assert "words" not in model.heads and set(objective.models()) == {"model", "generator"}


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_a_decoder_step_by_step_is_the_decoder_at_once(small, positions):
    objective = small("sequence", frontend={"positions": positions}, backbone={"norm": "pre"}).eval()
    batch = rows(objective, 3)
    ones = torch.ones_like(batch.ids)
    places = torch.arange(16).expand(3, 16).contiguous()
    source = replace(batch.source, segments=(batch.source.segments > 0).long())
    whole = replace(batch, segments=ones, positions=places, source=source)
    memory = objective.model.encode(source).last
    expected = objective.decode(whole, memory, source).last
    state, found = objective.decoder.initial_state(3), []
    for begin, end in [(0, 1), (1, 2), (2, 7), (7, 16)]:
        part = replace(whole, ids=whole.ids[:, begin:end], segments=ones[:, begin:end], positions=places[:, begin:end])
        trace = objective.decode(part, memory, source, state)
        state = trace.state
        found.append(trace.last)
    torch.testing.assert_close(torch.cat(found, dim=1), expected, rtol=1e-5, atol=1e-5)
