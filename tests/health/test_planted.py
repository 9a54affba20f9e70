"""THE FOUR FAILURES THAT STARTED THE PROJECT, planted, and what the doctor says of each."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from malmoi.health import examine_objective, examine_run, examine_shards
from malmoi.health.batches import random_batch
from malmoi.health.evaluation import dropout_asleep, dropout_places, training_equals_evaluation
from malmoi.health.path import never_moved, one_path
from malmoi.health.tying import sharing
from malmoi.nn import ForeignBackbone, Trace
from malmoi.nn.backbone import Block
from malmoi.nn.heads import VocabularyHead
from malmoi.nn.lstm import LSTM
from malmoi.objectives import BiLM
from malmoi.shards import write_shards
from malmoi.vocab import Vocabulary


def errors(findings):
    return {finding.code: finding.message for finding in findings if finding.level == "error"}


def batch_of(objective):
    return random_batch(objective, rows=3, length=5)


class TwoPaths(nn.Module):
    """Trains through one projection, and reads embeddings through another one that nothing ever trains."""

    def __init__(self, width):
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.projection = nn.Linear(width, width)
        self.lstm_projections = nn.Linear(width, width)

    def forward(self, x_RTD):
        y_RTD = self.lstm(x_RTD)[0]
        return Trace(last=torch.relu(self.projection(y_RTD)), layers=(x_RTD, self.lstm_projections(y_RTD)))


class EvaluationPath(TwoPaths):
    """The same failure, with the fork at the mode."""

    def forward(self, x_RTD):
        y_RTD = self.lstm(x_RTD)[0]
        return self.projection(y_RTD) if self.training else self.lstm_projections(y_RTD)


# (a) embeddings read through a projection that was never trained


@pytest.mark.parametrize("backbone", [TwoPaths, EvaluationPath])
def test_a_embeddings_read_through_a_projection_that_was_never_trained(honest, backbone):
    objective = honest()
    for model in (objective.forward_model, objective.backward_model):
        model.backbone = ForeignBackbone(backbone(8))
    found = errors(one_path(objective, batch_of(objective)))
    assert "forward_model.backbone.module.lstm_projections.weight" in found["M112"] and "never trained" in found["M112"]
    assert "forward_model.backbone.module.projection.weight" in found["M113"]
    assert {"M112", "M113"} <= errors(examine_objective(objective)).keys()


def test_a_weights_that_no_step_has_moved_are_seen_from_the_checkpoint(honest, streams):
    objective, fresh = honest(), honest()
    batch = streams().batch(0)
    stuck = objective.backward_model.backbone.blocks[1].mixer.projection
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter is not stuck:
                parameter.add_(1e-3)
    (finding,) = never_moved(objective, fresh, batch, steps=70)
    assert (finding.code, finding.level) == ("M114", "error")
    assert "backward_model.backbone.blocks.1.mixer.projection stand exactly" in finding.message and "70 steps" in finding.message
    with torch.no_grad():
        stuck.add_(1e-3)
    assert never_moved(objective, fresh, batch, steps=70)[0].level == "info"


def test_a_frozen_parameter_on_the_path_is_named(honest):
    objective = honest()
    objective.forward_model.frontend.projection.weight.requires_grad_(False)
    assert "forward_model.frontend.projection.weight" in errors(one_path(objective, batch_of(objective)))["M112"]
    assert not objective.forward_model.frontend.projection.weight.requires_grad


def test_a_part_that_nothing_uses_is_a_warning(honest):
    objective = honest()
    objective.forward_model.spare = nn.Linear(8, 8)
    (finding,) = one_path(objective, batch_of(objective))
    assert (finding.code, finding.level) == ("M115", "warning") and "forward_model.spare.weight" in finding.message


# (b) tied weights with a makeshift projection


class Makeshift(VocabularyHead):
    """The tied matrix behind a projection that was put there so that the shapes would fit."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fit = nn.Linear(8, 8, bias=False)

    def loss(self, x_ND, target_N):
        return super().loss(self.fit(x_ND), target_N)

    def nll(self, x_ND, target_N):
        return super().nll(self.fit(x_ND), target_N)


class Squeezed(VocabularyHead):
    """The same without a parameter: half of the vector is thrown away."""

    def nll(self, x_ND, target_N):
        return super().nll(F.pad(x_ND[:, :4], (0, 4)), target_N)


def tied_with(honest, spec, head):
    objective = honest(frontend="tokens", tied=True)
    matrix = objective.forward_model.frontend.weight
    new = head(spec(tied=True, frontend="tokens").model.head, width=8, size=objective.output_size, tied=matrix)
    for model in (objective.forward_model, objective.backward_model):
        model.heads["words"] = new
    return objective


