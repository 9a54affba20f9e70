"""Ids at rest, their order, and the rows that a model reads: `write_shards`, `Shards`, `Streams`, `document_batches`, `stream_batches`."""

from malmoi.shards.documents import document_batches, stream_batches
from malmoi.shards.store import Shards, write_shards
from malmoi.shards.streams import Streams

__all__ = ["Shards", "Streams", "document_batches", "stream_batches", "write_shards"]
