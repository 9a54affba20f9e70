"""The Transformer (Vaswani et al. 2017, "Attention Is All You Need", NeurIPS): an encoder, and a decoder that attends to it.

Trained on two line-aligned files: malmoi pretrain transformer-small --pairs train.de train.en --out runs/de-en
"""

from __future__ import annotations

from typing import Literal

from malmoi.core.recipe import (
    AdamWSpec,
    AttentionSpec,
    BackboneSpec,
    MLPSpec,
    ModelSpec,
    RowsSpec,
    RunSpec,
    SequenceSpec,
    SubwordSpec,
    TextSpec,
    TokenEmbeddingSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)

PAPER = "Vaswani et al. 2017, Attention Is All You Need, NeurIPS, https://arxiv.org/abs/1706.03762"


def transformer_base() -> RunSpec:
    """The base model as published: 6 + 6 layers of 512, 8 heads, one BPE vocabulary of 37,000, 65 million parameters.

    Paper: sections 3 and 5: Adam (0.9, 0.98, 1e-9), 4,000 steps of warm-up in 100,000, then the inverse root of the step; its top rate is
    512^-0.5 x 4000^-0.5 = 7e-4. Dropout 0.1, label smoothing 0.1, 25,000 pieces of each side a step (here 400 pairs, twice accumulated).
    Command: malmoi pretrain transformer-base --pairs train.de train.en --valid test.de --valid test.en --out runs/de-en
    Score: BLEU 27.3 on newstest2014, English to German (table 2).
    Time: 12 hours on 8 P100 there; the estimate of --dry-run for your machine.
    """
    return RunSpec(
        name="transformer-base",
        paper=PAPER,
        text=TextSpec(document="line"),
        subwords=SubwordSpec(algorithm="bpe", size=37_000),
        objective=SequenceSpec(smoothing=0.1),
        model=transformer(width=512, inner=2048, depth=6, heads=8, dropout=0.1),
        stream=RowsSpec(rows=400, length=256),
        training=_training(steps=100_000, learning_rate=7e-4, warmup=0.04, accumulate=2),
    )


def transformer_big() -> RunSpec:
    """The big model as published: 6 + 6 layers of 1024, 16 heads, dropout 0.3, 213 million parameters.

    Paper: table 3.
    Command: malmoi pretrain transformer-big --pairs train.de train.en --out runs/big  (first with --dry-run)
    Score: BLEU 28.4 on newstest2014, English to German (table 2).
    Time: 3.5 days on 8 P100 there; the estimate of --dry-run for your machine.
    """
    big = {
        "name": "transformer-big",
        "model": transformer(width=1024, inner=4096, depth=6, heads=16, dropout=0.3),
        "training": _training(steps=300_000, learning_rate=5e-4, warmup=0.0133, accumulate=2),
    }
    return transformer_base().model_copy(update=big)


def transformer_small() -> RunSpec:
    """The Transformer for an evening without a GPU: 3 + 3 layers of 256, 4 heads, 10,000 pieces, 64 pairs a step, 30 minutes.

    Paper: made small, with the norms before the parts, which learns without a long warm-up (Xiong et al. 2020).
    Command: malmoi pretrain transformer-small --pairs train.de train.en --out runs/de-en
    Score and time: measured: see docs/log.md.
    """
    return RunSpec(
        name="transformer-small",
        paper=PAPER,
        text=TextSpec(document="line"),
        subwords=SubwordSpec(algorithm="bpe", size=10_000),
        objective=SequenceSpec(smoothing=0.1),
        model=transformer(width=256, inner=1024, depth=3, heads=4, dropout=0.1, norm="pre"),
        stream=RowsSpec(rows=64, length=128),
        training=_training(minutes=30, learning_rate=1e-3, warmup=0.1),
    )


def transformer_tiny() -> RunSpec:
    """The Transformer for a first look and for tests: 2 + 2 layers of 128, 4 heads, 4,000 pieces, 32 pairs a step, 3 minutes.

    Paper: made as small as still learns a few hundred sentences.
    Command: malmoi pretrain transformer-tiny --pairs a.txt b.txt --out runs/tiny
    Score and time: measured: see docs/log.md.
    """
    tiny = {
        "name": "transformer-tiny",
        "subwords": SubwordSpec(algorithm="bpe", size=4_000),
        "model": transformer(width=128, inner=512, depth=2, heads=4, dropout=0.0, norm="pre"),
        "stream": RowsSpec(rows=32, length=64),
        "training": _training(minutes=3, learning_rate=2e-3, warmup=0.1),
    }
    return transformer_small().model_copy(update=tiny)


def transformer(*, width: int, inner: int, depth: int, heads: int, dropout: float, norm: Literal["pre", "post"] = "post") -> ModelSpec:
    """The encoder of section 3 (the decoder follows from it): sinusoidal positions, one embedding for source, target and output."""
    return ModelSpec(
        width=width,
        dropout=dropout,
        frontend=TokenEmbeddingSpec(positions="sinusoidal", scale=True),
        backbone=BackboneSpec(
            depth=depth,
            mixer=AttentionSpec(heads=heads, sees="full"),
            residual_from=None,
            feedforward=MLPSpec(width=inner, activation="relu"),
            norm=norm,
            epsilon=1e-5,
        ),
        head=VocabularyHeadSpec(tied=True, bias="none"),
        initialization="transformer",
    )


def _training(
    *, learning_rate: float, warmup: float, steps: int | None = None, minutes: float | None = None, accumulate: int = 1
) -> TrainingSpec:
    return TrainingSpec(
        steps=steps,
        minutes=minutes,
        accumulate=accumulate,
        optimizer=AdamWSpec(betas=(0.9, 0.98), epsilon=1e-9, weight_decay=0.0),
        learning_rate=learning_rate,
        warmup=warmup,
        decay="inverse_sqrt",
        clip_norm=1.0,
    )
