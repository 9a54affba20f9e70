"""Training and evaluation compute the same, but for dropout; and dropout is where the recipe says, only in training.

R rows, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from malmoi.core.batch import Batch
from malmoi.health.bench import Call, describe, path_of, recorded, undisturbed, without_dropout
from malmoi.health.finding import Finding
from malmoi.nn import Attention, AttentionBlock, Backbone, Block, CrossAttention
from malmoi.nn.backbone import Residual
from malmoi.objectives import BiLM, Objective

TOLERANCE = 1e-5
"""Nats, and shares of the largest output. Kernels for training may differ in the last bits; the smallest dropout moves far more."""


def dropout_asleep(objective: Objective, batch: Batch) -> list[Finding]:
    """Two evaluations of one batch are equal bit for bit; otherwise the first module that differs is named (M117)."""
    with undisturbed(objective), torch.no_grad():
        view = objective.view(batch)
        objective.eval()
        first, second = _run(objective, view), _run(objective, view)
    for one, two in zip(first, second, strict=True):
        if one.left is not None and two.left is not None and not torch.equal(one.left, two.left):
            difference = float((one.left.float() - two.left.float()).abs().max())
            return [Finding.of("M117", "error", difference=difference, where=describe(one.name, one.module))]
    return [Finding.good("evaluation", "two evaluations of one batch are equal bit for bit")]


def training_equals_evaluation(objective: Objective, batch: Batch) -> list[Finding]:
    """With every declared dropout at 0, training mode gives the vectors, and the (exact) losses by name, of evaluation mode (M116)."""
    with undisturbed(objective), torch.no_grad():
        view = objective.view(batch)
        without_dropout(objective)
        objective.eval()
        evaluated, score, again = _run(objective, view), objective.score(view), objective.loss(view).parts
        objective.train()
        trained = _run(objective, view)
        for model in objective.models().values():
            model.heads.eval()  # the exact softmax where training samples
        parts = objective.loss(view).parts
    difference = _first_difference(trained, evaluated)
    if difference is not None:
        return [difference]
    exact = _means(objective, score.nll, view, parts)
    for name, nats in [*exact.items(), *((name, float(part)) for name, part in again.items())]:
        if not abs(float(parts[name]) - nats) <= TOLERANCE * max(1.0, abs(nats)):
            problem = f"the {name} loss of one batch is {float(parts[name]):.6f} nats in training and {nats:.6f} in evaluation"
            return [Finding.of("M116", "error", problem=problem, next="let `loss` and `score` read the same vectors with the same head.")]
    facts = f"with dropout 0 the loss of one batch agrees to {TOLERANCE:g} ({sum(exact.values()) / len(exact):.4f} nats)"
    return [Finding.good("training = evaluation", facts)]


def _means(objective: Objective, nll_RT: Tensor, view: Batch, parts: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean of the likelihoods that `score` gives, under the name that the loss has for it."""
    predicted_RT = view.targets[objective.target] >= 0
    if isinstance(objective, BiLM):
        halves = zip(("forward", "backward"), nll_RT.chunk(2), predicted_RT.chunk(2), strict=True)
        return {name: float(nll[mask].double().mean()) for name, nll, mask in halves}
    name = objective.target if objective.target in parts else next(iter(parts))
    return {name: float(nll_RT[predicted_RT].double().mean())}


def dropout_places(objective: Objective, batch: Batch, *, rate: float, attention: float | None = None) -> list[Finding]:
    """Dropout stands where the papers have it, at `rate` (the recipe's), and nowhere else (M118).

    LSTM blocks (bilm-tf): on what enters each block and what enters the head. Attention (Vaswani et al. 2017, section 5.4; Devlin et al.
    2019): on what leaves the front-end's sum, on what each part of a block adds, and on attention weights, at a rate of their own
    (`attention`; None: not looked at). Dropouts inside a backbone of the user's own are the user's; they are only counted.
    """
    places = _places(objective, rate=rate, attention=attention)
    foreign = [path_of(objective, model.backbone) for model in objective.models().values() if not isinstance(model.backbone, Backbone)]
    problems, own = [], 0
    for name, module in objective.named_modules(remove_duplicate=True):
        if not isinstance(module, _DropoutNd):
            continue
        wanted = places.get(id(module), 0.0)
        if id(module) not in places and any(name.startswith(f"{part}.") for part in foreign):
            own += 1
        elif id(module) not in places and module.p:
            problems.append(f"{describe(name, module)} is not one of the places of the recipe")
        elif wanted is not None and module.p != wanted:
            problems.append(f"{describe(name, module)} drops {module.p:g}, the recipe says {wanted:g}")
    problems += _misplaced(objective, batch)
    if problems:
        next = "drop what enters a block and what enters the head, in no other place, and set the rate in model.dropout."
        if _attends(objective):
            next = "drop what the front-end adds up and what each part of a block adds, in no other place, at the rate of model.dropout."
        return [Finding.of("M118", "error", problem="; ".join(problems[:3]), next=next)]
    extra = f", and {own} of the backbone's own" if own else ""
    where = "the front-end, and what each part of a block adds" if _attends(objective) else "what enters each block and the head"
    return [Finding.good("dropout", f"{rate:g} at {sum(each == rate for each in places.values())} places: {where}{extra}")]


