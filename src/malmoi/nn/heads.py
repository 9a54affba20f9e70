"""Heads: vectors -> what an objective needs. The vocabulary head gives losses, never a whole matrix of logits.

N predictions, D width, V output words, S sampled candidates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from malmoi.core.recipe import AdaptiveSoftmaxSpec, SampledSoftmaxSpec, VocabularyHeadSpec

CHUNK_ELEMENTS = 1 << 24
"""Logits that exist at one time (64 MiB of float32)."""
CACHED_ELEMENTS = 1 << 19
"""The same for sampled candidates, whose weights fit the cache of a core (2 MiB)."""


class ChunkedCrossEntropy(torch.autograd.Function):
    """Exact negative log-likelihoods in chunks. The gradients are made chunk by chunk in the forward pass, so neither logits nor their
    gradients ever exist whole. Returns (sum, each (N,)); only the sum is differentiable."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        rows = max(1, min(CHUNK_ELEMENTS // weight_VD.shape[0], x_ND.shape[0]))
        buffer = x_ND.new_empty(rows, weight_VD.shape[0])
        nll_N = x_ND.new_empty(x_ND.shape[0], dtype=torch.float32)
        d_x = torch.empty_like(x_ND) if wants_x else None
        d_weight = torch.zeros_like(weight_VD) if wants_weight else None
        d_bias = torch.zeros_like(bias_V) if wants_bias else None
        for start in range(0, x_ND.shape[0], rows):
            x, target = x_ND[start : start + rows], target_N[start : start + rows, None]
            logits = torch.addmm(bias_V, x, weight_VD.T, out=buffer[: len(x)]).float()
            top = logits.amax(dim=1, keepdim=True)
            at_target = logits.gather(1, target)
            logits.sub_(top).exp_()
            total = logits.sum(dim=1, keepdim=True)
            nll_N[start : start + rows] = (top + total.log() - at_target).squeeze(1)
            if wants_x or wants_weight or wants_bias:
                logits.div_(total)
                logits.scatter_add_(1, target, logits.new_full(target.shape, -1.0))
                d_logits = logits.to(x_ND.dtype)
                if d_x is not None:
                    torch.mm(d_logits, weight_VD, out=d_x[start : start + rows])
                if d_weight is not None:
                    d_weight.addmm_(d_logits.T, x)
                if d_bias is not None:
                    d_bias.add_(d_logits.sum(0))
        ctx.save_for_backward(d_x, d_weight, d_bias)
        ctx.mark_non_differentiable(nll_N)
        return nll_N.sum(), nll_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if gradient is None else gradient * d_total for gradient in ctx.saved_tensors), None


