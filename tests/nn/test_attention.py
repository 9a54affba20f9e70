"""Attention against loops: masks by document, fused and slow, rotary positions against complex numbers, keys and values that are kept."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from malmoi.core.batch import Batch
from malmoi.core.recipe import AttentionSpec, BackboneSpec, MLPSpec, TokenEmbeddingSpec
from malmoi.nn import Attention, Backbone, CrossAttention, Layout, Model, TokenEmbedding
from malmoi.nn.attention import _turn as turn_of
from malmoi.nn.attention import allowed, attend, sight, turned

R, T, H, K = 3, 9, 2, 4
D = H * K
SEGMENTS = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 3, 3], [1, 1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 2, 2, 2, 0, 0, 0, 0]])


def positions_of(segments):
    found = torch.zeros_like(segments)
    for row in range(len(segments)):
        for place in range(1, segments.shape[1]):
            found[row, place] = found[row, place - 1] + 1 if segments[row, place] == segments[row, place - 1] else 0
    return found


def layout_of(segments=SEGMENTS, *, prefix=None, scores=False, memory=None, memory_segments=None):
    return Layout(segments, positions_of(segments), prefix, memory, memory_segments, scores)


def sees(kind, segments, prefix, row, t, s):
    """Whether place t may look at place s, by the words of the spec."""
    if segments[row, t] != segments[row, s]:
        return False
    return kind == "full" or s <= t or (kind == "prefix" and prefix is not None and bool(prefix[row, s]))


def slow(q, k, v, may):
    """(R, T, H, K) in float64 loops; may(row, t, s)."""
    out = np.zeros_like(q)
    weights = np.zeros((q.shape[0], q.shape[2], q.shape[1], k.shape[1]))
    for row in range(q.shape[0]):
        for head in range(q.shape[2]):
            for t in range(q.shape[1]):
                seen = [s for s in range(k.shape[1]) if may(row, t, s)]
                scores = np.array([q[row, t, head] @ k[row, s, head] / math.sqrt(q.shape[3]) for s in seen])
                share = np.exp(scores - scores.max())
                share /= share.sum()
                weights[row, head, t, seen] = share
                out[row, t, head] = sum(w * v[row, s, head] for w, s in zip(share, seen, strict=True))
    return out, weights


def rotated(x, positions):
    """Rotary positions as multiplication of complex numbers, (R, T, H, K) -> the same."""
    half = x.shape[3] // 2
    numbers = x[..., :half] + 1j * x[..., half:]
    rates = 10_000.0 ** (-np.arange(half) * 2 / x.shape[3])
    numbers = numbers * np.exp(1j * positions[:, :, None, None] * rates)
    return np.concatenate([numbers.real, numbers.imag], axis=3)


@pytest.fixture
def part():
    torch.manual_seed(0)
    attention = Attention(AttentionSpec(heads=H), D)
    return attention, torch.randn(R, T, D)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("segments", [SEGMENTS, torch.ones(R, T, dtype=torch.int64)], ids=["packed", "whole"])
@pytest.mark.parametrize("kind", ["full", "causal", "prefix"])
def test_attention_is_the_loop_fused_and_step_by_step(part, kind, segments, rotary):
    attention, x_RTD = part
    prefix = positions_of(segments) < 2 if kind == "prefix" else None
    q, k, v = (each.detach().double().numpy() for each in attention.qkv(x_RTD).unflatten(-1, (3, H, K)).unbind(2))
    if rotary:
        q, k = rotated(q, positions_of(segments).numpy()), rotated(k, positions_of(segments).numpy())
    y, weights = slow(q, k, v, lambda row, t, s: sees(kind, segments, prefix, row, t, s))
    expected = torch.from_numpy(y).float().flatten(2) @ attention.out.weight.T + attention.out.bias
    for scores in (False, True):
        layout = layout_of(segments, prefix=prefix, scores=scores)
        found, state, given = attention(x_RTD, None, sight(layout, kind, past=0, rotary=K if rotary else None, dtype=torch.float32))
        real = segments > 0
        torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=1e-5)
        assert state == () and (given is None) == (not scores)
    np.testing.assert_allclose(given.detach().numpy()[2, :, :5], weights[2, :, :5], atol=1e-6)
    np.testing.assert_allclose(given.detach().numpy()[:2], weights[:2], atol=1e-6)


@pytest.mark.parametrize("kind", ["full", "causal", "prefix"])
def test_what_may_be_seen_is_what_the_spec_says(kind):
    prefix = positions_of(SEGMENTS) < 2
    found = allowed(layout_of(prefix=prefix), kind)
    for row, t, s in np.ndindex(R, T, T):
        assert bool(found[row, t, s]) == sees(kind, SEGMENTS, prefix, row, t, s), (row, t, s)


def test_a_mask_is_made_only_where_one_is_needed():
    whole, padded = torch.ones(2, 4, dtype=torch.int64), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])

    def made(segments, kind):
        return sight(layout_of(segments), kind, past=0, rotary=None, dtype=torch.float32)

    assert made(whole, "full").mask is None and not made(whole, "full").causal
    assert made(whole, "causal").mask is None and made(whole, "causal").causal
    assert made(padded, "causal").mask is None, "what stands behind the only document of a row is never seen"
    assert made(padded, "full").mask is not None
    assert made(SEGMENTS, "causal").mask.shape == (R, 1, T, T)


def test_the_gradients_of_the_fused_path_are_those_of_the_slow_one(part):
    attention, x_RTD = part
    found = []
    for scores in (False, True):
        y_RTD, _, _ = attention(x_RTD, None, sight(layout_of(scores=scores), "causal", past=0, rotary=K, dtype=torch.float32))
        total = (y_RTD * torch.linspace(-1, 1, R * T * D).view(R, T, D)).sum()
        found.append(torch.autograd.grad(total, list(attention.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_cross_attention_is_the_loop_over_the_memory():
    torch.manual_seed(1)
    cross = CrossAttention(AttentionSpec(heads=H), D)
    x_RTD, memory = torch.randn(R, 4, D), torch.randn(R, 6, D)
    mine = torch.tensor([[1, 1, 2, 2], [1, 1, 1, 0], [1, 2, 2, 2]])
    theirs = torch.tensor([[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 1, 1], [1, 1, 2, 2, 2, 2]])
    layout = layout_of(mine, memory=memory, memory_segments=theirs)
    y_RTD = cross(x_RTD, sight(layout, "causal", past=0, rotary=None, dtype=torch.float32))
    q = cross.q(x_RTD).unflatten(-1, (H, K)).detach().double().numpy()
    k, v = (each.detach().double().numpy() for each in cross.kv(memory).unflatten(-1, (2, H, K)).unbind(2))
    real = mine > 0
    expected, _ = slow(q, k, v, lambda row, t, s: bool(mine[row, t] == theirs[row, s]) or mine[row, t] == 0)
    expected = torch.from_numpy(expected).float().flatten(2) @ cross.out.weight.T + cross.out.bias
    torch.testing.assert_close(y_RTD[real], expected[real], rtol=1e-5, atol=1e-5)
    assert torch.isfinite(y_RTD).all(), "padding that finds no memory is no number to be afraid of"
    (gradient,) = torch.autograd.grad(y_RTD[real].sum(), cross.kv.weight)
    assert torch.isfinite(gradient).all()


def test_rotary_scores_depend_on_the_distance_alone():
    torch.manual_seed(2)
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    scores = {}
    for at, distance in [(0, 3), (5, 3), (40, 3), (5, 4)]:
        places = torch.tensor([[at]]), torch.tensor([[at + distance]])
        one, other = (turned(x, turn_of(place, 8)) for x, place in zip((q, k), places, strict=True))
        scores[at, distance] = float((one * other).sum())
        assert float(one.square().sum()) == pytest.approx(float(q.square().sum()), rel=1e-5)
    assert scores[5, 3] == pytest.approx(scores[0, 3], abs=1e-5) and scores[40, 3] == pytest.approx(scores[0, 3], abs=1e-5)
    assert abs(scores[5, 4] - scores[5, 3]) > 1e-3


def test_rotary_positions_are_multiplications_by_complex_numbers():
    torch.manual_seed(3)
    x = torch.randn(R, T, H, K)
    found = turned(x, turn_of(positions_of(SEGMENTS), K))
    np.testing.assert_allclose(found.numpy(), rotated(x.double().numpy(), positions_of(SEGMENTS).numpy()), atol=1e-6)


def test_dropout_of_attention_weights_keeps_their_mean():
    torch.manual_seed(4)
    q = torch.zeros(1, 400, 1, 2)
    v = torch.ones(1, 400, 1, 2)
    for scores in (False, True):
        drop = nn.Dropout(0.5).train()
        y, _ = attend(q, q, v, mask=None, causal=False, drop=drop, scores=scores)
        assert 0.9 < float(y.mean()) < 1.1 and float(y.std()) > 0.02
        y, _ = attend(q, q, v, mask=None, causal=False, drop=drop.eval(), scores=scores)
        torch.testing.assert_close(y, torch.ones_like(y))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["none", "learned", "sinusoidal", "rotary"])
def test_step_by_step_with_keys_and_values_kept_is_one_forward_pass(positions, norm):
    torch.manual_seed(5)
    spec = BackboneSpec(depth=3, mixer=AttentionSpec(heads=2, sees="causal"), residual_from=None, feedforward=MLPSpec(width=12), norm=norm)
    frontend = TokenEmbedding(TokenEmbeddingSpec(positions=positions, length=16), size=20, width=8, unknown=1)
    model = Model(frontend, Backbone(spec, width=8, dropout=0.0, rotary=positions == "rotary"), {}).eval()
    ids = torch.randint(20, (2, 11))
    ones, places = torch.ones_like(ids), torch.arange(11).expand(2, 11)
    whole = model.encode(Batch(ids=ids, segments=ones, positions=places))
    assert whole.state == ()
    state, parts = model.initial_state(2), []
    for begin, end in [(0, 4), (4, 5), (5, 6), (6, 9), (9, 11)]:  # a prompt, single steps, and several at once
        here = slice(begin, end)
        trace = model.encode(Batch(ids=ids[:, here], segments=ones[:, here], positions=places[:, here]), state)
        state = trace.state
        parts.append(trace.layers)
    for layer, found in zip(zip(*parts, strict=True), whole.layers, strict=True):
        torch.testing.assert_close(torch.cat(layer, dim=1), found, rtol=1e-5, atol=1e-5)
    assert state[0][0].shape == (2, 11, 2, 4)
