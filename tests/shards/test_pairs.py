"""Pairs of texts: every pair once an epoch, source and target of one row together, little behind the ends."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.shards import Pairs, Shards

MARKS = Marks(pad=0, unknown=1, begin=2, end=3, mask=4)
LENGTHS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=30)


def numbered(lengths: list[int]) -> Shards:
    return Shards.of(np.arange(5, 5 + sum(lengths)), np.cumsum(lengths))


def pairs_of(lengths: list[tuple[int, int]], **fields: Any) -> Pairs:
    source, target = (numbered([pair[side] for pair in lengths]) for side in (0, 1))
    return Pairs(source, target, marks=MARKS, **{"rows": 4, "length": 20, "seed": 0, **fields})


def texts(lengths: list[int]) -> list[list[int]]:
    ids = iter(range(5, 5 + sum(lengths)))
    return [[next(ids) for _ in range(length)] for length in lengths]


@settings(max_examples=100)
@given(LENGTHS, st.integers(1, 9), st.integers(2, 20), st.integers(0, 3), st.integers(0, 2))
def test_every_pair_once_an_epoch(lengths: list[tuple[int, int]], rows: int, length: int, seed: int, epoch: int) -> None:
    pairs = pairs_of(lengths, rows=rows, length=length, seed=seed)
    assert pairs.groups == -(-len(lengths) // rows)
    sources, targets = (texts([pair[side] for pair in lengths]) for side in (0, 1))
    expected = Counter(
        (tuple([*source[: length - 1], MARKS.end]), tuple([MARKS.begin, *target][:length]), tuple([*target, MARKS.end][:length]))
        for source, target in zip(sources, targets, strict=True)
    )
    seen: Counter[Any] = Counter()
    predictions = 0
    for number in range(epoch * pairs.groups, (epoch + 1) * pairs.groups):
        batch = pairs.batch(number)
        assert batch.source is not None and len(batch.ids) == len(batch.source.ids) <= rows
        for side in (batch, batch.source):
            sizes = (side.segments > 0).sum(1)
            width = side.ids.shape[1]
            assert width == sizes.max() <= length and torch.equal(side.segments, (torch.arange(width) < sizes[:, None]).long())
            assert torch.equal(side.positions, torch.arange(width) * side.segments)
            assert (side.ids[side.segments == 0] == MARKS.pad).all()
        following = batch.targets["next"]
        assert torch.equal(following >= 0, batch.segments > 0)
        predictions += int((following >= 0).sum())
        for row in range(len(batch.ids)):
            here, there = batch.segments[row] > 0, batch.source.segments[row] > 0
            seen[tuple(tuple(part.tolist()) for part in (batch.source.ids[row][there], batch.ids[row][here], following[row][here]))] += 1
    assert seen == expected
    assert predictions == pairs.positions and abs(pairs.tokens_per_step - predictions / pairs.groups) <= 1
    assert pairs.cut == sum(max(pair) >= length for pair in lengths)


def test_rows_of_similar_length_stand_together() -> None:
    random = np.random.default_rng(0)
    target = random.integers(3, 40, 2000)
    lengths = list(zip((target + random.integers(-2, 3, 2000)).tolist(), target.tolist(), strict=True))
    pairs = pairs_of(lengths, rows=32, length=64)
    batches = [pairs.batch(number) for number in range(pairs.groups)]
    taken = sum(int((batch.segments > 0).sum()) for batch in batches)
    assert taken / sum(batch.segments.numel() for batch in batches) > 0.97
    assert {len(batch.ids) for batch in batches} == {31, 32}
    longest = [batch.ids.shape[1] for batch in batches]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)
    assert longest != [pairs.batch(pairs.groups + number).ids.shape[1] for number in range(pairs.groups)]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=8, max_size=40), st.sampled_from([1, 2, 3, 4]), st.integers(0, 3))
def test_the_rows_of_all_ranks_are_the_rows_of_one(lengths: list[tuple[int, int]], world: int, seed: int) -> None:
    whole = pairs_of(lengths, rows=8, seed=seed)
    ranks = [pairs_of(lengths, rows=8, seed=seed, rank=rank, world=world) for rank in range(world)]
    assert {rank.fingerprint for rank in ranks} == {whole.fingerprint} and {rank.tokens_per_step for rank in ranks} == {
        whole.tokens_per_step
    }
    for number in range(2 * whole.groups):
        everything = whole.batch(number)
        for place, rank in enumerate(ranks):
            part = rank.batch(number)
            assert part.source is not None and everything.source is not None
            for found, expected in ((part, everything), (part.source, everything.source)):
                for name in ("ids", "segments", "positions", "keys"):
                    assert torch.equal(getattr(found, name), getattr(expected, name)[place::world])
            assert torch.equal(part.targets["next"], everything.targets["next"][place::world])


def test_a_batch_does_not_depend_on_what_was_asked_before() -> None:
    lengths = [(index % 7, index % 5) for index in range(40)]
    walked = pairs_of(lengths)
    forwards = [walked.batch(number) for number in range(30)]
    for number in (29, 0, 17, 17, 3):
        for again in (walked.batch(number), pairs_of(lengths).batch(number)):
            assert torch.equal(again.ids, forwards[number].ids) and torch.equal(again.keys, forwards[number].keys)  # type: ignore[arg-type]
            assert torch.equal(again.source.ids, forwards[number].source.ids)  # type: ignore[union-attr]


def test_seed_and_shape_change_the_order_and_keys_change_with_the_epoch() -> None:
    lengths = [(3, 3)] * 20
    first, groups = pairs_of(lengths), 5
    assert not torch.equal(first.batch(0).ids, pairs_of(lengths, seed=1).batch(0).ids)
    others = [pairs_of(lengths, seed=1), pairs_of(lengths, rows=5), pairs_of(lengths, length=9), pairs_of([(3, 4)] * 20)]
    assert len({pairs.fingerprint for pairs in [first, *others]}) == 5
    keys = torch.cat([first.batch(number).keys for number in range(4 * groups)])  # type: ignore[misc]
    assert len(keys.unique()) == 80 and keys.min() >= 0


def test_what_is_no_pairs_is_refused() -> None:
    with pytest.raises(MalmoiError, match="M025: the source has 2 texts and the target has 3"):
        Pairs(numbered([3, 4]), numbered([1, 2, 3]), marks=MARKS, rows=2, length=8, seed=0)
    with pytest.raises(MalmoiError, match="M017.*2 processes"):
        pairs_of([(3, 3)], world=2)
    with pytest.raises(MalmoiError, match="M017.*2 processes"):
        pairs_of([(3, 3)] * 3, rows=2, world=2)
    with pytest.raises(MalmoiError, match="M017"):
        Pairs(numbered([]), numbered([]), marks=MARKS, rows=2, length=8, seed=0)
