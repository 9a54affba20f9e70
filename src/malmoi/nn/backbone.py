"""Blocks and the backbone: parts in depth, with the policy of the spec: where the norm stands, what is shared.

R rows, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.recipe import AttentionSpec, BackboneSpec, LSTMSpec, MLPSpec
from malmoi.nn.attention import Attention, CrossAttention, Sight, sight
from malmoi.nn.lstm import LSTM
from malmoi.nn.trace import Layout, State, Trace

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "gelu_tanh": partial(F.gelu, approximate="tanh"), "relu": torch.relu}


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


class MLP(nn.Module):
    """Two linear layers with an activation between them (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, spec: MLPSpec, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, spec.width)
        self.down = nn.Linear(spec.width, width)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x_RTD: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x_RTD)))


class Residual(nn.Module):
    """One part of a block with its norm: x + drop(part(norm(x))) (`pre`), or norm(x + drop(part(x))) (post)."""

    def __init__(self, part: nn.Module, *, width: int, pre: bool, epsilon: float, dropout: float) -> None:
        super().__init__()
        self.part = part
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = nn.Dropout(dropout)
        self.pre = pre

    def enter(self, x_RTD: Tensor) -> Tensor:
        """What the part reads."""
        return self.norm(x_RTD) if self.pre else x_RTD

    def leave(self, x_RTD: Tensor, y_RTD: Tensor) -> Tensor:
        """What goes on: `x_RTD` entered, the part made `y_RTD` of it."""
        z_RTD = x_RTD + self.dropout(y_RTD)
        return z_RTD if self.pre else self.norm(z_RTD)


class AttentionBlock(nn.Module):
    """Attention, in a decoder attention to the memory, feed-forward: each a residual part (Vaswani et al. 2017, section 3.1)."""

    def __init__(self, attention: Residual, feedforward: Residual, *, cross: Residual | None = None) -> None:
        super().__init__()
        self.attention = attention
        self.cross = cross
        self.feedforward = feedforward

    @property
    def mixer(self) -> nn.Module:
        """The part that looks at other positions."""
        return self.attention.part

    def forward(self, x_RTD: Tensor, state: tuple[Tensor, ...] | None, sight: Sight) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        y_RTD, state, weights = self.attention.part(self.attention.enter(x_RTD), state, sight)
        x_RTD = self.attention.leave(x_RTD, y_RTD)
        if self.cross is not None:
            x_RTD = self.cross.leave(x_RTD, self.cross.part(self.cross.enter(x_RTD), sight))
        y_RTD = self.feedforward.part(self.feedforward.enter(x_RTD))
        return self.feedforward.leave(x_RTD, y_RTD), state, weights


