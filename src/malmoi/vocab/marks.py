"""The three ids that are no words of the corpus: end and beginning of a document, unknown word (order as in bilm-tf's files)."""

EOS, BOS, UNK = 0, 1, 2
MARKS = ("</S>", "<S>", "<UNK>")
