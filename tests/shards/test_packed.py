"""Dense rows against a slow reading of their definition, and the properties that they promise."""

from __future__ import annotations

from collections import Counter
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.seeds import permutation
from malmoi.shards import Packed, Shards

MARKS = Marks(pad=0, unknown=1, begin=2, end=3, mask=4)
EXTRA = {"causal": 1, "single": 2, "next": 3, "order": 3}
LENGTHS = st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 9, 14, 40]), min_size=1, max_size=9).filter(any)
LAYOUTS = st.sampled_from(sorted(EXTRA))


def numbered(lengths: list[int], *, breaks: bool = False) -> Shards:
    """Documents of the given lengths in which no two tokens are the same: token i of the corpus is 5 + i."""
    ends = np.cumsum(lengths)
    every = np.arange(0, ends[-1], 3) if breaks else None
    return Shards.of(
        np.arange(5, 5 + ends[-1]), ends, breaks=None if every is None else np.union1d(every, (ends - lengths)[np.array(lengths) > 0])
    )


def packed(shards: Shards, layout: str, **fields: Any) -> Packed:
    return Packed(shards, marks=MARKS, **{"layout": layout, "rows": 3, "length": 8, "seed": 0, **fields})


def slow_stream(lengths: list[int], layout: str, seed: int) -> Any:
    """The endless stream, place by place: (epoch, document, place inside it)."""
    documents = [index for index, length in enumerate(lengths) if length or layout == "causal"]
    for epoch in count():
        for nth in permutation(len(documents), seed, "documents", epoch).tolist():
            yield from ((epoch, documents[nth], o) for o in range(lengths[documents[nth]] + EXTRA[layout]))


def slow_visits(lengths: list[int], layout: str, length: int, seed: int, rows: int) -> list[int]:
    """The first `rows` rows in the order in which they are visited, from the epoch that each begins in."""
    stride = length - (0 if layout == "causal" else EXTRA[layout])
    starts = [epoch for epoch, _, _ in islice(slow_stream(lengths, layout, seed), rows * stride + 4 * sum(lengths) + 400)][::stride]
    visited: list[int] = []
    for epoch in range(starts[rows - 1] + 1):
        members = [row for row, start in enumerate(starts) if start == epoch]
        visited += [members[nth] for nth in permutation(len(members), seed, "rows", epoch)]
    return visited[:rows]


def slow_row(lengths: list[int], layout: str, length: int, seed: int, row: int) -> list[tuple[int, list[int]]]:
    """The pieces of a row as (document, places inside it); places of 0 tokens are borders."""
    stride = length - (0 if layout == "causal" else EXTRA[layout])
    pieces: list[tuple[int, list[int]]] = []
    previous = None
    for epoch, document, o in islice(slow_stream(lengths, layout, seed), row * stride, (row + 1) * stride):
        if (epoch, document) != previous or o == 0:
            pieces.append((document, []))
        previous = epoch, document
        pieces[-1][1].append(o)
    return pieces


def slow_causal(lengths: list[int], length: int, seed: int, row: int) -> dict[str, list[int]]:
    columns: dict[str, list[int]] = {"ids": [], "next": [], "segments": [], "positions": []}
    for segment, (document, places) in enumerate(slow_row(lengths, "causal", length, seed, row), 1):
        start = 5 + sum(lengths[:document])
        words = list(range(start, start + lengths[document]))
        for position, o in enumerate(places):
            columns["ids"].append([MARKS.begin, *words][o])
            columns["next"].append([*words, MARKS.end][o])
            columns["segments"].append(segment)
            columns["positions"].append(position)
    return columns


def slow_marked(lengths: list[int], layout: str, length: int, seed: int, row: int) -> list[list[int]]:
    """The tokens of each piece of a row that has some."""
    found = []
    for document, places in slow_row(lengths, layout, length, seed, row):
        start = 5 + sum(lengths[:document])
        found.append([start + o for o in places if o < lengths[document]])
    return [tokens for tokens in found if tokens]


