"""Corruptions of rows: pure functions of ids and keys.

R rows, T positions, V tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.chance import uniform
from malmoi.core.marks import Marks

CHOICE, FATE, TOKEN, DRAW = range(4)
"""Purposes of the random numbers of a row."""


def keys_of(batch: Batch) -> Tensor:
    """The keys of the rows; where a batch has none they come from torch's generator, which the loop seeds by step."""
    if batch.keys is not None:
        return batch.keys
    return torch.randint(1 << 62, (batch.ids.shape[0],)).to(batch.ids.device)


def chosen_places(batch: Batch, keys_R: Tensor, marks: Marks, *, rate: float, continues_V: Tensor | None = None) -> Tensor:
    """(R, T) bool: which places are predicted. In every row the same number, round(rate x T), at least one (fewer only where a
    row has fewer tokens); never a mark. continues_V: choose whole words, as far as the number allows: only the last one may be cut."""
    length = batch.ids.shape[1]
    count = max(1, round(rate * length))
    chance_RT = uniform(keys_R, length, CHOICE)
    if continues_V is not None:
        begins_RT = ~continues_V[batch.ids] | (batch.positions == 0)
        chance_RT = chance_RT.gather(1, torch.where(begins_RT, torch.arange(length, device=batch.ids.device), 0).cummax(dim=1).values)
    chance_RT = chance_RT.masked_fill(~readable(batch, marks), 2.0)
    order_RT = chance_RT.sort(dim=1, stable=True)
    chosen_RT = torch.zeros_like(batch.ids, dtype=torch.bool)
    return chosen_RT.scatter_(1, order_RT.indices[:, :count], order_RT.values[:, :count] < 2.0)


def readable(batch: Batch, marks: Marks) -> Tensor:
    """(R, T) bool: tokens of a document that are no marks."""
    wanted_RT = batch.segments > 0
    for id in marks.ids:
        if id != marks.unknown:
            wanted_RT = wanted_RT & (batch.ids != id)
    return wanted_RT


def masked(batch: Batch, marks: Marks, *, size: int, rate: float, mask: float, random: float, continues_V: Tensor | None = None) -> Batch:
    """The batch with gaps, and what stood there as `targets["masked"]` (Devlin et al. 2019, section 3.1): of the chosen places a share
    `mask` reads the mask, a share `random` any token, the rest its own. Nothing outside of the chosen places changes."""
    assert marks.mask is not None, "a masked model needs a vocabulary with a mask"
    keys_R = keys_of(batch)
    chosen_RT = chosen_places(batch, keys_R, marks, rate=rate, continues_V=continues_V)
    length = batch.ids.shape[1]
    fate_RT = uniform(keys_R, length, FATE)
    other_RT = (uniform(keys_R, length, TOKEN) * size).long()
    ids = torch.where(chosen_RT & (fate_RT < mask), marks.mask, batch.ids)
    replaced_RT = chosen_RT & (fate_RT >= mask) & (fate_RT < mask + random)
    for id in marks.ids:
        replaced_RT = replaced_RT & (other_RT != id)
    ids = torch.where(replaced_RT, other_RT, ids)
    targets = {**batch.targets, "masked": torch.where(chosen_RT, batch.ids, -1)}
    return replace(batch, ids=ids, targets=targets, keys=keys_R)
