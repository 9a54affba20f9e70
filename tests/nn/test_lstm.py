"""The scan against the same steps in plain operations, and against torch's own LSTM."""

import math

import numpy as np
import pytest
import torch

from malmoi.core.recipe import LSTMSpec
from malmoi.nn import LSTM
from malmoi.nn.scan import Clips, Scan, Weights, steps

T, R, D, H, P = 6, 3, 5, 7, 4


def tensors(scale=1.0):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return (scale * torch.randn(*shape, generator=generator)).requires_grad_()

    weights = Weights(draw(4 * H, D), draw(4 * H, P), draw(4 * H), draw(P, H))
    return draw(T, R, D), draw(R, P), draw(R, H), weights


def gradients(results, inputs):
    generator = torch.Generator().manual_seed(1)
    total = sum((result * torch.randn(result.shape, generator=generator)).sum() for result in results)
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("clips", [Clips(math.inf, math.inf), Clips(0.5, math.inf), Clips(math.inf, 0.3), Clips(0.5, 0.3)])
def test_the_scan_is_the_steps(clips):
    x_TRD, h_RP, c_RH, weights = tensors()
    inputs = (x_TRD, h_RP, c_RH, *weights)
    slow, fast = steps(x_TRD, h_RP, c_RH, weights, clips), Scan.apply(*inputs, clips)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    if clips.cell < math.inf:
        assert (slow[2].abs() == clips.cell).any() and (slow[2].abs() < clips.cell).any(), "the clip is active somewhere"
    for one, other in zip(gradients(fast, inputs), gradients(slow, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_without_clips_it_is_torchs_lstm():
    x_TRD, h_RP, c_RH, weights = tensors(0.5)
    theirs = torch.nn.LSTM(D, H, proj_size=P)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(weights.input)
        theirs.weight_hh_l0.copy_(weights.recurrent)
        theirs.bias_ih_l0.copy_(weights.bias)
        theirs.bias_hh_l0.zero_()
        theirs.weight_hr_l0.copy_(weights.projection)
    y_TRP, (h, c) = theirs(x_TRD, (h_RP[None], c_RH[None]))
    inputs = (x_TRD, h_RP, c_RH, *weights)
    mine = Scan.apply(*inputs, Clips(math.inf, math.inf))
    for one, other in zip(mine, (y_TRP, h[0], c[0]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    parameters = (theirs.weight_ih_l0, theirs.weight_hh_l0, theirs.bias_ih_l0, theirs.weight_hr_l0)
    expected = gradients((y_TRP, h[0], c[0]), (x_TRD, h_RP, c_RH, *parameters))
    for one, other in zip(gradients(mine, inputs), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def slow_lstm(x, weights, forget, cell_clip, projection_clip):
    """One row, float64: x (T, D) -> (T, P)."""

    def squash(z):
        return 1.0 / (1.0 + np.exp(-z))

    h, c, outputs = np.zeros(weights["projection"].shape[0]), np.zeros(weights["projection"].shape[1]), []
    for vector in x:
        i, f, g, o = np.split(weights["input"] @ vector + weights["recurrent"] @ h + weights["bias"], 4)
        c = np.clip(squash(f + forget) * c + squash(i) * np.tanh(g), -cell_clip, cell_clip)
        h = np.clip(weights["projection"] @ (squash(o) * np.tanh(c)), -projection_clip, projection_clip)
        outputs.append(h)
    return np.array(outputs)


@pytest.mark.parametrize("forget", [0.0, 1.0])
@pytest.mark.parametrize("cell_clip, projection_clip", [(None, None), (0.1, 0.05)])
def test_the_module_is_the_published_cell(forget, cell_clip, projection_clip):
    torch.manual_seed(0)
    lstm = LSTM(LSTMSpec(cell=H, cell_clip=cell_clip, projection_clip=projection_clip, forget_bias=forget), D)
    torch.nn.init.normal_(lstm.bias)
    x_RTD = torch.randn(R, T, D)
    y_RTD, _ = lstm(x_RTD)
    weights = {name: parameter.detach().double().numpy() for name, parameter in lstm.named_parameters()}
    for row in range(R):
        expected = slow_lstm(x_RTD[row].double().numpy(), weights, forget, cell_clip or np.inf, projection_clip or np.inf)
        np.testing.assert_allclose(y_RTD[row].detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_rows_that_end_early_keep_their_state():
    torch.manual_seed(0)
    lstm = LSTM(LSTMSpec(cell=H, cell_clip=0.2), D)
    x_RTD = torch.randn(R, T, D)
    lengths = torch.tensor([6, 2, 4])
    valid_RT = torch.arange(T) < lengths[:, None]
    y_RTD, (h_RD, c_RH) = lstm(x_RTD, None, valid_RT)
    for row, length in enumerate(lengths.tolist()):
        alone, (h, c) = lstm(x_RTD[row : row + 1, :length])
        torch.testing.assert_close(y_RTD[row, :length], alone[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(h_RD[row], h[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(c_RH[row], c[0], rtol=1e-5, atol=1e-6)
        assert not y_RTD[row, length:].any()


def test_two_windows_are_one():
    torch.manual_seed(0)
    lstm = LSTM(LSTMSpec(cell=H), D)
    x_RTD = torch.randn(R, T, D)
    whole, last = lstm(x_RTD)
    first, state = lstm(x_RTD[:, :4])
    second, state = lstm(x_RTD[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(state, last)
