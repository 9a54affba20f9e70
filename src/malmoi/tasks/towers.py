"""Texts read one by one by the same weights (siamese, or twin, encoders): a vector a text, and what is learned from vectors alone.

    bi      regression: the squared error of the cosine; pair: softmax over (u, v, |u - v|) (Reimers and Gurevych 2019, section 3)
    simcse  contrastive: a text's own other view, or what it entails, among those of the whole batch (Gao et al. 2021, equations 4 and 5)

N vectors of all texts of a batch, of which example r has `counts[r]`; R examples, C candidates, M positions that are read, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.recipe import RunSpec
from malmoi.core.seeds import seed_of
from malmoi.objectives import Objective
from malmoi.readout.reading import evaluating
from malmoi.readout.tokens import MARKS_AROUND
from malmoi.tasks.heads import Head, halves
from malmoi.tasks.inputs import Cuts, Form, Item, Row, told
from malmoi.tasks.learn import Group
from malmoi.tasks.readers import TextReader
from malmoi.tasks.spec import TuneSpec
from malmoi.tasks.task import Prediction
from malmoi.tasks.tuned import ITEMS, Tuned
from malmoi.vocab import Subwords, Vocabulary

TEMPERATURE = 0.05
"""Of the contrastive loss (Gao et al. 2021, appendix A)."""
SAME = 1e-6
"""Views whose cosine is nearer to 1 than this are one and the same."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """What SimCSE learns from: a text alone (its other view is the positive), or with one that it entails and one that contradicts it."""

    id: str
    anchor: str
    positive: str | None = None
    negative: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that there are, the anchor first."""
        return tuple(text for text in (self.anchor, self.positive, self.negative) if text is not None)


class Cosine(Head):
    """Targets are numbers from 0 to 1: the squared error of the cosine of two vectors. Predictions are cosines."""

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[float]) -> Tensor:
        """The mean over the examples."""
        u_RD, v_RD = halves(x_MD)
        return F.mse_loss(F.cosine_similarity(u_RD, v_RD), torch.tensor(targets, device=x_MD.device, dtype=x_MD.dtype))

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[float]:
        """See Head."""
        found: list[float] = F.cosine_similarity(*halves(x_MD)).tolist()
        return found


class Compared(Head):
    """A label of two vectors: softmax over (u, v, |u - v|) (Reimers and Gurevych 2019, section 3). Targets are numbers of labels."""

    def __init__(self, width: int, *, labels: int, dropout: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(3 * width, labels)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def logits(self, x_MD: Tensor) -> Tensor:
        """(R, labels)."""
        u_RD, v_RD = halves(x_MD)
        return self.out(self.drop(torch.cat([u_RD, v_RD, (u_RD - v_RD).abs()], dim=1)))

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[int]) -> Tensor:
        """Cross entropy, the mean over the examples."""
        return F.cross_entropy(self.logits(x_MD), torch.tensor(targets, device=x_MD.device))

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[int]:
        """See Head."""
        found: list[int] = self.logits(x_MD).argmax(1).tolist()
        return found


