"""Skip-gram: its loss word for word, what is drawn, the contracts, and that it learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from malmoi.core.batch import Batch
from malmoi.core.chance import uniform
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import IdentitySpec, ModelSpec, RowsSpec, RunSpec, SkipGramSpec, TokenEmbeddingSpec, VocabularyHeadSpec
from malmoi.core.spec import override
from malmoi.health.batches import random_batch
from malmoi.health.bench import undisturbed
from malmoi.health.start import start_loss
from malmoi.nn import ForeignBackbone
from malmoi.objectives import build
from malmoi.objectives.estimate import estimate
from malmoi.objectives.skipgram import DRAWN, REACH, TILE
from malmoi.recipes import find
from malmoi.testing import check_accumulation, check_evaluation, check_packing, check_path, check_visibility
from malmoi.train import Optimizer
from malmoi.train.checkpoint import Checkpoint, load_module, save

SIZE = 60


def spec_of(*, seed=0, width=8, **fields):
    model = ModelSpec(
        width=width,
        dropout=0.0,
        frontend=TokenEmbeddingSpec(),
        backbone=IdentitySpec(),
        head=VocabularyHeadSpec(size=SIZE, bias="none"),
        initialization="word2vec",
    )
    return RunSpec(name="test", seed=seed, objective=SkipGramSpec(**fields), model=model, stream=RowsSpec(rows=4, length=16))


def objective_of(*, words=200, counts=None, **settings):
    torch.set_num_threads(1)
    return build(spec_of(**settings), words=words, characters=261, counts=counts)


def awake(objective):
    """With random output rows."""
    torch.manual_seed(3)
    nn.init.normal_(objective.head.weight, std=0.5)
    nn.init.normal_(objective.model.frontend.weight, std=0.5)
    return objective


def batch_of(length=37, rows=3):
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, SIZE + 10, (rows, length), generator=generator)
    segments = torch.arange(length).expand(rows, -1) // 9 + 1
    segments = segments.masked_fill(torch.arange(length) >= torch.tensor([length, length - 4, length])[:rows, None], 0)
    return Batch(ids=ids, segments=segments, positions=torch.zeros_like(ids), keys=torch.tensor([11, 12, 13])[:rows])


def slowly(objective, batch):
    """(R, T): the sum over pairs and draws, one by one."""
    spec, (rows, length) = objective.spec, batch.ids.shape
    v = objective.model.frontend.weight.detach().double().numpy()
    u = objective.head.weight.detach().double().numpy()
    reach = 1 + (uniform(batch.keys, length, REACH) * spec.window).long()
    level = uniform(batch.keys, length + -length % TILE, DRAWN).numpy()
    cumulated = objective.cumulated.numpy()
    found = np.zeros((rows, length))

    def cost(x):
        return math.log1p(math.exp(-x))

    def word(r, t):
        return batch.segments[r, t] > 0 and 3 <= batch.ids[r, t] < SIZE

    for r in range(rows):
        for t in range(length):
            first = t // TILE * TILE
            drawn = [min(int((cumulated <= level[r, place]).sum()), SIZE - 1) for place in range(first, first + TILE)]
            for c in range(max(0, t - int(reach[r, t])), min(length, t + int(reach[r, t]) + 1)):
                if c == t or not word(r, t) or not word(r, c) or batch.segments[r, c] != batch.segments[r, t]:
                    continue
                here, there = int(batch.ids[r, t]), int(batch.ids[r, c])
                found[r, t] += cost(v[here] @ u[there])
                found[r, t] += spec.negatives / TILE * sum(cost(-v[here] @ u[n]) for n in drawn if n != there)
    return found


@pytest.mark.parametrize("fields", [{}, {"window": 2, "negatives": 3}, {"window": 20, "power": 0.0}])
def test_the_loss_is_the_sum_over_pairs_and_draws(fields):
    objective, batch = awake(objective_of(**fields)), batch_of()
    expected = slowly(objective, batch)
    np.testing.assert_allclose(objective.score(batch).nll.numpy(), expected, rtol=1e-5, atol=1e-6)
    loss = objective.loss(batch)
    count = int((objective.view(batch).targets["around"] >= 0).sum())
    assert loss.count == count and 0 < count < batch.ids.numel()
    assert (
        float(loss.total.detach())
        == pytest.approx(expected.sum() / count, rel=1e-5)
        == pytest.approx(float(loss.parts["around"]), rel=1e-5)
    )


def test_gradients_are_those_of_dense_tables():
    """One gradient a row, as if every vector had been looked up in a table without shortcuts."""
    objective, batch = awake(objective_of()), batch_of()
    objective.loss(batch).total.backward()
    given = [weight.grad.to_dense() for weight in (objective.model.frontend.weight, objective.head.weight)]
    v, u = (weight.detach().clone().requires_grad_() for weight in (objective.model.frontend.weight, objective.head.weight))
    view = objective.view(batch)
    tiles = objective._tiles(view)
    ids = torch.nn.functional.pad(view.ids, (0, -view.ids.shape[1] % TILE)).view(-1, TILE)
    x = v[ids.clamp(max=SIZE - 1)]
    true = torch.nn.functional.softplus(-torch.einsum("nbd,nsd->nbs", x, u[tiles.ids_NS])) * tiles.pairs_NBS
    drawn = torch.nn.functional.softplus(torch.einsum("nbd,nkd->nbk", x, u[tiles.drawn_NK])) * tiles.weights_NBK
    ((true.sum() + drawn.sum()) / (view.targets["around"] >= 0).sum()).backward()
    torch.testing.assert_close(given[0], v.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(given[1], u.grad, rtol=1e-4, atol=1e-6)
    assert not given[0][:3].any() and not given[1][:3].any(), "marks take no part"


def test_reach_is_even_and_draws_follow_the_counts():
    counts = np.array([0, 0, 9, *range(400, 400 - (SIZE - 3) * 5, -5)])
    objective = objective_of(words=SIZE, counts=counts)
    length = 64 * TILE
    ids = torch.full((4, length), 7)
    batch = Batch(ids=ids, segments=torch.ones_like(ids), positions=torch.zeros_like(ids), keys=torch.arange(4))
    reach = 1 + (uniform(batch.keys, length, REACH) * 5).long()
    assert np.allclose(np.bincount(reach.flatten().numpy(), minlength=6)[1:] / reach.numel(), 0.2, atol=0.02)
    found = np.bincount(objective._tiles(objective.view(batch)).drawn_NK.flatten().numpy(), minlength=SIZE) / ids.numel()
    shares = np.where(np.arange(SIZE) < 3, 0, counts) ** 0.75
    assert not found[:3].any() and np.abs(found - shares / shares.sum()).max() < 0.01
    other = objective.view(replace(batch, keys=torch.arange(4, 8)))
    assert not torch.equal(objective._tiles(objective.view(batch)).drawn_NK, objective._tiles(other).drawn_NK)


def test_without_counts_words_are_drawn_by_zipfs_law():
    shares = np.diff(objective_of(power=1.0).cumulated.numpy(), prepend=0)
    assert shares[3] / shares[7] == pytest.approx(2.0)  # 1/4 and 1/8
    assert shares[:3].sum() == 0 and shares.sum() == pytest.approx(1.0)


def test_rare_words_have_no_vector():
    counts = np.array([0, 0, 0, 90, 50, 20, 5, 4, 1])
    assert objective_of(words=9, counts=counts).output_size == 7
    assert objective_of(words=9, counts=counts, minimum_count=1).output_size == 9


@pytest.mark.parametrize("fields", [{}, {"window": 2}, {"negatives": 2, "sample": 0.0}])
def test_the_contracts_hold_before_and_after_training(fields):
    for objective in (objective_of(**fields), awake(objective_of(**fields))):
        before = {name: value.clone() for name, value in objective.state_dict().items()}
        for check in (check_visibility, check_path, check_evaluation, check_packing, check_accumulation):
            assert check(objective) is None
        assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())


def test_output_rows_of_zeros_are_awake_while_they_are_examined():
    objective = objective_of()
    assert not objective.head.weight.any()
    with undisturbed(objective):
        assert objective.head.weight.any()
    assert not objective.head.weight.any()


class Peeking(nn.Module):
    """Each vector beside that of the word behind it."""

    def forward(self, x):
        return x + x.roll(-1, dims=1)


def test_a_backbone_that_looks_around_is_a_leak():
    objective = awake(objective_of())
    objective.model.backbone = ForeignBackbone(Peeking())
    with pytest.raises(MalmoiError, match="M031"):
        check_visibility(objective)


@pytest.mark.parametrize(
    "change, message",
    [
        ("model.backbone=" + '{"kind":"blocks"}', "an LSTM would carry its state"),
        ("model.backbone=" + '{"kind":"custom","build":"a:b"}', "would see the words"),
        ("model.frontend.positions=learned", "one vector a word"),
        ('model.frontend={"kind":"character_cnn"}', "one vector a word"),
        ("model.head.tied=true", "output rows of its own"),
        ('model.head.softmax={"kind":"sampled"}', "output rows of its own"),
        ("model.dropout=0.1", "drops nothing"),
        ('stream={"kind":"streams"}', "does not read"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(MalmoiError, match=message) as caught:
        build(override(find("word2vec-tiny"), [change], shown="x"), words=100, characters=20)
    assert caught.value.code == "M032"


def test_fresh_weights_are_word2vecs_and_cost_what_guessing_costs():
    objective = objective_of(width=10)
    weight = objective.model.frontend.weight.detach()
    assert not objective.head.weight.any() and weight.abs().max() <= 0.05 and weight.std() == pytest.approx(0.1 / math.sqrt(12), rel=0.1)
    batch = random_batch(objective, rows=4, length=16)
    (finding,) = start_loss(objective, batch)
    assert finding.level == "info" and "guessing every pair costs" in finding.message
    awake(objective).head.weight.data *= 8
    (finding,) = start_loss(objective, batch)
    assert (finding.code, finding.level) == ("M120", "error")


def test_words_that_stand_together_become_alike_and_a_saved_model_is_the_same_one(tmp_path):
    """Two languages that are never mixed: each word's nearest ones are of its own."""
    generator = torch.Generator().manual_seed(0)
    half = (SIZE - 4) // 2
    objective = objective_of(width=16, window=3)
    optimizer = Optimizer(objective, find("word2vec-tiny").training)
    for step in range(150):
        ids = 4 + half * (torch.arange(8) % 2)[:, None] + torch.randint(0, half, (8, 40), generator=generator)
        ones = torch.ones_like(ids)
        loss = objective.train().loss(Batch(ids=ids, segments=ones, positions=ones, keys=torch.arange(8) + 8 * step))
        (loss.total * loss.count).backward()
        optimizer.step(0.025)
    vectors = torch.nn.functional.normalize(objective.model.frontend.weight.detach()[4 : 4 + 2 * half], dim=1)
    alike = vectors @ vectors.T
    assert alike[:half, :half].mean() > alike[:half, half:].mean() + 0.5
    path = save(tmp_path, Checkpoint(step=1), objective)
    loaded = objective_of(width=16, window=3, seed=1)
    load_module(path, loaded)
    batch = batch_of()
    assert torch.equal(loaded.score(batch).nll, objective.score(batch).nll)


def test_fresh_weights_are_decided_by_the_seed():
    one, two, other = objective_of(), objective_of(), objective_of(seed=9)
    assert torch.equal(one.model.frontend.weight, two.model.frontend.weight)
    assert not torch.equal(one.model.frontend.weight, other.model.frontend.weight)


def test_memory_is_estimated_without_any():
    counts = np.array([0, 0, 0, *[10] * 997])
    found = estimate(find("word2vec-small"), words=1000, characters=261, counts=counts)
    assert found.parameters == 2 * 1000 * 100 and found.optimizer == 0 and found.gradients < 4 * 4 * 1024 * 100 * 4 + 1
