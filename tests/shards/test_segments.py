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
from malmoi.shards.draws import draws_of, keys_of
from malmoi.shards.segments import Question, Segments, nearest

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
    breaks = data.draw(breaks_of(lengths))
    batch = packed(numbered(lengths, breaks), question, length=length, seed=seed).batch(number)
    for row in range(3):
        for label, first, second in pieces_of(batch, row):
            if len(first + second) == 1:
                assert label == -1 and not second
            elif question == "next" and label == 1:
                assert document_of(lengths, first) != document_of(lengths, second)
            elif label == 1:
                document_of(lengths, sorted(first + second))
                assert breaks is not None or document_of(lengths, second + first) >= 0
            else:
                document_of(lengths, first + second)
                assert label == 0 or question == "order"


def breaks_of(lengths: list[int]) -> st.SearchStrategy[list[int] | None]:
    def drawn(rate: float, seed: int) -> list[int]:
        return np.flatnonzero(np.random.default_rng(seed).random(sum(lengths)) < rate).tolist()

    return st.none() | st.builds(drawn, st.sampled_from([0.0, 0.05, 0.2, 0.5]), st.integers(0, 99))


def lengths_before(lengths: list[int], document: int) -> int:
    return sum(lengths[:document])


@settings(max_examples=150)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True).map(sorted), *[st.integers(0, 31)] * 3)
def test_nearest_equals_the_slow_reading(breaks: list[int], place: int, low: int, high: int) -> None:
    inside = [start for start in breaks if low <= start <= high]
    expected = min(inside, key=lambda start: (abs(start - place), start), default=place)
    moved, found = nearest(np.array(breaks, dtype=np.int64), np.array([place]), low=np.array([low]), high=np.array([high]))
    assert (moved.tolist(), found.tolist()) == ([expected], [len(inside) > 0])
    moved, found = nearest(None, np.array([place]), low=np.array([low]), high=np.array([high]))
    assert (moved.tolist(), found.tolist()) == ([place], [low <= high])


def slow_next(
    lengths: list[int], breaks: list[int] | None, document: int, start: int, tokens: int, draws: list[float]
) -> tuple[int, list[int], list[int]]:
    """Label, A and B, token by token."""
    cut, label, which, where = draws
    middle, stop = start + 1 + int(cut * (tokens - 1)), start + tokens
    inside = [place for place in breaks or [] if start < place < stop]
    middle = near(middle, inside)
    first, second = list(range(start, middle)), list(range(middle, stop))
    if tokens == 1:
        return -1, first, second
    others = [index for index, length in enumerate(lengths) if length >= len(second) and index != document]
    urn = [index for index in sorted(others, key=lambda index: lengths[index]) for _ in range(lengths[index])]
    if label >= 0.5 or not urn:
        return 0, first, second
    other = urn[int(which * len(urn))]
    low, spare = lengths_before(lengths, other), lengths[other] - len(second)
    begin = low + int(where * (spare + 1))
    if inside:
        begin = near(begin, [place for place in breaks or [] if low <= place <= low + spare])
    return 1, first, list(range(begin, begin + len(second)))


def slow_order(
    lengths: list[int], breaks: list[int] | None, document: int, start: int, tokens: int, draws: list[float]
) -> tuple[int, list[int], list[int]]:
    """Label, A and B, token by token."""
    cut, label, stop = *draws[:2], start + tokens
    low, high, possible = start, stop, list(range(start + 1, stop))
    if breaks is not None:
        edges = {*breaks, lengths_before(lengths, document), lengths_before(lengths, document) + lengths[document]}
        inside = sorted(place for place in edges if start <= place <= stop)
        low, high, possible = (inside[0], inside[-1], [place for place in inside[1:-1] if place in breaks]) if inside else (0, 0, [])
    if not possible:
        middle = start + 1 + int(cut * (tokens - 1))
        return -1, list(range(start, middle)), list(range(middle, stop))
    middle = near(low + 1 + int(cut * (high - low - 1)), possible)
    if label >= 0.5:
        return 0, list(range(start, middle)), list(range(middle, stop))
    return 1, [*range(start, low), *range(middle, high)], [*range(low, middle), *range(high, stop)]


