"""Word2Vec's skip-gram with negative sampling (Mikolov et al. 2013) in two sizes: the static baseline of every contextual model.

A front-end and no backbone: one vector a word, learned by telling the words around it from drawn ones.
"""

from __future__ import annotations

from malmoi.core.recipe import (
    IdentitySpec,
    ModelSpec,
    RowsSpec,
    RunSpec,
    SGDSpec,
    SkipGramSpec,
    TextSpec,
    TokenEmbeddingSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)

PAPER = "Mikolov et al. 2013, Distributed Representations of Words and Phrases and their Compositionality, NIPS, https://arxiv.org/abs/1310.4546"


def word2vec_small() -> RunSpec:
    """Skip-gram with 100 dimensions, window 5, 5 drawn words, 5 epochs: the settings that gensim has for sg=1.

    Paper: Mikolov et al. 2013. The words around 16 neighbouring positions are computed together, and these positions share what is drawn.
    One step is 1,024 words of the text, of which about 700 stay: loss_scale makes the gradient of their mean that of their sum, as
    word2vec.c adds it up word for word (set it with stream.rows and stream.length). Nothing is held out, as no text is scored.
    Command: malmoi pretrain word2vec-small --corpus 'texts/*.txt' --out runs/words
    Score and time: measured: see docs/log.md.
    """
    return RunSpec(
        name="word2vec-small",
        paper=PAPER,
        text=TextSpec(words="punctuation"),
        objective=SkipGramSpec(window=5, negatives=5, power=0.75, sample=1e-3, minimum_count=5),
        model=ModelSpec(
            width=100,
            dropout=0.0,
            frontend=TokenEmbeddingSpec(),
            backbone=IdentitySpec(),
            head=VocabularyHeadSpec(size=1_000_000, bias="none"),
            initialization="word2vec",
        ),
        stream=RowsSpec(rows=4, length=256),
        training=TrainingSpec(
            epochs=5,
            optimizer=SGDSpec(),
            learning_rate=0.025,
            decay="linear",
            floor=0.004,
            clip_norm=None,
            loss_scale=700.0,
            precision="fp32",
        ),
    )


def word2vec_tiny() -> RunSpec:
    """Skip-gram for a first look, and for corpora of a few thousand lines: 50 dimensions, words that occur twice.

    Paper: Mikolov et al. 2013; all that is not size is as in word2vec-small.
    Command: malmoi pretrain word2vec-tiny --corpus notes.txt --out runs/words
    Score and time: seconds; the vectors of so little text are noisy.
    """
    small = word2vec_small()
    model = small.model.model_copy(update={"width": 50})
    objective = small.objective.model_copy(update={"minimum_count": 2})
    return small.model_copy(update={"name": "word2vec-tiny", "model": model, "objective": objective})
