"""Initializations by paper: what each kind of weight is drawn from."""

import math

import pytest
import torch
from torch import nn

from malmoi.core.batch import Batch
from malmoi.core.recipe import AttentionSpec, BackboneSpec, MLPSpec, SoftOneHotSpec, TokenEmbeddingSpec, VocabularyHeadSpec
from malmoi.nn import Backbone, Model, SoftOneHot, TokenEmbedding, VocabularyHead, initialize
from malmoi.nn.init import turn, waves

WIDTH, DEPTH, V = 64, 6, 500


def model_of(paper, *, cross=False, share="none"):
    torch.manual_seed(0)
    mixer = AttentionSpec(heads=4)
    spec = BackboneSpec(depth=DEPTH, mixer=mixer, residual_from=None, feedforward=MLPSpec(width=128), norm="pre", share=share)
    tokens = TokenEmbeddingSpec(positions="learned", length=128, types=2, norm=True)
    frontend = TokenEmbedding(tokens, size=V, width=WIDTH, unknown=1)
    backbone = Backbone(spec, width=WIDTH, dropout=0.0, cross=cross)
    head = VocabularyHead(VocabularyHeadSpec(tied=True, transform="gelu"), width=WIDTH, size=V, tied=frontend.weight)
    model = Model(frontend, backbone, {"words": head})
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    initialize(model, paper)
    return model


def std(weight):
    assert abs(float(weight.detach().mean())) < 4 * float(weight.detach().std()) / math.sqrt(weight.numel())
    return float(weight.detach().std())


@pytest.mark.parametrize("paper", ["bert", "gpt2", "transformer"])
def test_biases_are_zero_and_norms_are_one(paper):
    model = model_of(paper)
    for part in model.modules():
        if isinstance(part, nn.Linear):
            assert not part.bias.any()
        if isinstance(part, nn.LayerNorm):
            assert (part.weight == 1).all() and not part.bias.any()


def test_berts_matrices_and_embeddings_are_small_normals():
    model = model_of("bert")
    block = model.backbone.blocks[3]
    weights = [model.frontend.weight, model.frontend.positions, model.heads["words"].transform.dense.weight]
    weights += [block.attention.part.qkv.weight, block.attention.part.out.weight]
    weights += [block.feedforward.part.up.weight, block.feedforward.part.down.weight]
    assert [std(weight) for weight in weights] == pytest.approx([0.02] * len(weights), rel=0.05)


@pytest.mark.parametrize("cross, parts", [(False, 2), (True, 3)])
def test_gpt2_quietens_what_writes_into_the_residual_stream(cross, parts):
    model = model_of("gpt2", cross=cross)
    quiet = 0.02 / math.sqrt(parts * DEPTH)
    for block in model.backbone.blocks:
        writers = [block.attention.part.out, block.feedforward.part.down, *([block.cross.part.out] if cross else [])]
        assert [std(writer.weight) for writer in writers] == pytest.approx([quiet] * parts, rel=0.07)
        assert std(block.attention.part.qkv.weight) == pytest.approx(0.02, rel=0.05)
        assert std(block.feedforward.part.up.weight) == pytest.approx(0.02, rel=0.05)


def test_gpt2_counts_the_writes_of_a_shared_block_at_every_depth():
    model = model_of("gpt2", share="all")
    assert std(model.backbone.blocks[0].attention.part.out.weight) == pytest.approx(0.02 / math.sqrt(2 * DEPTH), rel=0.07)


def test_the_transformer_has_xaviers_matrices_and_embeddings_of_length_one():
    model = model_of("transformer")
    up = model.backbone.blocks[0].feedforward.part.up.weight.detach()
    limit = math.sqrt(6 / (WIDTH + 128))
    assert float(up.abs().max()) <= limit and std(up) == pytest.approx(limit / math.sqrt(3), rel=0.05)
    assert std(model.frontend.weight) == pytest.approx(WIDTH**-0.5, rel=0.03)


def test_a_tied_head_stays_the_embedding():
    model = model_of("bert")
    assert model.heads["words"].weight is model.frontend.weight


def test_each_parts_own_is_left_alone():
    model = model_of("parts")
    assert all((parameter == 7.0).all() for parameter in model.parameters())


def test_the_bins_of_a_soft_one_hot_are_drawn_like_embeddings():
    torch.manual_seed(0)
    part = SoftOneHot(SoftOneHotSpec(bins=200), width=WIDTH)
    nn.init.zeros_(part.weight)
    initialize(part, "bert")
    assert std(part.weight) == pytest.approx(0.02, rel=0.05)


def looks(model, distance, head):
    """Mean weight that a head of the first block gives to the place `distance` further, over random tokens."""
    front, attention = model.frontend, model.backbone.blocks[0].attention.part
    ids = torch.randint(5, V, (8, 64), generator=torch.Generator().manual_seed(1))
    batch = Batch(ids=ids, segments=torch.ones_like(ids), positions=torch.arange(64).expand(8, 64))
    trace = model.encode(batch, scores=True)
    assert front.positions is not None and attention.heads == 4
    weight = trace.attention[0][:, head].mean(0)
    return float(weight.diagonal(distance).mean().detach())


@pytest.mark.parametrize("share", ["none", "all"])
def test_heads_begin_by_looking_at_their_neighbours(share):
    model = model_of("neighbours", share=share)
    for head, distance in enumerate([-1, 1, -2, 2]):
        assert looks(model, distance, head) > 0.5
        assert looks(model, 0, head) < 0.2
    assert looks(model_of("bert"), -1, 0) < 0.05


def test_a_turn_moves_every_wave_by_its_distance():
    every = waves(40, 16)
    for distance in (-2, -1, 1, 2, 5):
        moved = every[max(0, -distance) : 40 - max(0, distance)] @ turn(16, distance).T
        assert torch.allclose(moved, every[max(0, distance) : 40 - max(0, -distance)], atol=1e-5)