@settings(max_examples=100)
@given(LENGTHS, st.integers(1, 5), st.integers(1, 20), st.integers(0, 3), st.integers(0, 9))
def test_causal_rows_equal_the_slow_reading(lengths: list[int], rows: int, length: int, seed: int, number: int) -> None:
    batch = packed(numbered(lengths), "causal", rows=rows, length=length, seed=seed).batch(number)
    visits = slow_visits(lengths, "causal", length, seed, (number + 1) * rows)[number * rows :]
    for r, row in enumerate(visits):
        expected = slow_causal(lengths, length, seed, row)
        found = {"ids": batch.ids, "next": batch.targets["next"], "segments": batch.segments, "positions": batch.positions}
        for name, values in expected.items():
            assert found[name][r].tolist() == values, name
    assert batch.types is None and batch.ids.dtype == batch.segments.dtype == torch.int64


@settings(max_examples=100)
@given(LENGTHS, st.integers(1, 5), st.integers(5, 20), st.integers(0, 3), st.integers(0, 9))
def test_single_rows_equal_the_slow_reading(lengths: list[int], rows: int, length: int, seed: int, number: int) -> None:
    batch = packed(numbered(lengths), "single", rows=rows, length=length, seed=seed).batch(number)
    assert batch.types is None and batch.targets == {}
    visits = slow_visits(lengths, "single", length, seed, (number + 1) * rows)[number * rows :]
    for r, row in enumerate(visits):
        expected = slow_marked(lengths, "single", length, seed, row)
        ids: list[int] = []
        segments: list[int] = []
        positions: list[int] = []
        for segment, tokens in enumerate(expected, 1):
            size = len(tokens) + 2 if segment < len(expected) else length - len(ids)
            assert len(tokens) + 2 <= size <= len(tokens) + 2 + 4
            ids += [MARKS.begin, *tokens] + [MARKS.end] * (size - len(tokens) - 1)
            segments += [segment] * size
            positions += range(size)
        assert (batch.ids[r].tolist(), batch.segments[r].tolist(), batch.positions[r].tolist()) == (ids, segments, positions)


@settings(max_examples=100)
@given(LENGTHS, st.sampled_from(["next", "order"]), st.integers(1, 5), st.integers(7, 20), st.integers(0, 3), st.integers(0, 9))
def test_rows_of_two_segments_equal_the_slow_reading(
    lengths: list[int], layout: str, rows: int, length: int, seed: int, number: int
) -> None:
    """But for a foreign B, which takes as many places as what it stands for."""
    batch = packed(numbered(lengths), layout, rows=rows, length=length, seed=seed).batch(number)
    visits = slow_visits(lengths, layout, length, seed, (number + 1) * rows)[number * rows :]
    for r, row in enumerate(visits):
        expected = slow_marked(lengths, layout, length, seed, row)
        taken = 0
        assert batch.segments[r].max() == len(expected)
        for segment, tokens in enumerate(expected, 1):
            here = batch.segments[r] == segment
            ids, label = batch.ids[r][here].tolist(), int(batch.targets["pair"][r][here][0])
            size = len(tokens) + 3 if segment < len(expected) else length - taken
            assert len(ids) == size <= len(tokens) + 3 + 6 and batch.positions[r][here].tolist() == list(range(size))
            words, middle = [id for id in ids if id > 4], ids.index(MARKS.end) - 1
            if label == 1 and layout == "order":
                words = words[middle:] + words[:middle]
            if label == 1 and layout == "next":
                assert len(words) == len(tokens) and words[:middle] == tokens[:middle] and not set(words[middle:]) & set(tokens)
            else:
                assert words == tokens and (label == -1) == (len(tokens) == 1)
            taken += size


def tokens_of(batch: Batch) -> Counter[int]:
    return Counter(id for id in batch.ids.flatten().tolist() if id > 4)


