"""Leaks: a prediction that can see its own answer. Tested by gradient, where a forbidden one must be exactly 0, and by changing a word.

R rows, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from malmoi.core.batch import Batch
from malmoi.health.batches import marks_of, only
from malmoi.health.bench import Call, describe, path_of, recorded, traces_of, undisturbed, vectors_as_leaf, without_dropout
from malmoi.health.finding import Finding
from malmoi.objectives import BiLM, Objective, Replaced
from malmoi.objectives import Sequence as Translation

BOTH_WAYS = "use one causal module for each direction: a bidirectional LSTM reads every row from its end too."
CAUSAL = "make it causal: what leaves it at a position may use what entered up to that position of the same row, and nothing else."
INSIDE = "keep it inside the documents: what leaves it at a position may use what `may_see` names, and nothing else."
DRAWN = "cut the graph at the drawn tokens: no gradient goes from the model through what the generator wrote."
PLACES = 6
"""Predictions that are examined by gradient, of each kind."""


@dataclass(frozen=True)
class Prediction:
    """One prediction, and what it may depend on.

    name: of its kind ("forward", "pair"; "" for the only one). head: where its logits stand; None: it is a target of the loss.
    seen: name of a model -> (R, T) bool, the places whose front-end vectors it may depend on. nth: of the head's logits.
    """

    name: str
    row: int
    position: int
    seen: dict[str, Tensor]
    head: nn.Module | None = None
    nth: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"the {self.name + ' ' if self.name else ''}prediction at position {self.position}"


def visibility(objective: Objective, batch: Batch) -> list[Finding]:
    """Holds the objective to its declaration `may_see`: no prediction depends on anything else.

    The real loss in training mode, with one target at a time: the gradients at all other places - later ones, other documents of the
    row, other rows, the other direction - must be exactly 0 (M031). Heads for pairs and for replaced tokens are held to it too, and a
    detector gives its generator no gradient. Then a word is changed, and nothing that may not see it may change by a bit (M110):
    that covers the front-end, whose inputs have no gradient, and the tokens that stand behind a mask.
    batch: any, best with as many rows as nothing else has, and T >= 3.
    """
    forbidden, found = 0, []
    with undisturbed(objective):
        view = objective.view(batch)
        objective.requires_grad_(False)
        without_dropout(objective)
        kinds: set[str] = set()
        for prediction in _predictions(objective, view):
            if prediction.name in kinds:
                continue  # one finding a kind is enough
            count, finding = _by_gradient(objective, view, prediction)
            forbidden += count
            if finding is not None:
                found.append(finding)
                kinds.add(prediction.name)
        if found:
            return found
        compared, found = _by_change(objective, batch, view)
    facts = f"none: {forbidden} forbidden gradients exactly 0, {compared} outputs bit-identical after a change that they may not see"
    return found or [Finding.good("leak", facts)]


def _predictions(objective: Objective, view: Batch) -> Iterator[Prediction]:
    """What is examined by gradient, in a view."""
    if isinstance(objective, BiLM):
        rows, length = view.ids.shape
        for name, first in (("forward", 0), ("backward", rows // 2)):
            for row, position in ((first, length // 2), (first + rows // 2 - 1, 0), (first, length - 2)):
                yield Prediction(name, row, position, {"forward": objective.may_see(view, row, position)})
        return
    if isinstance(objective, Replaced):
        for row, position in _spread((view.segments > 0).nonzero()):
            seen = {"model": objective.may_see(view, row, position), "generator": torch.zeros(view.ids.shape, dtype=torch.bool)}
            yield Prediction("detector's", row, position, seen, objective.model.heads["replaced"], (row, position))
    for row, position in _spread((view.targets[objective.target] >= 0).nonzero()):
        yield Prediction("", row, position, _seen(objective, view, row, position))
    if "pair" in objective.model.heads and "pair" in view.targets:
        places = (view.targets["pair"] >= 0).nonzero()
        for row, position in _spread(places):
            nth = places.tolist().index([row, position])
            seen = {"model": objective.may_see(view, row, position)}
            yield Prediction("pair", row, position, seen, objective.model.heads["pair"], (nth,))


def _spread(places: Tensor) -> list[tuple[int, int]]:
    """Some of the places (N, 2), the first and the last among them."""
    chosen = torch.linspace(0, len(places) - 1, min(PLACES, len(places))).round().long()
    return [(int(row), int(position)) for row, position in places.cpu()[chosen].tolist()]


def _seen(objective: Objective, view: Batch, row: int, position: int) -> dict[str, Tensor]:
    """What the target at a place may depend on, by model."""
    seen_RT = objective.may_see(view, row, position)
    if isinstance(objective, Translation):
        return {"decoder": seen_RT, "model": _source_of(view, row, int(view.segments[row, position]))}
    return {"generator" if isinstance(objective, Replaced) else "model": seen_RT}


def _source_of(view: Batch, row: int, segment: int) -> Tensor:
    """(R, S) bool: the source of a document."""
    assert view.source is not None, "a pair needs its source"
    seen_RS = torch.zeros(view.source.ids.shape, dtype=torch.bool)
    seen_RS[row] = view.source.segments[row].cpu() == segment
    return seen_RS


def _by_gradient(objective: Objective, view: Batch, prediction: Prediction) -> tuple[int, Finding | None]:
    """(gradients that had to be 0, what is wrong) for one prediction."""
    objective.train()
    with vectors_as_leaf(objective) as leaves, recorded(objective) as calls:
        if prediction.head is None:
            value = objective.loss(only(view, prediction.row, prediction.position, name=objective.target)).total
        else:
            objective.loss(view)
            logits = next(call.left for call in calls if call.module is prediction.head)
            assert logits is not None
            value = logits[prediction.nth].float().square().sum()
    gradients = torch.autograd.grad(value, list(leaves.values()), retain_graph=True, allow_unused=True) if value.requires_grad else ()
    sizes = {name: torch.zeros(leaf.shape[:2]) for name, leaf in leaves.items()}
    for name, gradient in zip(leaves, gradients, strict=False):
        if gradient is not None:
            sizes[name] = gradient.abs().amax(-1).cpu()
    count = 0
    for name, seen_RT in prediction.seen.items():
        size_RT = sizes.get(name, torch.zeros(seen_RT.shape))
        if not torch.isfinite(size_RT).all() or not torch.isfinite(value):
            problem = f"the {prediction.name + ' ' if prediction.name else ''}loss and its gradients are not finite"
            return 0, Finding.of("M111", "error", problem=problem, next="look at the weights: a run that diverged cannot be examined.")
        if ((size_RT != 0) & ~seen_RT).any():
            return 0, _leak(objective, prediction, name, size_RT, calls)
        if seen_RT.any() and not size_RT.any():
            what = {"decoder": "no token of its own text", "model": "no input at all"}.get(name, "no input at all")
            problem = f"{prediction} depends on {'nothing of its source' if _is_source(objective, name) else what}"
            return 0, Finding.of("M111", "error", problem=problem, next="look where the graph is cut (detach, no_grad, a zero weight).")
        count += int((~seen_RT).sum())
    return count, None


def _is_source(objective: Objective, name: str) -> bool:
    return isinstance(objective, Translation) and name == "model"


def _leak(objective: Objective, prediction: Prediction, name: str, size_RT: Tensor, calls: list[Call]) -> Finding:
    """M031, with the innermost module that leaks."""
    seen_RT = prediction.seen[name]
    other, later = divmod(int(((size_RT != 0) & ~seen_RT).float().mul(size_RT).argmax()), seen_RT.shape[1])
    culprit = _culprit(calls, prediction.row, prediction.position, seen_RT) if prediction.position < seen_RT.shape[1] else None
    through = describe(*culprit) if culprit else type(objective).__name__
    kind = "input" if name in ("model", "forward") and not _is_source(objective, name) else f"{name}'s input"
    what = f"the {'source' if _is_source(objective, name) else kind} at position {later} of row {other}"
    where = f"{prediction} of row {prediction.row}, through {through},"
    if culprit and getattr(culprit[1], "bidirectional", False):
        next = BOTH_WAYS
    elif prediction.head is not None and name == "generator":
        next = DRAWN
    else:
        next = CAUSAL if isinstance(objective, BiLM) else INSIDE
    return Finding.of("M031", "error", where=where, what=what, gradient=float(size_RT[other, later]), next=next)


def _culprit(calls: list[Call], row: int, position: int, seen_RT: Tensor) -> tuple[str, nn.Module] | None:
    """The innermost module whose own output at a place depends on its own input at places that it may not see."""
    generator = torch.Generator().manual_seed(1)
    rows, length = seen_RT.shape
    for call in calls:
        if call.entered is None or call.left is None or call.left.grad_fn is None or not call.entered.requires_grad:
            continue
        for batch_first in (True, False):
            axes = (0, 1) if batch_first else (1, 0)
            shapes = [tuple(tensor.shape[axis] for axis in axes) for tensor in (call.entered, call.left) if tensor.dim() == 3]
            if len(shapes) < 2 or any(shape not in ((rows // 2, length), (rows, length)) for shape in shapes):
                continue
            here = row % shapes[0][0]
            allowed_RT = torch.zeros(shapes[0], dtype=torch.bool)
            allowed_RT[here] = seen_RT[row]
            left_RTD, entered = call.left.transpose(0, axes[0]), call.entered
            weight = torch.randn(left_RTD.shape[2], generator=generator).to(left_RTD)
            gradient = torch.autograd.grad((left_RTD[here, position] * weight).sum(), entered, retain_graph=True, allow_unused=True)[0]
            if gradient is not None:
                size_RT = gradient.transpose(0, axes[0]).abs().amax(-1).cpu()
                if ((size_RT != 0) & ~allowed_RT).any():
                    return call.name, call.module
    return None


@torch.no_grad()
def _by_change(objective: Objective, batch: Batch, view: Batch) -> tuple[int, list[Finding]]:
    """(outputs compared, what is wrong): words become other ones, one at a time."""
    objective.eval()
    before, compared = _outputs(objective, view), 0
    for change in _changes(objective, batch, view):
        after = _outputs(objective, change.view)
        for name, fixed_RT in change.fixed.items():
            for layer, (old_RTD, new_RTD) in enumerate(zip(before[name], after[name], strict=True)):
                moved_RT = (old_RTD != new_RTD).any(-1).cpu() & fixed_RT
                compared += int(fixed_RT.sum())
                if moved_RT.any():
                    row, position = moved_RT.nonzero()[0].tolist()
                    model = objective.models()[name]
                    frontend = describe(path_of(objective, model.frontend), model.frontend)
                    where = f"{f'layer {layer}' if layer else frontend} at position {position} of row {row}"
                    next = CAUSAL if isinstance(objective, BiLM) else INSIDE
                    return compared, [Finding.of("M110", "error", what=change.what, where=where, next=next)]
    return compared, []


@dataclass(frozen=True)
class Change:
    """A view with one word changed, and for each model the places (R, T) whose outputs have to stay."""

    what: str
    view: Batch
    fixed: dict[str, Tensor]


def _changes(objective: Objective, batch: Batch, view: Batch) -> Iterator[Change]:
    rows, length = view.ids.shape
    if isinstance(objective, BiLM):
        for name, row in (("forward", 0), ("backward", rows // 2)):
            position = length // 2 + 1
            what = f"the word at position {position} of {name} row {row}"
            yield Change(what, _changed(view, row, position), {"forward": _blind(objective, view, row, position)})
        return
    text_RT = (view.segments > 0) & (view.targets["masked"] < 0 if objective.target == "masked" else True)
    for row, position in _spread(text_RT.nonzero())[1::2]:
        fixed = dict.fromkeys(objective.models(), _blind(objective, view, row, position))
        if view.source is not None:
            fixed["model"] = torch.ones(view.source.ids.shape, dtype=torch.bool)
        yield Change(f"the word at position {position} of row {row}", _changed(view, row, position), fixed)
    if view.source is not None:
        for row, position in _spread((view.source.segments > 0).nonzero())[1::2]:
            segment = int(view.source.segments[row, position])
            fixed = {"model": ~_source_of(view, row, segment), "decoder": torch.ones(rows, length, dtype=torch.bool)}
            fixed["decoder"][row] = view.segments[row].cpu() != segment
            changed = replace(view, source=_changed(view.source, row, position))
            yield Change(f"the word at position {position} of source row {row}", changed, fixed)
    if objective.target == "masked" and "masked" not in batch.targets:
        yield from _behind_the_mask(objective, batch, view)


def _behind_the_mask(objective: Objective, batch: Batch, view: Batch) -> Iterator[Change]:
    """What stood at a gap becomes another token, before the gap is made: nothing may change at all."""
    marks = marks_of(objective)
    hidden_RT = (view.targets["masked"] >= 0) & (view.ids == marks.mask) & (batch.ids != marks.mask)
    for row, position in _spread(hidden_RT.nonzero())[:2]:
        was = int(batch.ids[row, position])
        others = [id for id in batch.ids.unique().tolist() if id != was and id not in marks.ids]
        if marks.continues is not None:
            others = [id for id in others if marks.continues[id] == marks.continues[was]]
        if others:
            ids = batch.ids.clone()
            ids[row, position] = others[0]
            changed = objective.view(replace(batch, ids=ids, keys=view.keys))
            fixed = dict.fromkeys(objective.models(), torch.ones(ids.shape, dtype=torch.bool))
            yield Change(f"the word behind the mask at position {position} of row {row}", changed, fixed)


def _blind(objective: Objective, view: Batch, row: int, position: int) -> Tensor:
    """(R, T) bool: the places whose prediction may not depend on the input at one place."""
    blind_RT = torch.ones(view.ids.shape, dtype=torch.bool)
    for other, place in blind_RT.nonzero().tolist():
        blind_RT[other, place] = not objective.may_see(view, other, place)[row, position]
    return blind_RT


def _outputs(objective: Objective, view: Batch) -> dict[str, tuple[Tensor, ...]]:
    """Every layer of every model, (R, T, D) each; those of the two directions are one under the first one's name."""
    found = {name: trace.layers for name, trace in traces_of(objective, view).items()}
    if isinstance(objective, BiLM):
        return {"forward": tuple(map(torch.cat, zip(found["forward"], found["backward"], strict=True)))}
    return found


def _changed(batch: Batch, row: int, position: int) -> Batch:
    """The batch with the word at one place replaced by another word of the batch."""
    different = (batch.ids != batch.ids[row, position]).nonzero()
    assert len(different), "a batch of one word only"
    other = tuple(different[0].tolist())

    def swapped(part: Tensor | None) -> Tensor | None:
        if part is None:
            return None
        part = part.clone()
        part[row, position] = part[other]
        return part

    ids = swapped(batch.ids)
    assert ids is not None
    return replace(batch, ids=ids, words=swapped(batch.words), values=swapped(batch.values))
