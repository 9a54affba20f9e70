"""A whole model for one task: a pre-trained model, a head on it, the loss, the answers; saved as a directory and read again.

R rows, N items, M positions that are read, P parts of a row, D width, K outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.artifact import refuse_absent, verify, write_json
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import RunSpec
from malmoi.core.seeds import seed_of
from malmoi.core.spec import validate
from malmoi.corpus import word_splitter
from malmoi.nn import PairHead
from malmoi.objectives import BiLM, Causal, Objective, build
from malmoi.readout.reading import evaluating
from malmoi.tasks.answering import answer
from malmoi.tasks.inputs import Form, Frame, Inputs, Item, WordInputs
from malmoi.tasks.learn import Group
from malmoi.tasks.readers import TextReader, WordReader, widened
from malmoi.tasks.spec import TuneSpec
from malmoi.tasks.task import Prediction
from malmoi.train import checkpoint as checkpoints
from malmoi.vocab import Subwords, Vocabulary, load_vocabulary

KIND = "tuned"
AGAIN = "run `malmoi finetune` again."
MARKS = 3
"""Start, delimiter and extract token (Radford et al. 2018, figure 1)."""
TOKENS = ("tagging", "span")
"""Kinds whose head reads single positions; the others read the means of parts."""
ITEMS = 64
"""Items that are answered at one time; those of similar length together."""


class Head(nn.Module):
    """(tanh layer ->) dropout -> linear: BERT's with the pooler, GPT-1's without. Everything of one owner is dropped alike: all choices of
    an example, as in GPT-1's program, so that none is better for what it has lost."""

    def __init__(self, width: int, outputs: int, *, pooler: bool, dropout: float) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width) if pooler else None
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(width, outputs)
        for linear in (part for part in (self.pooler, self.out) if part is not None):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x_ND: Tensor, owner_N: Tensor | None = None) -> Tensor:
        """(N, D) -> (N, K)."""
        if self.pooler is not None:
            x_ND = torch.tanh(self.pooler(x_ND))
        if owner_N is None or not self.training:
            return self.out(self.drop(x_ND))
        return self.out(x_ND * self.drop(x_ND.new_ones(int(owner_N[-1]) + 1, x_ND.shape[1]))[owner_N])


