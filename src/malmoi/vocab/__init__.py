"""Text <-> ids: all types of a corpus by falling count and how each is spelt, or subwords. One artifact for training and for use."""

from malmoi.vocab.characters import Characters
from malmoi.vocab.encoded import EncodedText, encode_documents
from malmoi.vocab.load import load_vocabulary
from malmoi.vocab.marks import BOS, EOS, MARKS, UNK
from malmoi.vocab.report import VocabularyReport, refuse_unknown, report
from malmoi.vocab.subword_report import PieceCounts, SubwordReport
from malmoi.vocab.subwords import Subwords, text_chunks
from malmoi.vocab.vocabulary import Vocabulary, count_words

__all__ = [
    "BOS",
    "EOS",
    "MARKS",
    "UNK",
    "Characters",
    "EncodedText",
    "PieceCounts",
    "SubwordReport",
    "Subwords",
    "Vocabulary",
    "VocabularyReport",
    "count_words",
    "encode_documents",
    "load_vocabulary",
    "refuse_unknown",
    "report",
    "text_chunks",
]
