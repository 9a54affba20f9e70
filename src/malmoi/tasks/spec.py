"""How a task is learned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from malmoi.core.spec import Spec

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class LearningSpec(Spec):
    """Of heads and of whole models. Steps are counted in batches, the rate rises linearly over `warmup` of them and falls linearly to 0."""

    epochs: PositiveInt = 3
    batch: PositiveInt = 32
    """Examples of a step."""
    learning_rate: PositiveFloat = 1e-3
    warmup: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    """Of matrices."""
    clip_norm: PositiveFloat = 1.0
    patience: PositiveInt = 3
    """Epochs without a better score on the dev set after which it is enough."""


class ProbeSpec(Spec):
    """A head on a frozen model (Peters et al. 2018, section 3.3; Tenney et al. 2019)."""

    layer: str | int = "mix"
    """A learned scalar mix, "top", or the number of a layer (0 = without context)."""
    head: Literal["linear", "crf", "bilstm-crf", "cosine"] = "linear"
    """cosine: nothing is learned, two texts are as alike as their vectors are."""
    dropout: Share = 0.1
    mix_decay: Annotated[float, Field(ge=0.0)] = 0.001
    """Weight of the squared mix weights in the loss (Peters et al. 2018, section 3.3: lambda)."""
    learning: LearningSpec = LearningSpec(epochs=20, learning_rate=1e-3, warmup=0.0)


class TuneSpec(Spec):
    """The whole model (Radford et al. 2018, section 3.2; Devlin et al. 2019, section 4)."""

    encoder: Literal["cross", "bi", "simcse"] = "cross"
    """cross: both texts in one row. Each text by itself, for its vector: bi (Reimers and Gurevych 2019), from numbers and labels; simcse
    (Gao et al. 2021), from inference, or from plain sentences (the task simcse)."""
    model_dropout: Share | None = None
    """Inside the model; None: as it was pre-trained; of simcse 0.1."""
    keep: Literal["best", "last"] | None = None
    """Which epoch counts: the best one by dev, or the last; None: the best; of the task simcse the last."""
    length: PositiveInt | None = None
    """Positions of a row; None: as many as the run was trained with."""
    dropout: Share = 0.1
    """Before the head."""
    lm_weight: Annotated[float, Field(ge=0.0)] | None = None
    """Of the auxiliary language-model loss; None: 0.5 for causal models (Radford et al. 2018, section 3.3), 0 for others."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """The rate of each layer as a share of that of the one above it (Howard and Ruder 2018, section 3.2: 1 / 2.6)."""
    unfreeze: bool = False
    """Train the head alone in the first epoch, and one layer more in each that follows (Howard and Ruder 2018, section 3.3)."""
    stride: PositiveInt = 64
    """Tokens that two windows of a long context share (span)."""
    null_threshold: float | None = None
    """Score by which "no answer" must win (span); None: chosen on the dev set."""
    learning: LearningSpec = LearningSpec(epochs=3, batch=16, learning_rate=3e-4)
    """The rate suits models 256 wide; one of BERT-base's size wants a tenth of it (Devlin et al. 2019, appendix A.3)."""
