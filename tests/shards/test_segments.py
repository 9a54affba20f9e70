"""Two segments a piece: real text on both sides, cut where sentences begin, labels that are true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.batch import Batch
from malmoi.core.marks import Marks
from malmoi.shards import Packed, Shards
from malmoi.shards.draws import draws_of
from malmoi.shards.segments import Segments, nearest

MARKS = Marks(pad=0, unknown=1, begin=2, end=3, mask=4)
LENGTHS = st.lists(st.sampled_from([0, 1, 2, 3, 5, 9, 14, 40]), min_size=1, max_size=9).filter(any)
QUESTIONS = st.sampled_from(["next", "order"])


def numbered(lengths: list[int], breaks: list[int] | None = None) -> Shards:
    """Token i of the corpus is 5 + i."""
    ends = np.cumsum(lengths)
    return Shards.of(np.arange(5, 5 + ends[-1]), ends, breaks=None if breaks is None else np.array(breaks, dtype=np.int64))


def packed(shards: Shards, layout: str, **fields: Any) -> Packed:
    return Packed(shards, marks=MARKS, **{"layout": layout, "rows": 3, "length": 16, "seed": 0, **fields})


def pieces_of(batch: Batch, row: int) -> list[tuple[int, list[int], list[int]]]:
    """(label, A, B) of each piece of a row, as places in the corpus, after it was found to be [CLS] A [SEP] B [SEP]... with its types."""
    assert batch.types is not None
    label_T, found = batch.targets["pair"][row], []
    assert torch.equal(label_T[batch.positions[row] > 0], torch.full_like(label_T[batch.positions[row] > 0], -1))
    for segment in batch.segments[row].unique():
        here = batch.segments[row] == segment
        ids, types = batch.ids[row][here].tolist(), batch.types[row][here].tolist()
        assert ids[0] == MARKS.begin
        split = ids.index(MARKS.end)
        end = ids.index(MARKS.end, split + 1)
        assert types == [0] * (split + 1) + [1] * (len(ids) - split - 1)
        assert set(ids[end:]) == {MARKS.end} and len(ids) - end - 1 <= 6
        first, second = ([id - 5 for id in part] for part in (ids[1:split], ids[split + 1 : end]))
        assert min(first) >= 0 and all(place >= 0 for place in second)
        found.append((int(label_T[here][0]), first, second))
    return found


def document_of(lengths: list[int], places: list[int]) -> int:
    """The one document that holds `places`, which follow one another."""
    assert places == list(range(places[0], places[0] + len(places)))
    documents = {int(np.searchsorted(np.cumsum(lengths), place, side="right")) for place in places}
    assert len(documents) == 1
    return documents.pop()


@settings(max_examples=150)
@given(LENGTHS, QUESTIONS, st.integers(7, 30), st.integers(0, 3), st.integers(0, 5), st.data())
def test_both_segments_are_real_text(lengths: list[int], question: str, length: int, seed: int, number: int, data: st.DataObject) -> None:
    breaks = data.draw(st.none() | st.lists(st.integers(0, sum(lengths) - 1), unique=True).map(sorted))
    batch = packed(numbered(lengths, breaks), question, length=length, seed=seed).batch(number)
    for row in range(3):
        for label, first, second in pieces_of(batch, row):
            if not second:
                assert label == -1 and len(first) == 1
                continue
            here = document_of(lengths, first)
            if question == "next" and label == 1:
                there = document_of(lengths, second)
                assert here != there
                starts = [lengths_before(lengths, there), *(breaks or [])]
                last = lengths_before(lengths, there) + lengths[there] - len(second)
                possible = [place for place in starts if lengths_before(lengths, there) <= place <= last]
                assert not breaks or second[0] in possible or not set(breaks) & set(range(lengths_before(lengths, there), last + 1))
                continue
            if question == "order" and label == 1:
                first, second = second, first
            assert label in (0, 1) and document_of(lengths, first + second) == here
            if breaks is not None and set(breaks) & set(range(first[1] if len(first) > 1 else second[0], second[-1] + 1)):
                assert second[0] in breaks


def lengths_before(lengths: list[int], document: int) -> int:
    return sum(lengths[:document])


@settings(max_examples=150)
@given(st.lists(st.integers(0, 30), max_size=8, unique=True).map(sorted), st.integers(0, 30), st.integers(0, 10), st.integers(0, 10))
def test_nearest_equals_the_slow_reading(breaks: list[int], place: int, below: int, above: int) -> None:
    low, high = place - below, place + above
    inside = [start for start in breaks if low <= start <= high]
    expected = min(inside, key=lambda start: (abs(start - place), start), default=place)
    found = nearest(np.array(breaks, dtype=np.int64), np.array([place]), low=np.array([low]), high=np.array([high]))
    assert found.tolist() == [expected]
    assert nearest(None, np.array([place]), low=np.array([low]), high=np.array([high])).tolist() == [place]


@settings(max_examples=150)
@given(LENGTHS, st.integers(0, 1 << 62), st.data())
def test_spans_equal_the_slow_reading(lengths: list[int], key: int, data: st.DataObject) -> None:
    """Token by token: where a piece is cut, whether it gets a foreign B, from where."""
    document = data.draw(st.sampled_from([index for index, length in enumerate(lengths) if length]))
    offset = data.draw(st.integers(0, lengths[document] - 1))
    tokens = data.draw(st.integers(1, lengths[document] - offset))
    start = lengths_before(lengths, document) + offset
    cut, label, which, where = draws_of(np.array([key]), 4)[0].tolist()
    middle = start + 1 + int(cut * (tokens - 1))
    size = start + tokens - middle
    expected = (start, middle - start, middle, size, -1)
    if tokens > 1:
        expected = (*expected[:4], int(label < 0.5))
        others = [index for index, length in enumerate(lengths) if length >= size and index != document]
        urn = [index for index in sorted(others, key=lambda index: lengths[index]) for _ in range(lengths[index])]
        if label < 0.5 and urn:
            other = urn[int(which * len(urn))]
            middle = lengths_before(lengths, other) + int(where * (lengths[other] - size + 1))
            expected = (start, expected[1], middle, size, 1)
        elif label < 0.5:
            expected = (*expected[:4], 0)
    for question in ("next", "order"):
        spans = Segments(numbered(lengths), question).spans(
            np.array([document]), start=np.array([start]), tokens=np.array([tokens]), keys=np.array([key])
        )
        found = tuple(int(part[0]) for part in (spans.first, spans.first_tokens, spans.second, spans.second_tokens, spans.labels))  # type: ignore[index]
        if question == "next":
            assert found == expected
        elif tokens > 1 and label < 0.5:
            assert found == (start + expected[1], size, start, expected[1], 1)
        else:
            assert found == (start, tokens - size, start + tokens - size, size, -1 if tokens < 2 else 0)


@pytest.mark.parametrize("question", ["next", "order"])
def test_labels_are_about_half_and_half(question: str) -> None:
    source = packed(numbered([30] * 400), question, rows=32)
    labels = torch.cat([source.batch(number).targets["pair"].flatten() for number in range(30)])
    labels = labels[labels >= 0]
    assert len(labels) > 900 and abs(labels.double().mean() - 0.5) < 4 * 0.5 / len(labels) ** 0.5


def test_pieces_of_a_row_have_labels_of_their_own() -> None:
    batch = packed(numbered([5] * 400), "order", rows=8, length=131).batch(0)
    labels = [[label for label, _, _ in pieces_of(batch, row)] for row in range(8)]
    assert all(set(row) >= {0, 1} for row in labels) and len({tuple(row) for row in labels}) == 8


def test_a_foreign_segment_is_drawn_by_tokens_among_documents_that_are_long_enough() -> None:
    """Pieces of 21 tokens of document 0: a document of n >= |B| tokens is chosen n times out of the sum of such n."""
    lengths = [30, 4, 60, 10, 0, 100]
    count = 20_000
    keys = (np.arange(count, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03) >> np.uint64(1)).astype(np.int64)
    spans = Segments(numbered(lengths), "next").spans(
        np.zeros(count, np.int64), start=np.zeros(count, np.int64), tokens=np.full(count, 21), keys=keys
    )
    assert spans.labels is not None
    foreign = spans.labels == 1
    assert abs(foreign.mean() - 0.5) < 0.02
    chosen = np.searchsorted(np.cumsum(lengths), spans.second[foreign], side="right")
    size = spans.second_tokens[foreign]
    assert set(chosen[size > 10]) == {2, 5} and 1 in chosen[size <= 4] and 0 not in chosen
    big = chosen[size > 10]
    assert abs((big == 2).mean() - 60 / 160) < 4 * 0.5 / len(big) ** 0.5
    cuts = np.bincount(spans.first_tokens, minlength=21)[1:]
    assert len(cuts) == 20 and np.abs(cuts - count / 20).max() < 5 * (count / 20) ** 0.5


def test_one_document_follows_itself() -> None:
    """Where there is no other document, B always follows A."""
    source = packed(numbered([300]), "next", rows=8)
    labels = torch.cat([source.batch(number).targets["pair"].flatten() for number in range(10)])
    assert set(labels.tolist()) <= {-1, 0} and (labels == 0).sum() > 50


def test_cuts_stand_where_sentences_begin() -> None:
    lengths = [50] * 30
    breaks = list(range(0, 1500, 5))
    source = packed(numbered(lengths, breaks), "order", rows=8, length=32)
    cuts = [max(first[0], second[0]) for row in range(8) for _, first, second in pieces_of(source.batch(2), row) if len(first + second) > 5]
    assert len(cuts) > 8 and all(cut in breaks for cut in cuts)
    assert packed(numbered(lengths), "order").fingerprint != packed(numbered(lengths, breaks), "order").fingerprint
