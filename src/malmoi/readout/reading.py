"""How texts are read by themselves: in rows of their own, by modules in evaluation mode.

R rows, T positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from malmoi.core.batch import Batch
from malmoi.core.marks import Marks


def text_rows(
    ids: np.ndarray, *, start: np.ndarray, count: np.ndarray, marks: Marks, around: tuple[int, int], device: torch.device
) -> Batch:
    """A row for each text of `count` (R,) tokens that starts at `start` (R,) of `ids`; behind the longest they end with padding.

    around: how many marks (0 or 1) stand before each text, the beginning, and behind it, the end.
    """
    before, behind = around
    size = count + before + behind
    read = np.full((len(count), int(size.max())), marks.pad, np.int64)
    row = np.repeat(np.arange(len(count)), count)
    read[row, places(np.full_like(count, before), count)] = ids[places(start, count)]
    if before:
        read[:, 0] = marks.begin
    if behind:
        read[np.arange(len(size)), size - 1] = marks.end
    place = np.arange(read.shape[1])
    segments = (place < size[:, None]).astype(np.int64)
    ids_RT, segments_RT, positions_RT = (torch.from_numpy(each).to(device) for each in (read, segments, place * segments))
    return Batch(ids=ids_RT, segments=segments_RT, positions=positions_RT)


def places(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """start[0] ... start[0] + count[0] - 1, start[1] ..., in a row."""
    return np.repeat(start - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """No dropout and no gradients; afterwards every module is in the mode in which it was."""
    modes = {module: module.training for model in models for module in model.modules()}
    try:
        for model in models:
            model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