def near(place: int, possible: list[int]) -> int:
    return min(possible, key=lambda other: (abs(other - place), other), default=place)


@pytest.mark.parametrize("question", ["next", "order"])
@pytest.mark.parametrize("breaks", [None, [], [0, 12, 17, 34], [3, 4, 9, 14, 20, 23, 24, 30], [0, 5, 12, 17, 25, 34, 35], list(range(36))])
def test_spans_equal_the_slow_reading(question: Question, breaks: list[int] | None) -> None:
    """Every piece that can be cut from five documents, with many keys."""
    lengths = [12, 5, 0, 17, 2]
    pieces = [
        (document, lengths_before(lengths, document) + offset, tokens)
        for document, length in enumerate(lengths)
        for offset in range(length)
        for tokens in range(1, length - offset + 1)
    ] * 12
    document, start, tokens = (np.array(part) for part in zip(*pieces, strict=True))
    keys = keys_of(np.arange(len(pieces)), question)
    draws = draws_of(keys, 4).tolist()
    spans = Segments(numbered(lengths, breaks), question).spans(document, start=start, tokens=tokens, keys=keys)
    slow, places, done = slow_next if question == "next" else slow_order, spans.places().tolist(), 0
    assert spans.labels is not None
    for index, piece in enumerate(pieces):
        split = done + int(spans.first[index])
        found = int(spans.labels[index]), places[done:split], places[split : done + piece[2]]
        assert found == slow(lengths, breaks, *piece, draws[index]), piece
        done += piece[2]
    assert done == len(places)


def test_the_edges_of_a_piece_do_not_tell_the_order() -> None:
    """Pieces out of one long document begin and end within sentences; each begins and ends with the same tokens whatever the label."""
    breaks = list(range(0, 4000, 7))
    segments = Segments(numbered([4000], breaks), "order")
    starts = np.arange(100, 3000, 31)
    labels = []
    for key in range(8):
        spans = segments.spans(
            np.zeros_like(starts), start=starts, tokens=np.full(len(starts), 60), keys=np.arange(len(starts)) + 1000 * key
        )
        assert spans.labels is not None
        places = spans.places().reshape(len(starts), 60)
        low, high = -(-starts // 7) * 7, (starts + 60) // 7 * 7
        for row, (start, split) in enumerate(zip(starts, spans.first, strict=True)):
            head, tail = low[row] - start, start + 60 - high[row]
            assert places[row, :head].tolist() == list(range(start, low[row]))
            assert places[row, 60 - tail :].tolist() == list(range(high[row], start + 60))
            assert places[row, head] % 7 == 0 and places[row, split] % 7 == 0
            assert sorted(places[row]) == list(range(start, start + 60))
        labels.append(spans.labels)
    assert abs(np.concatenate(labels).mean() - 0.5) < 0.08


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
    chosen = np.searchsorted(np.cumsum(lengths), spans.begins[foreign, 1], side="right")
    size = spans.tokens[foreign, 1]
    assert set(chosen[size > 10]) == {2, 5} and 1 in chosen[size <= 4] and 0 not in chosen
    big = chosen[size > 10]
    assert abs((big == 2).mean() - 60 / 160) < 4 * 0.5 / len(big) ** 0.5
    cuts = np.bincount(spans.first, minlength=21)[1:]
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
    found = [piece for row in range(8) for piece in pieces_of(source.batch(2), row)]
    labels = [label for label, _, _ in found if label >= 0]
    assert len(labels) > 8 and set(labels) == {0, 1}
    assert all(second[0] in breaks for label, _, second in found if label >= 0)
    assert packed(numbered(lengths), "order").fingerprint != packed(numbered(lengths, breaks), "order").fingerprint
