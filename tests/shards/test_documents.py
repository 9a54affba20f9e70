"""Whole documents in rows: every one once, from its start to its end, in chunks that go on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.batch import Batch
from malmoi.core.marks import Marks
from malmoi.core.recipe import CharacterSpec
from malmoi.shards import Shards, document_batches, piece_batches, stream_batches
from malmoi.shards.documents import groups
from malmoi.vocab import BOS, EOS, Vocabulary, encode_documents

DOCUMENTS = st.lists(st.lists(st.integers(3, 40), max_size=15), max_size=12)


def shards_of(documents: list[list[int]]) -> Shards:
    flat = np.array([word for document in documents for word in document], dtype=np.int64)
    return Shards.of(flat, np.cumsum([len(document) for document in documents], dtype=np.int64))


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS, st.integers(1, 60), st.integers(1, 18))
def test_every_document_once_and_whole(documents: list[list[int]], tokens: int, window: int) -> None:
    seen: Counter[int] = Counter()
    for chunks, indices in document_batches(shards_of(documents), tokens=tokens, window=window):
        batches = list(chunks)
        rows = len(indices)
        seen.update(indices.tolist())
        for batch in batches:
            assert batch.words is None and batch.ids.shape[0] == 2 * rows
            assert 1 <= batch.ids.shape[1] <= window and (rows * batch.ids.shape[1] <= tokens or rows == 1)
        ids, targets, positions, segments = _joined(batches)
        assert ids.shape[1] == max(len(documents[index]) + 1 for index in indices)
        for row, index in enumerate(indices):
            for half, marks in ((0, (BOS, EOS)), (1, (EOS, BOS))):
                words = documents[index] if half == 0 else documents[index][::-1]
                size, place = len(words) + 1, half * rows + row
                assert ids[place, :size].tolist() == [marks[0], *words]
                assert targets[place].tolist() == [*words, marks[1]] + [-1] * (ids.shape[1] - size)
                assert positions[place, :size].tolist() == list(range(size))
                assert segments[place].tolist() == [1] * size + [0] * (ids.shape[1] - size)
    assert seen == Counter(range(len(documents)))


def _joined(batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.cat([batch.ids for batch in batches], dim=1),
        torch.cat([batch.targets["next"] for batch in batches], dim=1),
        torch.cat([batch.positions for batch in batches], dim=1),
        torch.cat([batch.segments for batch in batches], dim=1),
    )


@settings(deadline=None, max_examples=100)
@given(DOCUMENTS, st.integers(1, 30))
def test_one_stream_reads_all_documents_in_order(documents: list[list[int]], window: int) -> None:
    batches = list(stream_batches(shards_of(documents), window=window))
    assert all(batch.ids.shape == (2, window) for batch in batches[:-1])
    forward = [(read, predicted) for words in documents for read, predicted in zip([BOS, *words], [*words, EOS], strict=True)]
    backward = [(read, predicted) for words in documents for read, predicted in zip([EOS, *words[::-1]], [*words[::-1], BOS], strict=True)]
    for row, expected in enumerate((forward, backward)):
        found = [pair for batch in batches for pair in zip(batch.ids[row].tolist(), batch.targets["next"][row].tolist(), strict=True)]
        assert found == expected
    assert [o for batch in batches for o in batch.positions[0].tolist()] == [o for words in documents for o in range(len(words) + 1)]
    assert all(batch.segments[0].diff().tolist() == (batch.positions[0, 1:] == 0).long().tolist() for batch in batches)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=80), st.integers(1, 2000), st.integers(1, 400))
def test_little_is_padded(positions: list[int], tokens: int, window: int) -> None:
    for members in groups(np.array(positions), tokens=tokens, window=window):
        sizes = [positions[index] for index in members]
        assert sizes[0] == max(sizes) and 4 * min(sizes) >= 3 * max(sizes)


def test_groups_are_filled() -> None:
    """A budget of 100 positions holds ten documents of ten, or ten chunks of ten of long ones."""
    assert [len(group) for group in groups(np.full(12, 500), tokens=100, window=10)] == [10, 2]
    assert [len(group) for group in groups(np.full(35, 10), tokens=100, window=64)] == [10, 10, 10, 5]
    assert [group.tolist() for group in groups(np.array([1, 500, 3]), tokens=100, window=64)] == [[1], [2], [0]]


def test_an_encoded_text_spells_words_that_the_vocabulary_lacks() -> None:
    vocabulary = Vocabulary.build({"a": 2, "b": 1}, CharacterSpec(length=8))
    text = encode_documents([["a", "zebra"], [], ["b"]], vocabulary)
    for chunks, indices in document_batches(text, tokens=100, window=64):
        for batch in chunks:
            assert batch.words is not None and batch.characters is not None
            assert len(batch.ids.unique()) == len(batch.characters)
            if 0 in indices:
                row = indices.tolist().index(0)
                spelt = batch.characters[batch.words[row]].numpy()
                assert (spelt == vocabulary.characters.spell(["<S>", "a", "zebra"])).all()


MARKS = Marks(pad=0, unknown=1, begin=2, end=50, mask=4)


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS, st.integers(1, 60), st.integers(3, 18))
def test_causal_pieces_predict_every_position_once(documents: list[list[int]], tokens: int, length: int) -> None:
    predicted: dict[tuple[int, int], tuple[int, int]] = {}
    for batch, indices, offsets in piece_batches(shards_of(documents), marks=MARKS, layout="causal", length=length, tokens=tokens):
        sizes = _sizes_of(batch, tokens)
        for row, (index, offset) in enumerate(zip(indices.tolist(), offsets.tolist(), strict=True)):
            assert offset % length == 0
            for t in range(sizes[row]):
                assert (index, offset + t) not in predicted
                predicted[index, offset + t] = int(batch.ids[row, t]), int(batch.targets["next"][row, t])
        assert torch.equal(batch.targets["next"] >= 0, batch.segments > 0)
    expected = {
        (index, o): pair
        for index, words in enumerate(documents)
        for o, pair in enumerate(zip([MARKS.begin, *words], [*words, MARKS.end], strict=True))
    }
    assert predicted == expected


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS, st.integers(1, 60), st.integers(3, 18))
def test_single_pieces_read_every_token_once_between_marks(documents: list[list[int]], tokens: int, length: int) -> None:
    read: dict[tuple[int, int], int] = {}
    seen: Counter[int] = Counter()
    for batch, indices, offsets in piece_batches(shards_of(documents), marks=MARKS, layout="single", length=length, tokens=tokens):
        sizes = _sizes_of(batch, tokens)
        seen.update(indices.tolist())
        assert batch.targets == {} and batch.types is None
        for row, (index, offset) in enumerate(zip(indices.tolist(), offsets.tolist(), strict=True)):
            ids = batch.ids[row, : sizes[row]].tolist()
            assert ids[0] == MARKS.begin and ids[-1] == MARKS.end and offset % (length - 2) == 0 and len(ids) <= length
            for t, id in enumerate(ids[1:-1], 1):
                assert (index, offset + t - 1) not in read
                read[index, offset + t - 1] = id
    assert read == {(index, o): id for index, words in enumerate(documents) for o, id in enumerate(words)}
    assert seen == Counter({index: max(1, -(-len(words) // (length - 2))) for index, words in enumerate(documents)})


def _sizes_of(batch: Batch, tokens: int) -> list[int]:
    """Positions taken of each row: one segment from the left, padding marks behind."""
    rows, length = batch.ids.shape
    sizes = (batch.segments > 0).sum(1)
    assert length == sizes.max() and (rows * length <= tokens or rows == 1) and 4 * sizes.min() >= 3 * length
    inside = torch.arange(length) < sizes[:, None]
    assert torch.equal(batch.segments, inside.long()) and torch.equal(batch.positions, torch.arange(length) * inside)
    assert (batch.ids[~inside] == MARKS.pad).all()
    return sizes.tolist()


def test_the_keys_of_a_piece_do_not_depend_on_what_is_beside_it() -> None:
    documents = [[5] * n for n in (3, 30, 7, 0, 12)]

    def keys(tokens: int) -> dict[tuple[int, int], int]:
        found = {}
        for batch, indices, offsets in piece_batches(shards_of(documents), marks=MARKS, layout="single", length=9, tokens=tokens):
            assert batch.keys is not None
            found.update(dict(zip(zip(indices.tolist(), offsets.tolist(), strict=True), batch.keys.tolist(), strict=True)))
        return found

    assert keys(1) == keys(40) == keys(1000) and len(set(keys(1).values())) == 10
