"""The model: front-end + backbone + named heads."""

from __future__ import annotations

from torch import Tensor, nn

from malmoi.core.batch import Batch
from malmoi.nn.trace import Layout, State, Trace


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

    def encode(
        self,
        batch: Batch,
        state: State | None = None,
        valid_RT: Tensor | None = None,
        *,
        memory: Tensor | None = None,
        memory_segments: Tensor | None = None,
        scores: bool = False,
    ) -> Trace:
        """Every layer of every row. memory (R, S, D), memory_segments (R, S): for a decoder. scores: attention weights too."""
        layout = Layout(batch.segments, batch.positions, batch.prefix, memory, memory_segments, scores)
        return self.trace(self.frontend(batch), state, valid_RT, layout)

    def trace(self, x_RTD: Tensor, state: State | None = None, valid_RT: Tensor | None = None, layout: Layout | None = None) -> Trace:
        """`encode` from front-end vectors on, (R, T, D). Without a layout each row is one document."""
        return self.backbone(x_RTD, state, valid_RT, layout)
