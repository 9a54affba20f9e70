"""Texts in rows, for scoring and reading: a row for each document or piece of one, only its end padded; or all documents one after the
other in one row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from malmoi.core.batch import Batch
from malmoi.core.marks import Marks
from malmoi.shards.draws import keys_of
from malmoi.shards.pieces import Grid, Spans, causal_rows, marked_rows
from malmoi.shards.rows import Spelling, rows_at, segments_of
from malmoi.shards.store import Shards
from malmoi.vocab import EncodedText


def document_batches(
    text: EncodedText | Shards, *, tokens: int, window: int, spelling: Spelling | None = None
) -> Iterator[tuple[Iterator[Batch], np.ndarray]]:
    """Groups of documents of similar length, the longest first: `(chunks, documents)`.

    documents (R,) int64 are indices into the text; row r of every chunk (and row R + r, backward) belongs to documents[r].
    Chunks of at most `window` positions follow one another: the state after one is the carry for the next. A chunk has at
    most `tokens` positions in each direction, or one row. Where a document has ended, segments are 0 and targets -1.
    `spelling` goes with Shards; an EncodedText spells its own ids.
    """
    shards, spell = _readable(text, spelling)
    for documents in groups(shards.lengths + 1, tokens=tokens, window=window):
        yield _chunks(shards, spell, documents, window), documents


def stream_batches(text: EncodedText | Shards, *, window: int, spelling: Spelling | None = None) -> Iterator[Batch]:
    """All documents in their order as one row in each direction, `window` positions a batch; the state goes on throughout."""
    shards, spell = _readable(text, spelling)
    begins = shards.ends - shards.lengths + np.arange(shards.documents)
    positions = shards.tokens + shards.documents
    for start in range(0, positions, window):
        place = np.arange(start, min(start + window, positions), dtype=np.int64)[None, :]
        document = np.searchsorted(begins, place, side="right") - 1
        offset = place - begins[document]
        yield rows_at(shards, spell, document=document, offset=offset, segments=segments_of(offset))


def piece_batches(
    text: EncodedText | Shards, *, marks: Marks, layout: Literal["causal", "single"], length: int, tokens: int
) -> Iterator[tuple[Batch, np.ndarray, np.ndarray]]:
    """Rows of one piece of one document each, the longest first: `(batch, documents, offsets)`, (R,) int64 each of the latter.

    A document is cut every `length` positions (causal: n + 1 of them, targets["next"]) or `length - 2` tokens (single: each piece has
    its own marks around it; an empty document is one piece of marks), whatever is beside it. A batch has rows of similar length,
    at most `tokens` positions or one row; segments are 0 and targets -1 behind the end of a row.
    Row r reads documents[r] from offsets[r] on: its position t predicts token offsets[r] + t (the end mark, where the document has no such
    token) in a causal row, and reads token offsets[r] + t - 1 in a single one. keys are those of (document, offset).
    """
    shards, _ = _readable(text, None)
    border = 0 if layout == "causal" else 2
    assert length > border
    places = shards.lengths + (layout == "causal")
    counts = np.maximum(-(-places // (length - border)), 1)
    document = np.repeat(np.arange(shards.documents), counts)
    offset = (np.arange(len(document)) - (np.cumsum(counts) - counts)[document]) * (length - border)
    size = np.minimum(places[document] - offset, length - border) + border
    for members in groups(size, tokens=tokens, window=length):
        documents, offsets, sizes = document[members], offset[members], size[members]
        grid = Grid(np.arange(len(members)), sizes, rows=len(members), length=int(sizes.max()))
        keys = keys_of(keys_of(documents, "document") + offsets, "piece")
        if layout == "causal":
            batch = causal_rows(shards, marks, grid, document=documents, offset=offsets, keys=keys)
        else:
            start = shards.bounds(documents)[0] + offsets
            batch = marked_rows(shards, marks, grid, spans=Spans.single(start, sizes - border), keys=keys)
        yield batch, documents, offsets


def groups(positions: np.ndarray, *, tokens: int, window: int) -> Iterator[np.ndarray]:
    """Indices of `positions` (documents,) in groups: `rows x min(longest, window) <= tokens`, the shortest over 3/4 of the longest."""
    order = np.argsort(-positions, kind="stable")
    start = 0
    while start < len(order):
        longest = int(positions[order[start]])
        rows = max(1, tokens // min(longest, window))
        near = start + int(np.searchsorted(-positions[order[start : start + rows]], -(3 * longest) // 4, side="right"))
        stop = max(start + 1, near)
        yield order[start:stop]
        start = stop


def _chunks(shards: Shards, spelling: Spelling | None, documents: np.ndarray, window: int) -> Iterator[Batch]:
    length = shards.lengths[documents, None] + 1
    longest = int(length.max())
    for start in range(0, longest, window):
        offset = np.arange(start, min(start + window, longest), dtype=np.int64)[None, :].repeat(len(documents), axis=0)
        document = np.broadcast_to(documents[:, None], offset.shape)
        yield rows_at(shards, spelling, document=document, offset=offset, segments=(offset < length).astype(np.int64))


def _readable(text: EncodedText | Shards, spelling: Spelling | None) -> tuple[Shards, Spelling | None]:
    return (text, spelling) if isinstance(text, Shards) else (Shards.of(text.ids, text.ends), text.spelling)
