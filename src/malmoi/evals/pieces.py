"""What a Transformer is worth on a text, exactly: perplexity of causal models, pseudo-perplexity of masked ones.

Documents longer than the model reads are cut at fixed places; nothing is dropped, and no piece sees another. So a result belongs to model
and text alone: neither batch size, nor packing, nor the order of the documents changes it. R rows, T positions, K output tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.progress import Progress, Silent
from malmoi.core.spec import Spec
from malmoi.evals.perplexity import evaluating, perplexity_of
from malmoi.evals.sample import task_scores, unigram_nats
from malmoi.objectives import Causal, Masked, Replaced, Sequence
from malmoi.shards import Pairs, Shards, piece_batches
from malmoi.vocab import EncodedText


class CausalEvaluation(Spec):
    """How well a text is predicted from left to right.

    perplexity: exp of the mean negative log-likelihood (nats) over every token and one end mark a document.
    accuracy: share of those predictions whose most likely token is the right one.
    unigram_perplexity: of the same predictions under `unigram_of`'s distribution; None if none was given.
    bits_per_byte: all bits of the text, divided by its bytes (`EncodedText.bytes`): comparable between vocabularies.
    unknown_rate: share of the tokens (end marks are not counted) that are unknown.
    tokens, documents: of the text; scored: predictions; bytes: see above.
    length: the most positions of a row: where a document is cut, the piece after it sees nothing of it but one token.
    """

    perplexity: float
    accuracy: float
    unigram_perplexity: float | None
    bits_per_byte: float
    unknown_rate: float
    tokens: int
    documents: int
    scored: int
    bytes: int
    length: int


class SequenceEvaluation(CausalEvaluation):
    """As `CausalEvaluation`, of targets given their sources; tokens, unknown_rate and bytes are those of the targets.

    cut: pairs with a side longer than `length`, which are read, and scored, as far as it reaches; the bits of their rest are not in
        bits_per_byte.
    """

    cut: int


class MaskedEvaluation(Spec):
    """How well each token of a text is predicted from all the others.

    pseudo_perplexity: exp of the mean negative pseudo-log-likelihood of the tokens, each masked by itself, one at a time, between the
        marks of its piece; the marks are not scored (Salazar et al. 2020, equations 1 and 2; all pieces of a word but the one that is
        masked are seen). It is no perplexity, and comparable between models with one vocabulary and one `length` only.
    masked_accuracy: share of the tokens whose most likely filling is the right one, from the same passes.
    bits_per_byte: the bits of the pseudo-log-likelihood, divided by the text's bytes.
    unknown_rate, tokens, documents, bytes, length: as in `CausalEvaluation`; a piece holds length - 2 tokens.
    pair_accuracy: share of the pairs of segments that are told right (next sentence, sentence order).
    replaced_accuracy: share of all tokens of filled text that are told right to be original or replaced; replaced_base: share
        of originals, what always saying "original" gives; replaced_found: share of the replaced tokens that are found.
    These last ones are over one epoch of packed rows of the text with fixed draws; None for models without the task.
    """

    pseudo_perplexity: float
    masked_accuracy: float
    bits_per_byte: float
    unknown_rate: float
    tokens: int
    documents: int
    bytes: int
    length: int
    pair_accuracy: float | None = None
    replaced_accuracy: float | None = None
    replaced_base: float | None = None
    replaced_found: float | None = None


def evaluate_causal(
    objective: Causal,
    text: EncodedText,
    *,
    marks: Marks,
    length: int,
    batch_tokens: int = 8192,
    unigram: np.ndarray | None = None,
    progress: Progress | None = None,
) -> CausalEvaluation:
    """Score a text in evaluation mode, where the objective is (and leave it in the mode in which it was).

    length: positions that the model reads at once; batch_tokens: positions that are computed at once (speed and memory only);
    unigram: distribution (K,), see `unigram_of`. Raises MalmoiError M017 for a text with nothing to predict.
    """
    _refuse_nothing(text, predictions=len(text.ends))
    batches = (batch for batch, *_ in piece_batches(text, marks=marks, layout="causal", length=length, tokens=batch_tokens))
    total = len(text.ids) + len(text.ends)
    nats, found = _likelihoods(objective, batches, total=total, unigram=unigram, progress=progress)
    return CausalEvaluation(**found, **_facts(objective, text, marks, nats=nats), length=length)


def evaluate_pairs(
    objective: Sequence,
    source: EncodedText,
    target: EncodedText,
    *,
    marks: Marks,
    length: int,
    batch_tokens: int = 8192,
    unigram: np.ndarray | None = None,
    progress: Progress | None = None,
) -> SequenceEvaluation:
    """As `evaluate_causal`, of targets given their sources: text i of `target` belongs to text i of `source`.

    Raises MalmoiError M017 for no text, M025 for two texts of different numbers of documents.
    """
    _refuse_nothing(target, predictions=len(target.ends))
    sides = [Shards.of(text.ids, text.ends) for text in (source, target)]
    pairs = Pairs(sides[0], sides[1], marks=marks, rows=max(1, batch_tokens // length), length=length, seed=0)
    batches = (pairs.batch(number) for number in range(pairs.groups))
    nats, found = _likelihoods(objective, batches, total=pairs.positions, unigram=unigram, progress=progress)
    return SequenceEvaluation(**found, **_facts(objective, target, marks, nats=nats), length=length, cut=pairs.cut)


def evaluate_masked(
    objective: Masked | Replaced,
    text: EncodedText,
    *,
    marks: Marks,
    length: int,
    batch_tokens: int = 8192,
    progress: Progress | None = None,
) -> MaskedEvaluation:
    """Score a text, one forward pass for every token of it; arguments and errors as in `evaluate_causal`.

    Of `Replaced` the generator fills the gaps, and what the model tells of replaced tokens is counted besides.
    """
    tokens = len(text.ids)
    _refuse_nothing(text, predictions=tokens)
    heard, done, right = progress or Silent(), 0, 0
    heard.stage("scoring each token by itself", tokens)
    nats = 0.0
    with evaluating(objective), torch.no_grad():
        for batch, *_ in piece_batches(text, marks=marks, layout="single", length=length, tokens=batch_tokens):
            for gaps, place_R, target_R in _gaps(batch.to(_device(objective)), marks, tokens=batch_tokens):
                nll_R, hit_R = _filled(objective, gaps, place_R, target_R)
                nats += float(nll_R.double().sum())
                right += int(hit_R.sum())
                done += len(target_R)
                heard.advance(done)
    tasks = task_scores(objective, text, marks=marks, length=length, batch_tokens=batch_tokens)
    return MaskedEvaluation(
        pseudo_perplexity=perplexity_of(nats / tokens),
        masked_accuracy=right / tokens,
        **_facts(objective, text, marks, nats=nats),
        length=length,
        **tasks,
    )


def unigram_of(shards: Shards, *, size: int, marks: Marks) -> np.ndarray:
    """The distribution of single tokens in the training text, as `unigram` has it for words: (K,) float64, sums to 1.

    Ids past `size` are unknown, the end mark counts once a document, and every entry gets one more, so that nothing is impossible.
    """
    counts = np.zeros(size, np.int64)
    for start in range(0, shards.tokens, 1 << 20):
        ids = shards.ids(start, min(start + (1 << 20), shards.tokens))
        counts += np.bincount(np.where(ids < size, ids, marks.unknown), minlength=size)
    counts[marks.end] = shards.documents
    return (counts + 1.0) / (counts.sum() + size)


def _likelihoods(
    objective: Causal | Sequence, batches: Iterator[Batch], *, total: int, unigram: np.ndarray | None, progress: Progress | None
) -> tuple[float, dict[str, Any]]:
    """Nats of all targets of the batches; their perplexity, accuracy, unigram_perplexity and number (scored)."""
    heard, device = progress or Silent(), _device(objective)
    heard.stage("scoring", total)
    nats, nats_unigram, right, scored = 0.0, 0.0, 0, 0
    with evaluating(objective), torch.no_grad():
        for batch in batches:
            found = objective.score(batch.to(device))
            assert found.hit is not None
            nats += float(found.nll.double().sum())
            right += int(found.hit.sum())
            scored += int((batch.targets["next"] >= 0).sum())
            nats_unigram += 0.0 if unigram is None else unigram_nats(batch.targets["next"], unigram, objective.unknown)
            heard.advance(scored)
    return nats, {
        "perplexity": perplexity_of(nats / scored),
        "accuracy": right / scored,
        "unigram_perplexity": None if unigram is None else perplexity_of(nats_unigram / scored),
        "scored": scored,
    }


def _gaps(batch: Batch, marks: Marks, *, tokens: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Copies of the rows, at most `tokens` positions (or one row) at a time, each with one of its tokens masked: (copies, the place of
    the gap in each (R,), what stood there (R,)). Every token between the marks of a row once."""
    assert marks.mask is not None, "a masked model needs a vocabulary with a mask"
    size_R = (batch.segments > 0).sum(1)
    row_N = torch.repeat_interleave(size_R - 2)
    place_N = torch.arange(len(row_N), device=row_N.device) - ((size_R - 2).cumsum(0) - (size_R - 2))[row_N] + 1
    start = 0
    while start < len(row_N):
        width = int(size_R[row_N[start]])  # the longest rows come first
        stop = start + max(1, tokens // width)
        row_R, place_R = row_N[start:stop], place_N[start:stop]
        width = int(size_R[row_R].max())
        ids = batch.ids[row_R, :width]
        each = torch.arange(len(row_R), device=ids.device)
        target_R = ids[each, place_R]
        ids[each, place_R] = marks.mask
        yield Batch(ids=ids, segments=batch.segments[row_R, :width], positions=batch.positions[row_R, :width]), place_R, target_R
        start = stop


def _filled(objective: Masked | Replaced, gaps: Batch, place_R: Tensor, target_R: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) likelihoods in nats and whether the target was the most likely token; the head reads the gaps alone."""
    model = objective.generator if isinstance(objective, Replaced) else objective.model
    x_RD = model.encode(gaps).last[torch.arange(len(place_R), device=place_R.device), place_R]
    return objective.head.score(x_RD, target_R.masked_fill(target_R >= objective.output_size, objective.marks.unknown))


def _facts(objective: Causal | Sequence | Masked | Replaced, text: EncodedText, marks: Marks, *, nats: float) -> dict[str, Any]:
    unknown = int(np.count_nonzero((text.ids >= objective.output_size) | (text.ids == marks.unknown)))
    return {
        "bits_per_byte": nats / math.log(2) / text.bytes,
        "unknown_rate": unknown / max(len(text.ids), 1),
        "tokens": len(text.ids),
        "documents": len(text.ends),
        "bytes": text.bytes,
    }


def _refuse_nothing(text: EncodedText, *, predictions: int) -> None:
    if not predictions:
        raise MalmoiError("M017", tokens=0, documents=len(text.ends), needed="an evaluation", next="give a text with words.")


def _device(objective: torch.nn.Module) -> torch.device:
    return next(objective.parameters()).device
