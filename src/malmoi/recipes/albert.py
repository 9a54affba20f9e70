"""ALBERT (Lan et al. 2020, "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", ICLR): BERT with three changes.

A narrow embedding, one set of weights for all layers, and sentence order in place of next sentence:

    malmoi recipes diff bert-small albert-small
"""

from __future__ import annotations

from malmoi.core.recipe import AdamWSpec, MaskedSpec, RowsSpec, RunSpec, SubwordSpec, TrainingSpec
from malmoi.core.spec import override
from malmoi.recipes.bert import bert, bert_small, bert_tiny

PAPER = (
    "Lan et al. 2020, ALBERT: A Lite BERT for Self-supervised Learning of Language Representations, ICLR, https://arxiv.org/abs/1909.11942"
)

IDEAS = ("model.frontend.width=128", "model.backbone.share=all", "objective.pair=order")
"""Section 3.1: factorized embedding, cross-layer parameter sharing, inter-sentence coherence."""


def albert_base() -> RunSpec:
    """ALBERT-base as published: 12 layers of 768 that are one, embedding of 128, Unigram of 30,000, 12 million parameters.

    Paper: sections 3 and 4.1. There the optimizer is LAMB at 0.00176 for 125,000 steps of 4,096 rows of 512, and gaps are n-grams of up to
    three; here they are AdamW at a rate fit for it, and whole words. 4,096 rows stand as 32 rows, 128 times accumulated.
    Command: malmoi pretrain albert-base --corpus 'texts/*' --out runs/albert  (first with --dry-run: memory and time)
    Score: section 4.6 of the paper: 86.5% of sentence orders told right (base size).
    Time: the estimate of --dry-run for your machine.
    """
    spec = RunSpec(
        name="albert-base",
        paper=PAPER,
        subwords=SubwordSpec(algorithm="unigram", size=30_000),
        objective=MaskedSpec(rate=0.15, mask=0.8, random=0.1, whole_words=True, pair="order"),
        model=bert(width=768, depth=12, heads=12),
        stream=RowsSpec(rows=32, length=512),
        training=TrainingSpec(
            steps=125_000,
            accumulate=128,
            optimizer=AdamWSpec(betas=(0.9, 0.999), epsilon=1e-6, weight_decay=0.01, decayed="matrices"),
            learning_rate=1e-3,
            warmup=0.025,
            decay="linear",
            clip_norm=1.0,
        ),
    )
    return override(spec, [*IDEAS[:2], "model.backbone.feedforward.activation=gelu_tanh", "model.head.transform=gelu_tanh"])


def albert_large() -> RunSpec:
    """ALBERT-large as published: 24 layers of 1024 that are one, 18 million parameters.

    Paper: table 1; everything else is as in albert-base.
    Command: malmoi pretrain albert-large --corpus 'texts/*' --out runs/albert-large  (first with --dry-run)
    Score and time: as albert-base.
    """
    size = ("name=albert-large", "model.width=1024", "model.backbone.depth=24", "model.backbone.mixer.heads=16")
    return override(albert_base(), [*size, "model.backbone.feedforward.width=4096"])


def albert_small() -> RunSpec:
    """bert-small with ALBERT's three ideas, and nothing else changed: 4 layers of 256 that are one, embedding of 128, sentence order.

    Paper: section 3.1.
    Command: malmoi pretrain albert-small --corpus 'texts/*.txt' --valid heldout.txt --out runs/albert
    Score and time: measured: see docs/log.md.
    """
    return override(bert_small().model_copy(update={"name": "albert-small", "paper": PAPER}), IDEAS)


def albert_tiny() -> RunSpec:
    """bert-tiny with ALBERT's three ideas: 2 layers of 64 that are one, embedding of 32, sentence order.

    Paper: section 3.1.
    Command: malmoi pretrain albert-tiny --corpus notes.txt --out runs/tiny
    Score and time: measured: see docs/log.md.
    """
    spec = bert_tiny().model_copy(update={"name": "albert-tiny", "paper": PAPER})
    return override(spec, ["model.frontend.width=32", *IDEAS[1:]])
