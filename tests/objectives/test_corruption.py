"""Corruption: as many gaps as asked for, of the fates asked for, in no mark, and by nothing but the row's key."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from malmoi.core.batch import Batch
from malmoi.core.chance import uniform
from malmoi.core.marks import Marks
from malmoi.objectives.corruption import CHOICE, FATE, TOKEN, chosen_places, keys_of, masked, readable

V, T = 400, 40
MARKS = Marks(pad=0, unknown=1, begin=2, end=3, mask=4)
CONTINUES = np.zeros(V, bool)
CONTINUES[200:] = True


def batch_of(rows=6, *, seed=0, sizes=(15, 25)):
    """Rows of two texts with their marks, some [UNK] in them."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, V, (rows, T), generator=generator)
    ids[:, 5] = MARKS.unknown
    segments, positions, start = torch.zeros_like(ids), torch.zeros_like(ids), 0
    for number, size in enumerate(sizes, start=1):
        here = slice(start, start + size)
        ids[:, start], ids[:, start + size - 1] = MARKS.begin, MARKS.end
        segments[:, here], positions[:, here] = number, torch.arange(size)
        start += size
    ids[segments == 0] = MARKS.pad
    return Batch(ids=ids, segments=segments, positions=positions, keys=torch.randint(1 << 62, (rows,), generator=generator))


def bert(batch, **settings):
    return masked(batch, MARKS, **{"size": V, "rate": 0.15, "mask": 0.8, "random": 0.1, **settings})


@pytest.mark.parametrize("rate, count", [(0.15, 6), (0.5, 20), (0.001, 1), (0.0, 1)])
def test_every_row_has_the_same_number_of_gaps_and_at_least_one(rate, count):
    view = bert(batch_of(), rate=rate)
    assert (view.targets["masked"] >= 0).sum(1).tolist() == [count] * 6


def test_a_row_with_fewer_tokens_than_gaps_uses_all_of_them_and_no_mark():
    short = batch_of(sizes=(4, 3))
    view = bert(short, rate=0.9)
    assert torch.equal(view.targets["masked"] >= 0, readable(short, MARKS)) and (view.targets["masked"] >= 0).sum() == 6 * 3
    nothing = batch_of(sizes=(2, 2))
    assert (bert(nothing).targets["masked"] == -1).all() and torch.equal(bert(nothing).ids, nothing.ids)


def test_marks_are_never_predicted_and_never_put_in_but_the_unknown_token_is_a_token():
    batch = batch_of(200)
    view = bert(batch, rate=0.6, mask=0.0, random=1.0)
    targets = view.targets["masked"]
    assert set(targets[targets >= 0].tolist()) & set(MARKS.ids) == {MARKS.unknown}
    gap = targets >= 0
    put = view.ids[gap & (view.ids != batch.ids)]
    assert not set(put.tolist()) & set(MARKS.ids)
    assert torch.equal(view.ids[~gap], batch.ids[~gap]), "outside of the gaps nothing changes"


def test_targets_are_what_stood_there():
    batch = batch_of()
    view = bert(batch)
    gap = view.targets["masked"] >= 0
    assert torch.equal(view.targets["masked"][gap], batch.ids[gap]) and torch.equal(view.segments, batch.segments)


def test_the_fates_have_the_shares_of_the_paper():
    """24,000 gaps: three standard deviations are less than a hundredth."""
    batch = batch_of(4000)
    view = bert(batch)
    gap = view.targets["masked"] >= 0
    count = int(gap.sum())
    mask, kept = int((view.ids[gap] == MARKS.mask).sum()), int((view.ids == batch.ids)[gap].sum())
    assert count == 24_000
    assert mask / count == pytest.approx(0.8, abs=0.01)
    assert kept / count == pytest.approx(0.1 + 0.1 * 6 / V, abs=0.01)  # a drawn mark, or the token itself, changes nothing
    places = gap.sum(0)[torch.arange(T)]
    texts = readable(batch, MARKS)[0]
    assert not places[~texts].any() and float(places[texts].float().std() / places[texts].float().mean()) < 0.1


def test_the_random_tokens_are_spread_over_the_vocabulary():
    view = bert(batch_of(4000), mask=0.0, random=1.0)
    put = view.ids[view.targets["masked"] >= 0].numpy()
    counts = np.bincount(put, minlength=V)[5:]
    assert counts.min() > 20 and counts.max() < 120 and counts.mean() == pytest.approx(24_000 / V, rel=0.05)


def test_the_gaps_are_those_of_the_smallest_numbers_of_the_row():
    batch = batch_of()
    view = bert(batch)
    length = T
    for row in range(6):
        numbers = uniform(batch.keys[row : row + 1], length, CHOICE)[0].numpy()
        allowed = [place for place in range(T) if int(batch.ids[row, place]) not in (0, 2, 3, 4)]
        chosen = set(sorted(allowed, key=lambda place: numbers[place])[:6])
        assert set((view.targets["masked"][row] >= 0).nonzero().flatten().tolist()) == chosen
        fate, token = (uniform(batch.keys[row : row + 1], length, purpose)[0].numpy() for purpose in (FATE, TOKEN))
        for place in chosen:
            was, other = int(batch.ids[row, place]), int(token[place] * V)
            expected = MARKS.mask if fate[place] < 0.8 else other if fate[place] < 0.9 and other not in MARKS.ids else was
            assert int(view.ids[row, place]) == expected


def test_a_rows_gaps_are_its_own_whatever_stands_beside_it():
    batch = batch_of()
    whole = bert(batch)
    for rows in ([2], [5, 2, 0]):
        part = replace(batch, ids=batch.ids[rows], segments=batch.segments[rows], positions=batch.positions[rows], keys=batch.keys[rows])
        view = bert(part)
        assert torch.equal(view.ids, whole.ids[rows]) and torch.equal(view.targets["masked"], whole.targets["masked"][rows])
    other = bert(replace(batch, keys=batch.keys + 1))
    assert not torch.equal(other.targets["masked"], whole.targets["masked"])


def test_a_batch_without_keys_follows_torchs_generator():
    batch = replace(batch_of(), keys=None)
    torch.manual_seed(3)
    one = bert(batch)
    torch.manual_seed(3)
    assert torch.equal(bert(batch).ids, one.ids) and not torch.equal(bert(batch).ids, one.ids)
    assert torch.equal(bert(replace(batch, keys=one.keys)).ids, one.ids), "the keys that were drawn are kept with the view"
    assert keys_of(one) is one.keys


def test_whole_words_are_chosen_whole():
    batch = batch_of(300)
    continues = torch.from_numpy(CONTINUES)
    view = masked(batch, MARKS, size=V, rate=0.15, mask=0.8, random=0.1, continues_V=continues)
    gap = view.targets["masked"] >= 0
    assert (gap.sum(1) == 6).all()
    cut = 0
    for row in range(300):
        starts = [t for t in range(T) if not CONTINUES[batch.ids[row, t]] or batch.positions[row, t] == 0]
        for begin, end in zip(starts, [*starts[1:], T], strict=True):
            pieces = [t for t in range(begin, end) if readable(batch, MARKS)[row, t]]
            inside = [bool(gap[row, t]) for t in pieces]
            if any(inside) and not all(inside):
                cut += 1
                assert inside == sorted(inside, reverse=True), "what is left of a word is its end"
    assert cut <= 300, "at most one word a row is cut, by the number"
    plain = chosen_places(batch, batch.keys, MARKS, rate=0.15)
    assert not torch.equal(plain, gap)
