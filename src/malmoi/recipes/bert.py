"""BERT (Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL) in four sizes.

An encoder that fills gaps and tells whether one segment follows another. `bert_base` and `bert_large` are the published models; the
smaller ones state what they leave out.
"""

from __future__ import annotations

from typing import Literal

from malmoi.core.recipe import (
    AdamWSpec,
    AttentionSpec,
    BackboneSpec,
    MaskedSpec,
    MLPSpec,
    ModelSpec,
    RowsSpec,
    RunSpec,
    SubwordSpec,
    TokenEmbeddingSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)

PAPER = "Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers, NAACL, https://aclanthology.org/N19-1423"

Bias = Literal["none", "zero", "frequency"]


def bert_base() -> RunSpec:
    """BERT-base as published: 12 layers of 768, 12 heads, WordPiece of 30,000, 110 million parameters.

    Paper: sections 3 and A.2: 15% of the tokens, 80/10/10, next sentence, Adam at 1e-4, decay 0.01, 10,000 steps of warm-up in 1,000,000,
    dropout 0.1 everywhere. There, 90% of the steps have rows of 128 and the rest rows of 512; this recipe is the first part (go on
    with --set stream.length=512). 256 rows a step stand as 32 rows, eight times accumulated. Case is kept (as in the later multilingual
    model), because Korean and names need it.
    Command: malmoi pretrain bert-base --corpus 'texts/*' --out runs/bert  (first with --dry-run: memory and time)
    Score: table 6 of the paper: perplexity 3.99 in the gaps of held-out text (its ablation of this size).
    Time: the estimate of --dry-run for your machine.
    """
    return RunSpec(
        name="bert-base",
        paper=PAPER,
        subwords=SubwordSpec(algorithm="wordpiece", size=30_000),
        objective=MaskedSpec(rate=0.15, mask=0.8, random=0.1, pair="next"),
        model=bert(width=768, depth=12, heads=12, dropout=0.1),
        stream=RowsSpec(rows=32, length=128),
        training=TrainingSpec(
            steps=900_000,
            accumulate=8,
            optimizer=AdamWSpec(betas=(0.9, 0.999), epsilon=1e-6, weight_decay=0.01, decayed="matrices"),
            learning_rate=1e-4,
            warmup=0.01,
            decay="linear",
            clip_norm=1.0,
        ),
    )


def bert_large() -> RunSpec:
    """BERT-large as published: 24 layers of 1024, 16 heads, 340 million parameters.

    Paper: as bert-base.
    Command: malmoi pretrain bert-large --corpus 'texts/*' --out runs/bert-large  (first with --dry-run)
    Score: table 6 of the paper: perplexity 3.23 in the gaps of held-out text.
    Time: the estimate of --dry-run for your machine.
    """
    base = bert_base()
    return base.model_copy(update={"name": "bert-large", "model": bert(width=1024, depth=24, heads=16, dropout=0.1)})


def bert_small() -> RunSpec:
    """BERT for an evening without a GPU: 4 layers of 256, 4 heads, 8,000 pieces, 8 rows of 128, 60 minutes.

    Paper: BERT, made small. The run is short, so the steps are many and small, the rate rises to 5e-4 in a tenth of the run (at 1e-3 narrow
    tables and shared layers collapse) and falls linearly, and nothing is dropped out (a short run never reads a text often enough to learn
    it by heart; Geiping and Goldstein 2023, section 4.3).
    The output bias starts at the frequency of each token, and the heads begin by looking at the neighbours of a token: without that, gaps
    are filled by frequency alone for the whole of such a run (docs/log.md).
    Command: malmoi pretrain bert-small --corpus 'texts/*.txt' --valid heldout.txt --out runs/bert
    Score and time: measured: see docs/log.md.
    """
    return RunSpec(
        name="bert-small",
        paper=PAPER,
        subwords=SubwordSpec(algorithm="wordpiece", size=8_000),
        objective=MaskedSpec(rate=0.15, mask=0.8, random=0.1, pair="next"),
        model=bert(width=256, depth=4, heads=4, bias="frequency", initialization="neighbours"),
        stream=RowsSpec(rows=8, length=128),
        training=short(minutes=60, learning_rate=5e-4, warmup=0.1),
    )


def bert_tiny() -> RunSpec:
    """BERT for a first look and for tests: 2 layers of 64, 2 heads, 4,000 pieces, rows of 64, 2 minutes.

    Paper: BERT, made as small as still learns.
    Command: malmoi pretrain bert-tiny --corpus notes.txt --out runs/tiny
    Score and time: measured: see docs/log.md.
    """
    return RunSpec(
        name="bert-tiny",
        paper=PAPER,
        subwords=SubwordSpec(algorithm="wordpiece", size=4_000),
        objective=MaskedSpec(rate=0.15, mask=0.8, random=0.1, pair="next"),
        model=bert(width=64, depth=2, heads=2, length=128, bias="frequency", initialization="neighbours"),
        stream=RowsSpec(rows=32, length=64),
        training=short(minutes=2, learning_rate=2e-3),
    )


def bert(
    *,
    width: int,
    depth: int,
    heads: int,
    dropout: float = 0.0,
    length: int = 512,
    bias: Bias = "zero",
    initialization: Literal["bert", "neighbours"] = "bert",
) -> ModelSpec:
    """The model of section 3 in any size: learned positions, two token types, norms behind the parts, feed-forward four times as wide."""
    return ModelSpec(
        width=width,
        dropout=dropout,
        frontend=TokenEmbeddingSpec(positions="learned", length=length, types=2, norm=True),
        backbone=BackboneSpec(
            depth=depth,
            mixer=AttentionSpec(heads=heads, sees="full", dropout=dropout),
            residual_from=None,
            feedforward=MLPSpec(width=4 * width, activation="gelu"),
            norm="post",
            epsilon=1e-12,
        ),
        head=VocabularyHeadSpec(tied=True, transform="gelu", bias=bias),
        initialization=initialization,
    )


def short(*, minutes: float, learning_rate: float = 1e-3, warmup: float = 0.05) -> TrainingSpec:
    """Training that has to be good after minutes, not after weeks."""
    return TrainingSpec(
        minutes=minutes,
        optimizer=AdamWSpec(betas=(0.9, 0.98), epsilon=1e-6, weight_decay=0.01, decayed="matrices"),
        learning_rate=learning_rate,
        warmup=warmup,
        decay="linear",
        clip_norm=1.0,
    )
