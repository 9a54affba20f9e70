"""Collapsed representations: vectors that no longer tell words apart.

N tokens, D width (of a biLM both directions together), L layers.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.health.batches import plain
from malmoi.health.bench import undisturbed
from malmoi.health.finding import Finding, Level
from malmoi.objectives import BiLM, Objective

LOOK = "look at the learning rate and the loss curve; a healthy layer tells random words apart."
TRAIN_ON = "train on: in the first steps a model learns what all words have in common."
COSINE_WARNING, COSINE_ERROR = 0.95, 0.99
"""Mean cosine between the vectors of random tokens (Ethayarajh 2019 calls it anisotropy). Measured with elmo-tiny on 117,000 words, layers
0, 1, 2: fresh 0.88, 0.97, 0.96; after 13,000 words 0.81, 0.99, 0.995 (the mean is learned first); after 96,000 words 0.20, 0.43, 0.89,
and falling. So 0.99 is normal in the first steps, and wrong in a model that had time to learn."""
RANK_WARNING, RANK_ERROR = 3.0, 1.5
"""Effective rank (Roy and Vetterli 2007) of the centred vectors: exp of the entropy of the shares of variance. In the same run 48, 13, 8,
then 21, 2.3, 1.2, then 7.5, 5.2, 5.7. Under 1.5 nearly all variance lies on one line, which leaves a reader one number a token."""
COSINE_NEVER, RANK_NEVER = 0.9995, 0.01
"""Beyond these not even the first steps are an excuse: float32 vectors that agree in three digits are constant to their readers."""
CONSTANT = 1e-4
"""A dimension is constant if its standard deviation is below this share of the layer's."""
DEAD_SHARE = 0.5
"""From this share of constant dimensions on it is an error: the layer is narrower than its readers believe by half."""


def collapse(objective: Objective, batches: Iterable[Batch], *, early: bool = False) -> list[Finding]:
    """Mean cosine and effective rank (M124) and constant dimensions (M125) of every layer, over the tokens of `batches`.

    Transformers have a large mean in few dimensions (GPT-2's last layers reach a cosine of 0.99; Ethayarajh 2019, figure 1): of them a
    high cosine is a warning, and only a lost rank an error. The first position of a text, where attention rests if there is nothing to
    see, may have a vector many times as long as all others (Xiao et al. 2024), and is left out.
    early: the model had little time to learn, so what would be an error is a warning.
    """
    found, facts = [], []
    attends = not isinstance(objective, BiLM)
    for layer, x_ND in enumerate(layer_vectors(objective, batches)):
        cosine, rank, constant, width = mean_cosine(x_ND), effective_rank(x_ND), constant_dimensions(x_ND), x_ND.shape[1]
        hopeless = not ((cosine < COSINE_NEVER or attends) and rank > RANK_NEVER)
        narrow = not ((cosine < COSINE_ERROR or attends) and rank > RANK_ERROR)
        bad = hopeless or (not early and narrow)
        if bad or not (cosine < COSINE_WARNING and rank > RANK_WARNING):
            problem = f"the mean cosine between random tokens is {cosine:.3f}, their effective rank {rank:.1f} of {width}"
            next = TRAIN_ON if early and not hopeless else LOOK
            found.append(Finding.of("M124", "error" if bad else "warning", layer=f"layer {layer}", problem=problem, next=next))
        if constant:
            level: Level = "error" if constant >= DEAD_SHARE * width else "warning"
            found.append(Finding.of("M125", level, count=constant, width=width, layer=f"layer {layer}"))
        facts.append(f"layer {layer} {cosine:.2f} and {rank:.0f}")
    return found or [Finding.good("collapse", f"none: mean cosine and effective rank of {width} dimensions: {', '.join(facts)}")]


def layer_vectors(objective: Objective, batches: Iterable[Batch]) -> list[Tensor]:
    """The vectors of every layer, (N, D) float64 each, of text without gaps; of a biLM forward beside backward, as a readout puts
    them, and the state goes from batch to batch. The two halves of its rows do not belong to the same token here, which none of the
    measures needs."""
    layers: list[list[Tensor]] = []
    with undisturbed(objective), torch.no_grad():
        objective.eval()
        carry = None
        for batch in batches:
            traces = objective.traces(plain(objective, batch), carry)
            carry = {name: trace.state for name, trace in traces.items()}
            all_layers = zip(*(trace.layers for trace in traces.values()), strict=True)
            read = batch if batch.source is None else batch.source
            wanted_RT = read.segments[: len(batch.ids) // len(traces)] > 0
            if not isinstance(objective, BiLM):
                wanted_RT &= read.positions > 0
            layers.append([torch.cat(each, dim=-1)[wanted_RT].double().cpu() for each in all_layers])
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
