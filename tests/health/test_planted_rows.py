"""Failures of causal, masked, replaced and sequence models, planted, and what is said of each."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import malmoi.nn.backbone as backbones
from malmoi.core.errors import MalmoiError
from malmoi.health import examine_objective
from malmoi.health.batches import random_batch
from malmoi.health.detector import detection
from malmoi.health.evaluation import dropout_places
from malmoi.health.leak import visibility
from malmoi.health.path import one_path
from malmoi.health.tying import sharing
from malmoi.nn import Attention, TokenEmbedding
from malmoi.objectives import Causal, Loss, Masked, Replaced, Score
from malmoi.objectives import Sequence as Translation
from malmoi.testing import check_accumulation, check_evaluation, check_packing, check_path, check_visibility

KINDS = ("causal", "masked", "next", "order", "replaced", "sequence")


def refusal(check, objective, **settings):
    with pytest.raises(MalmoiError) as caught:
        check(objective, **settings)
    return caught.value.code, str(caught.value)


def batch_of(objective, rows=3):
    return random_batch(objective, rows=rows, length=16)


def errors(findings):
    return {finding.code: finding.message for finding in findings if finding.level == "error"}


# leaks


def test_a_causal_model_with_full_attention_built_around_the_refusal(small):
    objective = small("causal")
    objective.model.backbone.sees = "full"
    code, message = refusal(check_visibility, objective)
    assert code == "M031" and "through model.backbone.blocks.0.attention.part (Attention)" in message
    assert "inside the documents" in message and "the input at position" in message


@pytest.mark.parametrize("kind", KINDS)
def test_attention_that_forgets_the_segments(small, kind, monkeypatch):
    honest = backbones.sight

    def forgetful(layout, sees, **settings):
        return honest(replace(layout, segments=torch.ones_like(layout.segments)), sees, **settings)

    objective = small(kind)
    check_visibility(objective)
    monkeypatch.setattr(backbones, "sight", forgetful)
    code, message = refusal(check_visibility, objective)
    assert code == "M031" and ".backbone.blocks.0.attention.part (Attention)" in message
    code, message = refusal(check_packing, objective)
    assert code == "M135" and "differs in layer 1" in message


@pytest.mark.parametrize("both, name", [(True, "LSTM, bidirectional=True"), (False, "LSTM")])
def test_an_lstm_under_the_causal_objective(small, monkeypatch, both, name):
    """From both ends it sees what it predicts; from one end it carries what it read into the next document of the row."""
    module = ModuleType("careless_rows")
    module.build = lambda width: nn.LSTM(width, width // 2 if both else width, num_layers=2, bidirectional=both, batch_first=True)
    monkeypatch.setitem(sys.modules, "careless_rows", module)
    objective = small("causal", backbone={"kind": "custom", "build": "careless_rows:build"})
    code, message = refusal(check_visibility, objective)
    assert code == "M031" and f"model.backbone.module ({name})" in message
    assert ("one causal module for each direction" in message) == both


def test_a_custom_backbone_that_stays_at_its_place_passes(small, monkeypatch):
    module = ModuleType("careful_rows")
    module.build = lambda width: nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
    monkeypatch.setitem(sys.modules, "careful_rows", module)
    for kind in ("causal", "masked"):
        objective = small(kind, backbone={"kind": "custom", "build": "careful_rows:build"})
        for check in (check_visibility, check_path, check_evaluation, check_packing, check_accumulation):
            check(objective)


def test_a_masked_model_that_reads_what_it_predicts_beside_the_mask(small):
    class Hinted(Masked):
        """The types tell whether the original token is odd."""

        def view(self, batch):
            view = super().view(batch)
            return view if view is batch else replace(view, types=batch.ids % 2)

    fair = small("masked", frontend={"types": 2})
    assert visibility(fair, batch_of(fair))[0].level == "info"
    hinted = Hinted(fair.model, fair.spec, marks=replace(fair.marks, continues=None))
    code, message = refusal(check_visibility, hinted)
    assert code == "M110" and "the word behind the mask" in message and "model.frontend (TokenEmbedding)" in message


def test_a_masked_model_whose_gaps_depend_on_what_stands_in_them(small):
    class Choosy(Masked):
        def view(self, batch):
            return batch if "masked" in batch.targets else super().view(replace(batch, keys=batch.keys + batch.ids.sum(1)))

    fair = small("masked")
    assert refusal(check_visibility, Choosy(fair.model, fair.spec, marks=fair.marks))[0] == "M110"


def test_a_front_end_that_looks_at_the_next_token(small):
    class LooksAhead(TokenEmbedding):
        def forward(self, batch):
            return super().forward(replace(batch, ids=batch.ids + torch.roll(batch.ids, -1, dims=1)))

    objective = small("causal")
    objective.model.frontend.__class__ = LooksAhead
    code, message = refusal(check_visibility, objective)
    assert code == "M110" and "model.frontend (LooksAhead)" in message


def test_a_pair_head_that_looks_at_other_pairs(small):
    objective = small("next")

    class Centred(nn.Module):
        def __init__(self, head):
            super().__init__()
            self.head = head

        def forward(self, x_ND):
            return self.head(x_ND - x_ND.mean(0, keepdim=True))

    objective.model.heads["pair"] = Centred(objective.model.heads["pair"])
    code, message = refusal(check_visibility, objective)
    assert code == "M031" and "the pair prediction at position 0" in message


def test_a_decoder_that_reads_the_source_of_another_pair(small):
    class Careless(Translation):
        def decode(self, batch, memory_RSD, source, state=None):
            return self.decoder.encode(batch, state, memory=memory_RSD, memory_segments=None)

    fair = small("sequence")
    objective = Careless(fair.model, fair.decoder, smoothing=0.1, unknown=1)
    code, message = refusal(check_visibility, objective)
    assert code == "M031" and "depends on the source at position" in message


def test_a_decoder_that_does_not_listen(small):
    objective = small("sequence")
    for block in objective.decoder.backbone.blocks:
        nn.init.zeros_(block.cross.part.out.weight)
    code, message = refusal(check_visibility, objective)
    assert code == "M111" and "nothing of its source" in message


# replaced tokens


class FedMasks(Replaced):
    """Zelda Rose's: the generator gives labels, and the model reads the text with its masks."""

    def _filled(self, view):
        total, filled, count = super()._filled(view)
        return total, replace(filled, ids=view.ids), count


