"""Where the recurrent state stands before a line: zero, warm, or wherever the lines before it have left it."""

from __future__ import annotations

from typing import Literal

import torch

from malmoi.nn import Model, State
from malmoi.readout.words import WordVectors
from malmoi.vocab import Vocabulary

StateMode = Literal["reset", "warm", "compat"]
WARM_DOCUMENTS = 32


def warm_state(forward: Model, backward: Model, *, vocabulary: Vocabulary) -> dict[str, State]:
    """{"forward", "backward"}: states of one row after 32 empty documents from zero. For a model whose training states are not known
    (an imported one); a run of our own stores better ones, see `Run.warm`.

    In training a document never begins at zero but where the document before it has ended. An empty document is the only one that
    is neutral: the forward direction reads BOS, the backward one EOS. After 32 the state has all but stopped moving.
    """
    with torch.no_grad():
        words = WordVectors(forward, vocabulary)
        words.prepare([])
        return {
            name: model.trace(words.table[row].expand(1, WARM_DOCUMENTS, -1), model.backbone.initial_state(1)).state  # type: ignore[operator]
            for name, model, row in (("forward", forward, 1), ("backward", backward, 2))
        }


def spread(state: State, rows: int) -> State:
    """The state of one row for `rows` rows."""
    return tuple(tuple(tensor.expand(rows, *tensor.shape[1:]).contiguous() for tensor in block) for block in state)
