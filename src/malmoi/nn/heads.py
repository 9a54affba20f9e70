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
from malmoi.nn.backbone import ACTIVATIONS

CHUNK_ELEMENTS = 1 << 24
"""Logits that exist at one time (64 MiB of float32)."""
CACHED_ELEMENTS = 1 << 19
"""The same for sampled candidates, whose weights fit the cache of a core (2 MiB)."""


class ChunkedCrossEntropy(torch.autograd.Function):
    """Exact negative log-likelihoods in chunks. The gradients are made chunk by chunk in the forward pass, so neither logits nor their
    gradients ever exist whole. Returns (sum, each (N,), whether the target was the most likely word (N,)); only the sum is
    differentiable. smoothing: share of the target's probability that goes to all words alike (Szegedy et al. 2016); the sum is then
    that of the smoothed loss, `each` is not smoothed. draw_N in [0, 1): where given, the fourth result (N,) are words drawn from the
    distribution by inversion."""

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor,
        target_N: Tensor,
        smoothing: float = 0.0,
        draw_N: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        rows = max(1, min(CHUNK_ELEMENTS // weight_VD.shape[0], x_ND.shape[0]))
        buffer = x_ND.new_empty(rows, weight_VD.shape[0])
        nll_N = x_ND.new_empty(x_ND.shape[0], dtype=torch.float32)
        hit_N = torch.empty_like(target_N, dtype=torch.bool)
        drawn_N = torch.empty_like(target_N)
        even = x_ND.new_zeros((), dtype=torch.float32)
        d_x = torch.empty_like(x_ND) if wants_x else None
        d_weight = torch.zeros_like(weight_VD) if wants_weight else None
        d_bias = torch.zeros_like(bias_V) if wants_bias else None
        for start in range(0, x_ND.shape[0], rows):
            x, target = x_ND[start : start + rows], target_N[start : start + rows, None]
            logits = torch.addmm(bias_V, x, weight_VD.T, out=buffer[: len(x)]).float()
            top = logits.amax(dim=1, keepdim=True)
            at_target = logits.gather(1, target)
            mean = logits.mean(dim=1, keepdim=True) if smoothing else at_target
            logits.sub_(top).exp_()
            total = logits.sum(dim=1, keepdim=True)
            whole = top + total.log()
            nll_N[start : start + rows] = (whole - at_target).squeeze(1)
            hit_N[start : start + rows] = (at_target >= top).squeeze(1)
            if smoothing:
                even += (whole - mean).sum()
            if draw_N is not None:
                drawn_N[start : start + rows] = drawn(logits, draw_N[start : start + rows])
            if wants_x or wants_weight or wants_bias:
                logits.div_(total)
                if smoothing:
                    logits.sub_(smoothing / logits.shape[1])
                logits.scatter_add_(1, target, logits.new_full(target.shape, smoothing - 1.0))
                d_logits = logits.to(x_ND.dtype)
                if d_x is not None:
                    torch.mm(d_logits, weight_VD, out=d_x[start : start + rows])
                if d_weight is not None:
                    d_weight.addmm_(d_logits.T, x)
                if d_bias is not None:
                    d_bias.add_(d_logits.sum(0))
        ctx.save_for_backward(d_x, d_weight, d_bias)
        ctx.mark_non_differentiable(nll_N, hit_N, drawn_N)
        return (1.0 - smoothing) * nll_N.sum() + smoothing * even, nll_N, hit_N, drawn_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if gradient is None else gradient * d_total for gradient in ctx.saved_tensors), None, None, None


def drawn(weights_NV: Tensor, draw_N: Tensor) -> Tensor:
    """(N,) words drawn in proportion to `weights_NV` by inversion: the first whose cumulated weight passes `draw_N` of the whole."""
    cumulated = weights_NV.cumsum(dim=1)
    level = draw_N.to(cumulated.dtype)[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, level, right=True).squeeze(1).clamp_(max=weights_NV.shape[1] - 1)


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


class Transform(nn.Module):
    """What BERT's masked head does before the output: dense layer, activation, norm."""

    def __init__(self, width: int, out: int, *, activation: str, epsilon: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, out)
        self.norm = nn.LayerNorm(out, eps=epsilon)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x_ND: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(x_ND)))


