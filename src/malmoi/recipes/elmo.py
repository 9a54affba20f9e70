"""ELMo (Peters et al. 2018, "Deep contextualized word representations", NAACL) in four sizes.

Two causal LSTM language models, one over the text and one over the text reversed, share a character CNN and a softmax.
`elmo_original` is the program of the paper, number for number; the smaller sizes state what they leave out.
"""

from __future__ import annotations

from malmoi.core.recipe import (
    AdagradSpec,
    AdamWSpec,
    BackboneSpec,
    BiLMSpec,
    CharacterCNNSpec,
    CharacterSpec,
    LSTMSpec,
    ModelSpec,
    RunSpec,
    SampledSoftmaxSpec,
    StreamSpec,
    TextSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)

PAPER = "Peters et al. 2018, Deep contextualized word representations, NAACL, https://aclanthology.org/N18-1202"


def elmo_original() -> RunSpec:
    """ELMo as published: 4096 cells projected to 512, 2048 character filters, the 793,471 words of the 1 Billion Word Benchmark.

    Paper: Peters et al. 2018, sections 3.1 and 3.4; every number is that of bilm-tf's train_elmo.py, which trained the released model.
    There, 3 GPUs each read 128 streams and averaged their gradients before one step of the optimizer; 384 streams are the same
    step on one machine (with fewer, keep the product with --set training.accumulate=N). Tokens longer than 48 bytes are cut
    between bytes, and one line is one sentence, both as there. The clips of cell and projection rule out the fused LSTM.
    Command: malmoi pretrain elmo-original --corpus 'news/*' --out runs/original  (first with --dry-run: memory and time)
    Score: the paper reports a perplexity of 39.7 (mean of forward and backward) on the 1 Billion Word Benchmark after 10 epochs.
    Time: the estimate of --dry-run for your machine; measured: see docs/log.md.
    """
    return RunSpec(
        name="elmo-original",
        paper=PAPER,
        text=TextSpec(document="line"),
        characters=CharacterSpec(unit="byte", length=50, cut="byte"),
        model=ModelSpec(
            width=512,
            dropout=0.1,
            frontend=CharacterCNNSpec(
                width=16,
                filters=((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024)),
                activation="relu",
                highway=2,
            ),
            backbone=BackboneSpec(depth=2, mixer=LSTMSpec(cell=4096, cell_clip=3.0, projection_clip=3.0), residual_from=1),
            head=VocabularyHeadSpec(size=793_471, softmax=SampledSoftmaxSpec(samples=8192)),
        ),
        stream=StreamSpec(streams=384, window=20),
        training=TrainingSpec(
            epochs=10,
            optimizer=AdagradSpec(initial=1.0),
            learning_rate=0.2,
            clip_norm=10.0,
            loss_scale=20.0,
        ),
    )


def elmo_medium() -> RunSpec:
    """ELMo at 2048 cells projected to 256, one highway layer: the size released as "medium", with half the width of the original.

    Paper: Peters et al. 2018; all that is not size is as in elmo-original.
    Command: malmoi pretrain elmo-medium --corpus 'news/*' --out runs/medium
    Score and time: measured: see docs/log.md.
    """
    original = elmo_original()
    model = original.model
    return original.model_copy(
        update={
            "name": "elmo-medium",
            "model": ModelSpec(
                width=256,
                dropout=model.dropout,
                frontend=CharacterCNNSpec(highway=1),
                backbone=BackboneSpec(depth=2, mixer=LSTMSpec(cell=2048, cell_clip=3.0, projection_clip=3.0), residual_from=1),
                head=model.head,
            ),
        }
    )


def elmo_small() -> RunSpec:
    """ELMo for one machine without a GPU: 512 cells projected to 128, 256 character filters, 100,000 output words, 20 minutes.

    Paper: Peters et al. 2018, made small. The run is short, so the optimizer is AdamW with warm-up and linear decay, the
    candidates of the softmax are 2,048, long tokens are cut between characters, one paragraph is one document, and a document that
    begins with a window begins from zero (docs/log.md tells what happened without).
    Command: malmoi pretrain elmo-small --corpus 'texts/*.txt' --valid heldout.txt --out runs/small
    Score and time: measured: see docs/log.md.
    """
    return RunSpec(
        name="elmo-small",
        paper=PAPER,
        objective=BiLMSpec(start="zero"),
        model=ModelSpec(
            width=128,
            dropout=0.1,
            frontend=CharacterCNNSpec(width=16, filters=((1, 32), (2, 32), (3, 64), (4, 128)), highway=1),
            backbone=BackboneSpec(depth=2, mixer=LSTMSpec(cell=512, cell_clip=3.0, projection_clip=3.0), residual_from=1),
            head=VocabularyHeadSpec(size=100_000, softmax=SampledSoftmaxSpec(samples=2048)),
        ),
        stream=StreamSpec(streams=64, window=20),
        training=_short(minutes=20, learning_rate=0.003),
    )


def elmo_tiny() -> RunSpec:
    """ELMo for a first look: 128 cells projected to 64, 20,000 output words, 4 minutes on two cores.

    Paper: Peters et al. 2018, made as small as still shows contextual neighbours. `malmoi quickstart` trains it.
    Command: malmoi pretrain elmo-tiny --corpus notes.txt --out runs/tiny
    Score and time: measured: see docs/log.md.
    """
    return RunSpec(
        name="elmo-tiny",
        paper=PAPER,
        objective=BiLMSpec(start="zero"),
        model=ModelSpec(
            width=64,
            dropout=0.1,
            frontend=CharacterCNNSpec(width=16, filters=((1, 16), (2, 16), (3, 32), (4, 64)), highway=1),
            backbone=BackboneSpec(depth=2, mixer=LSTMSpec(cell=128, cell_clip=3.0, projection_clip=3.0), residual_from=1),
            head=VocabularyHeadSpec(size=20_000, softmax=SampledSoftmaxSpec(samples=2048)),
        ),
        stream=StreamSpec(streams=64, window=20),
        training=_short(minutes=4, learning_rate=0.004),
    )


def _short(*, minutes: float, learning_rate: float) -> TrainingSpec:
    """Training that has to be good after minutes, not after weeks."""
    return TrainingSpec(minutes=minutes, optimizer=AdamWSpec(), learning_rate=learning_rate, warmup=0.03, decay="linear", clip_norm=1.0)
