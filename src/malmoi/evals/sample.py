"""Rows of a text as training packs them, with fixed draws: quick scores during training, and those of tasks that need drawn rows.

Which rows are read, and what is drawn for them, depends on the text and the number of tokens alone. R rows, T positions, K output tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.marks import Marks
from malmoi.evals.perplexity import evaluating, perplexity_of
from malmoi.objectives import Causal, Masked, Objective, Replaced, Sequence
from malmoi.shards import Packed, Pairs, Shards
from malmoi.vocab import EncodedText

SEED = 0
"""Of the order of the rows and of everything that is drawn for them."""


@dataclass
class Sums:
    """What is added up over batches: nats (also of the unigram distribution) of `scored` predictions; hits of the `asked` among them
    whose token the model does not read; the training loss and its parts times the number of predictions; further tasks by name,
    (right, of how many)."""

    scored: int = 0
    nats: float = 0.0
    unigram: float = 0.0
    right: int = 0
    asked: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    tasks: dict[str, tuple[int, int]] = field(default_factory=dict)

    def share(self, name: str) -> float:
        """How often a task was done right; 0 where there was nothing to do."""
        right, count = self.tasks[name]
        return right / max(count, 1)


def validate(
    objective: Objective,
    text: EncodedText | tuple[EncodedText, EncodedText],
    *,
    marks: Marks,
    length: int,
    tokens: int = 10_000,
    batch_tokens: int = 8192,
    unigram: np.ndarray | None = None,
) -> dict[str, float]:
    """Quick scores during training, in evaluation mode: rows of `length` positions as in training, with the same draws each time, about
    `tokens` positions (at most one epoch of the text).

    text: held out; for `Sequence` (sources, targets). unigram (K,): see `unigram_of`; its mean nats of the same predictions are
    "unigram" then. An accuracy of gaps counts those that read the mask alone: of a gap that kept its own token the answer stands there.
    -> "loss" in nats, and
        Causal, Sequence  "perplexity" (of these rows), "accuracy"; the loss has no label smoothing
        Masked            "masked_accuracy", with a pair task "pair_accuracy"; the loss is that of the gaps alone
        Replaced          "generator", "replaced" (nats), "masked_accuracy", "replaced_accuracy", "replaced_base", "replaced_found"; the
                          loss is the generator's plus the weight times the model's, as in training
    Raises MalmoiError M017 for a text without words, M025 for sides of different numbers of texts.
    """
    if isinstance(text, tuple):
        batches = _pairs(text, marks=marks, length=length, tokens=tokens, batch_tokens=batch_tokens)
    else:
        batches = _rows(objective, text, marks=marks, length=length, tokens=tokens, batch_tokens=batch_tokens)
    with evaluating(objective), torch.no_grad():
        sums = _sums(objective, batches, unigram=unigram, marks=marks)
    mean, accuracy = sums.nats / sums.scored, sums.right / max(sums.asked, 1)
    found = {"loss": mean} if unigram is None else {"loss": mean, "unigram": sums.unigram / sums.scored}
    if isinstance(objective, Causal | Sequence):
        return {**found, "perplexity": perplexity_of(mean), "accuracy": accuracy}
    losses = {name: value / sums.scored for name, value in sums.losses.items()}
    return {**found, **losses, "masked_accuracy": accuracy, **_shares(sums)}


def task_scores(objective: Masked | Replaced, text: EncodedText, *, marks: Marks, length: int, batch_tokens: int) -> dict[str, float]:
    """ "pair_accuracy", or "replaced_accuracy", "replaced_base" and "replaced_found", over one epoch of rows of the text; nothing for a
    model without such a task."""
    if not isinstance(objective, Replaced) and "pair" not in objective.model.heads:
        return {}
    batches = _rows(objective, text, marks=marks, length=length, tokens=None, batch_tokens=batch_tokens)
    with evaluating(objective), torch.no_grad():
        return _shares(_sums(objective, batches, unigram=None, marks=marks))


def unigram_nats(target_RT: Tensor, unigram: np.ndarray, unknown: int) -> float:
    """Sum of the negative log-probabilities of all targets (-1: none) under the distribution (K,)."""
    target = target_RT[target_RT >= 0].cpu().numpy()
    return float(-np.log(unigram[np.where(target < len(unigram), target, unknown)]).sum())


def _shares(sums: Sums) -> dict[str, float]:
    names = {"pair": "pair_accuracy", "replaced": "replaced_accuracy"}
    return {names.get(task, task): sums.share(task) for task in sums.tasks}


def _sums(objective: Objective, batches: Iterator[Batch], *, unigram: np.ndarray | None, marks: Marks) -> Sums:
    sums, device = Sums(), next(objective.parameters()).device
    for batch in batches:
        view = objective.view(batch.to(device))
        target_RT = view.targets[objective.target]
        score = objective.score(view)
        assert score.hit is not None
        count = int((target_RT >= 0).sum())
        sums.scored += count
        sums.nats += float(score.nll.double().sum())
        asked_RT = target_RT >= 0 if objective.target != "masked" else (target_RT >= 0) & (view.ids == marks.mask)
        sums.asked += int(asked_RT.sum())
        sums.right += int((score.hit & asked_RT).sum())
        sums.unigram += 0.0 if unigram is None else unigram_nats(target_RT, unigram, marks.unknown)
        for name, (right, of) in score.counts.items():
            before = sums.tasks.get(name, (0, 0))
            sums.tasks[name] = before[0] + right, before[1] + of
        if isinstance(objective, Replaced):
            loss = objective.loss(view)
            for name, value in {"loss": loss.total, **loss.parts}.items():
                sums.losses[name] += value.item() * count  # type: ignore[assignment]
    return sums


def _rows(objective: Objective, text: EncodedText, *, marks: Marks, length: int, tokens: int | None, batch_tokens: int) -> Iterator[Batch]:
    """Rows in the order of a first epoch, at most all of it; whatever `batch_tokens` is, the same ones."""
    shards = Shards.of(text.ids, text.ends, breaks=text.breaks)
    rows = max(1, batch_tokens // length)
    packed = Packed(shards, marks=marks, layout=objective.layout, rows=rows, length=length, seed=SEED)
    total = packed.positions if tokens is None else min(tokens, packed.positions)
    left = math.ceil(total / length)
    for number in range(math.ceil(left / rows)):
        yield _first(packed.batch(number), min(rows, left))
        left -= rows


def _pairs(text: tuple[EncodedText, EncodedText], *, marks: Marks, length: int, tokens: int, batch_tokens: int) -> Iterator[Batch]:
    """Groups of pairs in the order of a first epoch, until they hold `tokens` predictions."""
    source, target = (Shards.of(side.ids, side.ends) for side in text)
    pairs = Pairs(source, target, marks=marks, rows=max(1, batch_tokens // length), length=length, seed=SEED)
    done = 0
    for number in range(pairs.groups):
        batch = pairs.batch(number)
        yield batch
        done += int((batch.targets["next"] >= 0).sum())
        if done >= tokens:
            return


def _first(batch: Batch, rows: int) -> Batch:
    """The first rows of a batch."""

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: part[:rows] for name, part in value.items()}
        return value[:rows] if isinstance(value, Tensor) else value

    return replace(batch, **{part.name: cut(getattr(batch, part.name)) for part in fields(Batch)})
