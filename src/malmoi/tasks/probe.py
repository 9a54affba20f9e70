"""A head on a frozen model: what its vectors hold, layer by layer (Peters et al. 2018, section 5.3; Tenney et al. 2019).

L layers (layer 0 = without context), D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress, Silent
from malmoi.core.seeds import permutation, seed_of
from malmoi.objectives import build
from malmoi.readout.layers import choose
from malmoi.run import Run
from malmoi.tasks.features import Features
from malmoi.tasks.heads import Probed
from malmoi.tasks.learn import learn
from malmoi.tasks.material import Case, Material
from malmoi.tasks.spec import ProbeSpec
from malmoi.tasks.task import Prediction, Splits, Task

PREDICTED = 128
"""Examples that are predicted at one time."""
SPLITS = ("dev", "test")
HIGHEST = 5.0
"""What a cosine of 1 says of two texts whose scores reach from 0 to 5."""
Layer = str | int


@dataclass(frozen=True)
class Outcome:
    """One head that was learned. scores: of each split with known answers. predictions: of every split. mix: shares of the layers and
    gamma, of a scalar mix."""

    seed: int
    epoch: int
    scores: dict[str, dict[str, float]]
    predictions: dict[str, list[Prediction]]
    mix: dict[str, Any] | None = None


@dataclass(frozen=True)
class Probes:
    """What `probe` found: the outcomes of every seed, by layer; of the run, and (by request) of random weights. examples: how many there
    were to learn from, to choose by, to test on."""

    task: Task
    splits: Splits
    layers: dict[str, list[Outcome]]
    random: dict[str, list[Outcome]]
    examples: dict[str, int]


def probe(
    run: Run,
    task: Task,
    *,
    splits: Splits,
    spec: ProbeSpec,
    seeds: Sequence[int] = (0, 1, 2),
    random: bool = False,
    limit: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Probes:
    """Learn heads on the vectors of a run, `seeds` of them for each layer that `spec.layer` names ("each": each by itself, and the mix).

    The best epoch on dev is kept. Nothing is learned of word similarity, nor of two texts with the head "cosine": predictions are cosines
    (of texts 5 times that of their means), the mix is the plain mean, and there is one outcome a layer.
    random: the same with a network of random weights, another one for each seed. limit: examples of each split that are used.
    cache: see Features. Raises MalmoiError M009 (layer, head), M060 (task without answers), M157 (nothing to learn from or to choose by),
    M045 (disk).
    """
    heard = progress or Silent()
    _refuse_unanswered(run, task)
    splits = shortened(splits, limit) if limit else splits
    features = Features(run, cache=cache, progress=heard)
    layers = chosen_layers(spec.layer, features.layers)
    if learns(task, spec.head):
        _refuse_untaught(task, splits)
        Case.of(task, splits.train).head(spec, 1)
    found = _probed(features, task, splits, spec, layers, seeds, heard)
    drawn: dict[str, list[Outcome]] = {}
    for seed in seeds if random else ():
        with TemporaryDirectory(dir=features.cache, prefix="random-") as folder:
            other = Features(fresh(run, seed), cache=Path(folder), progress=heard)
            for layer, outcomes in _probed(other, task, splits, spec, layers, [seed], heard).items():
                drawn.setdefault(layer, []).extend(outcomes)
    return Probes(task, splits, found, drawn, {name: len(getattr(splits, name)) for name in ("train", *SPLITS)})


def chosen_layers(layer: Layer, count: int) -> list[Layer]:
    """What `spec.layer` names: numbers of layers, or "mix". Raises MalmoiError M009 for a layer that is not there."""
    if layer == "each":
        return [*range(count), *(["mix"] if count > 1 else [])]
    if layer in ("mean", "all"):
        next = f"use 0 to {count - 1}, mix, top or each."
        raise MalmoiError("M009", argument="layer", value=layer, problem="a head reads one layer, or learns a mix", next=next)
    found = choose(layer, count, others="mix, top, each")
    return ["mix" if count > 1 else 0] if found == "mean" else [int(found)]


def fresh(run: Run, seed: int) -> Run:
    """The same network with the weights that it would have had before training, drawn anew."""
    spec = run.spec.model_copy(update={"seed": seed_of(seed, "random weights")})
    objective = build(spec, **run.vocabulary.sizes()).to(next(run.objective.parameters()).device).eval()
    return replace(run, objective=objective, warm=None)


def shortened(splits: Splits, limit: int) -> Splits:
    """At most `limit` examples of each split, drawn by a hash, in their order."""

    def some(examples: Sequence[Any]) -> Sequence[Any]:
        return [examples[place] for place in sorted(permutation(len(examples), "limit")[:limit].tolist())]

    return Splits(some(splits.train), some(splits.dev), some(splits.test), splits.made)


def known(examples: Sequence[Any]) -> bool:
    """Whether the answers of a split are known: those of a question may be none, but not those of all questions."""
    if not examples:
        return False
    if hasattr(examples[0], "answers"):
        return any(example.answers for example in examples)
    return all(bool(example.tags) if hasattr(example, "tags") else getattr(example, "label", 0) is not None for example in examples)


def learns(task: Task, head: str) -> bool:
    """Whether a head is learned. Raises MalmoiError M009 for cosines where there are no two texts with a number."""
    if head == "cosine" and task.kind not in ("regression", "similarity"):
        problem, next = f"cosines say how alike two texts are, and the kind of {task.name} is {task.kind}", "use --head linear."
        raise MalmoiError("M009", argument="head", value=head, problem=problem, next=next)
    return task.kind != "similarity" and head != "cosine"


def _refuse_unanswered(run: Run, task: Task) -> None:
    if task.kind == "sentences":
        next = f"train on it: malmoi finetune {run.path} {task.name} --set encoder=simcse."
        raise MalmoiError("M060", path=run.path, what=f"be probed on {task.name}", problem="it has no answers", next=next)


def _refuse_untaught(task: Task, splits: Splits) -> None:
    for name, examples in (("learn from", splits.train), ("choose the best epoch by", splits.dev)):
        if not known(examples):
            raise MalmoiError("M157", task=task.name, problem=f"there is nothing to {name}")


def _probed(
    features: Features, task: Task, splits: Splits, spec: ProbeSpec, layers: Sequence[Layer], seeds: Sequence[int], progress: Progress
) -> dict[str, list[Outcome]]:
    if not learns(task, spec.head):
        return {str(layer): [_similar(features, task, splits, layer)] for layer in layers}
    case = Case.of(task, splits.train)
    material = {name: case.material(getattr(splits, name), features) for name in ("train", *SPLITS) if getattr(splits, name)}
    train = material["train"]
    taught = [index for index, target in enumerate(train.targets) if target is not None]
    if not taught:
        raise MalmoiError("M157", task=task.name, problem="no example can be learned from")
    moments = _moments([train.views[index] for index in taught])
    found: dict[str, list[Outcome]] = {}
    for layer in layers:
        progress.stage(f"layer {layer}", total=float(len(seeds)))
        trainer = _Trainer(features, case, material, taught, spec, layer, moments)
        outcomes = []
        for place, seed in enumerate(seeds):
            outcomes.append(trainer.learned(seed, partial(_advance, progress, place)))
        found[str(layer)] = outcomes
    return found


def _advance(progress: Progress, before: int, share: float, facts: dict[str, Any]) -> None:
    progress.advance(before + share, facts)


def _moments(views: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) of each number of each layer over all vectors, (L, D) float32."""
    total = squares = np.zeros(views[0][0].shape[::2])
    count = 0
    for first in range(0, len(views), PREDICTED):
        x_LMD = np.concatenate([view for parts in views[first : first + PREDICTED] for view in parts], axis=1)
        total, squares = total + x_LMD.sum(axis=1, dtype=np.float64), squares + np.square(x_LMD, dtype=np.float64).sum(axis=1)
        count += x_LMD.shape[1]
    mean = total / count
    return mean.astype(np.float32), np.sqrt(np.maximum(squares / count - np.square(mean), 0.0)).astype(np.float32)


