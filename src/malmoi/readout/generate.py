"""Texts that a model writes: token by token from left to right, drawn from its distributions.

R rows (texts that are written at the same time), T positions, D width, V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.chance import uniform
from malmoi.core.errors import MalmoiError, at_least_one
from malmoi.core.marks import Marks
from malmoi.core.seeds import seed_of
from malmoi.nn import Model, State
from malmoi.nn.heads import VocabularyHead, drawn
from malmoi.readout.reading import evaluating
from malmoi.vocab import Subwords

ROWS = 256
"""Texts that are written at the same time."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: from the distribution at `temperature`, of it the `top_k` most likely tokens (Fan et al. 2018), of
    these the fewest that have `top_p` of the probability (Holtzman et al. 2020); `greedy`: always the most likely one.

    Raises MalmoiError M009 for numbers that make no sense.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    greedy: bool = False

    def __post_init__(self) -> None:
        for name, value, sensible, next in (
            ("temperature", self.temperature, 0.0 < self.temperature < math.inf, "use 0.7, or greedy for the limit of 0."),
            ("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "use 40."),
            ("top_p", self.top_p, self.top_p is None or 0.0 < self.top_p <= 1.0, "use 0.9."),
        ):
            if not sensible:
                raise MalmoiError("M009", argument=name, value=value, problem="nothing could be drawn with it", next=next)


def distribution(logits_RV: Tensor, sampling: Sampling) -> Tensor:
    """(R, V) float64 probabilities from which the next token is drawn. Of tokens that are as likely, those with lower ids come first."""
    p_RV = torch.softmax(logits_RV.double() / sampling.temperature, dim=1)
    if sampling.greedy:
        return torch.zeros_like(p_RV).scatter_(1, p_RV.argmax(1, keepdim=True), 1.0)
    if sampling.top_k is None and sampling.top_p is None:
        return p_RV
    order_RV = p_RV.sort(dim=1, descending=True, stable=True)
    kept_RV = order_RV.values.clone()
    if sampling.top_k is not None:
        kept_RV[:, sampling.top_k :] = 0.0
    if sampling.top_p is not None:
        before_RV = kept_RV.cumsum(1) - kept_RV
        kept_RV = kept_RV.masked_fill(before_RV >= sampling.top_p * kept_RV.sum(1, keepdim=True), 0.0)
    kept_RV = kept_RV / kept_RV.sum(1, keepdim=True)
    return torch.zeros_like(p_RV).scatter_(1, order_RV.indices, kept_RV)


class Reading:
    """A model that reads on, row by row, and remembers keys and values.

    length: positions that it reads at once. When they are full it begins anew with the last tokens, half of `length`, as training begins
    in the middle of a document that a row has cut (`window`); what stands before them is forgotten.
    memory (R, S, D), segments (R, S): of the encoder, for a decoder.
    """

    def __init__(self, model: Model, *, length: int, memory: Tensor | None = None, segments: Tensor | None = None) -> None:
        self.model, self.length = model, length
        self._memory, self._segments = memory, segments
        self._ids: Tensor | None = None
        self._start = 0
        self._state: State = ()

    def read(self, ids_RT: Tensor) -> Tensor:
        """Read T further tokens; (R, V) logits of what comes next."""
        self._ids = ids_RT if self._ids is None else torch.cat([self._ids, ids_RT], dim=1)
        total = self._ids.shape[1]
        start = window(total, self.length)
        first = total - ids_RT.shape[1]
        if not self._state or start != self._start:  # a backbone that keeps no state reads everything anew each time
            self._start, self._state, first = start, self.model.initial_state(len(ids_RT)), start
        new_RT = self._ids[:, first:]
        positions = torch.arange(first - start, total - start, device=ids_RT.device).expand(new_RT.shape)
        batch = Batch(ids=new_RT, segments=torch.ones_like(new_RT), positions=positions)
        trace = self.model.encode(batch, self._state, memory=self._memory, memory_segments=self._segments)
        self._state = trace.state
        head = self.model.heads["words"]
        assert isinstance(head, VocabularyHead)
        return head.logits(trace.last[:, -1]).float()

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (indices, which may repeat)."""
        assert self._ids is not None
        self._ids = self._ids[rows]
        self._state = tuple(tuple(each[rows] for each in block) for block in self._state)
        self._memory = None if self._memory is None else self._memory[rows]
        self._segments = None if self._segments is None else self._segments[rows]


def window(total: int, length: int) -> int:
    """The first of `total` tokens that is still read: at most `length` are, and the window moves on by half of it (rounded up)."""
    step = length - length // 2
    return 0 if total <= length else -(-(total - length) // step) * step


def write(reading: Reading, prompt_RT: Tensor, *, keys_R: Tensor, tokens: int, sampling: Sampling, marks: Marks) -> list[list[int]]:
    """What follows the prompts: for each row at most `tokens` ids, up to the end mark, which is left out.

    keys_R: decide what is drawn in each row, whatever the others are. Marks that stand in no text are never written.
    """
    written: list[list[int]] = [[] for _ in range(len(prompt_RT))]
    open_R = torch.arange(len(prompt_RT))
    chance_RT = uniform(keys_R, max(tokens, 1), 0)
    next_RT = prompt_RT
    for step in range(tokens):
        logits_RV = reading.read(next_RT)
        logits_RV[:, never_written(marks)] = -math.inf
        ids_R = drawn(distribution(logits_RV, sampling), chance_RT[open_R, step].to(logits_RV.device)).cpu()
        goes_on = (ids_R != marks.end).nonzero().squeeze(1)
        open_R, ids_R = open_R[goes_on], ids_R[goes_on]
        for row, id in zip(open_R.tolist(), ids_R.tolist(), strict=True):
            written[row].append(id)
        if not len(open_R):
            break
        if len(goes_on) < len(logits_RV):
            reading.keep(goes_on.to(prompt_RT.device))
        next_RT = ids_R[:, None].to(prompt_RT.device)
    return written


class Writer:
    """Goes on with texts: a causal model and how its texts are cut into tokens."""

    def __init__(self, model: Model, vocabulary: Subwords, length: int) -> None:
        self.model, self.vocabulary, self.length = model, vocabulary, length

    def write(
        self, prompts: Sequence[str], *, tokens: int = 100, count: int = 1, sampling: Sampling | None = None, seed: int = 0
    ) -> list[list[str]]:
        """`count` texts for each prompt, prompt included, with at most `tokens` tokens more, up to the end mark.

        A text depends on prompt, seed and its number alone, not on the other prompts. A prompt that is longer than the model reads is
        read from the middle of it on, see `Reading`; the same happens to a text that becomes longer.
        Raises MalmoiError M009 for less than one token or text.
        """
        at_least_one(tokens=tokens, count=count)
        sampling, marks = sampling or Sampling(), self.vocabulary.marks
        begun = [[marks.begin, *ids.tolist()] for ids in self.vocabulary.encode_batch(list(prompts))]
        jobs = sorted(((prompt, number) for prompt in range(len(prompts)) for number in range(count)), key=lambda job: len(begun[job[0]]))
        found: dict[tuple[int, int], str] = {}
        device = next(self.model.parameters()).device
        with evaluating(self.model):
            for chosen in _alike([len(begun[prompt]) for prompt, _ in jobs]):
                rows = [jobs[place] for place in chosen]
                prompt_RT = torch.tensor([begun[prompt] for prompt, _ in rows], device=device)
                keys_R = torch.tensor([seed_of(seed, "text", number) for _, number in rows])
                reading = Reading(self.model, length=self.length)
                more = write(reading, prompt_RT, keys_R=keys_R, tokens=tokens, sampling=sampling, marks=marks)
                for (prompt, number), ids in zip(rows, more, strict=True):
                    found[prompt, number] = self._text(prompts[prompt], begun[prompt][1:], ids)
        return [[found[prompt, number] for number in range(count)] for prompt in range(len(prompts))]

    def _text(self, prompt: str, read: list[int], more: list[int]) -> str:
        """The prompt as it was given, where its tokens say as much, and what follows."""
        known, whole = self.vocabulary.decode(read), self.vocabulary.decode([*read, *more])
        if not whole.startswith(known):
            return whole
        doubled = prompt[-1:].isspace() and not known[-1:].isspace()
        return prompt + (whole[len(known) :].lstrip() if doubled else whole[len(known) :])


def never_written(marks: Marks) -> list[int]:
    """Marks that stand in no text."""
    return [id for id in marks.ids if id not in (marks.unknown, marks.end)]


def _alike(lengths: list[int]) -> list[range]:
    """Rising lengths -> ranges of equal ones, at most `ROWS` each."""
    edges = [place for place in range(len(lengths)) if not place or lengths[place] != lengths[place - 1]] + [len(lengths)]
    return [range(at, min(at + ROWS, stop)) for start, stop in zip(edges[:-1], edges[1:], strict=True) for at in range(start, stop, ROWS)]