@settings(max_examples=80)
@given(LENGTHS, st.sampled_from(["causal", "single", "order"]), st.integers(1, 5), st.integers(7, 20), st.integers(0, 3), st.integers(1, 3))
def test_every_token_once_an_epoch(lengths: list[int], layout: str, rows: int, length: int, seed: int, epochs: int) -> None:
    """The rows that begin in the first epochs hold these epochs, and whatever of the next the last of them goes on into."""
    source = packed(numbered(lengths), layout, rows=rows, length=length, seed=seed)
    stride = length - (0 if layout == "causal" else EXTRA[layout])
    stream = sum(n + EXTRA[layout] for n in lengths if n or layout == "causal")
    whole = -(-epochs * stream // stride)
    seen: Counter[int] = Counter()
    for number in range(-(-whole // rows)):
        batch = source.batch(number)
        left = min(rows, whole - number * rows)
        if layout == "causal":
            seen.update(batch.targets["next"][:left].flatten().tolist())
        else:
            seen.update(tokens_of(Batch(batch.ids[:left], batch.segments, batch.positions)))
    expected: Counter[int] = Counter()
    for _, document, o in islice(slow_stream(lengths, layout, seed), whole * stride):
        if o < lengths[document]:
            expected[5 + sum(lengths[:document]) + o] += 1
        elif layout == "causal":
            expected[MARKS.end] += 1
    assert seen == expected
    once = Counter((document, o) for _, document, o in islice(slow_stream(lengths, layout, seed), epochs * stream))
    assert set(once.values()) == {epochs} and len(once) == stream, "the oracle itself reads everything once an epoch"
    assert source.positions == -(-stream * length // stride) and source.tokens_per_step == rows * length


@settings(max_examples=60)
@given(LENGTHS, LAYOUTS, st.integers(1, 8), st.integers(7, 20), st.integers(0, 3), st.booleans())
def test_rows_are_dense_and_pieces_are_of_one_document(
    lengths: list[int], layout: str, rows: int, length: int, seed: int, breaks: bool
) -> None:
    batch = packed(numbered(lengths, breaks=breaks), layout, rows=rows, length=length, seed=seed).batch(seed)
    assert batch.ids.shape == batch.segments.shape == batch.positions.shape == (rows, length)
    assert (batch.segments[:, 0] == 1).all() and (batch.positions[:, 0] == 0).all()
    opened = batch.positions[:, 1:] == 0
    assert torch.equal(batch.segments.diff(dim=1), opened.long())
    assert (batch.positions.diff(dim=1)[~opened] == 1).all()
    ends = np.cumsum(lengths)
    for row in range(rows):
        for segment in batch.segments[row].unique():
            here = batch.segments[row] == segment
            ids = batch.ids[row][here].tolist()
            if layout != "causal":
                assert ids[0] == MARKS.begin and ids[-1] == MARKS.end and MARKS.begin not in ids[1:] and max(ids) > 4
            words = [id - 5 for id in ids if id > 4]
            if layout != "next":
                assert len({int(np.searchsorted(ends, word, side="right")) for word in words}) <= 1
            if layout in ("causal", "single"):
                assert words == list(range(words[0], words[0] + len(words))) if words else layout == "causal"


@settings(max_examples=30)
@given(LENGTHS, LAYOUTS, st.integers(0, 3))
def test_a_batch_does_not_depend_on_what_was_asked_before(lengths: list[int], layout: str, seed: int) -> None:
    shards = numbered(lengths)
    walked = packed(shards, layout, seed=seed)
    forwards = [walked.batch(number) for number in range(12)]
    for number in (11, 0, 7, 7, 3):
        for again in (walked.batch(number), packed(shards, layout, seed=seed).batch(number)):
            assert_equal(again, forwards[number], rows=[0, 1, 2])


@settings(max_examples=40)
@given(LENGTHS, LAYOUTS, st.sampled_from([1, 2, 3, 4, 8]), st.integers(8, 11), st.integers(0, 3))
def test_the_rows_of_all_ranks_are_the_rows_of_one(lengths: list[int], layout: str, world: int, rows: int, seed: int) -> None:
    shards = numbered(lengths)
    whole = packed(shards, layout, rows=rows, seed=seed)
    ranks = [packed(shards, layout, rows=rows, seed=seed, rank=rank, world=world) for rank in range(world)]
    assert {rank.fingerprint for rank in ranks} == {whole.fingerprint} and {rank.tokens_per_step for rank in ranks} == {8 * rows}
    for number in (0, 3):
        everything = whole.batch(number)
        for place, rank in enumerate(ranks):
            assert_equal(rank.batch(number), everything, rows=list(range(place, rows, world)))


def assert_equal(part: Batch, whole: Batch, *, rows: list[int]) -> None:
    for name in ("ids", "segments", "positions", "types", "keys"):
        found, expected = getattr(part, name), getattr(whole, name)
        assert (found is None) == (expected is None) and (found is None or torch.equal(found, expected[rows])), name
    assert part.targets.keys() == whole.targets.keys()
    assert all(torch.equal(part.targets[name], whole.targets[name][rows]) for name in part.targets)


def test_keys_are_of_rows() -> None:
    source = packed(numbered([40, 3, 9]), "single", rows=4)
    keys = torch.cat([source.batch(number).keys for number in range(200)])  # type: ignore[misc]
    assert keys.dtype == torch.int64 and keys.min() >= 0 and len(keys.unique()) == 800
    other = packed(numbered([40, 3, 9]), "single", rows=4, seed=1).batch(0).keys
    assert not set(other.tolist()) & set(keys.tolist())  # type: ignore[union-attr]
    again = packed(numbered([40, 3, 9]), "single", rows=2)
    assert torch.equal(torch.cat([again.batch(number).keys for number in range(400)]), keys)  # type: ignore[misc]


def test_a_corpus_smaller_than_a_row_goes_on_and_no_corpus_is_refused() -> None:
    batch = packed(numbered([2]), "causal", rows=2, length=7).batch(0)
    assert sorted(batch.ids.tolist()) == [[2, 5, 6, 2, 5, 6, 2], [5, 6, 2, 5, 6, 2, 5]]
    assert packed(numbered([1]), "single", rows=1, length=9).batch(0).ids.tolist() == [[2, 5, 3, 2, 5, 3, 2, 5, 3]]
    for shards in (Shards.of(np.empty(0), np.zeros(3)), Shards.of(np.empty(0), np.empty(0))):
        with pytest.raises(MalmoiError, match="M017: the corpus has 0 tokens"):
            packed(shards, "causal")


def test_documents_without_tokens_are_predicted_but_not_read() -> None:
    shards = numbered([0, 3, 0])
    assert Counter(packed(shards, "causal", rows=1, length=6).batch(0).targets["next"][0].tolist()) == Counter([3, 3, 3, 5, 6, 7])
    assert packed(shards, "single", rows=1, length=5).batch(0).ids.tolist() == [[2, 5, 6, 7, 3]]


def test_seed_epoch_and_shape_change_the_order() -> None:
    shards = numbered([4] * 20)
    first = packed(shards, "causal", rows=1, length=100)
    assert not torch.equal(first.batch(0).ids, packed(shards, "causal", rows=1, length=100, seed=1).batch(0).ids)
    assert not torch.equal(first.batch(0).ids, first.batch(1).ids)
    others = [packed(shards, "single"), packed(shards, "causal"), packed(shards, "causal", rows=2), packed(shards, "causal", length=9)]
    assert len({source.fingerprint for source in [first, *others, packed(numbered([5] * 16), "causal"), packed(shards, "next")]}) == 7


def test_a_step_of_a_long_corpus_knows_its_documents() -> None:
    """Many documents, long and short, beyond what 16 bits count."""
    lengths = [1 + (7919 * index) % 97 for index in range(3000)]
    source = packed(numbered(lengths), "causal", rows=8, length=64)
    seen = np.concatenate([source.batch(number).targets["next"].flatten().numpy() for number in range(-(-source.positions // (8 * 64)))])
    words = np.bincount(seen[seen > 4] - 5, minlength=sum(lengths))
    assert (words >= 1).mean() > 0.99 and words.sum() + (seen == 3).sum() == seen.size