class _Trainer:
    """Learns heads on one layer, or on the mix of all."""

    def __init__(
        self,
        features: Features,
        case: Case,
        material: Mapping[str, Material],
        taught: list[int],
        spec: ProbeSpec,
        layer: Layer,
        moments: tuple[np.ndarray, np.ndarray],
    ) -> None:
        self._case, self._material, self._taught, self._spec = case, material, taught, spec
        self._layers = slice(None) if layer == "mix" else slice(int(layer), int(layer) + 1)
        self._width = features.width
        self._device = features.device
        self._moments = [torch.from_numpy(each[self._layers]) for each in moments]

    def learned(self, seed: int, told: Callable[[float, dict[str, Any]], None]) -> Outcome:
        """One head, from its first weights to its scores."""
        torch.manual_seed(seed_of(seed, "head"))
        mean, deviation = self._moments
        head = self._case.head(self._spec, self._width)
        module = Probed(head, mean_LD=mean, deviation_LD=deviation, dropout=self._spec.dropout, decay=self._spec.mix_decay)
        module.to(self._device)
        train, task = self._material["train"], self._case.task
        result = learn(
            module,
            examples=self._taught,
            loss=lambda some: module.loss(*self._read(train, some), [train.targets[index] for index in some]),
            score=lambda: task.metric(self._material["dev"].examples, self._predicted(module, "dev"))[task.main],
            spec=self._spec.learning,
            seed=seed,
            told=told,
        )
        with torch.no_grad():
            predictions = {split: self._predicted(module, split) for split in SPLITS if split in self._material}
        scores = {
            split: task.metric(self._material[split].examples, told)
            for split, told in predictions.items()
            if known(self._material[split].examples)
        }
        return Outcome(seed, result.epoch, scores, predictions, _mix(module))

    def _read(self, material: Material, some: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
        """((L, M, D), how many vectors each example has)."""
        parts = [material.views[index] for index in some]
        x_LMD = np.concatenate([view[self._layers] for views in parts for view in views], axis=1)
        return torch.from_numpy(x_LMD).to(self._device), [sum(view.shape[1] for view in views) for views in parts]

    def _predicted(self, module: Probed, split: str) -> list[Prediction]:
        material = self._material[split]
        found: list[Prediction] = []
        for first in range(0, len(material.views), PREDICTED):
            some = range(first, min(first + PREDICTED, len(material.views)))
            found += [material.say(index, raw) for index, raw in zip(some, module.predict(*self._read(material, some)), strict=True)]
        return found


def _mix(module: Probed) -> dict[str, Any] | None:
    if module.mix is None:
        return None
    return {"weights": torch.softmax(module.mix.weights, 0).tolist(), "gamma": module.mix.gamma.item()}


def _similar(features: Features, task: Task, splits: Splits, layer: Layer) -> Outcome:
    """Cosines of words by themselves; None where the model does not know one. Of texts 5 x the cosine of their means."""
    scores: dict[str, dict[str, float]] = {}
    predictions: dict[str, list[Prediction]] = {}
    for split in SPLITS:
        if not (pairs := getattr(splits, split)):
            continue
        sides = [[pair.first for pair in pairs], [pair.second or "" for pair in pairs]]
        vectors = [[_one(view, layer) for view in features.texts(texts)] for texts in sides]
        if task.kind == "similarity":
            rows = zip(*vectors, *(features.known(words) for words in sides), strict=True)
            predictions[split] = [_cosine(u, v) if one and other else None for u, v, one, other in rows]
        else:
            predictions[split] = [HIGHEST * _cosine(u, v) for u, v in zip(*vectors, strict=True)]
        if known(pairs):
            scores[split] = task.metric(pairs, predictions[split])
    return Outcome(0, 0, scores, predictions)


def _one(view: np.ndarray, layer: Layer) -> np.ndarray:
    """(L, 1, D) -> (D,)."""
    vector: np.ndarray = view.mean(axis=(0, 1)) if layer == "mix" else view[int(layer), 0]
    return vector


def _cosine(u: np.ndarray, v: np.ndarray) -> float:
    return float(u @ v / max(float(np.linalg.norm(u) * np.linalg.norm(v)), 1e-12))