class SampledCrossEntropy(torch.autograd.Function):
    """Negative log-likelihoods of the true word among itself and S candidates, in chunks that stay in the cache; gradients as in
    ChunkedCrossEntropy. `hit_N` is the place of a row's true word among the candidates, or -1: there it does not count twice.
    Returns (sum, each (N,)); only the sum is differentiable."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, true_N: Tensor, weight_SD: Tensor, offset_S: Tensor, hit_N: Tensor) -> tuple[Tensor, Tensor]:
        rows = max(1, min(CACHED_ELEMENTS // weight_SD.shape[0], x_ND.shape[0]))
        buffer = x_ND.new_empty(rows, weight_SD.shape[0])
        nll_N, d_true = torch.empty_like(true_N), torch.empty_like(true_N)
        d_x, d_weight, d_offset = torch.empty_like(x_ND), torch.zeros_like(weight_SD), torch.zeros_like(offset_S)
        for start in range(0, x_ND.shape[0], rows):
            here = slice(start, start + rows)
            x, true, hit = x_ND[here], true_N[here, None], hit_N[here]
            logits = torch.addmm(offset_S.to(x.dtype), x, weight_SD.T, out=buffer[: len(x)]).float()
            hits = (hit >= 0).nonzero().squeeze(1)
            logits[hits, hit[hits]] = -math.inf
            top = torch.maximum(logits.amax(dim=1, keepdim=True), true)
            chance = logits.sub_(top).exp_()
            true_chance = (true - top).exp()
            total = chance.sum(dim=1, keepdim=True) + true_chance
            nll_N[here] = (top + total.log() - true).squeeze(1)
            d_true[here] = (true_chance / total - 1.0).squeeze(1)
            chance.div_(total)
            d_offset += chance.sum(0)
            chance = chance.to(x.dtype)
            torch.mm(chance, weight_SD, out=d_x[here])
            d_weight.addmm_(chance.T, x)
        ctx.save_for_backward(d_x, d_true, d_weight, d_offset)
        ctx.mark_non_differentiable(nll_N)
        return nll_N.sum(), nll_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient * d_total for gradient in ctx.saved_tensors), None


def log_uniform(samples: int, size: int) -> tuple[Tensor, float]:
    """`samples` distinct ids of `range(size)` with P(id) = log((id + 2) / (id + 1)) / log(size + 1), and how many draws it took.

    The distribution of ids that are frequency ranks (Zipf), as in TensorFlow's sampler. Uses torch's CPU generator.
    """
    drawn = np.empty(0, dtype=np.int64)
    while True:
        uniform = torch.rand(2 * samples, dtype=torch.float64).numpy()
        fresh = np.minimum(np.expm1(uniform * math.log(size + 1.0)).astype(np.int64), size - 1)
        drawn = np.concatenate([drawn, fresh])
        _, first = np.unique(drawn, return_index=True)
        if len(first) >= samples:
            first.sort()
            tries = int(first[samples - 1]) + 1
            return torch.from_numpy(drawn[first[:samples]]), tries


def log_expected_count(ids: Tensor, tries: float, size: int) -> Tensor:
    """log of the chance that an id is among the candidates after `tries` draws: log(1 - (1 - P(id)) ** tries)."""
    probability = torch.log1p(1.0 / (ids.double() + 1.0)) / math.log(size + 1.0)
    return torch.log(-torch.expm1(tries * torch.log1p(-probability))).float()


def candidates(spec: VocabularyHeadSpec, size: int) -> int | None:
    """How many candidates are drawn for an output vocabulary of `size`; None where training uses the full softmax: where the spec says
    so, and where the candidates would be most of the words (it is then exact and no dearer)."""
    return spec.softmax.samples if isinstance(spec.softmax, SampledSoftmaxSpec) and 2 * spec.softmax.samples < size else None


class VocabularyHead(nn.Module):
    """A distribution over V words. `loss` is what training minimizes, `nll` is always exact.

    Full and sampled softmax share their weights (bilm-tf's initialization); adaptive softmax is torch's (Grave et al. 2017).
    """

    def __init__(self, spec: VocabularyHeadSpec, *, width: int, size: int, tied: nn.Parameter | None = None) -> None:
        super().__init__()
        self.size = size
        self.samples = candidates(spec, size)
        self.adaptive: nn.AdaptiveLogSoftmaxWithLoss | None = None
        cutoffs = [cutoff for cutoff in getattr(spec.softmax, "cutoffs", ()) if cutoff < size - 1]
        if isinstance(spec.softmax, AdaptiveSoftmaxSpec) and cutoffs:
            self.adaptive = nn.AdaptiveLogSoftmaxWithLoss(width, size, cutoffs, div_value=spec.softmax.factor, head_bias=True)
        else:
            self.weight = nn.Parameter(torch.randn(size, width) / math.sqrt(width)) if tied is None else tied
            self.bias = nn.Parameter(torch.zeros(size))

    @property
    def sparse(self) -> bool:
        """Whether a training step gives gradients for a few rows of `weight` only."""
        return self.samples is not None

    def loss(self, x_ND: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
        """(differentiable sum, each (N,) for the record). In training mode the sampled softmax estimates; it is not a perplexity."""
        if self.samples is not None and self.training:
            return self._sampled(x_ND, target_N, self.samples)
        if self.adaptive is not None:
            nll_N = -self.adaptive(x_ND, target_N).output
            return nll_N.sum(), nll_N.detach()
        weight, bias = self.weight.to(x_ND.dtype), self.bias.to(x_ND.dtype)
        total, nll_N = ChunkedCrossEntropy.apply(x_ND, weight, bias, target_N)
        return total, nll_N

    @torch.no_grad()
    def nll(self, x_ND: Tensor, target_N: Tensor) -> Tensor:
        """(N,) exact negative log-likelihoods in nats, float32."""
        if self.adaptive is not None:
            return -self.adaptive(x_ND.float(), target_N).output
        return ChunkedCrossEntropy.apply(x_ND.float(), self.weight, self.bias, target_N)[1]

    def _sampled(self, x_ND: Tensor, target_N: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """Jean et al. 2015, section 3, as TensorFlow's sampled_softmax_loss: accidental hits are taken out."""
        ids_S, tries = log_uniform(samples, self.size)
        ids_S = ids_S.sort().values.to(x_ND.device)
        rows = torch.cat([target_N, ids_S])
        weight = F.embedding(rows, self.weight, sparse=True).to(x_ND.dtype)
        count = len(target_N)
        offset = self.bias[rows] - log_expected_count(rows, tries, self.size)
        true_N = (x_ND * weight[:count]).sum(1).float() + offset[:count]
        place_N = torch.searchsorted(ids_S, target_N).clamp_(max=samples - 1)
        hit_N = torch.where(ids_S[place_N] == target_N, place_N, -1)
        return SampledCrossEntropy.apply(x_ND, true_N, weight[count:], offset[count:], hit_N)