def test_b_tied_weights_are_well(honest):
    objective = honest(frontend="tokens", tied=True)
    (finding,) = sharing(objective, batch_of(objective), tied=True)
    assert finding.level == "info" and "nothing in between" in finding.message


@pytest.mark.parametrize("head, name", [(Makeshift, "fit.weight"), (Squeezed, "makeshift stands in between")])
def test_b_tied_weights_with_a_makeshift_projection(honest, spec, head, name):
    objective = tied_with(honest, spec, head)
    found = errors(sharing(objective, batch_of(objective), tied=True))
    assert "makeshift" in found["M119"] and name in found["M119"]
    assert "M119" in errors(examine_objective(objective, tied=True))


def test_b_a_makeshift_between_backbone_and_head_is_found(honest):
    class Between(BiLM):
        """Scores through a layer of its own."""

        def __init__(self, forward, backward):
            super().__init__(forward, backward)
            self.fit = nn.Linear(8, 8)

        def score(self, batch, carry=None):
            kept = self.head.nll
            self.head.nll = lambda x_ND, target_N: kept(self.fit(x_ND), target_N)
            try:
                return super().score(batch, carry)
            finally:
                del self.head.nll

    fair = honest(frontend="tokens", tied=True)
    objective = Between(fair.forward_model, fair.backward_model)
    found = errors(sharing(objective, batch_of(objective), tied=True))
    assert "the likelihoods are not those of the shared matrix" in found["M119"]
    # and the other checks see it as well: what scores is not what was trained
    assert "M116" in errors(training_equals_evaluation(objective, batch_of(objective)))


@pytest.mark.parametrize("equal", [True, False])
def test_b_two_matrices_where_one_was_meant(honest, equal):
    objective = honest(frontend="tokens", tied=True)
    copy = objective.head.weight.detach().clone() + (0.0 if equal else 0.1)
    objective.head.weight = nn.Parameter(copy)
    message = errors(sharing(objective, batch_of(objective), tied=True))["M119"]
    assert "a matrix (62, 8) each" in message or "a matrix (63, 8) each" in message
    assert ("drift apart" in message) == equal


def test_b_a_matrix_of_another_shape_cannot_be_tied(honest):
    objective = honest(frontend="tokens", tied=True)
    objective.head.weight = nn.Parameter(torch.zeros(objective.output_size, 4))
    assert "they cannot be one" in errors(sharing(objective, batch_of(objective), tied=True))["M119"]


def test_b_directions_that_no_longer_share_are_found(honest):
    objective = honest(frontend="tokens")
    objective.backward_model.frontend = honest(frontend="tokens").forward_model.frontend
    assert "a front-end each" in errors(sharing(objective, batch_of(objective), tied=False))["M119"]


# (c) dropout after the projection at the wrong place, or always on


class AlwaysOn(LSTM):
    """F.dropout without `training`: it drops at evaluation too."""

    def forward(self, x_RTD, state=None, valid_RT=None):
        y_RTD, state = super().forward(x_RTD, state, valid_RT)
        return F.dropout(y_RTD, 0.1), state


class BehindTheSettings(LSTM):
    """Functional dropout after the projection: off at evaluation, but no setting reaches it."""

    def forward(self, x_RTD, state=None, valid_RT=None):
        y_RTD, state = super().forward(x_RTD, state, valid_RT)
        return F.dropout(y_RTD, 0.1, self.training), state


class OneMore(LSTM):
    """A proper nn.Dropout after the projection, where the recipe has none."""

    def __init__(self, *args):
        super().__init__(*args)
        self.drop = nn.Dropout(0.1)

    def forward(self, x_RTD, state=None, valid_RT=None):
        y_RTD, state = super().forward(x_RTD, state, valid_RT)
        return self.drop(y_RTD), state


class Turned(Block):
    """The block's own dropout, but on what leaves the mixer."""

    def forward(self, x_RTD, state, valid_RT):
        y_RTD, state = self.mixer(x_RTD, state, valid_RT)
        y_RTD = self.dropout(y_RTD)
        return (y_RTD + x_RTD if self.residual else y_RTD), state


def with_mixer(honest, spec, mixer, **settings):
    objective = honest(**settings)
    planted = mixer(spec().model.backbone.mixer, 8)
    planted.load_state_dict(objective.forward_model.backbone.blocks[1].mixer.state_dict())
    objective.forward_model.backbone.blocks[1].mixer = planted
    return objective