class VocabularyHead(nn.Module):
    """A distribution over V words. `loss` is what training minimizes, `nll` is always exact.

    Full and sampled softmax share their weights (bilm-tf's initialization); adaptive softmax is torch's (Grave et al. 2017).
    tied: the embedding (V, E) that is the output matrix too; E differs from the width D only behind a `transform`.
    """

    def __init__(self, spec: VocabularyHeadSpec, *, width: int, size: int, tied: nn.Parameter | None = None, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.size = size
        self.samples = candidates(spec, size)
        self.adaptive: nn.AdaptiveLogSoftmaxWithLoss | None = None
        self.starts_at_frequency = spec.bias == "frequency" and not isinstance(spec.softmax, AdaptiveSoftmaxSpec)
        out = width if tied is None else tied.shape[1]
        self.transform = Transform(width, out, activation=spec.transform, epsilon=epsilon) if spec.transform != "none" else nn.Identity()
        cutoffs = [cutoff for cutoff in getattr(spec.softmax, "cutoffs", ()) if cutoff < size - 1]
        if isinstance(spec.softmax, AdaptiveSoftmaxSpec) and cutoffs:
            self.adaptive = nn.AdaptiveLogSoftmaxWithLoss(width, size, cutoffs, div_value=spec.softmax.factor, head_bias=True)
            return
        self.weight = nn.Parameter(torch.randn(size, width) / math.sqrt(width)) if tied is None else tied
        if spec.bias != "none":
            self.bias = nn.Parameter(torch.zeros(size))
        else:
            self.register_buffer("bias", torch.zeros(size), persistent=False)

    @torch.no_grad()
    def start_at(self, frequency_V: Tensor) -> None:
        """Let the bias be the logarithm of each token's share (V,), for a head that `starts_at_frequency`."""
        self.bias.copy_(frequency_V.log())

    @property
    def sparse(self) -> bool:
        """Whether a training step gives gradients for a few rows of `weight` only."""
        return self.samples is not None

    def loss(self, x_ND: Tensor, target_N: Tensor, *, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """(differentiable sum, each (N,) for the record). In training mode the sampled softmax estimates; it is not a perplexity."""
        x_ND = self.transform(x_ND)
        if self.samples is not None and self.training:
            return self._sampled(x_ND, target_N, self.samples)
        if self.adaptive is not None:
            nll_N = -self.adaptive(x_ND, target_N).output
            return nll_N.sum(), nll_N.detach()
        return self._full(x_ND, target_N, smoothing)[:2]

    def loss_and_draw(self, x_ND: Tensor, target_N: Tensor, draw_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`loss`, and a word drawn from each distribution by `draw_N` (N,) in [0, 1), in one pass (ELECTRA). Full softmax only."""
        total, nll_N, _, drawn_N = self._full(self.transform(x_ND), target_N, 0.0, draw_N)
        return total, nll_N, drawn_N

    @torch.no_grad()
    def nll(self, x_ND: Tensor, target_N: Tensor) -> Tensor:
        """(N,) exact negative log-likelihoods in nats, float32."""
        return self.score(x_ND, target_N)[0]

    @torch.no_grad()
    def score(self, x_ND: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) exact negative log-likelihoods in nats, float32, and (N,) bool whether the target was the most likely word."""
        x_ND = self.transform(x_ND)
        if self.adaptive is not None:
            return -self.adaptive(x_ND.float(), target_N).output, self.adaptive.predict(x_ND.float()) == target_N
        _, nll_N, hit_N, _ = ChunkedCrossEntropy.apply(x_ND.float(), self.weight, self.bias, target_N, 0.0, None)
        return nll_N, hit_N

    def logits(self, x_ND: Tensor) -> Tensor:
        """(..., V) logits (log-probabilities of the adaptive softmax): for generation and export, where all of them are wanted."""
        x_ND = self.transform(x_ND)
        if self.adaptive is not None:
            return self.adaptive.log_prob(x_ND.flatten(0, -2)).unflatten(0, x_ND.shape[:-1])
        return F.linear(x_ND, self.weight.to(x_ND.dtype), self.bias.to(x_ND.dtype))

    def _full(
        self, x_ND: Tensor, target_N: Tensor, smoothing: float, draw_N: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        weight, bias = self.weight.to(x_ND.dtype), self.bias.to(x_ND.dtype)
        found: tuple[Tensor, Tensor, Tensor, Tensor] = ChunkedCrossEntropy.apply(x_ND, weight, bias, target_N, smoothing, draw_N)
        return found

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


class PairHead(nn.Module):
    """The vector of a text's first mark -> tanh layer -> logits of a choice (BERT's pooler and its classifier)."""

    def __init__(self, width: int, *, choices: int = 2) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, choices)

    def forward(self, x_ND: Tensor) -> Tensor:
        """(N, D) -> (N, choices)."""
        return self.classifier(torch.tanh(self.pooler(x_ND)))


class ReplacedHead(nn.Module):
    """A vector -> the logit that its token is not the original (ELECTRA's discriminator head)."""

    def __init__(self, width: int, *, activation: str = "gelu") -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x_RTD: Tensor) -> Tensor:
        """(..., D) -> (...)."""
        return self.out(self.activation(self.dense(x_RTD))).squeeze(-1)
