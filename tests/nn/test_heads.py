"""The vocabulary head against plain cross entropy and against a slow sampled softmax."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from malmoi.core.recipe import AdaptiveSoftmaxSpec, SampledSoftmaxSpec, VocabularyHeadSpec
from malmoi.nn import VocabularyHead, heads

N, D, V = 23, 7, 41


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(2)
    x_ND = torch.randn(N, D, generator=generator, requires_grad=True)
    return x_ND, torch.randint(V, (N,), generator=generator)


def head_of(softmax=None, size=V):
    torch.manual_seed(3)
    head = VocabularyHead(VocabularyHeadSpec(softmax=softmax or VocabularyHeadSpec().softmax), width=D, size=size)
    if head.adaptive is None:
        torch.nn.init.normal_(head.bias)
    return head


@pytest.mark.parametrize("elements", [1, 3 * V, N * V, 1 << 24])
def test_chunked_cross_entropy_is_cross_entropy(parts, monkeypatch, elements):
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", elements)
    x_ND, target_N = parts
    head = head_of()
    expected_N = F.cross_entropy(F.linear(x_ND, head.weight, head.bias), target_N, reduction="none")
    inputs = (x_ND, head.weight, head.bias)
    expected = torch.autograd.grad(3.0 * expected_N.sum(), inputs)
    total, nll_N = head.loss(x_ND, target_N)
    torch.testing.assert_close(nll_N, expected_N.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(total, expected_N.sum(), rtol=1e-6, atol=1e-6)
    for found, wanted in zip(torch.autograd.grad(3.0 * total, inputs), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head.nll(x_ND, target_N), expected_N.detach(), rtol=1e-6, atol=1e-6)


def test_only_the_gradients_that_are_asked_for_are_made(parts):
    x_ND, target_N = parts
    head = head_of()
    (full,) = torch.autograd.grad(head.loss(x_ND, target_N)[0], x_ND)
    head.requires_grad_(False)
    assert torch.equal(torch.autograd.grad(head.loss(x_ND, target_N)[0], x_ND)[0], full)
    head.requires_grad_(True)
    head.loss(x_ND.detach(), target_N)[0].backward()
    assert head.weight.grad.any() and head.bias.grad.any()


def test_large_logits_do_not_overflow(parts):
    x_ND, target_N = parts
    head = head_of()
    expected_N = F.cross_entropy(F.linear(1e4 * x_ND, head.weight, head.bias), target_N, reduction="none")
    torch.testing.assert_close(head.nll(1e4 * x_ND, target_N), expected_N.detach(), rtol=1e-5, atol=1e-3)


def slow_sampled(x, weight, bias, target, candidates, tries, size):
    """Jean et al. 2015 with expected counts, accidental hits taken out; float64, one prediction at a time."""

    def log_count(word):
        probability = math.log((word + 2) / (word + 1)) / math.log(size + 1)
        return math.log(1.0 - (1.0 - probability) ** tries)

    nll = []
    for vector, word in zip(x, target, strict=True):
        true = vector @ weight[word] + bias[word] - log_count(word)
        others = [vector @ weight[other] + bias[other] - log_count(other) for other in candidates if other != word]
        nll.append(np.logaddexp.reduce([true, *others]) - true)
    return np.array(nll)


@pytest.mark.parametrize("elements", [1, 30, 1 << 20])
def test_sampled_softmax_is_the_slow_one_with_the_same_candidates(parts, monkeypatch, elements):
    monkeypatch.setattr(heads, "CACHED_ELEMENTS", elements)
    x_ND, target_N = parts
    head = head_of(SampledSoftmaxSpec(samples=12)).train()
    torch.manual_seed(11)
    candidates, tries = heads.log_uniform(12, V)
    assert set(candidates.tolist()) & set(target_N.tolist()), "accidental hits must occur"
    torch.manual_seed(11)
    total, nll_N = head.loss(x_ND, target_N)
    plain = (x_ND.detach().double().numpy(), head.weight.detach().double().numpy(), head.bias.detach().double().numpy())
    expected = slow_sampled(*plain, target_N.tolist(), candidates.tolist(), tries, V)
    np.testing.assert_allclose(nll_N.numpy(), expected, rtol=1e-5, atol=1e-5)
    total.backward()
    for place in ((0, 0), (5, 3), (N - 1, D - 1)):
        moved = []
        for shift in (1e-5, -1e-5):
            x = plain[0].copy()
            x[place] += shift
            moved.append(slow_sampled(x, *plain[1:], target_N.tolist(), candidates.tolist(), tries, V).sum())
        assert float(x_ND.grad[place]) == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-3, abs=1e-4)
    gradient = head.weight.grad.to_dense().double().numpy()
    for word, column in ((int(candidates[0]), 1), (int(target_N[0]), 2)):
        moved = []
        for shift in (1e-5, -1e-5):
            weight = plain[1].copy()
            weight[word, column] += shift
            moved.append(slow_sampled(plain[0], weight, plain[2], target_N.tolist(), candidates.tolist(), tries, V).sum())
        assert gradient[word, column] == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-3, abs=1e-4)
    untouched = sorted(set(range(V)) - set(candidates.tolist()) - set(target_N.tolist()))
    assert untouched and not gradient[untouched].any()


def test_at_evaluation_the_sampled_softmax_is_exact(parts):
    x_ND, target_N = parts
    head = head_of(SampledSoftmaxSpec(samples=12)).eval()
    expected_N = F.cross_entropy(F.linear(x_ND, head.weight, head.bias), target_N, reduction="none")
    torch.testing.assert_close(head.loss(x_ND, target_N)[1], expected_N.detach(), rtol=1e-6, atol=1e-6)
    assert head.train().samples == 12 and head_of(SampledSoftmaxSpec(samples=21)).samples is None


def test_adaptive_softmax_is_a_distribution(parts):
    x_ND, _ = parts
    head = head_of(AdaptiveSoftmaxSpec(cutoffs=(8, 20), factor=2.0))
    every = torch.stack([head.nll(x_ND, torch.full((N,), word)) for word in range(V)])
    torch.testing.assert_close((-every).exp().sum(0), torch.ones(N), rtol=1e-5, atol=1e-5)


def test_log_uniform_draws_as_it_says():
    """The first candidate has exactly the log-uniform distribution: chi-square with 9 degrees of freedom (99.9 %: 27.9)."""
    torch.manual_seed(0)
    size, draws = 10, 5000
    found = np.bincount([int(heads.log_uniform(1, size)[0]) for _ in range(draws)], minlength=size)
    probability = np.log((np.arange(size) + 2) / (np.arange(size) + 1)) / np.log(size + 1)
    assert probability.sum() == pytest.approx(1.0)
    assert (((found - draws * probability) ** 2) / (draws * probability)).sum() < 27.9


def test_candidates_are_distinct_and_their_expected_counts_right():
    """Every candidate weighted by 1 over its expected count gives unbiased sums (Horvitz and Thompson 1952), which is all that the
    correction of the logits is for."""
    torch.manual_seed(1)
    size, samples, draws = 300, 60, 1500
    value = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) + 0.5
    sums = []
    for _ in range(draws):
        ids, tries = heads.log_uniform(samples, size)
        assert len(set(ids.tolist())) == samples <= tries and 0 <= int(ids.min()) and int(ids.max()) < size
        sums.append(float((value[ids] / heads.log_expected_count(ids, tries, size).double().exp()).sum()))
    assert np.mean(sums) == pytest.approx(float(value.sum()), rel=0.02)


def test_expected_counts_stay_finite_for_large_vocabularies():
    ids = torch.tensor([0, 1, 1000, 793_470])
    found = heads.log_expected_count(ids, 12_000, 793_471).double()
    exact = [math.log(-math.expm1(12_000 * math.log1p(-math.log1p(1 / (word + 1)) / math.log(793_472)))) for word in ids.tolist()]
    np.testing.assert_allclose(found.numpy(), exact, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("elements", [1, 3 * V, 1 << 24])
@pytest.mark.parametrize("smoothing", [0.1, 0.4])
def test_label_smoothing_is_torchs(parts, monkeypatch, elements, smoothing):
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", elements)
    x_ND, target_N = parts
    head = head_of()
    logits_NV = F.linear(x_ND, head.weight, head.bias)
    inputs = (x_ND, head.weight, head.bias)
    wanted = F.cross_entropy(logits_NV, target_N, label_smoothing=smoothing, reduction="sum")
    expected = torch.autograd.grad(2.0 * wanted, inputs, retain_graph=True)
    total, nll_N = head.loss(x_ND, target_N, smoothing=smoothing)
    torch.testing.assert_close(total, wanted, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(nll_N, F.cross_entropy(logits_NV, target_N, reduction="none").detach(), rtol=1e-6, atol=1e-6)
    for found, gradient in zip(torch.autograd.grad(2.0 * total, inputs), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-6)


def test_hits_are_the_most_likely_words(parts):
    x_ND, target_N = parts
    head = head_of()
    best_N = F.linear(x_ND, head.weight, head.bias).argmax(1)
    target_N = torch.where(torch.arange(N) % 2 == 0, best_N, target_N)
    nll_N, hit_N = head.score(x_ND, target_N)
    assert torch.equal(hit_N, best_N == target_N) and hit_N.any() and not hit_N.all()
    torch.testing.assert_close(nll_N, head.nll(x_ND, target_N))


@pytest.mark.parametrize("elements", [1, 3 * V, 1 << 24])
def test_words_are_drawn_by_inversion_in_one_pass_with_the_loss(parts, monkeypatch, elements):
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", elements)
    x_ND, target_N = parts
    head = head_of()
    draw_N = torch.linspace(0, 1, N + 1, dtype=torch.float64)[:-1]
    total, nll_N, drawn_N = head.loss_and_draw(x_ND, target_N, draw_N)
    plain, each_N = head.loss(x_ND, target_N)
    torch.testing.assert_close(total, plain)
    torch.testing.assert_close(nll_N, each_N)
    chance = F.linear(x_ND, head.weight, head.bias).double().softmax(1).detach().numpy()
    expected = [int(np.searchsorted(np.cumsum(row), draw, side="right")) for row, draw in zip(chance, draw_N.numpy(), strict=True)]
    assert drawn_N.tolist() == expected
    (found,) = torch.autograd.grad(total, x_ND)
    torch.testing.assert_close(found, torch.autograd.grad(plain, x_ND)[0])


def test_draws_have_the_distribution_that_they_are_drawn_from():
    """Chi-square with 7 degrees of freedom (99.9 %: 24.3); the word of weight 0 never comes."""
    weights = torch.tensor([0.5, 3.0, 0.0, 1.0, 2.0, 0.25, 4.0, 1.5, 0.75])
    draws = 20_000
    draw_N = torch.from_numpy(np.random.default_rng(1).random(draws))
    found = np.bincount(heads.drawn(weights.expand(draws, -1), draw_N).numpy(), minlength=9)
    expected = draws * weights.numpy() / float(weights.sum())
    assert found[2] == 0
    some = expected > 0
    assert (((found - expected)[some] ** 2) / expected[some]).sum() < 24.3


def test_a_draw_never_leaves_the_vocabulary():
    weights = torch.full((3, 5), 0.1)
    draws = torch.tensor([0.0, 0.5, 1.0 - 2**-53], dtype=torch.float64)
    assert heads.drawn(weights, draws).tolist() == [0, 2, 4]


def test_a_tied_head_behind_a_transform_scores_with_the_embedding():
    torch.manual_seed(0)
    embedding = torch.nn.Parameter(torch.randn(V, 5))
    head = VocabularyHead(VocabularyHeadSpec(tied=True, transform="gelu"), width=D, size=V, tied=embedding, epsilon=1e-6)
    assert head.weight is embedding and head.bias.shape == (V,)
    x_ND = torch.randn(N, D)
    z = F.gelu(x_ND @ head.transform.dense.weight.T + head.transform.dense.bias)
    z = (z - z.mean(1, keepdim=True)) / (z.var(1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(head.logits(x_ND), z @ embedding.T, rtol=1e-4, atol=1e-4)
    target_N = torch.arange(N) % V
    torch.testing.assert_close(head.nll(x_ND, target_N), F.cross_entropy(z @ embedding.T, target_N, reduction="none").detach())


def test_a_head_without_a_bias_has_none_to_train():
    head = VocabularyHead(VocabularyHeadSpec(bias="none"), width=D, size=V)
    assert [name for name, _ in head.named_parameters()] == ["weight"] and not head.bias.any()
    assert "bias" not in head.state_dict()


def test_the_heads_for_pairs_and_replaced_tokens_are_two_layers():
    torch.manual_seed(0)
    pair, replaced = heads.PairHead(D), heads.ReplacedHead(D, activation="relu")
    x = torch.randn(4, 3, D)
    pooled = torch.tanh(x[:, 0] @ pair.pooler.weight.T + pair.pooler.bias)
    torch.testing.assert_close(pair(x[:, 0]), pooled @ pair.classifier.weight.T + pair.classifier.bias)
    hidden = torch.relu(x @ replaced.dense.weight.T + replaced.dense.bias)
    torch.testing.assert_close(replaced(x), (hidden @ replaced.out.weight.T + replaced.out.bias)[..., 0])
