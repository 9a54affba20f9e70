"""Packed rows, parts of batches, the start and collapse, of every objective; and the random batches that it is examined with."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from malmoi.core.errors import MalmoiError
from malmoi.health.batches import documents_of, plain, random_batch, rows_of, window
from malmoi.health.collapse import collapse, layer_vectors
from malmoi.health.start import start_loss
from malmoi.nn import ForeignBackbone, TokenEmbedding
from malmoi.objectives import Masked
from malmoi.objectives import Sequence as Translation
from malmoi.testing import check_accumulation, check_packing, check_visibility

KINDS = ("causal", "masked", "next", "order", "replaced", "sequence")


def refusal(check, objective, **settings):
    with pytest.raises(MalmoiError) as caught:
        check(objective, **settings)
    return caught.value.code, str(caught.value)


def batch_of(objective, rows=3):
    return random_batch(objective, rows=rows, length=16)


def errors(findings):
    return {finding.code: finding.message for finding in findings if finding.level == "error"}


# packed rows, parts of batches


def test_positions_that_go_on_through_the_row(small):
    class RowPositions(TokenEmbedding):
        def forward(self, batch):
            return super().forward(replace(batch, positions=torch.arange(batch.ids.shape[1]).expand(batch.ids.shape)))

    objective = small("causal")
    objective.model.frontend.__class__ = RowPositions
    check_visibility(objective)
    code, message = refusal(check_packing, objective)
    assert code == "M135" and "document 2 of row 0 differs in layer 0" in message


def test_a_mean_over_rows_of_different_lengths(small):
    class RowMeans(Translation):
        def loss(self, batch, carry=None):
            loss = super().loss(batch)
            return replace(loss, count=len(batch.ids))

    fair = small("sequence")
    check_accumulation(fair)
    code, message = refusal(check_accumulation, RowMeans(fair.model, fair.decoder, smoothing=0.1, unknown=1))
    assert code == "M136" and "its halves together" in message


def test_gaps_that_depend_on_the_place_in_the_batch(small):
    class Numbered(Masked):
        def view(self, batch):
            return super().view(replace(batch, keys=torch.arange(len(batch.ids))))

    fair = small("masked")
    assert refusal(check_accumulation, Numbered(fair.model, fair.spec, marks=fair.marks))[0] == "M136"


# start, collapse


@pytest.mark.parametrize("kind, bias", [("next", "pair"), ("replaced", "replaced")])
def test_a_choice_that_is_sure_before_it_has_learned_anything(small, kind, bias):
    objective = small(kind)
    head = objective.model.heads[bias]
    with torch.no_grad():
        (head.classifier if kind == "next" else head.out).bias[0] += 9.0
    found = start_loss(objective, batch_of(objective, rows=8))
    assert [(finding.code, finding.level) for finding in found] == [("M100", "info"), ("M120", "error")]
    assert "ln(2) is 0.69" in found[1].message


def test_a_scaled_and_tied_embedding_may_prefer_the_token_that_it_read(small):
    scaled = {"frontend": {"scale": True, "norm": False}, "model": {"initialization": "transformer", "width": 64}}
    objective = small("sequence", **scaled)
    (finding,) = start_loss(objective, batch_of(objective))
    loss = float(objective.eval().loss(batch_of(objective)).total)
    assert loss > 1.1 * 4.09 and finding.level == "info", "that is the paper's start"
    apart = small("sequence", **scaled, head={"tied": False})
    with torch.no_grad():
        apart.head.weight.mul_(4.0)
    assert start_loss(apart, batch_of(apart))[0].code == "M120"


def test_one_model_has_its_vectors_as_they_are(small):
    objective = small("replaced")
    batch = batch_of(objective)
    layers = layer_vectors(objective, [batch])
    words = batch.positions > 0
    expected = objective.eval().model.encode(batch).layers
    assert [tuple(x_ND.shape) for x_ND in layers] == [(int(words.sum()), 16)] * 3
    for found, layer in zip(layers, expected, strict=True):
        torch.testing.assert_close(found.float(), layer[words])
    assert plain(objective, batch).targets["masked"].max() == -1, "no gaps are made"
    source = batch_of(small("sequence")).source
    assert len(layer_vectors(small("sequence"), [batch_of(small("sequence"))])[0]) == int((source.positions > 0).sum())


def test_vectors_that_are_all_alike_are_found_in_any_objective(small):
    class Same(nn.Module):
        def forward(self, x_RTD):
            return x_RTD * 0.0 + torch.arange(16.0)

    objective = small("masked")
    objective.model.backbone = ForeignBackbone(Same())
    assert {"M124", "M125"} <= errors(collapse(objective, [batch_of(objective)], early=True)).keys()


def test_a_large_common_part_of_a_transformer_is_a_warning(small):
    class Common(nn.Module):
        def forward(self, x_RTD):
            return x_RTD + 50.0

    objective = small("masked")
    objective.model.backbone = ForeignBackbone(Common())
    (finding,) = collapse(objective, [batch_of(objective)])
    assert (finding.code, finding.level) == ("M124", "warning") and "1.000" in finding.message


# the batches themselves


@pytest.mark.parametrize("length", [5, 16, 31])
@pytest.mark.parametrize("kind", KINDS)
def test_random_batches_are_laid_as_the_corpus_is(small, kind, length):
    objective = small(kind)
    batch = random_batch(objective, rows=4, length=length)
    assert batch.ids.shape == (4, length) and batch.keys.shape == (4,) and int(batch.keys.min()) >= 0
    assert (batch.source is not None) == (kind == "sequence") and (batch.types is not None) == (kind in ("next", "order"))
    if length == 16:
        assert int(batch.segments.max()) > 1
    for row, segment, alone in documents_of(batch):
        place = (batch.segments[row] == segment).nonzero().flatten()
        assert torch.equal(place, torch.arange(int(place[0]), int(place[-1]) + 1)), "a document stands in one piece"
        assert alone.positions[0].tolist() == list(range(len(place))) and len(place) <= 8
        ids = alone.ids[0]
        if kind in ("causal", "sequence"):
            assert alone.targets["next"][0, :-1].tolist() == ids[1:].tolist()
        else:
            assert int(ids[0]) == 2 and int(ids[-1]) == 3
        if kind in ("next", "order"):
            second = alone.types[0].nonzero().flatten()
            assert int(ids[second[0] - 1]) == 3 and second[-1] == len(ids) - 1 and len(second) > 1 and int(second[0]) > 2
            assert alone.targets["pair"][0, 0] in (0, 1) and (alone.targets["pair"][0, 1:] == -1).all()
        if kind == "sequence":
            assert alone.source.ids.shape[1] <= 8 and (alone.source.segments == 1).all()


def test_parts_of_batches_keep_what_belongs_to_them(small):
    batch = batch_of(small("sequence"), rows=4)
    part = rows_of(batch, [2, 0])
    assert torch.equal(part.ids, batch.ids[[2, 0]]) and torch.equal(part.source.ids, batch.source.ids[[2, 0]])
    assert torch.equal(part.keys, batch.keys[[2, 0]]) and torch.equal(part.targets["next"], batch.targets["next"][[2, 0]])
    pairs = batch_of(small("next"))
    cut = window(pairs, 2, 6)
    assert torch.equal(cut.types, pairs.types[:, 2:6]) and torch.equal(cut.targets["pair"], pairs.targets["pair"][:, 2:6])
