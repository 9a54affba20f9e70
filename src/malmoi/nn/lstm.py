"""The LSTM mixer: fused where torch has it and nothing is clipped, exact otherwise.

R rows, T positions, D width, H cells. The projection brings H back to D, which is what recurs and what leaves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from malmoi.core.recipe import LSTMSpec
from malmoi.nn.scan import Clips, Scan, Weights, steps


class LSTM(nn.Module):
    """One direction, one layer: h = P(o * tanh(c)), cell and projection clipped where the spec says so.

    Sak et al. 2014 (projection); the weights and their initialization follow bilm-tf, in torch's gate order. The extra bias of
    the forget gate is a constant of the spec and never part of the weights.
    """

    def __init__(self, spec: LSTMSpec, width: int) -> None:
        super().__init__()
        self.width, self.cells = width, spec.cell
        self.clips = Clips(cell=spec.cell_clip or math.inf, projection=spec.projection_clip or math.inf)
        self.input = nn.Parameter(torch.empty(4 * spec.cell, width))
        self.recurrent = nn.Parameter(torch.empty(4 * spec.cell, width))
        self.bias = nn.Parameter(torch.zeros(4 * spec.cell))
        self.projection = nn.Parameter(torch.empty(width, spec.cell))
        forget = torch.zeros(4 * spec.cell)
        forget[spec.cell : 2 * spec.cell] = spec.forget_bias
        self.forget: Tensor
        self.register_buffer("forget", forget, persistent=False)
        # bilm-tf keeps [input; recurrent] in one matrix and TensorFlow's default draws it uniformly (Glorot and Bengio 2010)
        bound = math.sqrt(6.0 / (2 * width + 4 * spec.cell))
        nn.init.uniform_(self.input, -bound, bound)
        nn.init.uniform_(self.recurrent, -bound, bound)
        nn.init.xavier_uniform_(self.projection)

    def initial_state(self, rows: int) -> tuple[Tensor, Tensor]:
        """Zeros: h (R, D), c (R, H)."""
        return self.bias.new_zeros(rows, self.width), self.bias.new_zeros(rows, self.cells)

    def forward(
        self, x_RTD: Tensor, state: tuple[Tensor, ...] | None = None, valid_RT: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(outputs (R, T, D), state after the last position). Positions with `valid_RT` False leave the state as it is."""
        h_RD, c_RH = state or self.initial_state(x_RTD.shape[0])
        weights = Weights(self.input, self.recurrent, self.bias + self.forget, self.projection)
        x_TRD = x_RTD.transpose(0, 1)
        if valid_RT is not None:
            y_TRD, h_RD, c_RH = steps(x_TRD, h_RD, c_RH, weights, self.clips, valid_RT.T)
        elif x_RTD.is_cuda and self.clips == (math.inf, math.inf):
            y_TRD, h_RD, c_RH = self._fused(x_TRD, h_RD, c_RH, weights)
        else:
            if torch.is_autocast_enabled(x_RTD.device.type):
                dtype = torch.get_autocast_dtype(x_RTD.device.type)
                x_TRD, h_RD, weights = x_TRD.to(dtype), h_RD.to(dtype), Weights(*(weight.to(dtype) for weight in weights))
            y_TRD, h_RD, c_RH = Scan.apply(x_TRD.contiguous(), h_RD, c_RH, *weights, self.clips)
        return y_TRD.transpose(0, 1), (h_RD, c_RH)

    def _fused(self, x_TRD: Tensor, h_RD: Tensor, c_RH: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
        """torch's own LSTM (cuDNN on CUDA). It has two biases, of which the second is 0 here."""
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x_TRD.dtype
        tensors = [weights.input, weights.recurrent, weights.bias, torch.zeros_like(weights.bias), weights.projection]
        y_TRD, h, c = torch._VF.lstm(
            x_TRD.to(dtype),
            (h_RD[None].to(dtype), c_RH[None].to(dtype)),
            [tensor.to(dtype) for tensor in tensors],
            True,
            1,
            0.0,
            self.training,
            False,
            False,
        )
        return y_TRD, h[0], c[0].float()
