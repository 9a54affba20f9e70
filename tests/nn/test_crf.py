"""The CRF against every path written down (tests/oracles/all_paths.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from malmoi.nn.crf import CRF, bio_rules

LABELS = ("B-PER", "I-PER", "B-LOC", "I-LOC", "O")


@pytest.fixture(scope="module")
def oracle():
    path = Path(__file__).resolve().parents[1] / "oracles" / "all_paths.py"
    spec = importlib.util.spec_from_file_location("all_paths", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(tags, *, seed, rules=None):
    """A CRF of random weights, and what the oracle is given of it."""
    torch.manual_seed(seed)
    crf = CRF(tags, rules=rules).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, std=2.0)
    given = crf.begin.tolist(), crf.step.tolist(), crf.end.tolist()
    named = {} if rules is None else {"allowed": rules[0].tolist(), "begins": rules[1].tolist()}
    return crf, given, named


def rows(lengths, tags):
    scores = torch.randn(len(lengths), max(lengths), tags, dtype=torch.float64) * 3
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return scores, valid


@pytest.mark.parametrize(("tags", "lengths"), [(1, [3]), (2, [1, 6, 4]), (4, [5, 1, 3]), (3, [2, 7])])
def test_partition_score_and_best_path_are_those_of_all_paths(tags, lengths, oracle):
    for seed in range(4):
        crf, given, _ = made(tags, seed=seed)
        scores, valid = rows(lengths, tags)
        gold = torch.randint(tags, valid.shape)
        log_z, path_score, (best, best_score) = crf.log_partition(scores, valid), crf.score(scores, gold, valid), crf.best(scores, valid)
        for row, length in enumerate(lengths):
            own = scores[row, :length].tolist()
            assert log_z[row].item() == pytest.approx(oracle.log_partition(own, *given), rel=1e-12)
            assert path_score[row].item() == pytest.approx(oracle.score(gold[row, :length].tolist(), own, *given), rel=1e-12)
            path, expected = oracle.best(own, *given)
            assert best[row].tolist() == path + [-1] * (max(lengths) - length)
            assert best_score[row].item() == pytest.approx(expected, rel=1e-12)


def test_likelihoods_of_all_paths_sum_to_one(oracle):
    crf, _, named = made(5, seed=1, rules=bio_rules(LABELS))
    scores, valid = rows([3], 5)
    every = torch.tensor(list(oracle.paths(3, 5, **named)))
    count = len(every)
    total = crf(scores.expand(count, -1, -1), every, valid.expand(count, -1)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-12) and count < 5**3


def test_rules_of_iob2_hold_in_sum_and_path(oracle):
    follows, begins = bio_rules(LABELS)
    assert begins.tolist() == [True, False, True, False, True]
    assert follows.tolist() == [[True, after != 3, True, after == 3, True] for after in (1, 1, 3, 3)] + [[True, False, True, False, True]]
    for seed in range(5):
        crf, given, named = made(5, seed=seed, rules=(follows, begins))
        scores, valid = rows([4, 2], 5)
        scores[:, :, 1] += 6.0  # I-PER wherever it may stand
        for row, length in enumerate([4, 2]):
            own = scores[row, :length].tolist()
            assert crf.log_partition(scores, valid)[row].item() == pytest.approx(oracle.log_partition(own, *given, **named), rel=1e-10)
            assert crf.best(scores, valid)[0][row, :length].tolist() == oracle.best(own, *given, **named)[0]


def test_tags_of_another_kind_have_no_rules():
    assert bio_rules(("NOUN", "VERB")) is None and bio_rules(("B-X", "I-X")) is None and bio_rules(("O", "S-X")) is None


def test_what_is_behind_the_end_changes_nothing():
    crf, _, _ = made(3, seed=0)
    scores, valid = rows([5, 2], 3)
    gold = torch.randint(3, valid.shape)
    before = crf(scores, gold, valid)
    scores[1, 2:], gold[1, 2:] = 1e3, -1
    assert torch.equal(crf(scores, gold, valid), before)
    alone = crf(scores[1:, :2], gold[1:, :2], valid[1:, :2])
    assert alone.item() == pytest.approx(before[1].item(), rel=1e-12)


def test_gradient_is_that_of_numbers():
    crf, _, _ = made(3, seed=2, rules=bio_rules(("B-X", "I-X", "O")))
    scores, valid = rows([4, 3], 3)
    gold = torch.tensor([[0, 1, 2, 2], [2, 0, 1, 0]])
    free = [scores.requires_grad_(), *crf.parameters()]
    assert torch.autograd.gradcheck(lambda *_: crf(scores, gold, valid), free)


def test_learns_a_chain_that_single_places_cannot_tell():
    """Tags that alternate, in scores that say nothing: the steps have to hold it."""
    torch.manual_seed(0)
    crf = CRF(2)
    gold = (torch.arange(6) % 2).expand(8, 6)
    scores, valid = torch.zeros(8, 6, 2), torch.ones(8, 6, dtype=torch.bool)
    optimizer = torch.optim.Adam(crf.parameters(), lr=0.3)
    for _ in range(40):
        loss = -crf(scores, gold, valid).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 and torch.equal(crf.best(scores, valid)[0], gold)
