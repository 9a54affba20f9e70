"""Exact perplexity of a bidirectional language model on a text.

Every word and one end mark a document is predicted once in each direction, with the full softmax; a word outside the output
vocabulary counts as `<UNK>`. Nothing is dropped, so the result belongs to model and text alone: batch size, chunks and the cut
into files do not change it. K is the size of the output vocabulary, V that of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress, Silent
from malmoi.core.spec import Spec
from malmoi.objectives.base import Carry, Score
from malmoi.shards import document_batches, stream_batches
from malmoi.vocab import BOS, EOS, UNK, EncodedText

WINDOW = 256
"""Positions of a chunk of long documents: it bounds memory, and changes nothing else."""


class Scorer(Protocol):
    """What is evaluated: a torch module with exact likelihoods over `output_size` words, e.g. `objectives.BiLM`."""

    training: bool

    @property
    def output_size(self) -> int: ...

    def score(self, batch: Batch, carry: Any = None) -> Score: ...

    def parameters(self) -> Iterator[Any]: ...

    def train(self, mode: bool = True) -> Any: ...


class Evaluation(Spec):
    """How well a text is predicted.

    perplexity: exp of the mean of the two directions' mean negative log-likelihoods (nats a prediction).
    forward_perplexity, backward_perplexity: exp of each direction's.
    perplexity_known: as `perplexity`, over the predictions whose target is not `<UNK>`.
    unigram_perplexity: of the same predictions under `unigram`'s distribution; None if none was given.
    bits_per_byte: mean over the directions of all bits of the text, divided by its bytes (`EncodedText.bytes`): comparable between
        vocabularies as far as `unknown_rate` is small.
    unknown_rate: share of the words (end marks are not counted) whose target is `<UNK>`.
    tokens: words. documents: end marks. scored: tokens + documents, the predictions in each direction. bytes: see above.
    state: how documents began, see `evaluate`.
    """

    perplexity: float
    forward_perplexity: float
    backward_perplexity: float
    perplexity_known: float
    unigram_perplexity: float | None
    bits_per_byte: float
    unknown_rate: float
    tokens: int
    documents: int
    scored: int
    bytes: int
    state: Literal["reset", "warm", "compat"]


def evaluate(
    objective: Scorer,
    text: EncodedText,
    *,
    state: Literal["reset", "warm", "compat"] = "reset",
    warm: Carry = None,
    batch_tokens: int = 8192,
    unigram: np.ndarray | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a text in evaluation mode (and leave the objective in the mode in which it was).

    state: `reset` every document starts from zeros; `warm` from `warm`, a carry of one row in each direction; `compat` one stream of
        all documents in order, from zeros and never reset, which is what bilm-tf's evaluation does with batch size 1.
    batch_tokens: predictions in each direction that are computed at once (speed and memory only).
    unigram: distribution (K,) over the output words, see `unigram`.
    device: where the objective is (default: where its parameters are).
    progress: hears how many predictions of `scored` are done.
    Raises MalmoiError M017 for a text without a document, M009 for `warm` without a carry.
    """
    documents, tokens = len(text.ends), len(text.ids)
    if not documents:
        raise MalmoiError("M017", tokens=0, documents=0, needed="an evaluation", next="give a text with words.")
    device = device or next(iter(objective.parameters())).device
    heard, done = progress or Silent(), 0
    heard.stage("scoring", tokens + documents)
    nats = torch.zeros(2, 2, dtype=torch.float64, device=device)
    with evaluating(objective), torch.no_grad():
        for batch, score in _scores(objective, text, state=state, warm=warm, batch_tokens=batch_tokens, device=device):
            nats += _sums(batch.targets["next"], score.nll, objective.output_size)
            done += int(batch.segments.count_nonzero()) // 2
            heard.advance(done)
    everything, known = nats.cpu().numpy()
    outputs = np.where(text.ids < objective.output_size, text.ids, UNK)
    unknown, scored = int(np.count_nonzero(outputs == UNK)), tokens + documents
    return Evaluation(
        perplexity=perplexity_of(everything.mean() / scored),
        forward_perplexity=perplexity_of(everything[0] / scored),
        backward_perplexity=perplexity_of(everything[1] / scored),
        perplexity_known=perplexity_of(known.mean() / (scored - unknown)),
        unigram_perplexity=None if unigram is None else _unigram_perplexity(outputs, documents, unigram),
        bits_per_byte=float(everything.mean() / math.log(2) / text.bytes),
        unknown_rate=unknown / max(tokens, 1),
        tokens=tokens,
        documents=documents,
        scored=scored,
        bytes=text.bytes,
        state=state,
    )


