"""The scalar mix against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from malmoi.readout import ScalarMix


def mixed(layers: np.ndarray, weights: np.ndarray, gamma: float, valid: np.ndarray | None = None, normalize: bool = False) -> np.ndarray:
    shares = np.exp(weights) / np.exp(weights).sum()
    total = np.zeros(layers.shape[1:])
    for share, layer in zip(shares, layers, strict=True):
        if normalize:
            used = layer if valid is None else layer[valid]
            layer = (layer - used.mean()) / np.sqrt(used.var() + 1e-12)
        total += share * layer
    return gamma * total


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_is_equation_1(normalize: bool, masked: bool) -> None:
    random = np.random.default_rng(0)
    layers, weights = random.normal(2.0, 3.0, (3, 2, 4, 5)), random.normal(size=3)
    valid = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool) if masked else None
    mix = ScalarMix(3, normalize=normalize).double()
    with torch.no_grad():
        mix.weights.copy_(torch.from_numpy(weights))
        mix.gamma.fill_(1.7)
    found = mix(list(torch.from_numpy(layers)), None if valid is None else torch.from_numpy(valid))
    np.testing.assert_allclose(found.detach().numpy(), mixed(layers, weights, 1.7, valid, normalize), rtol=1e-12, atol=1e-12)


def test_starts_as_the_mean_and_learns_every_weight() -> None:
    layers = list(torch.randn(3, 2, 4, 5))
    mix = ScalarMix(3)
    torch.testing.assert_close(mix(layers), torch.stack(layers).mean(0))
    mix(layers).square().sum().backward()
    assert mix.weights.grad.abs().min() > 0 and mix.gamma.grad.abs() > 0


def test_padding_does_not_reach_the_normalization() -> None:
    valid = torch.tensor([[True, True, False]])
    first = [torch.randn(1, 3, 2) for _ in range(2)]
    second = [layer.masked_fill(~valid[..., None], 1e6) for layer in first]
    mix = ScalarMix(2, normalize=True)
    torch.testing.assert_close(mix(first, valid)[valid], mix(second, valid)[valid])
