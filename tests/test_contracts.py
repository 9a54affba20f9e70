"""One suite over all parts: what any front-end, backbone and head must keep, in every combination that matters."""

import copy

import pytest
import torch

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import (
    AdagradSpec,
    AdamWSpec,
    AdaptiveSoftmaxSpec,
    BackboneSpec,
    CharacterCNNSpec,
    FullSoftmaxSpec,
    IdentitySpec,
    LSTMSpec,
    ModelSpec,
    RowsSpec,
    RunSpec,
    SampledSoftmaxSpec,
    SGDSpec,
    SkipGramSpec,
    TokenEmbeddingSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)
from malmoi.health.batches import random_batch
from malmoi.health.tying import sharing
from malmoi.objectives import build
from malmoi.testing import check_accumulation, check_continuity, check_evaluation, check_packing, check_path, check_visibility
from malmoi.train import Optimizer
from malmoi.train.checkpoint import Checkpoint, load_module, save

SIZE = 60
CNN = CharacterCNNSpec(width=4, filters=((1, 6), (3, 10)), highway=1)
FRONTENDS = {"characters": CNN, "tanh": CNN.model_copy(update={"activation": "tanh", "highway": 2}), "tokens": TokenEmbeddingSpec()}
ADAPTIVE = AdaptiveSoftmaxSpec(cutoffs=(10, 30), factor=2.0)
SOFTMAXES = {"full": FullSoftmaxSpec(), "sampled": SampledSoftmaxSpec(samples=20), "adaptive": ADAPTIVE}
CLIPPED = LSTMSpec(cell=10, cell_clip=0.05, projection_clip=0.03)
BACKBONES = {
    "plain": BackboneSpec(mixer=LSTMSpec(cell=10)),
    "clipped": BackboneSpec(mixer=CLIPPED),
    "one": BackboneSpec(depth=1, mixer=LSTMSpec(cell=10), residual_from=None),
    "three": BackboneSpec(depth=3, mixer=LSTMSpec(cell=10, cell_clip=0.05), residual_from=0),
    "bare": BackboneSpec(depth=3, mixer=LSTMSpec(cell=10, projection_clip=0.03), residual_from=None),
}
CASES = [
    *((front, "plain", softmax, False) for front in FRONTENDS for softmax in SOFTMAXES),
    *(("characters", backbone, "full", False) for backbone in BACKBONES if backbone != "plain"),
    *(("tokens", "clipped", softmax, True) for softmax in ("full", "sampled")),
]
cases = pytest.mark.parametrize("case", CASES, ids=["-".join(map(str, case[:3])) + ("-tied" if case[3] else "") for case in CASES])


def spec_of(case, *, seed=0, dropout=0.1, samples=None):
    front, backbone, softmax, tied = case
    head = VocabularyHeadSpec(size=SIZE, softmax=SOFTMAXES[softmax] if samples is None else SampledSoftmaxSpec(samples=samples), tied=tied)
    model = ModelSpec(width=8, dropout=dropout, frontend=FRONTENDS[front], backbone=BACKBONES[backbone], head=head)
    return RunSpec(name="test", seed=seed, model=model)


def objective_of(case, **settings):
    torch.set_num_threads(1)
    return build(spec_of(case, **settings), words=200, characters=261)


def step(objective, optimizer):
    """One step on random words; the loss."""
    torch.manual_seed(1)
    loss = objective.train().loss(random_batch(objective, rows=4, length=6))
    loss.total.backward()
    optimizer.clip(10.0)
    optimizer.step(0.1)
    return loss.total.item()


@cases
def test_every_part_keeps_the_contracts(case):
    objective = objective_of(case)
    for check in (check_visibility, check_path, check_evaluation, check_continuity):
        check(objective)


@cases
def test_a_step_learns_and_a_saved_model_is_the_same_one(case, tmp_path):
    objective = objective_of(case)
    optimizer = Optimizer(objective, TrainingSpec())
    batch = random_batch(objective, rows=4, length=6)
    before = float(objective.eval().score(batch).nll.mean())
    for _ in range(5):
        step(objective, optimizer)
    after = objective.eval().score(batch).nll
    assert float(after.mean()) < before

    path = save(tmp_path, Checkpoint(step=5), objective)
    loaded = objective_of(case, seed=1).eval()
    assert not torch.equal(loaded.score(batch).nll, after)
    load_module(path, loaded)
    assert all(torch.equal(a, b) for a, b in zip(objective.state_dict().values(), loaded.state_dict().values(), strict=True))
    assert torch.equal(loaded.score(batch).nll, after)


@pytest.mark.parametrize("softmax", ["full", "sampled"])
@pytest.mark.parametrize("optimizer", [AdagradSpec(), AdamWSpec()], ids=lambda spec: spec.kind)
def test_tied_weights_are_one_after_save_and_load_and_stay_one(softmax, optimizer, tmp_path):
    case = ("tokens", "plain", softmax, True)
    objective = objective_of(case)
    step(objective, Optimizer(objective, TrainingSpec(optimizer=optimizer)))
    path = save(tmp_path, Checkpoint(step=1), objective)
    loaded = objective_of(case, seed=1)
    load_module(path, loaded)
    for _ in range(2):
        for model in (loaded.forward_model, loaded.backward_model):
            assert model.heads["words"].weight is loaded.forward_model.frontend.weight
        assert loaded.head.weight.data_ptr() == loaded.forward_model.frontend.weight.data_ptr()
        (finding,) = sharing(loaded, random_batch(loaded, rows=3, length=5), tied=True)
        assert finding.level == "info" and "the head's matrix is the front-end's, with nothing in between" in finding.message
        step(loaded, Optimizer(loaded, TrainingSpec(optimizer=optimizer)))


