"""One suite over all objectives of rows: what causal, masked, paired, replaced and sequence models must keep, with every part."""

import math

import pytest
import torch

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import AdagradSpec, AdamWSpec, CharacterCNNSpec, TrainingSpec, VocabularyHeadSpec
from malmoi.health.batches import random_batch
from malmoi.health.collapse import collapse
from malmoi.health.evaluation import dropout_places
from malmoi.health.start import start_loss
from malmoi.health.tying import sharing
from malmoi.nn import CharacterCNN, Model, VocabularyHead
from malmoi.objectives import Causal
from malmoi.testing import check_accumulation, check_evaluation, check_packing, check_path, check_visibility
from malmoi.train import Optimizer
from malmoi.train.checkpoint import Checkpoint, load_module, save

KINDS = ("causal", "masked", "next", "order", "replaced", "sequence")
POSITIONS = ("none", "learned", "sinusoidal", "rotary")
PRE, FOUR = {"norm": "pre"}, {"depth": 4}
CASES = {
    **{f"{kind}-{positions}": (kind, {"frontend": {"positions": positions}}) for kind in KINDS for positions in POSITIONS},
    **{f"{kind}-pre-factor": (kind, {"frontend": {"width": 8, "positions": "rotary"}, "backbone": PRE}) for kind in KINDS},
    "causal-shared": ("causal", {"backbone": PRE | FOUR | {"share": "all"}}),
    "masked-feedforward": ("masked", {"backbone": FOUR | {"share": "feedforward", "groups": 2}}),
    "order-all": ("order", {"backbone": FOUR | {"share": "all", "groups": 2}, "frontend": {"width": 8}}),
    "replaced-attention": ("replaced", {"backbone": FOUR | {"share": "attention"}}),
    "sequence-attention": ("sequence", {"backbone": FOUR | {"share": "attention", "norm": "pre"}, "frontend": {"scale": True}}),
    "causal-prefix": ("causal", {"mixer": {"sees": "prefix"}}),
    "causal-values": ("causal", {"frontend": {"kind": "soft_one_hot", "bins": 5}, "head": {"tied": False}}),
    "causal-sampled": ("causal", {"head": {"softmax": {"kind": "sampled", "samples": 20}}}),
    "masked-words": ("masked", {"objective": {"whole_words": True, "rate": 0.4}}),
    "masked-untied": ("masked", {"head": {"tied": False, "transform": "relu", "bias": "none"}}),
    "masked-adaptive": ("masked", {"head": {"tied": False, "softmax": {"kind": "adaptive", "cutoffs": (10, 30), "factor": 2.0}}}),
    "replaced-cold": ("replaced", {"objective": {"temperature": 0.5, "mask": 1.0}}),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
kinds = pytest.mark.parametrize("kind", KINDS)


@cases
def test_every_objective_keeps_the_contracts(small, case):
    kind, settings = case
    objective = small(kind, **settings)
    for check in (check_visibility, check_path, check_evaluation, check_packing, check_accumulation):
        assert check(objective) is None
    run = small(kind, **settings, spec=True)
    batch = random_batch(objective, rows=3, length=16)
    (dropout,) = dropout_places(objective, batch, rate=0.1, attention=0.2)
    (shared, *_) = sharing(objective, batch, tied=run.model.head.tied)
    assert dropout.level == shared.level == "info"


@kinds
def test_fresh_weights_know_nothing_and_have_not_collapsed(small, kind):
    objective = small(kind)
    batch = random_batch(objective, rows=16, length=16)
    found = [*start_loss(objective, batch), *collapse(objective, [batch], early=True)]
    assert {finding.level for finding in found} <= {"info", "warning"} and found[0].level == "info"
    assert f"ln(60) is {math.log(60):.2f}" in found[0].message
    choices = [finding.message for finding in found if "ln(2) is 0.69" in finding.message]
    assert len(choices) == (kind in ("next", "order", "replaced"))


def step(objective, optimizer):
    torch.manual_seed(1)
    loss = objective.train().loss(random_batch(objective, rows=4, length=16))
    loss.total.backward()
    optimizer.clip(10.0)
    optimizer.step(0.01)
    return loss.total.item()


@kinds
def test_steps_learn_and_a_saved_model_is_the_same_one(small, kind, tmp_path):
    objective = small(kind, model={"dropout": 0.0})
    optimizer = Optimizer(objective, TrainingSpec(optimizer=AdamWSpec()))
    batch = objective.view(random_batch(objective, rows=4, length=16))
    losses = [step(objective, optimizer) for _ in range(8)]
    assert losses[-1] < 0.9 * losses[0]
    after = objective.eval().score(batch)
    path = save(tmp_path, Checkpoint(step=8), objective)
    loaded = small(kind, seed=1).eval()
    assert not torch.equal(loaded.score(batch).nll, after.nll)
    load_module(path, loaded)
    assert torch.equal(loaded.score(batch).nll, after.nll) and loaded.score(batch).counts == after.counts
    assert sharing(loaded, batch, tied=True)[0].level == "info", "what was one is one after loading"


@kinds
@pytest.mark.parametrize("optimizer", [AdagradSpec(), AdamWSpec()], ids=lambda spec: spec.kind)
def test_every_parameter_moves(small, kind, optimizer):
    objective = small(kind)
    before = {name: parameter.detach().clone() for name, parameter in objective.named_parameters()}
    step(objective, Optimizer(objective, TrainingSpec(optimizer=optimizer)))
    assert [name for name, parameter in objective.named_parameters() if torch.equal(parameter, before[name])] == []


@kinds
def test_fresh_weights_are_decided_by_the_seed(small, kind):
    one, two, other = small(kind), small(kind), small(kind, seed=9)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.head.weight, other.head.weight)