def _attends(objective: Objective) -> bool:
    return any(isinstance(part, AttentionBlock) for part in objective.modules())


def _places(objective: Objective, *, rate: float, attention: float | None) -> dict[int, float | None]:
    """Id of a dropout -> its rate (None: any), for all that belong there."""
    found: dict[int, float | None] = {}
    for model in objective.models().values():
        if isinstance(objective, BiLM):
            found[id(model.dropout)] = rate
        if not isinstance(model.backbone, Backbone):
            continue
        for block in model.backbone.blocks:
            if isinstance(block, Block):
                found[id(block.dropout)] = rate
        residuals = [part for part in model.backbone.modules() if isinstance(part, Residual)]
        found |= {id(part.dropout): rate for part in residuals}
        found |= {id(part.part.drop): attention for part in residuals if isinstance(part.part, Attention | CrossAttention)}
        dropout = getattr(model.frontend, "dropout", None)
        if residuals and isinstance(dropout, _DropoutNd):
            found[id(dropout)] = rate
    return found


def _misplaced(objective: Objective, batch: Batch) -> list[str]:
    """Dropouts that do not stand where their block has them, seen from the tensors of a training step."""
    with undisturbed(objective), torch.no_grad():
        objective.train()
        with recorded(objective) as calls:
            objective.loss(batch)
    problems = []
    for model in objective.models().values():
        for block in model.backbone.blocks if isinstance(model.backbone, Backbone) else ():
            if isinstance(block, Block):
                problems += _before_the_mixer(path_of(objective, block), calls)
        residuals = [part for part in model.backbone.modules() if isinstance(part, Residual)]
        for residual in residuals if isinstance(model.backbone, Backbone) else ():
            problems += _behind_the_part(path_of(objective, residual), calls)
    return problems


def _before_the_mixer(block: str, calls: list[Call]) -> list[str]:
    """bilm-tf's: between what enters the block and its mixer."""
    by_name = {call.name: call for call in calls}
    dropout, mixer, whole = (by_name.get(part) for part in (f"{block}.dropout", f"{block}.mixer", block))
    if dropout is None or mixer is None or whole is None:
        return [f"{block} does not call its dropout and its mixer"]
    if dropout.entered is not whole.entered or mixer.entered is not dropout.left:
        after = "on the output of its mixer, after the projection" if _same(dropout.entered, mixer.left) else "on another tensor"
        return [f"{block}.dropout works {after}, not on what enters the block"]
    return []


def _behind_the_part(residual: str, calls: list[Call]) -> list[str]:
    """On what the part made, before it is added. Shared parts are called once a block."""
    parts = [call for call in calls if call.name == f"{residual}.part"]
    dropouts = [call for call in calls if call.name == f"{residual}.dropout"]
    if not parts or len(parts) != len(dropouts):
        return [f"{residual} does not call its part and its dropout"]
    if any(dropout.entered is not part.left for part, dropout in zip(parts, dropouts, strict=True)):
        return [f"{residual}.dropout works on another tensor, not on what its part adds"]
    return []


def _same(one: Tensor | None, two: Tensor | None) -> bool:
    return one is two or (one is not None and two is not None and one.shape == two.shape and torch.equal(one, two))


def _run(objective: Objective, view: Batch) -> list[Call]:
    """The calls of `traces`, and of models that `traces` does not read those of the loss; last the traces themselves."""
    with recorded(objective) as calls:
        traces = objective.traces(view)
        if len(objective.models()) > len(traces):
            objective.loss(view)
    whole: nn.Module = objective
    return [*calls, *(Call(f"the {name} trace", whole, None, layer) for name, trace in traces.items() for layer in trace.layers)]


def _first_difference(trained: list[Call], evaluated: list[Call]) -> Finding | None:
    mend = "call the same modules in both modes, and let nothing but nn.Dropout ask which mode it is."
    for one, two in zip(trained, evaluated, strict=False):
        if one.name != two.name:
            problem = f"training calls {describe(one.name, one.module)} where evaluation calls {describe(two.name, two.module)}"
            return Finding.of("M116", "error", problem=problem, next=mend)
        if one.left is None or two.left is None or one.left.shape != two.left.shape:
            continue
        largest = float((one.left.float() - two.left.float()).abs().max())
        if not largest <= TOLERANCE * max(1.0, float(two.left.abs().max())):
            problem = f"{describe(one.name, one.module)} gives other vectors in training mode (difference {largest:.1e})"
            return Finding.of("M116", "error", problem=problem, next=mend)
    if len(trained) != len(evaluated):
        problem = f"training calls {len(trained)} modules, evaluation {len(evaluated)}"
        return Finding.of("M116", "error", problem=problem, next=mend)
    return None
