"""The public contract checks: silent on honest models, an error with a name on others, and no trace left behind."""

import importlib
import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.recipe import BackboneSpec, CustomBackboneSpec, LSTMSpec, ModelSpec, RunSpec, TokenEmbeddingSpec, VocabularyHeadSpec
from malmoi.nn import ForeignBackbone, Trace
from malmoi.objectives import build
from malmoi.recipes import elmo, find
from malmoi.shards import Shards, Streams
from malmoi.testing import check_accumulation, check_continuity, check_evaluation, check_packing, check_path, check_visibility

TYPES = 50


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def spec_with(backbone, *, width=16):
    head = VocabularyHeadSpec(size=TYPES)
    return RunSpec(name="test", model=ModelSpec(width=width, dropout=0.0, frontend=TokenEmbeddingSpec(), backbone=backbone, head=head))


def honest(**settings):
    return build(spec_with(BackboneSpec(depth=2, mixer=LSTMSpec(cell=32)), **settings), words=TYPES, characters=261)


@pytest.fixture
def leaky(monkeypatch):
    """A biLM whose recipe names a two-layer nn.LSTM(bidirectional=True) as its backbone."""
    module = ModuleType("careless")
    module.backbone = lambda width: nn.LSTM(width, width // 2, num_layers=2, bidirectional=True, batch_first=True)
    monkeypatch.setitem(sys.modules, "careless", module)
    return build(spec_with(CustomBackboneSpec(build="careless:backbone")), words=TYPES, characters=261)


def test_an_honest_model_passes_every_check():
    for check in (check_visibility, check_path, check_evaluation, check_continuity):
        assert check(honest()) is None


def test_the_leaky_lstm_is_refused_by_name(leaky):
    with pytest.raises(MalmoiError) as caught:
        check_visibility(leaky)
    assert caught.value.code == "M031"
    assert "forward_model.backbone.module (LSTM, bidirectional=True)" in str(caught.value) and "next:" in str(caught.value)


def test_rows_and_lengths_may_be_chosen(leaky):
    check_visibility(honest(), rows=1, length=7)
    with pytest.raises(MalmoiError, match="bidirectional=True"):
        check_visibility(leaky, rows=1, length=3)


def test_each_check_raises_its_own_code():
    class Wrong(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.kind, self.used, self.spare = kind, nn.Linear(16, 16), nn.Linear(16, 16)

        def forward(self, x_RTD, state=None):
            y_RTD = self.used(x_RTD)
            if self.kind == "path":
                return Trace(last=y_RTD, layers=(x_RTD, self.spare(x_RTD)))
            if self.kind == "dropout":
                return F.dropout(y_RTD, 0.5)
            before = state[0][0] if state else x_RTD.new_zeros(len(x_RTD), 16)
            return Trace(last=y_RTD + before[:, None], layers=(x_RTD, y_RTD), state=((before + 1.0,),))

    for kind, check, code in (("path", check_path, "M112"), ("dropout", check_evaluation, "M117"), ("state", check_continuity, "M121")):
        objective = honest()
        for model in (objective.forward_model, objective.backward_model):
            model.backbone = ForeignBackbone(Wrong(kind))
        with pytest.raises(MalmoiError) as caught:
            check(objective)
        assert caught.value.code == code, kind


@pytest.mark.parametrize("recipe", ["elmo_tiny", "elmo_small", "elmo_medium"])
def test_the_recipes_pass_at_a_tenth_of_their_size(recipe):
    spec = getattr(elmo, recipe)()
    mixer = spec.model.backbone.mixer.model_copy(update={"cell": spec.model.backbone.mixer.cell // 8})
    backbone = spec.model.backbone.model_copy(update={"mixer": mixer})
    model = spec.model.model_copy(update={"backbone": backbone, "width": spec.model.width // 4})
    objective = build(spec.model_copy(update={"model": model}), words=20_000, characters=261)
    for check in (check_visibility, check_path, check_evaluation, check_continuity):
        check(objective)


ROWS_CHECKS = (check_visibility, check_path, check_evaluation, check_packing, check_accumulation)


@pytest.mark.parametrize("name", ["gpt1-tiny", "gpt2-tiny", "bert-tiny", "albert-tiny", "electra-tiny", "transformer-tiny"])
def test_the_recipes_of_rows_pass(name):
    spec = find(name)
    objective = build(spec, words=300, characters=0, marks=Marks(pad=0, unknown=1, begin=2, end=3, mask=4))
    for check in ROWS_CHECKS:
        check(objective)


def test_rows_and_lengths_may_be_chosen_for_rows_too(small):
    for kind, length in (("causal", 3), ("masked", 5), ("next", 7), ("replaced", 30), ("sequence", 9)):
        objective = small(kind)
        check_visibility(objective, rows=2, length=length)
        check_packing(objective, rows=1, length=length)
        check_accumulation(objective, rows=2, length=length)


def test_a_batch_of_ones_own_is_examined(small):
    objective = small("masked")
    ids = torch.tensor([[2, 9, 8, 7, 3, 2, 11, 12, 3], [2, 20, 21, 22, 23, 24, 25, 26, 3]])
    segments = torch.tensor([[1] * 5 + [2] * 4, [1] * 9])
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3], list(range(9))])
    batch = Batch(ids=ids, segments=segments, positions=positions, keys=torch.tensor([5, 6]))
    for check in ROWS_CHECKS:
        check(objective, batch=batch)
    objective.model.backbone.sees = "causal"
    check_visibility(objective, batch=batch)  # it sees less than it may


class Looks(nn.Module):
    """One head of attention of one's own; `wide`: it forgets that documents end."""

    def __init__(self, width, wide=False):
        super().__init__()
        self.qkv, self.wide = nn.Linear(width, 3 * width), wide

    def forward(self, x_RTD, layout):
        q, k, v = self.qkv(x_RTD).chunk(3, dim=-1)
        later = torch.ones(x_RTD.shape[1], x_RTD.shape[1], dtype=torch.bool).triu(1)
        other = layout.segments[:, :, None] != layout.segments[:, None, :]
        weights = (q @ k.transpose(1, 2)).masked_fill(later if self.wide else later | other, -torch.inf).softmax(-1)
        return x_RTD + weights @ v


def test_a_backbone_of_ones_own_may_ask_for_the_documents_of_its_rows(small):
    objective = small("causal")
    objective.model.backbone = ForeignBackbone(Looks(16))
    for check in ROWS_CHECKS:
        check(objective)
    objective.model.backbone = ForeignBackbone(Looks(16, wide=True))
    with pytest.raises(MalmoiError, match=r"M031.*model.backbone.module \(Looks\)"):
        check_visibility(objective)


@pytest.mark.parametrize("kind", ["causal", "next", "replaced", "sequence"])
def test_an_examined_objective_is_left_as_it_was(small, kind):
    objective = small(kind)
    objective.model.backbone.eval()
    parameter = objective.model.frontend.weight
    parameter.grad = torch.ones_like(parameter)
    modes = [module.training for module in objective.modules()]
    weights = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    for check in ROWS_CHECKS:
        check(objective)
    assert [module.training for module in objective.modules()] == modes and torch.equal(torch.get_rng_state(), state)
    assert torch.equal(parameter.grad, torch.ones_like(parameter))
    assert all(other.requires_grad and (other.grad is None or other is parameter) for other in objective.parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in objective.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in objective.modules())
    assert objective.model.backbone.blocks[0].attention.dropout.p == 0.1


def random_stream(count, *, rows=8, window=6):
    """Independent uniform words, one document: nothing can be predicted. The three marks take part, so all 50 words occur."""
    ids = np.random.default_rng(7).integers(0, TYPES, count)
    return Streams(Shards.of(ids, np.array([count])), None, rows, window, 0)


def trained(objective, *, steps):
    """Perplexity on fresh random words after `steps` steps of Adam on random words (each step sees new ones)."""
    batches = random_stream(40_000)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    carry = None
    for step in range(steps):
        loss = objective.loss(batches.batch(step), carry)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        carry = loss.carry
    objective.eval()
    held_out = SimpleNamespace(nats=0.0, count=0)
    for step in range(steps, steps + 20):
        batch = batches.batch(step)
        held_out.nats += float(objective.score(batch).nll.double().sum())
        held_out.count += batch.ids.numel()
    return math.exp(held_out.nats / held_out.count)


def test_random_words_stay_unpredictable_for_an_honest_model_and_not_for_a_leaky_one(leaky):
    assert trained(honest(), steps=400) >= 49.0
    assert trained(leaky, steps=250) < 10.0


def test_the_checks_print_nothing_and_import_without_the_command(capsys):
    check_visibility(honest())
    assert capsys.readouterr().out == ""
    assert importlib.util.find_spec("malmoi.testing") is not None
