"""The batch: dense rows of ids with what belongs to them, bound by name.

Shapes: R rows, T positions, W distinct words of the batch, C characters a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Rows packed from documents. There is no padding but where `segments` is 0.

    ids (R, T) int64: full-vocabulary ids, what the model reads.
    segments (R, T) int64: which document of the row a position belongs to, counted from 1; 0 = no document.
    positions (R, T) int64: place inside the document, from 0.
    targets: name -> (R, T) int64, full-vocabulary ids, -1 where there is none.
    words (R, T) int64 and characters (W, C) int64: for models that read characters, `characters[words]` spells `ids`; each
        distinct word stands once.
    types (R, T) int64: token type of each position (0 for segment A, 1 for B), for models that read pairs.
    keys (R,) int64: decides, with the place in the row, everything that an objective draws at random for the row (see
        `core.chance`), so that a row's corruption depends on nothing but the row: neither on the batch nor on the process.
    prefix (R, T) bool: True inside the prefix that all positions of its document see (attention `sees=prefix`).
    values (R, T) float32: for models that read numbers.
    source: of a pair of texts the first one, what the encoder reads; the batch itself is then what the decoder reads and predicts. Row r
        and segment s belong to row r and segment s there.
    For a bidirectional LM the rows are two halves: R/2 forward rows, then the same number of backward rows, each of
    which reads its document from the end.
    """

    ids: Tensor
    segments: Tensor
    positions: Tensor
    targets: dict[str, Tensor] = field(default_factory=dict)
    words: Tensor | None = None
    characters: Tensor | None = None
    types: Tensor | None = None
    keys: Tensor | None = None
    prefix: Tensor | None = None
    values: Tensor | None = None
    source: Batch | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device (asynchronously from pinned memory)."""

        def move(value: Any) -> Any:
            if isinstance(value, Tensor | Batch):
                return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value.to(device)
            return {name: move(item) for name, item in value.items()} if isinstance(value, dict) else value

        return replace(self, **{part.name: move(getattr(self, part.name)) for part in fields(self)})