def unigram(counts: np.ndarray, *, size: int, documents: int) -> np.ndarray:
    """The distribution of single words in the training text, over the output words: what a model without context would predict.

    counts (V,): of the training text, as in `Vocabulary.counts`; size: K; documents: of the training text.
    -> (K,) float64, sums to 1. The words past K are counted together as `<UNK>`, `</S>` as often as there are documents; then every
    entry gets one more, so that nothing is impossible. `<S>` has probability 0: backward it stands where `</S>` does forward, and
    has its probability.
    """
    size = min(size, len(counts))
    found = counts[:size].astype(np.float64)
    found[UNK] += counts[size:].sum()
    found[EOS] = documents
    found += 1.0
    found[BOS] = 0.0
    return found / found.sum()


def _unigram_perplexity(outputs: np.ndarray, documents: int, distribution: np.ndarray) -> float:
    """outputs (tokens,): output words of the text."""
    nats = -np.log(distribution[outputs]).sum() - documents * math.log(distribution[EOS])
    return perplexity_of(nats / (len(outputs) + documents))


def _scores(
    objective: Scorer, text: EncodedText, *, state: str, warm: Carry, batch_tokens: int, device: torch.device | str
) -> Iterator[tuple[Batch, Score]]:
    """Every batch of the text with its scores; the state goes from chunk to chunk."""
    if state == "warm" and warm is None:
        raise MalmoiError("M009", argument="state", value=state, problem="this run has no stored warm state", next="use state reset.")
    groups: Iterator[tuple[Iterator[Batch], int]]
    if state == "compat":
        groups = iter([(stream_batches(text, window=batch_tokens), 1)])
    else:
        groups = ((chunks, len(rows)) for chunks, rows in document_batches(text, tokens=batch_tokens, window=WINDOW))
    for chunks, rows in groups:
        carry = _repeated(warm, rows) if state == "warm" else None
        for chunk in chunks:
            batch = chunk.to(device)
            score = objective.score(batch, carry)
            carry = score.carry
            yield batch, score


def _sums(target: Tensor, nll: Tensor, size: int) -> Tensor:
    """Nats of a batch, (2, 2) float64: all predictions and those of known words, each forward and backward."""
    known = nll.double().masked_fill((target == UNK) | (target >= size), 0.0)
    return torch.stack([torch.stack([half.sum() for half in values.chunk(2)]) for values in (nll.double(), known)])


def _repeated(carry: Carry, rows: int) -> Carry:
    """A carry of one row a direction, for `rows` rows: trees of dicts and tuples of tensors (1, ...)."""
    if isinstance(carry, Tensor):
        return carry.expand(rows, *carry.shape[1:]).contiguous()
    if isinstance(carry, dict):
        return {name: _repeated(part, rows) for name, part in carry.items()}
    return tuple(_repeated(part, rows) for part in carry)


@contextmanager
def evaluating(objective: Any) -> Iterator[None]:
    """Evaluation mode, and afterwards the mode in which the objective was."""
    before = objective.training
    objective.train(False)
    try:
        yield
    finally:
        objective.train(before)


def perplexity_of(nats: float) -> float:
    """A perplexity; infinite where it is beyond float64."""
    return math.exp(nats) if not nats > 700.0 else math.inf