@kinds
def test_bf16_trains_to_about_the_same_loss(small, kind):
    losses = []
    for enabled in (False, True):
        objective = small(kind, model={"dropout": 0.0}, mixer={"dropout": 0.0}).train()
        batch = random_batch(objective, rows=4, length=16)
        optimizer = Optimizer(objective, TrainingSpec(optimizer=AdamWSpec()))
        for _ in range(3):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                loss = objective.loss(batch)
            loss.total.backward()
            optimizer.step(1e-3)
        losses.append(loss.total.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.03) and losses[1] != losses[0]


@pytest.mark.parametrize(
    "kind, settings, message",
    [
        ("causal", {"mixer": {"sees": "full"}}, "would see what it should predict"),
        ("masked", {"mixer": {"sees": "causal"}}, "reads a text in both directions"),
        ("sequence", {"mixer": {"sees": "causal"}}, "reads a text in both directions"),
        ("replaced", {"frontend": {"kind": "soft_one_hot"}, "head": {"tied": False}}, "shares an embedding of tokens"),
        ("masked", {"frontend": {"length": 8}}, "rows of 16 do not fit 8 positions"),
        ("causal", {"backbone": {"kind": "blocks", "mixer": {"kind": "lstm"}}}, "carry its state from one document"),
    ],
)
def test_parts_that_do_not_fit_are_refused(small, kind, settings, message):
    with pytest.raises(MalmoiError, match=message) as caught:
        small(kind, **settings)
    assert caught.value.code == "M032"


def test_parts_that_are_put_together_by_hand_keep_the_contracts(small):
    """Words spelt in characters, as ELMo reads them, under the blocks of a Transformer."""
    torch.manual_seed(0)
    spelt = CharacterCNN(CharacterCNNSpec(width=4, filters=((1, 6), (2, 10)), highway=1), width=16, characters=261, pad=260)
    model = small("causal").model
    objective = Causal(Model(spelt, model.backbone, {"words": VocabularyHead(VocabularyHeadSpec(), width=16, size=60)}), unknown=2)
    for check in (check_visibility, check_path, check_evaluation, check_packing, check_accumulation):
        check(objective)