class Contrasted(Head):
    """The first vector of an example must find the second one among the second ones of the whole batch and, where examples have a third
    (a hard negative), all of these. There are no targets.

    The cosines, divided by TEMPERATURE, are those of projected vectors: a dense layer with tanh that is used in training only (Gao et al.
    2021, section 3 and table 10). Of two views of one text neither comes first: the loss is the mean of both directions.
    """

    def __init__(self, width: int, *, views: bool) -> None:
        super().__init__()
        self.views = views
        self.projection = nn.Linear(width, width)
        nn.init.normal_(self.projection.weight, std=0.02)
        nn.init.zeros_(self.projection.bias)

    def similarities(self, x_MD: Tensor, counts: Sequence[int]) -> Tensor:
        """(R, C): column r is the second vector of example r, the hard negatives stand behind."""
        z_MD = F.normalize(torch.tanh(self.projection(x_MD)), dim=1)
        first = np.cumsum([0, *counts[:-1]])
        third = [int(place) + 2 for place, count in zip(first, counts, strict=True) if count > 2]
        return z_MD[torch.from_numpy(first)] @ z_MD[[*(first + 1).tolist(), *third]].T / TEMPERATURE

    def losses(self, x_MD: Tensor, counts: Sequence[int]) -> Tensor:
        """(R,)."""
        found_RC = self.similarities(x_MD, counts).float()
        own_R = torch.arange(len(counts), device=x_MD.device)
        there_R = F.cross_entropy(found_RC, own_R, reduction="none")
        return (there_R + F.cross_entropy(found_RC.T, own_R, reduction="none")) / 2 if self.views else there_R

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[Any]) -> Tensor:
        """The mean over the examples."""
        return self.losses(x_MD, counts).mean()

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[tuple[bool, float]]:
        """(whether the own one is the most similar of all, the loss) of each example."""
        hits = self.similarities(x_MD, counts).argmax(1).tolist()
        losses = self.losses(x_MD, counts).tolist()
        return [(hit == place, loss) for place, (hit, loss) in enumerate(zip(hits, losses, strict=True))]


@dataclass
class Alone:
    """Each text of an example in a row of its own, as `TokenEncoder` reads it, with the marks `around` it; at most `length` positions."""

    vocabulary: Subwords
    form: Form
    around: tuple[int, int]
    length: int
    cuts: Cuts = field(default_factory=Cuts)

    def items(self, examples: Sequence[Any]) -> list[Item]:
        """In the order of the examples. Raises MalmoiError M154 for a label that the form does not know."""
        texts = [example.texts if isinstance(example, Contrast) else (example.first, example.second or "") for example in examples]
        ids = iter(self.vocabulary.encode_batch([text for each in texts for text in each]))
        room = self.length - sum(self.around)
        found = []
        for number, (example, each) in enumerate(zip(examples, texts, strict=True)):
            mine = [next(ids) for _ in each]
            self.cuts.lost(sum(max(len(one) - room, 0) for one in mine))
            target = 0 if isinstance(example, Contrast) else told(example, self.form)
            found.append(Item(number, tuple(self._row(one[:room]) for one in mine), target))
        self.cuts.examples += len(found)
        self.cuts.rows += sum(len(item.rows) for item in found)
        return found

    def _row(self, ids: np.ndarray) -> Row:
        before, behind = self.around
        marks = self.vocabulary.marks
        row = np.concatenate([[marks.begin] * before, ids, [marks.end] * behind]).astype(np.int64)
        return Row(row, len(row), (np.arange(len(ids)) + before,))


