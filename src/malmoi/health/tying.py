"""Sharing: two models share what they should, and a tied head IS the front-end's matrix, with nothing in between.

R rows, T positions, D width, N predictions, V output words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.health.bench import describe, traces_of, undisturbed
from malmoi.health.finding import Finding
from malmoi.nn import Model, TokenEmbedding
from malmoi.nn.heads import Transform
from malmoi.objectives import BiLM, Objective

TOLERANCE = 1e-4
"""Nats. The same product in chunks and at once differs in the last bits; another matrix or a layer in between by far more."""


def sharing(objective: Objective, batch: Batch, *, tied: bool) -> list[Finding]:
    """M119 for what models should share and do not - the directions of a biLM front-end and head; generator and model, and decoder and
    encoder, the token table with positions, types and norm - and for a tied head (`tied`: what the recipe says) that has a matrix of its
    own, for parameters between the vectors and the tied matrix, and for likelihoods that are not softmax(E last + b).
    """
    problems = _directions(objective) if isinstance(objective, BiLM) else _embeddings(objective)
    problems += _tied(objective, batch) if tied else []
    again = "load the checkpoint in place with `train.checkpoint.load_module`, and tie by handing the same nn.Parameter to both."
    if problems:
        next = "share one matrix of one width (model.width), or set model.head.tied=false." if tied else again
        return [Finding.of("M119", "error", problem=problem, next=next) for problem in problems]
    names = list(objective.models())
    facts = "both directions share front-end and head" if isinstance(objective, BiLM) else "one model"
    if len(names) > 1 and not isinstance(objective, BiLM):
        facts = f"{' and '.join(names)} share their embeddings"
    return [Finding.good("sharing", facts + ("; the head's matrix is the front-end's, with nothing in between" if tied else ""))]


def _directions(objective: BiLM) -> list[str]:
    forward, backward = objective.forward_model, objective.backward_model
    problems = []
    for part, one, other in (("front-end", forward.frontend, backward.frontend), ("head", forward.heads["words"], backward.heads["words"])):
        if one is not other and not _same_storage(one, other):
            problems.append(f"the directions have a {part} each, {describe('', one)}; they were one when the model was built")
    return problems


def _embeddings(objective: Objective) -> list[str]:
    """What a second model (generator, decoder) does not share with the first."""
    (_, first), *others = objective.models().items()
    problems = []
    for name, other in others:
        one, two = first.frontend, other.frontend
        if not isinstance(one, TokenEmbedding) or not isinstance(two, TokenEmbedding):
            problems.append(f"the {name} cannot share {describe('', one)} with {describe('', two)}")
            continue
        for part in ("weight", "positions", "types", "norm"):
            here, there = getattr(one, part), getattr(two, part)
            if not _one(here, there):
                problems.append(f"the {name} has {'a norm' if part == 'norm' else f'{part} of the embedding'} of its own")
    return problems


def _one(one: nn.Module | Tensor | None, other: nn.Module | Tensor | None) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.data_ptr() == other.data_ptr() and one.shape == other.shape
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        return one is other or _same_storage(one, other)
    return one is other


def _same_storage(one: nn.Module, other: nn.Module) -> bool:
    pairs = list(zip(one.parameters(), other.parameters(), strict=False))
    return bool(pairs) and all(a.data_ptr() == b.data_ptr() and a.shape == b.shape for a, b in pairs)


def _tied(objective: Objective, batch: Batch) -> list[str]:
    name, model = _scorer(objective)
    frontend, head = model.frontend, model.heads["words"]
    weight = getattr(head, "weight", None)
    if not isinstance(frontend, TokenEmbedding) or not isinstance(weight, Tensor):
        return [f"the recipe ties input and output, but {describe('', frontend)} and {describe('', head)} have no matrix in common"]
    if weight.shape != frontend.weight.shape:
        return [f"the head's matrix is {tuple(weight.shape)}, that of the front-end {tuple(frontend.weight.shape)}: they cannot be one"]
    if weight.data_ptr() != frontend.weight.data_ptr():
        equal = "equal now, but they will drift apart" if torch.equal(weight, frontend.weight) else "and already differ"
        return [f"head and front-end have a matrix {tuple(weight.shape)} each ({equal})"]
    transform = isinstance(getattr(head, "transform", None), Transform)  # BERT's, which the recipe names
    known = [each for each, _ in head.named_parameters() if each in ("weight", "bias") or (transform and each.startswith("transform."))]
    if extra := [each for each, _ in head.named_parameters() if each not in known]:
        return [f"a makeshift stands between the vectors and the tied matrix: {extra[0]} of {describe('the head', head)}"]
    return _likelihoods(objective, batch, name, frontend)


def _scorer(objective: Objective) -> tuple[str, Model]:
    """The model with the head that `score` scores with."""
    return next((name, model) for name, model in objective.models().items() if "words" in model.heads)


@torch.no_grad()
def _likelihoods(objective: Objective, batch: Batch, name: str, frontend: TokenEmbedding) -> list[str]:
    """Whether the scores are what the shared matrix gives for the vectors of the trace."""
    with undisturbed(objective):
        view = objective.view(batch)
        objective.eval()
        last_RTD = _last(objective, view, name)
        nll_RT = objective.score(view).nll
        target_RT = view.targets[objective.target]
        last_ND = objective.head.transform(last_RTD[target_RT >= 0])
    if last_ND.shape[1] != frontend.weight.shape[1]:
        width = frontend.weight.shape[1]
        return [f"a makeshift stands between the vectors (width {last_ND.shape[1]}) and the tied matrix (width {width})"]
    target_N = target_RT[target_RT >= 0]
    target_N = target_N.masked_fill(target_N >= objective.output_size, frontend.unknown)
    logits_NV = F.linear(last_ND.float(), frontend.weight.float(), objective.head.bias.float())
    expected_N = F.cross_entropy(logits_NV, target_N, reduction="none")
    largest = float((expected_N - nll_RT[target_RT >= 0]).abs().max())
    if not largest <= TOLERANCE * max(1.0, float(expected_N.max())):
        return [f"the likelihoods are not those of the shared matrix (off by up to {largest:.2g} nats): a makeshift stands in between"]
    return []


def _last(objective: Objective, view: Batch, name: str) -> Tensor:
    """(R, T, D): what the head reads."""
    if isinstance(objective, BiLM):
        traces = objective.traces(view)
        return torch.cat([traces[direction].last for direction, _ in objective.directions()])
    return traces_of(objective, view)[name].last
