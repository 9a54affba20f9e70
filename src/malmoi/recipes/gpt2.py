"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners").

GPT-1 with the norms before the parts, a last norm, quieter residual weights, bytes in place of characters, and longer texts:

    malmoi recipes diff gpt1-small gpt2-small
"""

from __future__ import annotations

from malmoi.core.recipe import AdamWSpec, ModelSpec, RunSpec, TrainingSpec
from malmoi.core.spec import override
from malmoi.recipes.gpt1 import gpt, gpt1_original, gpt1_small, gpt1_tiny

PAPER = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners, OpenAI"

CHANGES = ("model.backbone.norm=pre", "model.initialization=gpt2", "subwords.algorithm=byte_bpe")
"""What GPT-2 changes (section 2.3), sizes apart."""


def gpt2_base() -> RunSpec:
    """GPT-2 of 124 million parameters as published: 12 layers of 768, texts of 1024, byte-level BPE of 50,257.

    Paper: section 2.3. It tells neither rate nor steps; those here are of reproductions (0.5 million pieces a step, 6e-4, 600,000 steps,
    nothing dropped out). 512 rows of 1024 stand as 8 rows, 64 times accumulated.
    Command: malmoi pretrain gpt2-base --corpus 'web/*' --out runs/gpt2  (first with --dry-run: memory and time)
    Score: reproductions reach 3.1 nats (perplexity 22) on OpenWebText.
    Time: the estimate of --dry-run for your machine.
    """
    training = TrainingSpec(
        steps=600_000,
        accumulate=64,
        optimizer=AdamWSpec(betas=(0.9, 0.95), epsilon=1e-8, weight_decay=0.1, decayed="matrices"),
        learning_rate=6e-4,
        warmup=0.0033,
        decay="cosine",
        floor=0.1,
        clip_norm=1.0,
    )
    sized = gpt1_original().model_copy(update={"name": "gpt2-base", "paper": PAPER, "training": training})
    sized = sized.model_copy(update={"model": gpt(width=768, depth=12, heads=12, length=1024)})
    return override(sized, [*CHANGES, "subwords.size=50257", "stream.rows=8", "stream.length=1024"])


def gpt2_original() -> RunSpec:
    """GPT-2 as published: 48 layers of 1600, 25 heads, 1.5 billion parameters.

    Paper: table 2; all that is not size is as in gpt2-base.
    Command: malmoi pretrain gpt2-original --corpus 'web/*' --out runs/gpt2-original  (first with --dry-run)
    Score: table 3 of the paper: perplexity 18.34 on WikiText-2 without training on it.
    Time: the estimate of --dry-run for your machine.
    """
    return gpt2_base().model_copy(update={"name": "gpt2-original", "model": _quiet(gpt(width=1600, depth=48, heads=25, length=1024))})


def gpt2_small() -> RunSpec:
    """gpt1-small with what GPT-2 changes: norms before the parts, quieter residual weights, bytes.

    Paper: section 2.3.
    Command: malmoi pretrain gpt2-small --corpus 'texts/*.txt' --valid heldout.txt --out runs/gpt2
    Score and time: measured: see docs/log.md.
    """
    return override(gpt1_small().model_copy(update={"name": "gpt2-small", "paper": PAPER}), CHANGES)


def gpt2_tiny() -> RunSpec:
    """gpt1-tiny with what GPT-2 changes.

    Paper: section 2.3.
    Command: malmoi pretrain gpt2-tiny --corpus notes.txt --out runs/tiny
    Score and time: measured: see docs/log.md.
    """
    return override(gpt1_tiny().model_copy(update={"name": "gpt2-tiny", "paper": PAPER}), CHANGES)


def _quiet(model: ModelSpec) -> ModelSpec:
    return override(model, [change.removeprefix("model.") for change in CHANGES[:2]])
