"""The model: front-end + backbone + named heads."""

from __future__ import annotations

from torch import Tensor, nn

from malmoi.core.batch import Batch
from malmoi.nn.trace import State, Trace


class Model(nn.Module):
    """The one assembly. `encode` is the path of training, evaluation and readout alike."""

    def __init__(self, frontend: nn.Module, backbone: nn.Module, heads: dict[str, nn.Module], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.frontend = frontend
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads)
        self.dropout = nn.Dropout(dropout)

    def initial_state(self, rows: int) -> State:
        """The backbone's state before the first position of `rows` rows."""
        state: State = self.backbone.initial_state(rows)  # type: ignore[operator]
        return state

    def encode(self, batch: Batch, state: State | None = None, valid_RT: Tensor | None = None) -> Trace:
        """Every layer of every row."""
        return self.trace(self.frontend(batch), state, valid_RT)

    def trace(self, x_RTD: Tensor, state: State | None = None, valid_RT: Tensor | None = None) -> Trace:
        """`encode` from front-end vectors on, (R, T, D)."""
        return self.backbone(x_RTD, state, valid_RT)
