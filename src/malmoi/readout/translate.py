"""Beam search: the text that a decoder finds likeliest for a source.

R rows (sources), K beginnings of a row that are followed, T positions, V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from malmoi.core.errors import MalmoiError, at_least_one
from malmoi.core.marks import Marks
from malmoi.nn import Model
from malmoi.readout.generate import ROWS, Reading, never_written
from malmoi.readout.reading import evaluating, text_rows
from malmoi.vocab import Subwords


@dataclass(frozen=True)
class Search:
    """beam: beginnings that are followed (K), 1 for greedy search. penalty: strength of the length penalty, 0 for plain sums of
    log-probabilities. tokens: predictions of a text at most, the end mark is one. count: texts that are wanted, at most K."""

    beam: int = 4
    penalty: float = 0.6
    tokens: int = 100
    count: int = 1

    def __post_init__(self) -> None:
        at_least_one(beam=self.beam, tokens=self.tokens, count=self.count)
        if self.count > self.beam:
            problem, next = f"{self.beam} beams find {self.beam} texts", "use a larger beam."
            raise MalmoiError("M009", argument="count", value=self.count, problem=problem, next=next)
        if not 0.0 <= self.penalty < math.inf:
            raise MalmoiError("M009", argument="penalty", value=self.penalty, problem="it is at least 0", next="use 0.6.")


@dataclass(frozen=True)
class Found:
    """A text: its ids without the end mark, the sum of its log-probabilities, and that divided by the length penalty."""

    ids: tuple[int, ...]
    log_probability: float
    score: float


def length_penalty(length: int, strength: float) -> float:
    """((5 + length) / 6) ** strength (Wu et al. 2016, equation 14)."""
    return float(((5.0 + length) / 6.0) ** strength)


def beam_search(reading: Reading, prompt_RT: Tensor, *, search: Search, marks: Marks) -> list[list[Found]]:
    """The `count` best texts that follow each prompt, the best first."""
    rows = [_Row(search, marks.end) for _ in range(len(prompt_RT))]
    going, next_RT = rows, prompt_RT
    for step in range(1, search.tokens + 1):
        logits_NV = reading.read(next_RT)
        logits_NV[:, never_written(marks)] = -math.inf
        logp_NV = torch.log_softmax(logits_NV.double(), dim=1)
        parents: list[int] = []
        first = 0
        for row in going:
            wide = len(row.live)
            parents += [first + parent for parent in row.advance(logp_NV[first : first + wide], step)]
            first += wide
        going = [row for row in going if row.live]
        if not going:
            break
        reading.keep(torch.tensor(parents, device=prompt_RT.device))
        next_RT = torch.tensor([[text.ids[-1]] for row in going for text in row.live], device=prompt_RT.device)
    return [row.found for row in rows]


class _Row:
    """One row of a search. Each step takes the 2K likeliest continuations of its K beginnings: those among the first K that are ended
    are found, the first K others are followed. At the last step the beginnings are found as they stand. The row is done when no beginning
    can come out better than the worst of the `count` best that are found, which changes no result."""

    def __init__(self, search: Search, end: int) -> None:
        self.search, self.end = search, end
        self.live = [Found((), 0.0, 0.0)]
        self.found: list[Found] = []

    def advance(self, logp_KV: Tensor, step: int) -> list[int]:
        """Take in what may follow each beginning; from which beginning each of the new ones comes."""
        beam, count = self.search.beam, self.search.count
        scores_KV = logp_KV + torch.tensor([[text.log_probability] for text in self.live], dtype=torch.float64).to(logp_KV)
        best = scores_KV.flatten().topk(min(2 * beam, scores_KV.numel()))
        live: list[Found] = []
        parents: list[int] = []
        for place, (value, index) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            parent, id = divmod(index, scores_KV.shape[1])
            score = value / length_penalty(step, self.search.penalty)
            if id == self.end and place < beam:
                self.found.append(Found(self.live[parent].ids, value, score))
            elif id != self.end and len(live) < beam and value > -math.inf:
                live.append(Found((*self.live[parent].ids, id), value, score))
                parents.append(parent)
        last = step == self.search.tokens
        self.found = sorted([*self.found, *(live if last else [])], key=lambda text: -text.score)[:count]
        done = last or not live or self._decided(live[0])
        self.live = [] if done else live
        return [] if done else parents

    def _decided(self, likeliest: Found) -> bool:
        """Log-probabilities only fall, and are divided by the penalty of the longest text at most."""
        limit = length_penalty(self.search.tokens, self.search.penalty)
        return len(self.found) == self.search.count and self.found[-1].score >= likeliest.log_probability / limit


class Translator:
    """Texts for sources: an encoder, a decoder, and how their texts are cut into tokens. length: positions that either reads at once."""

    def __init__(self, encoder: Model, decoder: Model, vocabulary: Subwords, length: int) -> None:
        self.encoder, self.decoder, self.vocabulary, self.length = encoder, decoder, vocabulary, length

    def translate(
        self, sources: Sequence[str], *, beam: int = 4, penalty: float = 0.6, tokens: int | None = None, count: int = 1
    ) -> list[list[str]]:
        """The `count` best texts for each source, the best first; see `Search`. A result depends on nothing but its source.

        A longer source is read as far as the encoder reads at once, as in training. tokens: by default, and at most, as many as the
        decoder reads. Raises MalmoiError M009.
        """
        limit = self.length if tokens is None else min(tokens, self.length)
        search, marks = Search(beam=beam, penalty=penalty, tokens=limit, count=count), self.vocabulary.marks
        cut = [ids[: self.length - 1] for ids in self.vocabulary.encode_batch(list(sources))]
        order = sorted(range(len(sources)), key=lambda source: len(cut[source]))
        found: list[list[str]] = [[] for _ in sources]
        device = next(self.decoder.parameters()).device
        rows = max(1, ROWS // beam)
        for first in range(0, len(order), rows):
            chosen = order[first : first + rows]
            flat, size = np.concatenate([cut[source] for source in chosen]), np.array([len(cut[source]) for source in chosen])
            batch = text_rows(flat, start=np.cumsum(size) - size, count=size, marks=marks, around=(0, 1), device=device)
            with evaluating(self.encoder, self.decoder):
                memory = self.encoder.encode(batch).last
                reading = Reading(self.decoder, length=self.length, memory=memory, segments=batch.segments)
                begin_RT = torch.full((len(chosen), 1), marks.begin, device=device)
                best = beam_search(reading, begin_RT, search=search, marks=marks)
            for source, texts in zip(chosen, best, strict=True):
                found[source] = [self.vocabulary.decode(text.ids) for text in texts]
        return found
