"""GPT-1 (Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training"): a decoder that predicts the next piece."""

from __future__ import annotations

from malmoi.core.recipe import (
    AdamWSpec,
    AttentionSpec,
    BackboneSpec,
    CausalSpec,
    MLPSpec,
    ModelSpec,
    RowsSpec,
    RunSpec,
    SubwordSpec,
    TokenEmbeddingSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)
from malmoi.core.spec import override
from malmoi.recipes.bert import short

PAPER = "Radford et al. 2018, Improving Language Understanding by Generative Pre-Training, OpenAI"


def gpt1_original() -> RunSpec:
    """GPT-1 as published: 12 layers of 768, 12 heads, texts of 512, BPE of 40,000 merges, 117 million parameters.

    Paper: section 4.1: Adam at 2.5e-4, 2,000 steps of warm-up, cosine to 0, 64 rows of 512, 100 epochs, dropout 0.1,
    decay 0.01 on matrices.
    Command: malmoi pretrain gpt1-original --corpus 'books/*' --out runs/gpt1  (first with --dry-run: memory and time)
    Score: the paper reports a perplexity of 18.4 a token on BooksCorpus.
    Time: the estimate of --dry-run for your machine.
    """
    return RunSpec(
        name="gpt1-original",
        paper=PAPER,
        subwords=SubwordSpec(algorithm="bpe", size=40_478),
        objective=CausalSpec(),
        model=gpt(width=768, depth=12, heads=12, dropout=0.1, length=512),
        stream=RowsSpec(rows=64, length=512),
        training=TrainingSpec(
            epochs=100,
            optimizer=AdamWSpec(betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.01, decayed="matrices"),
            learning_rate=2.5e-4,
            warmup=0.002,
            decay="cosine",
            clip_norm=1.0,
        ),
    )


def gpt1_small() -> RunSpec:
    """GPT-1 for an evening without a GPU: 4 layers of 256, 4 heads, 8,000 pieces, texts of 128, 60 minutes.

    Paper: section 4.1, made small: as bert-small in everything but the objective and what it sees.
    Command: malmoi pretrain gpt1-small --corpus 'texts/*.txt' --valid heldout.txt --out runs/gpt1
    Score and time: measured: see docs/log.md.
    """
    return RunSpec(
        name="gpt1-small",
        paper=PAPER,
        subwords=SubwordSpec(algorithm="bpe", size=8_000),
        objective=CausalSpec(),
        model=gpt(width=256, depth=4, heads=4, length=128),
        stream=RowsSpec(rows=8, length=128),
        training=short(minutes=60),
    )


def gpt1_tiny() -> RunSpec:
    """GPT-1 for a first look and for tests: 2 layers of 64, 2 heads, 4,000 pieces, texts of 64, 2 minutes.

    Paper: section 4.1, made as small as still learns.
    Command: malmoi pretrain gpt1-tiny --corpus notes.txt --out runs/tiny
    Score and time: measured: see docs/log.md.
    """
    tiny = {"name": "gpt1-tiny", "model": gpt(width=64, depth=2, heads=2, length=64), "training": short(minutes=2, learning_rate=2e-3)}
    return override(gpt1_small().model_copy(update=tiny), ["subwords.size=4000", "stream.rows=32", "stream.length=64"])


def gpt(*, width: int, depth: int, heads: int, length: int, dropout: float = 0.0) -> ModelSpec:
    """GPT-1's model in any size: learned positions, norms behind the parts, the output is the embedding, without a bias."""
    return ModelSpec(
        width=width,
        dropout=dropout,
        frontend=TokenEmbeddingSpec(positions="learned", length=length),
        backbone=BackboneSpec(
            depth=depth,
            mixer=AttentionSpec(heads=heads, sees="causal", dropout=dropout),
            residual_from=None,
            feedforward=MLPSpec(width=4 * width, activation="gelu_tanh"),
            norm="post",
            epsilon=1e-5,
        ),
        head=VocabularyHeadSpec(tied=True, bias="none"),
        initialization="bert",
    )