class Mislabelled(Replaced):
    """Zelda Rose's other half: a label for what differs from the masked text, so that a right guess counts as replaced."""

    def _filled(self, view):
        total, filled, count = super()._filled(view)
        labels = (filled.ids != view.ids).long().masked_fill(view.segments == 0, -1)
        return total, replace(filled, targets={**filled.targets, "replaced": labels}), count


class Rewritten(Replaced):
    """Writes the generator's tokens one place too far."""

    def _filled(self, view):
        total, filled, count = super()._filled(view)
        return total, replace(filled, ids=torch.where(filled.ids != view.ids, view.ids, filled.ids).roll(1, 1)), count


class Soft(Replaced):
    """Lets the model's judgement pass back into the generator."""

    def _filled(self, view):
        with_hook = []
        hook = self.generator.backbone.register_forward_hook(lambda module, entered, left: with_hook.append(left.last))
        try:
            found = super()._filled(view)
        finally:
            hook.remove()
        self.soft = with_hook[0][..., :1]
        return found

    def _logits(self, filled):
        return self.model.heads["replaced"](self.model.encode(filled).last + 1e-4 * self.soft).float()


@pytest.mark.parametrize(
    "careless, problem",
    [
        (FedMasks, "it reads the mask at all"),
        (Mislabelled, "that of telling what is not the original"),
        (Rewritten, "tokens outside of the gaps are not those of the text"),
    ],
)
def test_a_model_that_is_misled_about_replaced_tokens(small, careless, problem):
    fair = small("replaced", objective={"mask": 1.0})
    assert detection(fair, batch_of(fair))[0].level == "info"
    objective = careless(fair.model, fair.generator, fair.spec, marks=fair.marks)
    with torch.no_grad():  # a generator that is often right
        objective.generator.heads["words"].bias[10] = 4.0
    batch = batch_of(objective)
    batch.ids[(batch.positions > 0) & (batch.ids > 4)] = 10
    (finding,) = detection(objective, batch)
    assert (finding.code, finding.level) == ("M134", "error") and problem in finding.message
    if careless is not Mislabelled:
        assert refusal(check_visibility, objective)[0] in ("M134", "M110")


def test_a_gradient_from_the_model_into_the_generator(small):
    fair = small("replaced")
    code, message = refusal(check_visibility, Soft(fair.model, fair.generator, fair.spec, marks=fair.marks))
    assert code == "M031" and "the detector's prediction" in message and "the generator's input" in message
    assert "no gradient goes from the model" in message


def test_a_model_that_only_its_generator_is_trained_of(small):
    class Half(Replaced):
        def loss(self, batch, carry=None):
            total, _, count = self._filled(self.view(batch))
            return Loss(total=total, parts={"generator": total.detach()}, count=count, carry=None)

    fair = small("replaced")
    code, message = refusal(check_path, Half(fair.model, fair.generator, fair.spec, marks=fair.marks))
    assert code == "M112" and "model.backbone.blocks.0" in message and "generator" not in message


# one path, evaluation


def test_a_generator_and_a_decoder_may_move_and_a_stray_part_may_not(small):
    for kind in ("replaced", "sequence"):
        assert one_path(small(kind), batch_of(small(kind)))[0].level == "info"
    objective = small("masked")
    stray = nn.Linear(16, 16)
    objective.model.backbone.stray = stray

    class Detour(Masked):
        def loss(self, batch, carry=None):
            loss = super().loss(batch)
            return replace(loss, total=loss.total + stray(torch.ones(16)).square().mean())

    found = errors(one_path(Detour(objective.model, objective.spec, marks=objective.marks), batch_of(objective)))
    assert "model.backbone.stray.weight" in found["M113"]


