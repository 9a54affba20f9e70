"""Training and evaluation compute the same, but for dropout; and dropout is where the recipe says, only in training.

R rows, T positions, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from malmoi.core.batch import Batch
from malmoi.health.bench import Call, describe, recorded, undisturbed, without_dropout
from malmoi.health.finding import Finding
from malmoi.nn import Backbone
from malmoi.objectives import BiLM

TOLERANCE = 1e-5
"""Nats, and shares of the largest output. Kernels for training may differ in the last bits; the smallest dropout moves far more."""


def dropout_asleep(objective: BiLM, batch: Batch) -> list[Finding]:
    """Two evaluations of one batch are equal bit for bit; otherwise the first module that differs is named (M117)."""
    with undisturbed(objective), torch.no_grad():
        objective.eval()
        first, second = _run(objective, batch), _run(objective, batch)
    for one, two in zip(first, second, strict=True):
        if one.left is not None and two.left is not None and not torch.equal(one.left, two.left):
            difference = float((one.left.float() - two.left.float()).abs().max())
            return [Finding.of("M117", "error", difference=difference, where=describe(one.name, one.module))]
    return [Finding.good("evaluation", "two evaluations of one batch are equal bit for bit")]


def training_equals_evaluation(objective: BiLM, batch: Batch) -> list[Finding]:
    """With every declared dropout at 0, training mode gives the vectors and the (exact) loss of evaluation mode (M116)."""
    with undisturbed(objective), torch.no_grad():
        without_dropout(objective)
        objective.eval()
        evaluated, score = _run(objective, batch), objective.score(batch)
        objective.train()
        trained = _run(objective, batch)
        for _, model in objective.directions():
            model.heads.eval()  # the exact softmax where training samples
        loss = objective.loss(batch)
    difference = _first_difference(trained, evaluated)
    if difference is not None:
        return [difference]
    predicted = batch.targets["next"] >= 0
    halves = zip(("forward", "backward"), score.nll.chunk(2), predicted.chunk(2), strict=True)
    exact = {name: float(nll[mask].double().mean()) for name, nll, mask in halves}
    for name, nats in exact.items():
        if not abs(float(loss.parts[name]) - nats) <= TOLERANCE * max(1.0, abs(nats)):
            problem = f"the {name} loss of one batch is {float(loss.parts[name]):.6f} nats in training and {nats:.6f} in evaluation"
            return [Finding.of("M116", "error", problem=problem, next="let `loss` and `score` read the same vectors with the same head.")]
    facts = f"with dropout 0 the loss of one batch agrees to {TOLERANCE:g} ({sum(exact.values()) / 2:.4f} nats)"
    return [Finding.good("training = evaluation", facts)]


def dropout_places(objective: BiLM, batch: Batch, *, rate: float) -> list[Finding]:
    """Dropout stands on what enters each block and on what enters the head, at `rate` (the recipe's), and nowhere else (M118).

    Dropouts inside a backbone of the user's own are the user's; they are only counted.
    """
    expected, own = _expected(objective), 0
    problems = []
    for name, module in objective.named_modules(remove_duplicate=True):
        if not isinstance(module, _DropoutNd):
            continue
        if name not in expected and any(name.startswith(f"{part}.") for part in _foreign(objective)):
            own += 1
        elif name not in expected:
            problems.append(f"{describe(name, module)} is not one of the places of the recipe")
        elif module.p != rate:
            problems.append(f"{describe(name, module)} drops {module.p:g}, the recipe says {rate:g}")
    problems += _misplaced(objective, batch)
    if problems:
        next = "drop what enters a block and what enters the head, in no other place, and set the rate in model.dropout."
        return [Finding.of("M118", "error", problem="; ".join(problems[:3]), next=next)]
    extra = f", and {own} of the backbone's own" if own else ""
    return [Finding.good("dropout", f"{rate:g} at {len(expected)} places: what enters each block and the head{extra}")]


def _expected(objective: BiLM) -> list[str]:
    names = [f"{name}_model.dropout" for name, _ in objective.directions()]
    for name, model in objective.directions():
        if isinstance(model.backbone, Backbone):
            names += [f"{name}_model.backbone.blocks.{index}.dropout" for index in range(len(model.backbone.blocks))]
    return names


def _foreign(objective: BiLM) -> list[str]:
    return [f"{name}_model.backbone" for name, model in objective.directions() if not isinstance(model.backbone, Backbone)]


def _misplaced(objective: BiLM, batch: Batch) -> list[str]:
    """Blocks whose dropout does not stand between what enters them and their mixer, seen from the tensors of a training step."""
    with undisturbed(objective), torch.no_grad():
        objective.train()
        with recorded(objective) as calls:
            objective.loss(batch)
    by_name: dict[str, Call] = {call.name: call for call in calls}
    problems = []
    for name, model in objective.directions():
        if not isinstance(model.backbone, Backbone):
            continue
        for index in range(len(model.backbone.blocks)):
            block = f"{name}_model.backbone.blocks.{index}"
            dropout, mixer, whole = (by_name.get(part) for part in (f"{block}.dropout", f"{block}.mixer", block))
            if dropout is None or mixer is None or whole is None:
                problems.append(f"{block} does not call its dropout and its mixer")
            elif dropout.entered is not whole.entered or mixer.entered is not dropout.left:
                after = "on the output of its mixer, after the projection" if _same(dropout.entered, mixer.left) else "on another tensor"
                problems.append(f"{block}.dropout works {after}, not on what enters the block")
    return problems


def _same(one: Tensor | None, two: Tensor | None) -> bool:
    return one is two or (one is not None and two is not None and one.shape == two.shape and torch.equal(one, two))


def _run(objective: BiLM, batch: Batch) -> list[Call]:
    """The calls of `traces`, and last the traces themselves."""
    with recorded(objective) as calls:
        traces = objective.traces(batch)
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