class Backbone(nn.Module):
    """Blocks in depth. Every prediction path and every readout goes through `forward`.

    cross: the blocks attend to a memory (a decoder). rotary: the positions turn queries and keys.
    """

    def __init__(self, spec: BackboneSpec, *, width: int, dropout: float, cross: bool = False, rotary: bool = False) -> None:
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        self.turns: int | None = None
        mixer = spec.mixer
        if isinstance(mixer, LSTMSpec):
            first = spec.depth if spec.residual_from is None else spec.residual_from
            self.blocks = nn.ModuleList(Block(LSTM(mixer, width), residual=index >= first, dropout=dropout) for index in range(spec.depth))
            return
        if width % mixer.heads or (rotary and width // mixer.heads % 2):
            raise ValueError(f"{mixer.heads} heads do not divide a width of {width}" + (" into even parts" if rotary else ""))
        self.sees = mixer.sees
        self.turns = width // mixer.heads if rotary else None
        self.blocks = _attention_blocks(spec, mixer, width=width, dropout=dropout, cross=cross)
        if spec.norm == "pre":
            self.norm = nn.LayerNorm(width, eps=spec.epsilon)

    def initial_state(self, rows: int) -> State:
        """The state before the first position, of `rows` rows."""
        return tuple(block.mixer.initial_state(rows) for block in self.blocks)  # type: ignore[union-attr, operator]

    def forward(self, x_RTD: Tensor, state: State | None = None, valid_RT: Tensor | None = None, layout: Layout | None = None) -> Trace:
        """x (R, T, D) -> Trace of depth + 1 layers. `state` None: recurrent blocks start from zeros, attention keeps none."""
        layers, states, weights = [x_RTD], [], []
        recurrent = isinstance(self.blocks[0], Block)
        seen = None if recurrent else self._sight(x_RTD, state, layout)
        for index, block in enumerate(self.blocks):
            before = state[index] if state else None
            if recurrent:
                y_RTD, after = block(layers[-1], before, valid_RT)
            else:
                y_RTD, after, scores = block(layers[-1], before, seen)
                weights.append(scores)
            layers.append(y_RTD)
            states.append(after)
        layers[-1] = self.norm(layers[-1])
        kept = () if not recurrent and not state else tuple(states)
        found = tuple(each for each in weights if each is not None)
        return Trace(last=layers[-1], layers=tuple(layers), state=kept, attention=found)

    def _sight(self, x_RTD: Tensor, state: State | None, layout: Layout | None) -> Sight:
        if layout is None:
            ones = torch.ones(x_RTD.shape[:2], dtype=torch.int64, device=x_RTD.device)
            layout = Layout(segments=ones, positions=ones.cumsum(1) - 1)
        past = state[0][0].shape[1] if state else 0
        return sight(layout, self.sees, past=past, rotary=self.turns, dtype=x_RTD.dtype)


def _attention_blocks(spec: BackboneSpec, mixer: AttentionSpec, *, width: int, dropout: float, cross: bool) -> nn.ModuleList:
    """Blocks whose parts are the same modules where the spec shares them."""
    assert spec.feedforward is not None
    mlp = spec.feedforward

    def part(module: nn.Module) -> Residual:
        return Residual(module, width=width, pre=spec.norm == "pre", epsilon=spec.epsilon, dropout=dropout)

    blocks: list[AttentionBlock] = []
    for index in range(spec.depth):
        group = index * spec.groups // spec.depth
        first = next((n for n in range(index) if n * spec.groups // spec.depth == group), None)
        if first is not None and spec.share == "all":
            blocks.append(blocks[first])
            continue
        shared = blocks[first] if first is not None else None
        attention = shared.attention if shared and spec.share == "attention" else part(Attention(mixer, width))
        feedforward = shared.feedforward if shared and spec.share == "feedforward" else part(MLP(mlp, width))
        across = part(CrossAttention(mixer, width)) if cross else None
        if shared and spec.share == "attention":
            across = shared.cross
        blocks.append(AttentionBlock(attention, feedforward, cross=across))
    return nn.ModuleList(blocks)


class Identity(nn.Module):
    """No blocks: a trace of one layer, the front-end's."""

    def initial_state(self, rows: int) -> State:
        return ()

    def forward(self, x_RTD: Tensor, state: State | None = None, valid_RT: Tensor | None = None, layout: Layout | None = None) -> Trace:
        return Trace(last=x_RTD, layers=(x_RTD,))


class ForeignBackbone(nn.Module):
    """A module of the user's own as a backbone: x (R, T, D) -> Trace, or a tensor (R, T, D), or a tuple that begins with one.

    The state does not go from window to window, unless the module returns a Trace with one and takes it back as second argument.
    A module whose `forward` has a parameter `layout` is told what documents the rows hold (`Layout`): without it, nothing that looks at
    other positions can keep to its document.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if isinstance(module, nn.RNNBase) and not module.batch_first:
            raise ValueError("a recurrent torch module needs batch_first=True to serve as a backbone")
        self.module = module
        self.asks = "layout" in signature(module.forward).parameters

    def initial_state(self, rows: int) -> State:
        return ()

    def forward(self, x_RTD: Tensor, state: State | None = None, valid_RT: Tensor | None = None, layout: Layout | None = None) -> Trace:
        told = {"layout": layout} if self.asks else {}
        result: Any = self.module(x_RTD, state, **told) if state else self.module(x_RTD, **told)
        if isinstance(result, Trace):
            return result
        last = result[0] if isinstance(result, tuple) else result
        return Trace(last=last, layers=(x_RTD, last))