class Tuned(nn.Module):
    """loss: of some items, in training mode. predict: of examples, in the mode of evaluation whatever the module's own is.

    threshold: the doubt above which a question has no answer. heard: is told how many items are answered.
    """

    def __init__(self, reader: TextReader | WordReader, head: Head, inputs: Inputs | WordInputs, *, lm_weight: float) -> None:
        super().__init__()
        self.reader = reader
        self.head = head
        self.inputs = inputs
        self.form: Form = inputs.form
        self.lm_weight = lm_weight
        self.threshold = 0.0
        self.heard: Callable[[int], None] | None = None

    @classmethod
    def of(
        cls, objective: Objective, *, run: RunSpec, vocabulary: Vocabulary | Subwords, form: Form, spec: TuneSpec, seed: int = 0
    ) -> Tuned:
        """The model of `objective` (which changes with it) with a fresh head, decided by `seed`. spec: with its length and lm_weight."""
        assert spec.length is not None and spec.lm_weight is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "task", "head"))
            reader: TextReader | WordReader
            inputs: Inputs | WordInputs
            if isinstance(objective, BiLM):
                assert isinstance(vocabulary, Vocabulary)
                reader = WordReader(objective, vocabulary=vocabulary)
                inputs = WordInputs(word_splitter(run.text.words), form, spec.length)
                return cls(reader, _head(reader.width, form, spec, causal=False), inputs, lm_weight=0.0)
            assert isinstance(vocabulary, Subwords)
            causal, marks, known = isinstance(objective, Causal), vocabulary.marks, len(vocabulary)
            if causal:
                known = widened(objective.model, MARKS)
            frame = Frame(known, known + 1, known + 2, True) if causal else Frame(marks.begin, marks.end, marks.end, False)
            reader = TextReader(objective.model, marks=marks, language=spec.lm_weight > 0, known=known)
            head = _head(reader.width, form, spec, causal=causal)
            pair = objective.model.heads["pair"] if "pair" in objective.model.heads else None
            if head.pooler is not None and isinstance(pair, PairHead):
                head.pooler.load_state_dict(pair.pooler.state_dict())
            return cls(reader, head, Inputs(vocabulary, form, frame, spec.length), lm_weight=spec.lm_weight)

    def groups(self, spec: TuneSpec) -> list[Group]:
        """The head, then the layers from the top down, each with its rate and the epoch in which it begins to learn."""
        mix = [self.reader.mix] if isinstance(self.reader, WordReader) else []
        seen: set[int] = set()
        found = []
        for depth, modules in enumerate([[self.head, *mix], *self.reader.depths()]):
            parameters = [parameter for module in modules for parameter in module.parameters() if id(parameter) not in seen]
            seen.update(id(parameter) for parameter in parameters)
            found.append(Group(parameters, rate=spec.layer_decay**depth, begins=depth if spec.unfreeze else 0))
        return [group for group in found if group.parameters]

    def forward(self, items: Sequence[Item]) -> tuple[Tensor, np.ndarray, Tensor | None]:
        """((M, K) outputs, how many of them belong to each item (N,), the loss of the language model or None)."""
        rows = [row for item in items for row in item.rows]
        x_MD, language = self.reader(rows)
        counts = np.array([len(item.rows) for item in items])
        if self.form.kind in TOKENS:
            return self.head(x_MD), np.array([len(item.rows[0].parts[0]) for item in items]), language
        parts = [len(part) for row in rows for part in row.parts]
        x_RD = self._whole(_means(x_MD, parts).unflatten(0, (len(rows), -1)))
        if self.form.both:
            x_RD, counts = x_RD.unflatten(0, (-1, 2)).sum(1), counts // 2
        owner = torch.from_numpy(np.repeat(np.arange(len(items)), counts)).to(x_RD.device)
        return self.head(x_RD, owner), counts, language

    def loss(self, items: Sequence[Item]) -> Tensor:
        """The mean loss of the task, and `lm_weight` times that of the language model on the same texts."""
        outputs, counts, language = self(items)
        losses: dict[str, Callable[..., Tensor]] = {"regression": _squared, "tagging": _tags, "span": _spans, "choice": _choices}
        total = losses.get(self.form.kind, _labels)(outputs.float(), counts, [item.target for item in items])
        return total if language is None else total + self.lm_weight * language

    def predict(self, examples: Sequence[Any]) -> list[Prediction]:
        """In the order of the examples."""
        return self.answers(examples, self.inputs.items(examples))[0]

    def answers(self, examples: Sequence[Any], items: Sequence[Item]) -> tuple[list[Prediction], list[float]]:
        """(predictions, of questions the doubt whether there is an answer) for the items of `inputs.items(examples)`.

        A question that may have none is answered by "" where the doubt is above `threshold`.
        """
        outputs = self._outputs(items)
        if self.form.kind == "span":
            whose = [[*group] for _, group in groupby(range(len(items)), key=lambda place: items[place].example)]
            found = [
                answer(example, [items[place] for place in mine], [outputs[place] for place in mine])
                for example, mine in zip(examples, whose, strict=True)
            ]
            doubts = [doubt for _, doubt in found]
            return self.settled([text for text, _ in found], doubts), doubts
        if self.form.kind == "tagging":
            tags: list[list[str]] = [[] for _ in examples]
            for item, logits in zip(items, outputs, strict=True):
                assert item.of_word is not None
                tags[item.example] += _tags_of(item.of_word, logits.argmax(1), self.form)
            return [tuple(each) for each in tags], []
        return [self._prediction(logits) for logits in outputs], []

    def settled(self, texts: Sequence[str], doubts: Sequence[float]) -> list[Prediction]:
        """The answers, "" where the doubt is too great."""
        nothing = [self.form.unanswerable and doubt > self.threshold for doubt in doubts]
        return ["" if none else text for text, none in zip(texts, nothing, strict=True)]

    def _outputs(self, items: Sequence[Item]) -> list[np.ndarray]:
        """The outputs of each item, those of similar length computed together."""
        order = sorted(range(len(items)), key=lambda place: max(len(row.ids) + len(row.words) for row in items[place].rows))
        found: list[np.ndarray] = [np.zeros(0)] * len(items)
        with evaluating(self):
            for start in range(0, len(order), ITEMS):
                chosen = order[start : start + ITEMS]
                outputs, counts, _ = self([items[place] for place in chosen])
                for place, part in zip(chosen, np.split(outputs.float().cpu().numpy(), np.cumsum(counts)[:-1]), strict=True):
                    found[place] = part
                if self.heard is not None:
                    self.heard(start + len(chosen))
        return found

    def _prediction(self, logits: np.ndarray) -> Prediction:
        """(rows, K) of one item -> what it says."""
        if self.form.kind == "regression":
            return float(logits[0, 0]) * self.form.spread + self.form.mean
        return int(logits[:, 0].argmax()) if self.form.kind == "choice" else self.form.labels[int(logits[0].argmax())]

    def _whole(self, x_RPD: Tensor) -> Tensor:
        """What the head reads of the parts of a row; of two words in context also how far they are apart, component by component."""
        if self.form.kind != "context":
            return x_RPD[:, 0]
        return torch.cat([x_RPD.flatten(1), (x_RPD[:, 1] - x_RPD[:, 2]).abs()], dim=1)


