"""Sharing: the two directions share front-end and head, and a tied head IS the front-end's matrix, with nothing in between.

R rows, T positions, D width, N predictions, V output words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.health.bench import describe, undisturbed
from malmoi.health.finding import Finding
from malmoi.nn import TokenEmbedding
from malmoi.objectives import BiLM
from malmoi.objectives.bilm import UNKNOWN

TOLERANCE = 1e-4
"""Nats. The same product in chunks and at once differs in the last bits; another matrix or a layer in between by far more."""


def sharing(objective: BiLM, batch: Batch, *, tied: bool) -> list[Finding]:
    """M119 for a front-end or head that the directions do not share, for a tied head (`tied`: what the recipe says) that has a matrix
    of its own, for parameters between the vectors and the tied matrix, and for likelihoods that are not softmax(E last + b).
    """
    problems = [*_directions(objective), *(_tied(objective, batch) if tied else [])]
    again = "load the checkpoint in place with `train.checkpoint.load_module`, and tie by handing the same nn.Parameter to both."
    if problems:
        next = "share one matrix of one width (model.width), or set model.head.tied=false." if tied else again
        return [Finding.of("M119", "error", problem=problem, next=next) for problem in problems]
    facts = "both directions share front-end and head" + ("; the head's matrix is the front-end's, with nothing in between" if tied else "")
    return [Finding.good("sharing", facts)]


def _directions(objective: BiLM) -> list[str]:
    forward, backward = objective.forward_model, objective.backward_model
    problems = []
    for part, one, other in (("front-end", forward.frontend, backward.frontend), ("head", forward.heads["words"], backward.heads["words"])):
        if one is not other and not _same_storage(one, other):
            problems.append(f"the directions have a {part} each, {describe('', one)}; they were one when the model was built")
    return problems


def _same_storage(one: nn.Module, other: nn.Module) -> bool:
    pairs = list(zip(one.parameters(), other.parameters(), strict=False))
    return bool(pairs) and all(a.data_ptr() == b.data_ptr() and a.shape == b.shape for a, b in pairs)


def _tied(objective: BiLM, batch: Batch) -> list[str]:
    frontend, head = objective.forward_model.frontend, objective.forward_model.heads["words"]
    weight = getattr(head, "weight", None)
    if not isinstance(frontend, TokenEmbedding) or not isinstance(weight, Tensor):
        return [f"the recipe ties input and output, but {describe('', frontend)} and {describe('', head)} have no matrix in common"]
    if weight.shape != frontend.weight.shape:
        return [f"the head's matrix is {tuple(weight.shape)}, that of the front-end {tuple(frontend.weight.shape)}: they cannot be one"]
    if weight.data_ptr() != frontend.weight.data_ptr():
        equal = "equal now, but they will drift apart" if torch.equal(weight, frontend.weight) else "and already differ"
        return [f"head and front-end have a matrix {tuple(weight.shape)} each ({equal})"]
    if extra := [name for name, _ in head.named_parameters() if name not in ("weight", "bias")]:
        return [f"a makeshift stands between the vectors and the tied matrix: {extra[0]} of {describe('the head', head)}"]
    return _likelihoods(objective, batch, frontend)


@torch.no_grad()
def _likelihoods(objective: BiLM, batch: Batch, frontend: TokenEmbedding) -> list[str]:
    """Whether the scores are what the shared matrix gives for the vectors of the trace."""
    with undisturbed(objective):
        objective.eval()
        traces, nll_RT = objective.traces(batch), objective.score(batch).nll
    predicted_RT = batch.targets["next"] >= 0
    last_ND = torch.cat([traces[name].last for name, _ in objective.directions()])[predicted_RT]
    if last_ND.shape[1] != frontend.weight.shape[1]:
        width = frontend.weight.shape[1]
        return [f"a makeshift stands between the vectors (width {last_ND.shape[1]}) and the tied matrix (width {width})"]
    target_N = batch.targets["next"][predicted_RT]
    target_N = target_N.masked_fill(target_N >= objective.output_size, UNKNOWN)
    logits_NV = F.linear(last_ND.float(), frontend.weight.float(), objective.head.bias.float())
    expected_N = F.cross_entropy(logits_NV, target_N, reduction="none")
    largest = float((expected_N - nll_RT[predicted_RT]).abs().max())
    if not largest <= TOLERANCE * max(1.0, float(expected_N.max())):
        return [f"the likelihoods are not those of the shared matrix (off by up to {largest:.2g} nats): a makeshift stands in between"]
    return []
