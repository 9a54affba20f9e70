"""Collapsed representations: vectors that no longer tell words apart.

N tokens, D width (both directions together), L layers.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.health.bench import undisturbed
from malmoi.health.finding import Finding
from malmoi.objectives import BiLM

COSINE_WARNING, COSINE_ERROR = 0.9, 0.99
"""Mean cosine between the vectors of random tokens. ELMo's layers lie between 0 and 0.6 (Ethayarajh 2019, figure 1, finds up to 0.4 for
the released model); fresh weights at most 0.7. At 0.9 nine tenths of each vector are the same for all words; at 0.99 nothing is left."""
RANK_WARNING, RANK_ERROR = 4.0, 1.5
"""Effective rank (Roy and Vetterli 2007) of the centred vectors: exp of the entropy of the shares of variance. Even a layer of 16
dimensions has 5 or more after some training; under 1.5 nearly all variance lies on one line, and no linear probe can use more."""
CONSTANT = 1e-4
"""A dimension is constant if its standard deviation is below this share of the layer's."""
DEAD_SHARE = 0.5
"""From this share of constant dimensions on it is an error: the layer is narrower than its readers believe by half."""


def collapse(objective: BiLM, batches: Iterable[Batch]) -> list[Finding]:
    """Mean cosine (M124), effective rank (M124) and constant dimensions (M125) of every layer, over the tokens of `batches`."""
    found, facts = [], []
    for layer, x_ND in enumerate(layer_vectors(objective, batches)):
        name = f"layer {layer}"
        cosine, rank, constant = mean_cosine(x_ND), effective_rank(x_ND), constant_dimensions(x_ND)
        if not cosine < COSINE_WARNING:
            problem = f"the mean cosine between random tokens is {cosine:.3f}"
            found.append(Finding.of("M124", "warning" if cosine < COSINE_ERROR else "error", layer=name, problem=problem))
        if not rank > RANK_WARNING:
            problem = f"their effective rank is {rank:.1f} of {x_ND.shape[1]}"
            found.append(Finding.of("M124", "warning" if rank > RANK_ERROR else "error", layer=name, problem=problem))
        if constant:
            level = "error" if constant >= DEAD_SHARE * x_ND.shape[1] else "warning"
            found.append(Finding.of("M125", level, count=constant, width=x_ND.shape[1], layer=name))  # type: ignore[arg-type]
        facts.append(f"layer {layer} {cosine:.2f} and {rank:.0f}")
    return found or [Finding.good("collapse", f"none: mean cosine and effective rank of {x_ND.shape[1]} dimensions: {', '.join(facts)}")]


def layer_vectors(objective: BiLM, batches: Iterable[Batch]) -> list[Tensor]:
    """The vectors of every layer, (N, D) float64 each: forward beside backward, as a readout puts them; the state goes from batch to
    batch. The two halves of a row do not belong to the same token here, which none of the measures needs."""
    layers: list[list[Tensor]] = []
    with undisturbed(objective), torch.no_grad():
        objective.eval()
        carry = None
        for batch in batches:
            traces = objective.traces(batch, carry)
            carry = {name: trace.state for name, trace in traces.items()}
            both = [torch.cat(pair, dim=-1) for pair in zip(traces["forward"].layers, traces["backward"].layers, strict=True)]
            layers.append([layer_RTD.flatten(0, 1).double().cpu() for layer_RTD in both])
    return [torch.cat(parts) for parts in zip(*layers, strict=True)]


def mean_cosine(x_ND: Tensor) -> float:
    """Mean cosine over all pairs of different tokens: (|sum of unit vectors|^2 - N) / (N (N - 1))."""
    unit = torch.nn.functional.normalize(x_ND, dim=1)
    count = len(unit)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (count * (count - 1)))


def effective_rank(x_ND: Tensor) -> float:
    """exp of the entropy of the squared singular values, as shares, of the centred vectors; 0 for no variance at all."""
    centred = x_ND - x_ND.mean(0)
    squares = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0.0)
    if not squares.sum() > 1e-12 * x_ND.square().sum():
        return 0.0
    shares = squares / squares.sum()
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum()))


def constant_dimensions(x_ND: Tensor) -> int:
    """How many dimensions have (nearly) the same value for every token."""
    deviations = x_ND.std(0)
    whole = (x_ND - x_ND.mean(0)).square().mean().sqrt()
    return int((~(deviations > CONSTANT * whole)).sum())
