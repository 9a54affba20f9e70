"""Ids at rest, their order, and the rows that a model reads.

`write_shards`, `Shards`: at rest. For training: `Streams` (rows that go on where they stopped), `Packed` (rows without padding), `Pairs`
(of texts), `Contexts` (of words, for skip-gram). For scoring and reading: `document_batches`, `piece_batches`, `stream_batches`.
"""

from malmoi.shards.contexts import Contexts, staying
from malmoi.shards.documents import document_batches, piece_batches, stream_batches
from malmoi.shards.packed import Packed
from malmoi.shards.pairs import Pairs
from malmoi.shards.store import Shards, write_shards
from malmoi.shards.streams import Streams

__all__ = [
    "Contexts",
    "Packed",
    "Pairs",
    "Shards",
    "Streams",
    "document_batches",
    "piece_batches",
    "staying",
    "stream_batches",
    "write_shards",
]
