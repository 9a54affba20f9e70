"""Documents in: sources become a stream of texts, and texts become words. Everything streams, in bounded memory."""

from malmoi.corpus.document import Document
from malmoi.corpus.files.blocks import text_lines
from malmoi.corpus.files.sources import source_files, source_fingerprint
from malmoi.corpus.reading.readers import Notice, read
from malmoi.corpus.words import word_splitter

__all__ = ["Document", "Notice", "read", "source_files", "source_fingerprint", "text_lines", "word_splitter"]
