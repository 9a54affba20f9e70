"""From places in documents to batches. Shapes: R rows in each direction, T positions.

A document w of n words takes the positions o = 0..n:

    forward    reads  <S>  w[0] ... w[n-1]      and predicts  w[0] ... w[n-1] </S>
    backward   reads  </S> w[n-1] ... w[0]      and predicts  w[n-1] ... w[0] <S>
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch

from malmoi.core.batch import Batch
from malmoi.shards.store import Shards
from malmoi.vocab import BOS, EOS

Spelling: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Ids (n,) -> characters (n, C)."""


def segments_of(offset: np.ndarray) -> np.ndarray:
    """Which document of its row a position belongs to, from 1: (R, T) of the positions inside the documents, which stand without gaps."""
    return np.cumsum(offset == 0, axis=1) + (offset[:, :1] > 0)


def rows_at(shards: Shards, spelling: Spelling | None, *, document: np.ndarray, offset: np.ndarray, segments: np.ndarray) -> Batch:
    """The batch that reads position `offset` of `document`: (R, T) int64 each, -> rows (2R, T), forward then backward.

    Where `segments` (R, T) is 0 there is nothing to read: id </S>, position 0, target -1.
    """
    start, length = shards.bounds(document)
    valid = segments > 0
    ids = np.full((2, *offset.shape), EOS, np.int64)
    targets = np.full((2, *offset.shape), -1, np.int64)
    ids[0, valid], targets[1, valid] = BOS, BOS
    targets[0, valid] = EOS
    inside, started = valid & (offset < length), valid & (offset > 0)
    first, last = start + offset, start + length - 1 - offset
    targets[:, inside] = shards.take(np.stack([first[inside], last[inside]]))
    ids[:, started] = shards.take(np.stack([first[started] - 1, last[started] + 1]))
    ids, targets = ids.reshape(-1, offset.shape[1]), targets.reshape(-1, offset.shape[1])
    words = characters = None
    if spelling is not None:
        distinct, inverse = np.unique(ids, return_inverse=True)
        words = torch.from_numpy(inverse.reshape(ids.shape))
        characters = torch.from_numpy(spelling(distinct).astype(np.int64))
    return Batch(
        ids=torch.from_numpy(ids),
        segments=torch.from_numpy(np.concatenate([segments] * 2)),
        positions=torch.from_numpy(np.concatenate([np.where(valid, offset, 0)] * 2)),
        targets={"next": torch.from_numpy(targets)},
        words=words,
        characters=characters,
    )