class Towers(Tuned):
    """A model that learns from the vectors of texts: the means of the top layer over the tokens, marks apart, which are those of
    `malmoi embed --layer top --pool mean`."""

    @classmethod
    def of(
        cls, objective: Objective, *, run: RunSpec, vocabulary: Vocabulary | Subwords, form: Form, spec: TuneSpec, seed: int = 0
    ) -> Towers:
        """The model of `objective` (which changes with it) with a fresh head, decided by `seed`. spec: with its length."""
        assert spec.length is not None and isinstance(vocabulary, Subwords)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "task", "head"))
            reader = TextReader(objective.model, marks=vocabulary.marks, language=False, known=len(vocabulary))
            heads: dict[str, Any] = {
                "regression": Cosine,
                "pair": lambda: Compared(reader.width, labels=len(form.labels), dropout=spec.dropout),
                "sentences": lambda: Contrasted(reader.width, views=not form.labels),
            }
            head: Any = heads[form.kind]()
        inputs: Any = Alone(vocabulary, form, MARKS_AROUND[objective.reading], spec.length)
        made = cls(reader, head, inputs, lm_weight=0.0)
        made.batch = spec.learning.batch
        return made

    batch: int = 32
    """Examples among which one must be found, of held-out ones."""

    def groups(self, spec: TuneSpec) -> list[Group]:
        """As of `Tuned`; where the head learns nothing, the top layer begins at once."""
        heads: list[list[nn.Module]] = [[self.head]] if next(self.head.parameters(), None) is not None else []
        seen: set[int] = set()
        found = []
        for depth, modules in enumerate([*heads, *self.reader.depths()]):
            parameters = [parameter for module in modules for parameter in module.parameters() if id(parameter) not in seen]
            seen.update(id(parameter) for parameter in parameters)
            found.append(Group(parameters, rate=spec.layer_decay**depth, begins=depth if spec.unfreeze else 0))
        return [group for group in found if group.parameters]

    def vectors(self, items: Sequence[Item], *, twice: bool = False) -> tuple[Tensor, list[int]]:
        """((N, D) one vector a text, how many each item has). twice: each text of an item two times, one behind the other."""
        rows = [row for item in items for row in item.rows for _ in range(1 + twice)]
        x_MD, _ = self.reader(rows)
        return _means(x_MD, [len(row.parts[0]) for row in rows]), [len(item.rows) * (1 + twice) for item in items]

    def loss(self, items: Sequence[Item]) -> Tensor:
        """See the heads."""
        return self.head.loss(*self.vectors(items, twice=self._views), [item.target for item in items])  # type: ignore[operator]

    def answers(
        self, examples: Sequence[Any], items: Sequence[Item], *, heard: Callable[[int], None] | None = None
    ) -> tuple[list[Prediction], list[float]]:
        """(predictions, nothing). Of contrasts: (found, loss) of each among `batch` neighbours, two views under dropout decided once."""
        contrasts = self.form.kind == "sentences"
        sizes = [sum(len(row.ids) for row in item.rows) for item in items]
        order = list(range(len(items))) if contrasts else sorted(range(len(items)), key=sizes.__getitem__)
        found: list[Any] = [None] * len(items)
        together = self.batch if contrasts else ITEMS
        with _views_decided(self) if self._views else evaluating(self):
            for start in range(0, len(order), together):
                chosen = order[start : start + together]
                raw = self.head.predict(*self.vectors([items[place] for place in chosen], twice=self._views))  # type: ignore[operator]
                for place, one in zip(chosen, raw, strict=True):
                    found[place] = self._said(one)
                if heard is not None:
                    heard(min(start + together, len(order)))
        return found, []

    def views(self, items: Sequence[Item], *, seed: int) -> Tensor:
        """Cosines of two views of the first text of each item, in training mode (R,)."""
        first = [Item(item.example, item.rows[:1]) for item in items]
        with _views_decided(self, seed):
            x_ND, _ = self.vectors(first, twice=True)
        u_RD, v_RD = halves(x_ND.double())
        return F.cosine_similarity(u_RD, v_RD)

    @property
    def _views(self) -> bool:
        return isinstance(self.head, Contrasted) and self.head.views

    def _said(self, raw: Any) -> Any:
        if self.form.kind == "regression":
            return raw * self.form.spread + self.form.mean
        return self.form.labels[raw] if self.form.kind == "pair" else raw


@contextmanager
def _views_decided(towers: nn.Module, seed: int = 0) -> Iterator[None]:
    """Training mode without gradients; dropout follows from `seed`, and the generator goes on afterwards as if nothing had been."""
    before = towers.training
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed_of(seed, "views"))
        towers.train()
        try:
            yield
        finally:
            towers.train(before)


def _means(x_MD: Tensor, counts: Sequence[int]) -> Tensor:
    """(M, D) -> (N, D): the means of `counts` vectors one behind the other; zeros of a text without tokens."""
    number = torch.tensor(counts, device=x_MD.device)
    text_M = torch.repeat_interleave(torch.arange(len(counts), device=x_MD.device), number)
    return x_MD.new_zeros(len(counts), x_MD.shape[1]).index_add_(0, text_M, x_MD) / number.clamp(min=1)[:, None]
