"""Blocks and the backbone: mixers in depth, with the residual policy of the spec.

R rows, T positions, D width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from malmoi.core.recipe import BackboneSpec
from malmoi.nn.lstm import LSTM
from malmoi.nn.trace import State, Trace


class Block(nn.Module):
    """dropout -> mixer -> + what entered it (after the dropout), if `residual`. The order is bilm-tf's."""

    def __init__(self, mixer: LSTM, *, residual: bool, dropout: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.dropout = nn.Dropout(dropout)
        self.residual = residual

    def forward(self, x_RTD: Tensor, state: tuple[Tensor, ...] | None, valid_RT: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        x_RTD = self.dropout(x_RTD)
        y_RTD, state = self.mixer(x_RTD, state, valid_RT)
        return (y_RTD + x_RTD if self.residual else y_RTD), state


class Backbone(nn.Module):
    """Blocks in depth. Every prediction path and every readout goes through `forward`."""

    def __init__(self, spec: BackboneSpec, *, width: int, dropout: float) -> None:
        super().__init__()
        first = spec.depth if spec.residual_from is None else spec.residual_from
        self.blocks = nn.ModuleList(Block(LSTM(spec.mixer, width), residual=index >= first, dropout=dropout) for index in range(spec.depth))

    def initial_state(self, rows: int) -> State:
        """The state before the first position, of `rows` rows."""
        return tuple(block.mixer.initial_state(rows) for block in self.blocks)  # type: ignore[union-attr, operator]

    def forward(self, x_RTD: Tensor, state: State | None = None, valid_RT: Tensor | None = None) -> Trace:
        """x (R, T, D) -> Trace of depth + 1 layers. `state` None starts from zeros."""
        layers, states = [x_RTD], []
        for index, block in enumerate(self.blocks):
            y_RTD, after = block(layers[-1], state[index] if state else None, valid_RT)
            layers.append(y_RTD)
            states.append(after)
        return Trace(last=layers[-1], layers=tuple(layers), state=tuple(states))


class ForeignBackbone(nn.Module):
    """A module of the user's own as a backbone: x (R, T, D) -> Trace, or a tensor (R, T, D), or a tuple that begins with one.

    The state does not go from window to window, unless the module returns a Trace with one and takes it back as second argument.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if isinstance(module, nn.RNNBase) and not module.batch_first:
            raise ValueError("a recurrent torch module needs batch_first=True to serve as a backbone")
        self.module = module

    def initial_state(self, rows: int) -> State:
        return ()

    def forward(self, x_RTD: Tensor, state: State | None = None, valid_RT: Tensor | None = None) -> Trace:
        result: Any = self.module(x_RTD, state) if state else self.module(x_RTD)
        if isinstance(result, Trace):
            return result
        last = result[0] if isinstance(result, tuple) else result
        return Trace(last=last, layers=(x_RTD, last))