def test_a_tied_checkpoint_does_not_go_into_an_untied_model(tmp_path):
    tied, untied = objective_of(("tokens", "plain", "full", True)), objective_of(("tokens", "plain", "full", False))
    path = save(tmp_path, Checkpoint(step=1), tied)
    with pytest.raises(MalmoiError) as caught:
        load_module(path, untied)
    assert caught.value.code == "M032"


def test_tying_that_broke_while_loading_is_found():
    """What `load_state_dict(..., assign=True)`, or a copy tensor by tensor into new parameters, does to shared weights."""
    objective = objective_of(("tokens", "plain", "full", True))
    state = {name: copy.deepcopy(tensor) for name, tensor in objective.state_dict().items()}
    objective.load_state_dict(state, assign=True)
    (finding, *_) = sharing(objective, random_batch(objective, rows=3, length=5), tied=True)
    assert (finding.code, finding.level) == ("M119", "error") and "a matrix (60, 8) each" in finding.message


@pytest.mark.parametrize("front", ["characters", "tokens"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("samples", [20, 30, 50])
@pytest.mark.parametrize("optimizer", [AdagradSpec(), AdamWSpec(), SGDSpec()], ids=lambda spec: spec.kind)
def test_every_optimizer_takes_the_gradients_of_every_head(front, tied, samples, optimizer):
    """With many candidates for few words the sampled softmax gives way to the full one, whose gradients are not rows."""
    if front == "characters" and tied:
        with pytest.raises(MalmoiError, match="M030"):
            objective_of((front, "plain", "sampled", tied), samples=samples)
        return
    objective = objective_of((front, "plain", "sampled", tied), samples=samples)
    trainer = Optimizer(objective, TrainingSpec(optimizer=optimizer))
    before = {name: parameter.detach().clone() for name, parameter in objective.named_parameters()}
    step(objective, trainer)
    same = [name for name, parameter in objective.named_parameters() if torch.equal(parameter, before[name])]
    assert same == []


@cases
def test_the_directions_do_not_share_their_backbones(case):
    objective = objective_of(case)
    forward, backward = (set(map(id, model.backbone.parameters())) for model in (objective.forward_model, objective.backward_model))
    assert forward and not forward & backward
    assert objective.forward_model.frontend is objective.backward_model.frontend


@cases
def test_fresh_weights_are_decided_by_the_seed(case):
    one, two, other = objective_of(case), objective_of(case), objective_of(case, seed=9)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("case", [case for case in CASES if case[1] == "plain"], ids=lambda case: "-".join(map(str, case[:3])))
def test_bf16_trains_to_about_the_same_loss(case):
    losses = []
    for enabled in (False, True):
        objective = objective_of(case, dropout=0.0).train()
        optimizer, carry = Optimizer(objective, TrainingSpec(learning_rate=0.1)), None
        for step in range(4):
            batch = random_batch(objective, rows=4, length=6)
            torch.manual_seed(step)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                loss = objective.loss(batch, carry)
            loss.total.backward()
            carry = loss.carry
            optimizer.clip(10.0)
            optimizer.step(0.1)
        losses.append(loss.total.item())
        assert {parameter.dtype for parameter in objective.parameters()} == {torch.float32}
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]


def skipgram(**settings):
    front = TokenEmbeddingSpec(**settings)
    head = VocabularyHeadSpec(size=SIZE, bias="none")
    model = ModelSpec(width=8, dropout=0.0, frontend=front, backbone=IdentitySpec(), head=head, initialization="word2vec")
    spec = RunSpec(name="test", objective=SkipGramSpec(window=3), model=model, stream=RowsSpec(rows=4, length=16))
    return build(spec, words=200, characters=261)


@pytest.mark.parametrize("settings", [{}, {"width": 4}, {"norm": True}, {"scale": True}], ids=str)
def test_skip_gram_keeps_the_contracts(settings):
    """Over words too, but in rows, and without any backbone."""
    objective = skipgram(**settings)
    for check in (check_visibility, check_path, check_evaluation, check_packing, check_accumulation):
        check(objective)


@pytest.mark.parametrize("optimizer", [AdagradSpec(), AdamWSpec(), SGDSpec()], ids=lambda spec: spec.kind)
def test_skip_gram_learns_with_every_optimizer(optimizer):
    objective, losses = skipgram(), []
    trainer = Optimizer(objective, TrainingSpec(optimizer=optimizer))
    batch = random_batch(objective, rows=4, length=16)
    for _ in range(30):
        loss = objective.train().loss(batch)
        (loss.total * loss.count).backward()
        trainer.step(0.1)
        losses.append(loss.total.item())
    assert losses[-1] < 0.9 * losses[0]