def test_a_score_that_is_not_the_loss(small):
    class Generous(Causal):
        def score(self, batch, carry=None):
            return Score(nll=0.99 * super().score(batch).nll)

    fair = small("causal")
    code, message = refusal(check_evaluation, Generous(fair.model, unknown=1))
    assert code == "M116" and "the next loss of one batch" in message


def test_a_loss_that_smooths_at_evaluation_too(small):
    class Smooth(Translation):
        def loss(self, batch, carry=None):
            loss = super().loss(batch)
            return replace(loss, parts={"next": loss.parts["next"] + (0.1 if self.training else 0.0)})

    fair = small("sequence")
    assert refusal(check_evaluation, Smooth(fair.model, fair.decoder, smoothing=0.1, unknown=1))[0] == "M116"


@pytest.mark.parametrize("kind, where", [("masked", "model"), ("replaced", "generator"), ("sequence", "decoder")])
def test_dropout_that_is_always_on(small, kind, where):
    class AlwaysOn(Attention):
        def forward(self, x_RTD, state, sight):
            y_RTD, state, weights = super().forward(x_RTD, state, sight)
            return F.dropout(y_RTD, 0.1), state, weights

    objective = small(kind)
    objective.models()[where].backbone.blocks[1].attention.part.__class__ = AlwaysOn
    code, message = refusal(check_evaluation, objective)
    assert code == "M117" and f"first in {where}.backbone.blocks.1.attention.part (AlwaysOn)" in message


def places(objective, rate=0.1, attention=0.2):
    return dropout_places(objective, batch_of(objective), rate=rate, attention=attention)


@pytest.mark.parametrize("kind, count", [("causal", 5), ("replaced", 10), ("sequence", 12)])
def test_dropout_where_the_papers_have_it(small, kind, count):
    (finding,) = places(small(kind))
    assert finding.level == "info" and f"0.1 at {count} places: the front-end, and what each part" in finding.message
    (finding,) = places(small(kind, backbone={"share": "all"}))
    assert finding.level == "info"


def test_dropout_at_other_rates_and_other_places(small):
    assert "drops 0.1, the recipe says 0.3" in errors(places(small("causal"), rate=0.3))["M118"]
    assert "attention.part.drop (Dropout) drops 0.2, the recipe says 0" in errors(places(small("causal"), attention=0.0))["M118"]
    objective = small("masked")
    objective.model.backbone.blocks[0].feedforward.part.down = nn.Sequential(
        objective.model.backbone.blocks[0].feedforward.part.down, nn.Dropout(0.1)
    )
    assert "feedforward.part.down.1 (Dropout) is not one of the places" in errors(places(objective))["M118"]
    objective = small("masked")
    objective.model.dropout.p = 0.1
    assert "model.dropout (Dropout) is not one of the places" in errors(places(objective))["M118"]


def test_dropout_on_the_residual_stream(small):
    class OnTheSum(backbones.Residual):
        def leave(self, x_RTD, y_RTD):
            return self.norm(self.dropout(x_RTD + y_RTD))

    objective = small("masked")
    objective.model.backbone.blocks[1].feedforward.__class__ = OnTheSum
    found = errors(places(objective))["M118"]
    assert "model.backbone.blocks.1.feedforward.dropout works on another tensor, not on what its part adds" in found


# sharing


@pytest.mark.parametrize("kind, name", [("replaced", "generator"), ("sequence", "decoder")])
@pytest.mark.parametrize("part", ["weight", "positions", "types", "norm"])
def test_what_two_models_no_longer_share(small, kind, name, part):
    objective = small(kind, frontend={"types": 2})
    frontend = objective.models()[name].frontend
    own = nn.LayerNorm(16) if part == "norm" else nn.Parameter(getattr(frontend, part).detach().clone())
    setattr(frontend, part, own)
    message = errors(sharing(objective, batch_of(objective), tied=False))["M119"]
    assert f"the {name} has {'a norm' if part == 'norm' else part}" in message
    assert "M119" in errors(examine_objective(objective))


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_that_is_no_longer_the_table(small, kind):
    objective = small(kind)
    batch = batch_of(objective)
    assert sharing(objective, batch, tied=True)[0].level == "info"
    objective.head.weight = nn.Parameter(objective.head.weight.detach().clone())
    assert "(60, 16) each (equal now" in errors(sharing(objective, batch, tied=True))["M119"]


def test_a_makeshift_behind_the_transform(small):
    objective = small("replaced")
    objective.head.fit = nn.Linear(16, 16)
    assert "fit.weight" in errors(sharing(objective, batch_of(objective), tied=True))["M119"]
    objective = small("masked", head={"transform": "gelu"})
    honest = objective.head.score
    objective.head.score = lambda x_ND, target_N: honest(0.5 * x_ND + 0.1, target_N)
    assert "not those of the shared matrix" in errors(sharing(objective, batch_of(objective), tied=True))["M119"]
