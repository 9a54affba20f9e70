"""Rows for skip-gram: every word once an epoch, rare ones gone, frequent ones thinned, the same however often and by whom they are read."""

import numpy as np
import pytest
import torch

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import SkipGramSpec
from malmoi.shards import Contexts, Shards, staying


def made(*, documents=40, words=30, seed=0):
    chance = np.random.default_rng(seed)
    lengths = chance.integers(0, 25, documents)
    ids = 3 + (words * chance.random(int(lengths.sum())) ** 2).astype(np.int64)
    counts = np.bincount(ids, minlength=3 + words)
    return Shards.of(ids, np.cumsum(lengths)), counts


def contexts(shards, counts, *, rows=4, length=16, seed=1, rank=0, world=1, size=1000, **fields):
    spec = SkipGramSpec(**{"sample": 0.0, "minimum_count": 1, **fields})
    return Contexts(shards, counts, spec, size=size, rows=rows, length=length, seed=seed, rank=rank, world=world)


def read(source, batches):
    """(ids of a document's run, keys) of some batches, in their order."""
    runs = []
    for number in batches:
        batch = source.batch(number)
        for row in range(len(batch.ids)):
            for segment in range(1, int(batch.segments[row].max()) + 1):
                here = batch.segments[row] == segment
                if here.any():
                    runs.append((batch.ids[row][here].tolist(), batch.positions[row][here].tolist()))
    return runs


def test_an_epoch_reads_every_word_once_and_in_the_order_of_its_document():
    shards, counts = made()
    source = contexts(shards, counts)
    assert source.positions == shards.tokens and source.tokens_per_step == 64
    rows = -(-shards.tokens // 16)
    runs = read(contexts(shards, counts, rows=1), range(rows))
    assert sorted(id for ids, _ in runs for id in ids) == sorted(shards.ids(0, shards.tokens).tolist())
    documents = [shards.ids(int(start), int(end)).tolist() for start, end in zip(np.append(0, shards.ends[:-1]), shards.ends, strict=True)]
    for ids, places in runs:
        assert any(document[places[0] : places[-1] + 1] == ids for document in documents)
    again = read(contexts(shards, counts, rows=1), range(rows, 2 * rows))
    assert sorted(id for ids, _ in again for id in ids) == sorted(id for ids, _ in runs for id in ids) and again != runs


def test_a_batch_is_decided_by_its_number_and_shared_out_among_processes():
    shards, counts = made()
    whole, again = contexts(shards, counts, sample=0.01), contexts(shards, counts, sample=0.01)
    for number in (7, 0, 30):
        one, two = whole.batch(number), again.batch(number)
        assert torch.equal(one.ids, two.ids) and torch.equal(one.keys, two.keys)
        parts = [contexts(shards, counts, sample=0.01, rank=rank, world=2).batch(number) for rank in (0, 1)]
        for rank, part in enumerate(parts):
            assert torch.equal(part.keys, one.keys[rank::2])
            width = part.ids.shape[1]
            assert torch.equal(part.ids, one.ids[rank::2, :width]) and not one.segments[rank::2, width:].any()
    assert contexts(shards, counts).fingerprint == contexts(shards, counts, rank=1, world=2).fingerprint
    assert len({contexts(shards, counts, seed=seed).fingerprint for seed in (1, 2)}) == 2


def test_rare_words_are_left_out_and_those_beside_them_become_neighbours():
    ids = np.array([3, 4, 3, 5, 4, 3, 4])
    shards, counts = Shards.of(ids, np.array([7])), np.bincount(ids)
    batch = contexts(shards, counts, rows=1, minimum_count=2).batch(0)
    assert batch.ids.tolist() == [[3, 4, 3, 4, 3, 4]] and batch.positions.tolist() == [[0, 1, 2, 4, 5, 6]]
    assert contexts(shards, counts, rows=1, size=4).batch(0).ids.tolist() == [[3, 3, 3]]


def test_frequent_words_are_thinned_by_gensims_formula():
    counts = np.array([0, 0, 7, 50_000, 3_000, 60, 5])
    total, threshold = counts[3:].sum(), 1e-3
    gensims = [min((np.sqrt(v / (threshold * total)) + 1) * (threshold * total) / v, 1.0) for v in counts[3:]]
    np.testing.assert_allclose(staying(counts, sample=threshold), [0, 0, 0, *gensims])
    assert staying(counts, sample=0.0).tolist() == [0, 0, 0, 1, 1, 1, 1]
    shards, counts = made(documents=2000)
    source = contexts(shards, counts, sample=0.01, rows=1, length=shards.tokens)
    kept = np.bincount(source.batch(0).ids[0].numpy(), minlength=len(counts))
    expected = staying(counts, sample=0.01) * counts
    assert (np.abs(kept - expected)[3:] < 5 * np.sqrt(expected[3:]) + 1).all() and 0.2 < kept.sum() / counts.sum() < 0.9
    other = np.bincount(source.batch(1).ids[0].numpy(), minlength=len(counts))
    assert (kept != other).any(), "each epoch draws anew"


def test_rows_are_as_long_as_what_stays():
    shards, counts = made()
    batch = contexts(shards, counts, sample=0.005).batch(0)
    assert 1 <= batch.ids.shape[1] < 16 and (batch.segments > 0).sum(1).max() == batch.ids.shape[1]
    assert not batch.ids[batch.segments == 0].any()
    starts = batch.segments[:, 0]
    assert (starts[batch.segments.sum(1) > 0] >= 1).all()


def test_a_text_without_words_that_have_a_vector_is_refused():
    shards, counts = made()
    with pytest.raises(MalmoiError, match="M017"):
        contexts(shards, counts, minimum_count=10**6)