def save(tuned: Tuned, folder: Path, *, run: RunSpec, vocabulary: Vocabulary | Subwords, spec: TuneSpec) -> dict[str, Any]:
    """Write the files of a tuned model into `folder`; returns the fields of its manifest. spec: with its length and lm_weight."""
    tensors, aliases = checkpoints.module_tensors(tuned)
    save_file(
        {name: tensor.cpu() for name, tensor in tensors.items()}, folder / "model.safetensors", metadata={"aliases": json.dumps(aliases)}
    )
    write_json(folder / "spec.json", run.model_dump(mode="json"))
    vocabulary.save(folder / "vocab")
    return {"form": tuned.form.model_dump(mode="json"), "tuning": spec.model_dump(mode="json"), "threshold": tuned.threshold}


def load(path: str | Path, *, device: torch.device | str = "cpu") -> Tuned:
    """Open what `malmoi finetune --out` wrote: `load(path).predict(examples)`. Raises MalmoiError M010, M007 (a run, or something else),
    M006, M020, M021 (damaged)."""
    path = Path(path)
    refuse_absent(path)
    manifest = verify(path, KIND, next=AGAIN)
    run = validate(RunSpec, json.loads((path / "spec.json").read_text(encoding="utf-8")))
    form, spec = validate(Form, manifest["form"]), validate(TuneSpec, manifest["tuning"])
    vocabulary = load_vocabulary(path / "vocab")
    tuned = Tuned.of(build(run, **vocabulary.sizes()), run=run, vocabulary=vocabulary, form=form, spec=spec)
    checkpoints.load_module(path, tuned, verified=True)
    tuned.threshold = float(manifest["threshold"])
    return tuned.to(device).eval()


def _head(width: int, form: Form, spec: TuneSpec, *, causal: bool) -> Head:
    outputs = {"regression": 1, "choice": 1, "span": 2}.get(form.kind, len(form.labels))
    if outputs == 0:
        raise MalmoiError("M155", path=form.task, problem="there is no label in its examples")
    pooled = not causal and form.kind not in (*TOKENS, "context")
    return Head(4 * width if form.kind == "context" else width, outputs, pooler=pooled, dropout=spec.dropout)


def _means(x_MD: Tensor, counts: Sequence[int]) -> Tensor:
    """(M, D) -> (parts, D): the means of `counts` vectors that stand one behind the other."""
    if len(counts) == len(x_MD):
        return x_MD
    number = torch.tensor(counts, device=x_MD.device)
    part_M = torch.repeat_interleave(torch.arange(len(counts), device=x_MD.device), number)
    return x_MD.new_zeros(len(counts), x_MD.shape[1]).index_add_(0, part_M, x_MD) / number[:, None]


def _padded(scores_M: Tensor, counts: np.ndarray) -> Tensor:
    """(M,) -> (N, longest), minus infinity behind each item's own."""
    here = torch.from_numpy(np.arange(counts.max()) < counts[:, None]).to(scores_M.device)
    return scores_M.new_full(here.shape, -torch.inf).masked_scatter(here, scores_M)


def _labels(outputs: Tensor, counts: np.ndarray, targets: list[int]) -> Tensor:
    return F.cross_entropy(outputs, torch.tensor(targets, device=outputs.device))


def _squared(outputs: Tensor, counts: np.ndarray, targets: list[float]) -> Tensor:
    return F.mse_loss(outputs[:, 0], torch.tensor(targets, device=outputs.device, dtype=outputs.dtype))


def _tags(outputs: Tensor, counts: np.ndarray, targets: list[np.ndarray]) -> Tensor:
    return F.cross_entropy(outputs, torch.from_numpy(np.concatenate(targets)).to(outputs.device))


def _choices(outputs: Tensor, counts: np.ndarray, targets: list[int]) -> Tensor:
    return F.cross_entropy(_padded(outputs[:, 0], counts), torch.tensor(targets, device=outputs.device))


def _spans(outputs: Tensor, counts: np.ndarray, targets: list[tuple[int, int]]) -> Tensor:
    both = torch.tensor(targets, device=outputs.device)
    return sum((F.cross_entropy(_padded(outputs[:, side], counts), both[:, side]) / 2 for side in (0, 1)), outputs.new_zeros(()))


def _tags_of(of_word: np.ndarray, units: np.ndarray, form: Form) -> list[str]:
    """The tag of each word. Of characters: those of a unit behind its first one go on with it (B- becomes I-), and a space belongs to
    what it stands in."""
    tags: list[str] = []
    for place, unit in enumerate(of_word.tolist()):
        tag = form.labels[int(units[unit])] if unit >= 0 else "O"
        goes_on = unit >= 0 and place > 0 and of_word[place - 1] == unit
        tags.append("I-" + tag[2:] if goes_on and tag.startswith("B-") else tag)
    for place in range(len(tags) - 2, -1, -1):
        if of_word[place] < 0 and tags[place + 1].startswith("I-"):
            tags[place] = tags[place + 1]
    return tags
