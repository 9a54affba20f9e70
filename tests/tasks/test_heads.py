"""Heads on vectors: what is batched together changes nothing, and predictions are the best ones."""

from itertools import product

import pytest
import torch

from malmoi.readout import ScalarMix
from malmoi.tasks.heads import LONGEST, ChainedTags, Choices, Ends, Labels, Number, Probed, Tags, alike, compared, padded

WIDTH = 5
BIO = ("B-X", "I-X", "B-Y", "I-Y", "O")


def made(head, counts, seed=0):
    torch.manual_seed(seed)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head.eval(), torch.randn(sum(counts), WIDTH)


CASES = {
    "labels": (lambda: Labels(WIDTH, labels=3, vectors=1), [1, 1, 1], [0, 2, 1]),
    "pairs": (lambda: Labels(WIDTH, labels=3, vectors=2), [2, 2, 2], [0, 2, 1]),
    "number": (lambda: Number(WIDTH, mean=2.0, deviation=3.0), [2, 2, 2], [0.5, 2.0, 4.0]),
    "choices": (lambda: Choices(WIDTH), [5, 3, 4], [3, 0, 1]),
    "crf": (lambda: ChainedTags(WIDTH, labels=BIO, lstm=False), [2, 4, 1], [[0, 1], [4, 2, 3, 3], [4]]),
    "bilstm-crf": (lambda: ChainedTags(WIDTH, labels=BIO, lstm=True), [2, 4, 1], [[0, 1], [4, 2, 3, 3], [4]]),
    "ends": (lambda: Ends(WIDTH, none=True), [6, 3, 2], [(1, 4), (0, 0), (1, 1)]),
    "ends-without-none": (lambda: Ends(WIDTH, none=False), [6, 3, 2], [(1, 4), (2, 2), (1, 1)]),
}


@pytest.mark.parametrize("name", CASES)
def test_an_example_is_read_alike_alone_and_among_others(name):
    make, counts, targets = CASES[name]
    head, x_MD = made(make(), counts)
    parts = x_MD.split(counts)
    together = head.loss(x_MD, counts, targets)
    alone = [head.loss(part, [count], [target]) for part, count, target in zip(parts, counts, targets, strict=True)]
    assert together.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)
    found = [head.predict(part, [count])[0] for part, count in zip(parts, counts, strict=True)]
    assert head.predict(x_MD, counts) == (pytest.approx(found, rel=1e-4) if name == "number" else found)


def test_tags_one_by_one():
    head, x_MD = made(Tags(WIDTH, tags=4), [2, 3])
    logits = x_MD @ head.linear.weight.T + head.linear.bias
    assert head.predict(x_MD, [2, 3]) == [logits[:2].argmax(1).tolist(), logits[2:].argmax(1).tolist()]
    chosen = torch.log_softmax(logits, 1)[range(5), [0, 3, 1, 2, 2]]
    assert head.loss(x_MD, [2, 3], [[0, 3], [1, 2, 2]]).item() == pytest.approx(-chosen.mean().item(), rel=1e-5)


def test_comparison_and_order():
    u, v = torch.tensor([[3.0, -4.0]]), torch.tensor([[4.0, 3.0]])
    assert compared(u, v).tolist() == [[3, -4, 4, 3, 1, 7, 12, -12, 0]] and alike(u, v).tolist() == alike(v, u).tolist()
    assert alike(u, 2 * u)[0, -1].item() == pytest.approx(1.0)
    x_RTD, valid = padded(torch.arange(6.0).view(3, 2), [1, 2])
    assert x_RTD.tolist() == [[[0, 1], [0, 0]], [[2, 3], [4, 5]]] and valid.tolist() == [[True, False], [True, True]]


def test_tags_of_a_chain_follow_iob2():
    head, x_MD = made(ChainedTags(WIDTH, labels=BIO, lstm=False), [40])
    with torch.no_grad():
        head.linear.bias[1] += 5  # I-X
    [tags] = head.predict(x_MD, [40])
    for before, after in zip(["O", *(BIO[tag] for tag in tags)], (BIO[tag] for tag in tags), strict=False):
        assert after[0] != "I" or before[2:] == after[2:]


@pytest.mark.parametrize("none", [True, False])
def test_the_answer_is_the_best_of_all_pairs(none):
    for seed, count in product(range(6), (2, 5, 40)):
        head, x_MD = made(Ends(WIDTH, none=none), [count], seed)
        q = x_MD[:1].expand(count, -1)
        begin, end = (torch.cat([x_MD, q, x_MD * q], 1) @ head.linear.weight.T + head.linear.bias).T.tolist()
        pairs = [(a, b) for a in range(1, count) for b in range(a, min(a + LONGEST, count))] + ([(0, 0)] if none else [])
        best = max(pairs, key=lambda pair: begin[pair[0]] + end[pair[1]])
        assert head.predict(x_MD, [count]) == [best]


def probed(layers=3, dropout=0.0, decay=0.0):
    torch.manual_seed(0)
    mean, deviation = torch.randn(layers, WIDTH), torch.rand(layers, WIDTH) + 0.5
    deviation[0, 2] = 0.0
    return Probed(Tags(WIDTH, tags=2), mean_LD=mean, deviation_LD=deviation, dropout=dropout, decay=decay).eval(), mean, deviation


def test_layers_are_standardized_and_mixed():
    module, mean, deviation = probed()
    with torch.no_grad():
        module.mix.weights.copy_(torch.tensor([0.5, -1.0, 2.0]))
        module.mix.gamma.fill_(1.5)
    x_LMD = torch.randn(3, 4, WIDTH)
    z = (x_LMD - mean[:, None]) / deviation[:, None]
    z[0, :, 2] = 0.0  # a number that never varies says nothing
    shares = torch.softmax(torch.tensor([0.5, -1.0, 2.0]), 0)
    torch.testing.assert_close(module.read(x_LMD), 1.5 * (shares[:, None, None] * z).sum(0))
    assert isinstance(module.mix, ScalarMix)


def test_one_layer_has_no_mix_and_mix_weights_cost():
    single, mean, deviation = probed(layers=1)
    assert single.mix is None
    x = torch.randn(1, 4, WIDTH)
    module, *_ = probed(decay=0.5)
    free, *_ = probed(decay=0.0)
    x_LMD = torch.randn(3, 4, WIDTH)
    with torch.no_grad():
        for each in (module, free):
            each.mix.weights.copy_(torch.tensor([1.0, 2.0, 0.0]))
    more = module.loss(x_LMD, [4], [[0, 1, 0, 1]]) - free.loss(x_LMD, [4], [[0, 1, 0, 1]])
    assert more.item() == pytest.approx(0.5 * 5.0, rel=1e-5)
    assert torch.isfinite(single.read(x)).all()
