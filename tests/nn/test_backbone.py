"""Blocks against plain arithmetic, and what sharing shares."""

import math

import pytest
import torch
from torch.nn import functional as F

from malmoi.core.recipe import AttentionSpec, BackboneSpec, MLPSpec
from malmoi.nn import Attention, Backbone, Layout
from malmoi.nn.backbone import ACTIVATIONS

D, M, R, T = 8, 12, 2, 5
ATTENTION = 4 * D * D + 4 * D
CROSS = ATTENTION
MLP = 2 * D * M + D + M
NORM = 2 * D


def backbone(depth=4, *, cross=False, **settings):
    torch.manual_seed(0)
    mixer = AttentionSpec(heads=2, sees="causal")
    spec = BackboneSpec(depth=depth, mixer=mixer, residual_from=None, feedforward=MLPSpec(width=M), **{"norm": "post", **settings})
    return Backbone(spec, width=D, dropout=0.0, cross=cross)


def layout():
    ones = torch.ones(R, T, dtype=torch.int64)
    return Layout(ones, torch.arange(T).expand(R, T))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_block_is_attention_and_feed_forward_each_added_and_normalized(norm):
    part = backbone(2, norm=norm, epsilon=1e-3)
    torch.manual_seed(1)
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(R, T, D)
    trace = part(x, None, None, layout())
    found = [x]

    def normalized(y, norm):
        centred = y - y.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight + norm.bias

    def attended(y, attention):
        q, k, v = (y @ attention.qkv.weight.T + attention.qkv.bias).unflatten(-1, (3, 2, D // 2)).unbind(2)
        scores = torch.einsum("rthk,rshk->rhts", q, k) / math.sqrt(D // 2)
        weights = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -1e9).softmax(-1)
        return torch.einsum("rhts,rshk->rthk", weights, v).flatten(2) @ attention.out.weight.T + attention.out.bias

    def fed(y, mlp):
        up = y @ mlp.up.weight.T + mlp.up.bias
        return 0.5 * up * (1 + torch.erf(up / math.sqrt(2))) @ mlp.down.weight.T + mlp.down.bias

    for block in part.blocks:
        for residual, work in ((block.attention, attended), (block.feedforward, fed)):
            if norm == "pre":
                x = x + work(normalized(x, residual.norm), residual.part)
            else:
                x = normalized(x + work(x, residual.part), residual.norm)
        found.append(x)
    if norm == "pre":
        found[-1] = normalized(x, part.norm)
    assert len(trace.layers) == 3 and trace.last is trace.layers[-1]
    for one, other in zip(trace.layers, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "share, groups, expected",
    [
        ("none", 1, 4 * (ATTENTION + MLP + 2 * NORM)),
        ("feedforward", 1, 4 * (ATTENTION + NORM) + MLP + NORM),
        ("attention", 1, ATTENTION + NORM + 4 * (MLP + NORM)),
        ("all", 1, ATTENTION + MLP + 2 * NORM),
        ("all", 2, 2 * (ATTENTION + MLP + 2 * NORM)),
        ("all", 4, 4 * (ATTENTION + MLP + 2 * NORM)),
        ("feedforward", 2, 4 * (ATTENTION + NORM) + 2 * (MLP + NORM)),
    ],
)
def test_shared_parts_are_counted_once(share, groups, expected):
    part = backbone(share=share, groups=groups)
    assert sum(parameter.numel() for parameter in part.parameters()) == expected
    assert len(part.blocks) == 4 and len(part(torch.randn(R, T, D), None, None, layout()).layers) == 5


def test_pre_norm_has_one_norm_more_and_a_decoder_a_part_more():
    assert sum(parameter.numel() for parameter in backbone(1, norm="pre").parameters()) == ATTENTION + MLP + 3 * NORM
    assert sum(parameter.numel() for parameter in backbone(1, cross=True).parameters()) == ATTENTION + CROSS + MLP + 3 * NORM
    shared = backbone(3, cross=True, share="attention")
    assert sum(parameter.numel() for parameter in shared.parameters()) == ATTENTION + CROSS + 2 * NORM + 3 * (MLP + NORM)


def test_groups_are_neighbouring_blocks_of_about_the_same_number():
    part = backbone(5, share="all", groups=2)
    names = [next(n for n, other in enumerate(part.blocks) if other is block) for block in part.blocks]
    assert names == [0, 0, 0, 3, 3]


def test_a_shared_block_gets_the_gradients_of_all_its_places():
    shared, apart = backbone(2, share="all"), backbone(2)
    for block in apart.blocks:
        block.load_state_dict(shared.blocks[0].state_dict())
    x = torch.randn(R, T, D)
    weight = torch.linspace(-1, 1, R * T * D).view(R, T, D)
    gradients = []
    for part in (shared, apart):
        (part(x, None, None, layout()).last * weight).sum().backward()
        gradients.append([block.attention.part.qkv.weight.grad for block in part.blocks])
    torch.testing.assert_close(gradients[0][0], gradients[1][0] + gradients[1][1], rtol=1e-4, atol=1e-5)


def test_the_activations_are_the_published_ones():
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    tanh = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(ACTIVATIONS["gelu_tanh"](x), tanh)
    torch.testing.assert_close(ACTIVATIONS["gelu"](x), 0.5 * x * (1 + torch.erf(x / math.sqrt(2))))
    torch.testing.assert_close(ACTIVATIONS["relu"](x), F.relu(x))


def test_attention_weights_come_back_when_asked_for():
    part = backbone(3)
    asked = Layout(layout().segments, layout().positions, scores=True)
    trace = part(torch.randn(R, T, D), None, None, asked)
    assert [tuple(weights.shape) for weights in trace.attention] == [(R, 2, T, T)] * 3
    for weights in trace.attention:
        torch.testing.assert_close(weights.sum(-1), torch.ones(R, 2, T))
        assert not weights.triu(1).any()
    assert part(torch.randn(R, T, D), None, None, layout()).attention == ()


def test_heads_that_do_not_divide_the_width_are_refused():
    spec = BackboneSpec(depth=1, mixer=AttentionSpec(heads=3), residual_from=None, feedforward=MLPSpec(width=M), norm="post")
    with pytest.raises(ValueError, match="3 heads do not divide a width of 8"):
        Backbone(spec, width=D, dropout=0.0)
    with pytest.raises(ValueError, match="even parts"):
        Backbone(spec, width=9, dropout=0.0, rotary=True)


def test_the_parts_of_attention_are_one_matrix():
    assert {name: tuple(each.shape) for name, each in Attention(AttentionSpec(heads=2), D).named_parameters()} == {
        "qkv.weight": (3 * D, D),
        "qkv.bias": (3 * D,),
        "out.weight": (D, D),
        "out.bias": (D,),
    }
