"""The LSTM recurrence with projection and clipping, as one autograd node.

R rows, T positions, D input width, H cells, P projection width (= what recurs).

The input projection is one matrix product for the whole window, and so is every weight gradient: only what depends on the step
before is done step by step. `steps` is the same recurrence in plain operations; it is the oracle of `Scan` and the path for rows
that end early.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Weights(NamedTuple):
    """input (4H, D), recurrent (4H, P), bias (4H,), projection (P, H); gates in torch's order: input, forget, candidate, output.
    What the forget gate gets in addition (TensorFlow's forget_bias) is already in `bias`."""

    input: Tensor
    recurrent: Tensor
    bias: Tensor
    projection: Tensor


class Clips(NamedTuple):
    """Largest magnitude of the cell and of the projection; infinity where there is no clipping."""

    cell: float
    projection: float


def steps(
    x_TRD: Tensor, h_RP: Tensor, c_RH: Tensor, weights: Weights, clips: Clips, valid_TR: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(outputs (T, R, P), last h, last c), step by step in plain operations.

    Where `valid_TR` is False the state passes through unchanged and the output is 0. Sak et al. 2014 with bilm-tf's clipping.
    """
    outputs = []
    for t in range(x_TRD.shape[0]):
        z = torch.nn.functional.linear(x_TRD[t], weights.input, weights.bias) + h_RP @ weights.recurrent.T
        i, f, g, o = z.chunk(4, dim=1)
        c_new = (torch.sigmoid(f) * c_RH + torch.sigmoid(i) * torch.tanh(g)).clamp(-clips.cell, clips.cell)
        h_new = ((torch.sigmoid(o) * torch.tanh(c_new)) @ weights.projection.T).clamp(-clips.projection, clips.projection)
        if valid_TR is None:
            h_RP, c_RH = h_new, c_new
            outputs.append(h_new)
        else:
            valid = valid_TR[t, :, None]
            h_RP, c_RH = torch.where(valid, h_new, h_RP), torch.where(valid, c_new, c_RH)
            outputs.append(torch.where(valid, h_new, 0.0))
    return torch.stack(outputs), h_RP, c_RH


class Scan(torch.autograd.Function):
    """`steps` without `valid_TR`, with an analytic backward pass. Gates and cells keep the type of `c_RH` (float32)
    whatever the products are in."""

    @staticmethod
    def forward(
        ctx: Any,
        x_TRD: Tensor,
        h_RP: Tensor,
        c_RH: Tensor,
        w_input: Tensor,
        w_recurrent: Tensor,
        bias: Tensor,
        w_projection: Tensor,
        clips: Clips,
    ) -> tuple[Tensor, Tensor, Tensor]:
        T, R, _ = x_TRD.shape
        H, P = w_projection.shape[1], w_projection.shape[0]
        gates = torch.addmm(bias, x_TRD.reshape(T * R, -1), w_input.T).to(c_RH.dtype).view(T, R, 4 * H)
        cells = c_RH.new_empty(T + 1, R, H)
        squashed = c_RH.new_empty(T, R, H)
        outputs = x_TRD.new_empty(T + 1, R, P)
        cells[0], outputs[0] = c_RH, h_RP
        recurrent, projection = w_recurrent.T, w_projection.T
        for t in range(T):
            z = gates[t]
            z += outputs[t] @ recurrent
            z[:, : 2 * H].sigmoid_()
            z[:, 2 * H : 3 * H].tanh_()
            z[:, 3 * H :].sigmoid_()
            i, f, g, o = z[:, :H], z[:, H : 2 * H], z[:, 2 * H : 3 * H], z[:, 3 * H :]
            torch.mul(f, cells[t], out=cells[t + 1])
            cells[t + 1].addcmul_(i, g).clamp_(-clips.cell, clips.cell)
            torch.tanh(cells[t + 1], out=squashed[t])
            outputs[t + 1] = ((o * squashed[t]).to(projection.dtype) @ projection).clamp_(-clips.projection, clips.projection)
        ctx.save_for_backward(x_TRD, gates, cells, squashed, outputs, w_input, w_recurrent, w_projection)
        ctx.clips = clips
        return outputs[1:], outputs[T].clone(), cells[T].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_h: Tensor, d_c: Tensor) -> tuple[Tensor | None, ...]:
        x_TRD, gates, cells, squashed, outputs, w_input, w_recurrent, w_projection = ctx.saved_tensors
        clips: Clips = ctx.clips
        T, R, D = x_TRD.shape
        H, P = w_projection.shape[1], w_projection.shape[0]
        # the slopes of all gates at once; the loop turns them into gradients in place
        d_gates = torch.addcmul(gates, gates, gates, value=-1)
        torch.addcmul(_one(gates), gates[:, :, 2 * H : 3 * H], gates[:, :, 2 * H : 3 * H], value=-1, out=d_gates[:, :, 2 * H : 3 * H])
        slopes = torch.addcmul(_one(squashed), squashed, squashed, value=-1)
        d_projected = torch.empty_like(outputs[1:])
        d_c = d_c.clone()
        for t in range(T - 1, -1, -1):
            torch.add(d_outputs[t], d_h, out=d_projected[t])
            if clips.projection < float("inf"):
                d_projected[t] *= outputs[t + 1].abs() < clips.projection
            d_m = (d_projected[t] @ w_projection).to(d_c.dtype)
            i, f, g, o = gates[t].chunk(4, dim=1)
            d_i, d_f, d_g, d_o = d_gates[t].chunk(4, dim=1)
            d_c.addcmul_(d_m * o, slopes[t])
            if clips.cell < float("inf"):
                d_c *= cells[t + 1].abs() < clips.cell
            d_o.mul_(d_m).mul_(squashed[t])
            d_i.mul_(d_c).mul_(g)
            d_f.mul_(d_c).mul_(cells[t])
            d_g.mul_(d_c).mul_(i)
            d_c *= f
            d_h = d_gates[t].to(w_recurrent.dtype) @ w_recurrent
        flat = d_gates.view(T * R, 4 * H).to(w_input.dtype)
        d_x = (flat @ w_input).view(T, R, D) if ctx.needs_input_grad[0] else None
        d_input = flat.T @ x_TRD.reshape(T * R, D)
        d_recurrent = flat.T @ outputs[:T].reshape(T * R, P)
        projected_from = gates[:, :, 3 * H :].mul(squashed).view(T * R, H).to(w_projection.dtype)
        d_projection = d_projected.view(T * R, P).T @ projected_from
        return d_x, d_h, d_c, d_input, d_recurrent, flat.sum(0), d_projection, None


def _one(like: Tensor) -> Tensor:
    return like.new_ones(())