def test_c_honest_dropout_is_well(honest):
    objective = honest()
    findings = [
        *dropout_asleep(objective, batch_of(objective)),
        *training_equals_evaluation(objective, batch_of(objective)),
        *dropout_places(objective, batch_of(objective), rate=0.1),
    ]
    assert [finding.level for finding in findings] == ["info"] * 3 and "6 places" in findings[2].message


def test_c_dropout_after_the_projection_always_on(honest, spec):
    objective = with_mixer(honest, spec, AlwaysOn)
    found = errors(dropout_asleep(objective, batch_of(objective)))
    assert "first in forward_model.backbone.blocks.1.mixer (AlwaysOn)" in found["M117"]
    assert "M117" in errors(examine_objective(objective))


def test_c_dropout_after_the_projection_that_no_setting_reaches(honest, spec):
    objective = with_mixer(honest, spec, BehindTheSettings)
    found = errors(training_equals_evaluation(objective, batch_of(objective)))
    assert "forward_model.backbone.blocks.1.mixer (BehindTheSettings) gives other vectors in training mode" in found["M116"]
    assert not errors(dropout_asleep(objective, batch_of(objective)))


def test_c_dropout_after_the_projection_as_one_more_module(honest, spec):
    objective = with_mixer(honest, spec, OneMore)
    found = errors(dropout_places(objective, batch_of(objective), rate=0.1))
    assert "forward_model.backbone.blocks.1.mixer.drop (Dropout) is not one of the places" in found["M118"]


def test_c_the_right_dropout_at_the_wrong_place(honest):
    objective = honest()
    old = objective.backward_model.backbone.blocks[0]
    objective.backward_model.backbone.blocks[0] = Turned(old.mixer, residual=False, dropout=0.1)
    found = errors(dropout_places(objective, batch_of(objective), rate=0.1))
    assert "backward_model.backbone.blocks.0.dropout works on the output of its mixer, after the projection" in found["M118"]


def test_c_dropout_on_another_tensor_of_the_block(honest):
    class Elsewhere(Block):
        """Drops a scaled copy, so that the residual carries what was never dropped."""

        def forward(self, x_RTD, state, valid_RT):
            y_RTD, state = self.mixer(self.dropout(0.5 * x_RTD), state, valid_RT)
            return y_RTD + x_RTD, state

    objective = honest()
    old = objective.forward_model.backbone.blocks[1]
    objective.forward_model.backbone.blocks[1] = Elsewhere(old.mixer, residual=True, dropout=0.1)
    found = errors(dropout_places(objective, batch_of(objective), rate=0.1))
    assert "forward_model.backbone.blocks.1.dropout works on another tensor" in found["M118"]


def test_c_another_rate_than_the_recipe_says(honest):
    objective = honest(dropout=0.3)
    assert "drops 0.3, the recipe says 0.1" in errors(dropout_places(objective, batch_of(objective), rate=0.1))["M118"]


def test_c_dropouts_of_a_backbone_of_ones_own_are_its_own(honest):
    objective = honest()
    for model in (objective.forward_model, objective.backward_model):
        model.backbone = ForeignBackbone(nn.Sequential(nn.Dropout(0.4), nn.Linear(8, 8)))
    (finding,) = dropout_places(objective, batch_of(objective), rate=0.1)
    assert finding.level == "info" and "2 of the backbone's own" in finding.message


# (d) a corpus indexed with a truncated vocabulary


def test_d_a_corpus_indexed_with_a_truncated_vocabulary(tmp_path, spec, documents):
    texts = documents(300, types=2000)
    counts = {}
    for word in (word for text in texts for word in text):
        counts[word] = counts.get(word, 0) + 1
    frequent = dict(sorted(counts.items(), key=lambda item: -item[1])[:30])
    truncated = Vocabulary.build(frequent, spec().characters)
    shards = write_shards(tmp_path / "shards", texts, truncated)
    unknown = float(np.mean(shards.ids(0, shards.tokens) == 2))
    assert unknown > 0.85
    found = {finding.code: finding for finding in examine_shards(tmp_path / "shards", truncated)}
    assert found["M101"].level == "error" and f"{unknown:.1%} of the tokens in the shards are <unk>" in found["M101"].message
    assert "unknown when the shards were written" in found["M101"].next
    assert found["M102"].level == "error" and "'<UNK>' stands" in found["M102"].message


def test_d_an_output_vocabulary_that_is_too_small_is_found_in_a_run(tmp_path, honest, spec, text):
    settings = {"size": 8}
    findings = examine_run(
        spec(**settings), objective=honest(**settings), vocabulary=text.vocabulary, shards=text.shards, directory=tmp_path, step=0
    )
    (flood,) = [finding for finding in findings if finding.code == "M101"]
    assert flood.level == "error" and "raise model.head.size" in flood.next and "with 8 words" in flood.message
