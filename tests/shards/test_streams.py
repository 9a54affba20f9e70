"""The order of training against a slow reading of its definition, and the properties that it promises."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.core.seeds import permutation
from malmoi.shards import Shards, Streams
from malmoi.vocab import BOS, EOS

DOCUMENTS = st.lists(st.lists(st.integers(3, 40), max_size=12), min_size=1, max_size=9)


def shards_of(documents: list[list[int]]) -> Shards:
    flat = np.array([word for document in documents for word in document], dtype=np.int64)
    return Shards.of(flat, np.cumsum([len(document) for document in documents]))


def numbered(lengths: list[int]) -> list[list[int]]:
    """Documents of the given lengths in which no two words are the same."""
    ids = iter(range(3, 3 + sum(lengths)))
    return [[next(ids) for _ in range(length)] for length in lengths]


def slow_row(documents: list[list[int]], *, streams: int, seed: int, row: int, first: int, count: int) -> dict[str, list[list[int]]]:
    """What row `row` reads from its position `first` on, written down word by word from the definition."""
    total = sum(len(document) + 1 for document in documents)
    begin, end = row * total // streams, (row + 1) * total // streams
    columns: dict[str, list[list[int]]] = {"ids": [[], []], "next": [[], []], "positions": [[], []], "segments": [[], []]}
    segment = 1
    for global_position in range(first, first + count):
        epoch, place = divmod(global_position, end - begin)
        line = [(index, o) for index in permutation(len(documents), seed, "documents", epoch) for o in range(len(documents[index]) + 1)]
        index, o = line[begin + place]
        if o == 0 and global_position > first:
            segment += 1
        for direction, words in enumerate((documents[index], documents[index][::-1])):
            opening, closing = ((BOS, EOS), (EOS, BOS))[direction]
            columns["ids"][direction].append(([opening] + words)[o])
            columns["next"][direction].append((words + [closing])[o])
            columns["positions"][direction].append(o)
            columns["segments"][direction].append(segment)
    return columns


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS, st.integers(1, 7), st.integers(1, 9), st.integers(0, 5), st.integers(0, 40))
def test_a_batch_equals_the_slow_reading(documents: list[list[int]], streams: int, window: int, seed: int, step: int) -> None:
    streams = min(streams, sum(len(document) + 1 for document in documents))
    batch = Streams(shards_of(documents), None, streams, window, seed).batch(step)
    for row in range(streams):
        expected = slow_row(documents, streams=streams, seed=seed, row=row, first=step * window, count=window)
        found = {"ids": batch.ids, "next": batch.targets["next"], "positions": batch.positions, "segments": batch.segments}
        for name, halves in expected.items():
            assert found[name][row].tolist() == halves[0], name
            assert found[name][streams + row].tolist() == halves[1], name


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=9), st.integers(1, 7), st.integers(1, 9), st.integers(0, 5))
def test_every_position_once_an_epoch_in_each_direction(lengths: list[int], streams: int, window: int, seed: int) -> None:
    """Row r reads its part, L_r positions, completely in every epoch; the parts together are the corpus."""
    documents = numbered(lengths)
    total = sum(lengths) + len(lengths)
    streams = min(streams, total)
    source = Streams(shards_of(documents), None, streams, window, seed)
    assert source.positions == total and source.tokens_per_step == streams * window
    once = Counter(word for document in documents for word in document)
    sizes = [(r + 1) * total // streams - r * total // streams for r in range(streams)]
    steps = -(-2 * max(sizes) // window)
    targets = torch.cat([source.batch(step).targets["next"] for step in range(steps)], dim=1)
    for epoch in range(2):
        for half, mark in ((0, EOS), (1, BOS)):
            seen: Counter[int] = Counter()
            for row, size in enumerate(sizes):
                seen.update(targets[half * streams + row, epoch * size : (epoch + 1) * size].tolist())
            assert seen == once + Counter({mark: len(lengths)})


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS, st.integers(1, 4), st.integers(1, 6), st.integers(0, 5))
def test_rows_go_on_where_they_stopped(documents: list[list[int]], streams: int, window: int, seed: int) -> None:
    streams = min(streams, sum(len(document) + 1 for document in documents))
    source = Streams(shards_of(documents), None, streams, window, seed)
    batches = [source.batch(step) for step in range(6)]
    ids, targets, positions = (
        torch.cat([part(batch) for batch in batches], dim=1)
        for part in (lambda b: b.ids, lambda b: b.targets["next"], lambda b: b.positions)
    )
    inside = positions[:, 1:] > 0
    # The first position of a part may stand in the middle of a document; from an epoch's end to the next start likewise.
    sizes = np.diff([r * source.positions // streams for r in range(streams + 1)])
    seam = torch.tensor([[(t % size) == 0 for t in range(1, ids.shape[1])] for size in sizes]).repeat(2, 1)
    going_on = inside & ~seam
    assert (ids[:, 1:][going_on] == targets[:, :-1][going_on]).all()
    assert (positions[:, 1:][going_on] == positions[:, :-1][going_on] + 1).all()
    ended = (positions[:, 1:] == 0) & ~seam
    marks = torch.tensor([EOS] * streams + [BOS] * streams)[:, None].expand_as(ended)
    assert (targets[:, :-1][ended] == marks[ended]).all()
    assert (ids[:, 1:][ended] == (1 - marks)[ended]).all()


def test_a_batch_does_not_depend_on_what_was_asked_before() -> None:
    shards = shards_of(numbered([5, 0, 9, 1, 1, 30, 4]))
    walked = Streams(shards, None, 3, 4, 7)
    forwards = {step: walked.batch(step) for step in range(40)}
    for step in (39, 0, 17, 17, 3):
        for again in (walked.batch(step), Streams(shards, None, 3, 4, 7).batch(step)):
            assert torch.equal(again.ids, forwards[step].ids) and torch.equal(again.targets["next"], forwards[step].targets["next"])


def test_few_orders_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malmoi.shards.streams.CACHED_DOCUMENTS", 1)
    source = Streams(shards_of(numbered([3, 4])), None, 2, 3, 0)
    fresh = [Streams(shards_of(numbered([3, 4])), None, 2, 3, 0).batch(step).ids for step in range(30)]
    assert all(torch.equal(source.batch(step).ids, fresh[step]) for step in range(30))
    assert len(source._orders) == 2


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_rows_of_all_ranks_are_the_rows_of_one(world: int) -> None:
    shards = shards_of(numbered([5, 0, 9, 1, 1, 30, 4]))
    whole = Streams(shards, None, 5, 4, 7)
    ranks = [Streams(shards, None, 5, 4, 7, rank=rank, world=world) for rank in range(world)]
    assert {rank.fingerprint for rank in ranks} == {whole.fingerprint} and {rank.tokens_per_step for rank in ranks} == {20}
    for step in (0, 5, 23):
        everything = whole.batch(step)
        for number, rank in enumerate(ranks):
            part = rank.batch(step)
            rows = list(range(number, 5, world)) + list(range(5 + number, 10, world))
            for name in ("ids", "segments", "positions"):
                assert torch.equal(getattr(part, name), getattr(everything, name)[rows])
            assert torch.equal(part.targets["next"], everything.targets["next"][rows])


def test_words_are_spelt_once_a_batch() -> None:
    def spelling(ids: np.ndarray) -> np.ndarray:
        asked.append(ids)
        return np.stack([ids, ids * 2, ids * 3], axis=1).astype(np.uint16)

    asked: list[np.ndarray] = []
    batch = Streams(shards_of([[3, 4, 3, 3], [4, 5]]), spelling, 2, 4, 0).batch(0)
    assert len(asked) == 1 and len(set(asked[0].tolist())) == len(asked[0])
    assert batch.words is not None and batch.characters is not None and batch.characters.dtype == torch.int64
    assert torch.equal(batch.characters[batch.words], torch.stack([batch.ids, batch.ids * 2, batch.ids * 3], dim=-1))


def test_more_streams_than_documents_and_than_positions() -> None:
    assert Streams(shards_of([[3, 4, 5]]), None, 4, 2, 0).batch(3).ids.shape == (8, 2)
    assert Streams(shards_of([[], []]), None, 2, 3, 0).batch(0).targets["next"].tolist() == [[EOS] * 3] * 2 + [[BOS] * 3] * 2
    with pytest.raises(MalmoiError, match="M017.*3 tokens in 1 documents.*5 parallel streams"):
        Streams(shards_of([[3, 4, 5]]), None, 5, 2, 0)


def test_seed_and_epoch_change_the_order() -> None:
    shards = shards_of(numbered([4] * 20))
    first = Streams(shards, None, 1, 100, 0)
    assert not torch.equal(first.batch(0).ids, Streams(shards, None, 1, 100, 1).batch(0).ids)
    assert not torch.equal(first.batch(0).ids, first.batch(1).ids)
    other = Shards.of(shards.ids(0, 80), np.arange(5, 81, 5))
    prints = [
        Streams(shards, None, 1, 100, 0),
        Streams(shards, None, 1, 100, 1),
        Streams(shards, None, 2, 100, 0),
        Streams(shards, None, 1, 99, 0),
    ]
    assert len({source.fingerprint for source in [first, *prints, Streams(other, None, 1, 100, 0)]}) == 5


def test_the_rows_of_the_original_program_have_the_same_structure(shared) -> None:  # type: ignore[no-untyped-def]
    """bilm-tf fills its rows with other documents, but between two ends of a document it reads and predicts what we do."""
    folder = shared / "fixtures" / "elmo"
    words = {word: index for index, word in enumerate((folder / "bilm-tf/train/vocab.txt").read_text().split())}
    lines = [line.split() for line in (folder / "bilm-tf/train/data.txt").read_text().splitlines()]
    documents = [[words.get(word, 2) for word in line] for line in lines]
    to_ours = np.array([BOS, EOS, *range(2, len(words))])
    ours = Streams(shards_of(documents), None, 1, sum(len(document) + 1 for document in documents), 0).batch(0)
    with h5py.File(folder / "derived/golden_train_trace.hdf5") as trace:
        for half, suffix in ((0, ""), (1, "_reverse")):
            steps = [trace[f"step{step:02d}"] for step in range(12)]
            inputs = to_ours[np.concatenate([step[f"in_token_ids{suffix}"][:] for step in steps], axis=1)]
            targets = to_ours[np.concatenate([step[f"in_next_token_id{suffix}"][:] for step in steps], axis=1)]
            pieces = _documents(ours.ids[half].numpy(), ours.targets["next"][half].numpy(), opening=(BOS, EOS)[half])
            theirs = [piece for row in range(2) for piece in _documents(inputs[row], targets[row], opening=(BOS, EOS)[half])]
            assert len(theirs) >= 4
            for piece in theirs:
                assert any(whole[: len(piece)] == piece for whole in pieces), piece


def _documents(inputs: np.ndarray, targets: np.ndarray, *, opening: int) -> list[list[tuple[int, int]]]:
    """A row cut before every opening mark, as (input, target) pairs."""
    pairs = list(zip(inputs.tolist(), targets.tolist(), strict=True))
    starts = [t for t, (read, _) in enumerate(pairs) if read == opening] + [len(pairs)]
    assert starts[0] == 0
    return [pairs[a:b] for a, b in pairwise(starts)]
