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
    For a bidirectional LM the rows are two halves: R/2 forward rows, then the same number of backward rows, each of
    which reads its document from the end.
    """

    ids: Tensor
    segments: Tensor
    positions: Tensor
    targets: dict[str, Tensor] = field(default_factory=dict)
    words: Tensor | None = None
    characters: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device (asynchronously from pinned memory)."""

        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=True)
            return {name: move(item) for name, item in value.items()} if isinstance(value, dict) else value

        return replace(self, **{part.name: move(getattr(self, part.name)) for part in fields(self)})
