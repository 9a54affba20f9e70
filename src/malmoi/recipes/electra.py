"""ELECTRA (Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", ICLR) in five sizes.

A small generator fills gaps, the model tells for every token whether it is the original: a prediction at every position, not at 15%.
"""

from __future__ import annotations

from malmoi.core.recipe import AdamWSpec, ReplacedSpec, RowsSpec, RunSpec, SubwordSpec, TrainingSpec
from malmoi.core.spec import override
from malmoi.recipes.bert import bert, bert_small, bert_tiny

PAPER = "Clark et al. 2020, ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators, ICLR, https://arxiv.org/abs/2003.10555"


def electra_original_small() -> RunSpec:
    """ELECTRA-small as published: 12 layers of 256, embedding of 128, a generator of a quarter of the width, 14 million parameters.

    Paper: table 6: 128 rows of 128, Adam at 5e-4 without correction for the start (here with), decay 0.01, 10,000 steps of warm-up in
    1,000,000, generator 1/4, weight 50, dropout 0.1. The program masks 85% of the drawn places and leaves the rest as they are.
    Command: malmoi pretrain electra-original-small --corpus 'texts/*' --out runs/electra  (first with --dry-run)
    Score: 79.9 on GLUE (table 1).
    Time: 4 days on one V100 there; the estimate of --dry-run for your machine.
    """
    return RunSpec(
        name="electra-original-small",
        paper=PAPER,
        subwords=SubwordSpec(algorithm="wordpiece", size=30_000),
        objective=ReplacedSpec(rate=0.15, mask=0.85, temperature=1.0, weight=50.0, generator=0.25),
        model=override(bert(width=256, depth=12, heads=4, dropout=0.1), ["frontend.width=128"]),
        stream=RowsSpec(rows=128, length=128),
        training=TrainingSpec(
            steps=1_000_000,
            optimizer=AdamWSpec(betas=(0.9, 0.999), epsilon=1e-6, weight_decay=0.01, decayed="matrices"),
            learning_rate=5e-4,
            warmup=0.01,
            decay="linear",
            clip_norm=1.0,
        ),
    )


def electra_base() -> RunSpec:
    """ELECTRA-base as published: 12 layers of 768, a generator of a third of the width, 110 million parameters.

    Paper: table 6: 256 rows of 512, 2e-4, 766,000 steps. 256 rows stand as 32 rows, eight times accumulated.
    Command: malmoi pretrain electra-base --corpus 'texts/*' --out runs/electra-base  (first with --dry-run)
    Score: 85.1 on GLUE (table 1).
    Time: the estimate of --dry-run for your machine.
    """
    small = electra_original_small()
    changes = ["objective.generator=0.3333", "stream.rows=32", "stream.length=512", "training.accumulate=8", "training.steps=766000"]
    sized = small.model_copy(update={"name": "electra-base", "model": bert(width=768, depth=12, heads=12, dropout=0.1)})
    return override(sized, [*changes, "training.learning_rate=2e-4", "training.warmup=0.013"])


def electra_small() -> RunSpec:
    """ELECTRA for an evening without a GPU: bert-small under replaced-token detection, embedding of 128, generator of half the width.

    Paper: sections 2 and 3.2, made small. The output bias of the generator starts at 0: its first samples are then easily found out, and
    there is something to learn from the first step on.
    Command: malmoi pretrain electra-small --corpus 'texts/*.txt' --valid heldout.txt --out runs/electra
    Score and time: measured: see docs/log.md.
    """
    spec = bert_small().model_copy(update={"name": "electra-small", "paper": PAPER, "objective": ReplacedSpec(generator=0.5)})
    return override(spec, ["model.frontend.width=128", "model.head.bias=zero"])


def electra_tiny() -> RunSpec:
    """ELECTRA for a first look and for tests: bert-tiny under replaced-token detection, with a generator of half its width.

    Paper: section 2, made as small as still learns.
    Command: malmoi pretrain electra-tiny --corpus notes.txt --out runs/tiny
    Score and time: measured: see docs/log.md.
    """
    spec = bert_tiny().model_copy(update={"name": "electra-tiny", "paper": PAPER, "objective": ReplacedSpec(generator=0.5)})
    return override(spec, ["model.head.bias=zero"])
