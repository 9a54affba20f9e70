"""The ids that are no words. Of a word vocabulary: end and beginning of a document, unknown word (order as in bilm-tf's files)."""

EOS, BOS, UNK = 0, 1, 2
MARKS = ("</S>", "<S>", "<UNK>")

SUBWORD_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The first ids of every vocabulary of subwords that is trained here, whatever the objective: one vocabulary serves them all."""
