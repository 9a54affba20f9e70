"""The tree of specs that a recipe returns: every choice of a run, and nothing that a machine decides.

Parts that can be swapped are unions told apart by `kind`. Torch is not needed here, so listing recipes is instant.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from malmoi.core.spec import Spec

Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class TextSpec(Spec):
    """How sources become documents of words."""

    document: Literal["paragraph", "line", "file"] = "paragraph"
    field: str = "text"
    words: str = "whitespace"
    """whitespace | punctuation | kiwi | module:function (str -> list of str)."""


class CharacterSpec(Spec):
    """How a word is spelt (ELMo section 3.4 and bilm-tf: bytes, 50 a word)."""

    unit: Literal["byte", "codepoint", "jamo"] = "byte"
    length: Annotated[int, Field(ge=4)] = 50
    cut: Literal["character", "byte"] = "character"
    """Where a word longer than `length` - 2 units is cut; `byte` is what the original does."""
    minimum_count: PositiveInt = 1
    """For `codepoint` and `jamo`: characters seen less often share one unknown unit."""


class CharacterCNNSpec(Spec):
    """Character convolutions, max over time, highway layers, projection (Kim et al. 2016; ELMo section 3.4)."""

    kind: Literal["character_cnn"] = "character_cnn"
    width: PositiveInt = 16
    """Size of a character vector."""
    filters: tuple[tuple[PositiveInt, PositiveInt], ...] = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))
    """(characters wide, how many)."""
    activation: Literal["relu", "tanh"] = "relu"
    highway: NonNegativeInt = 2


class TokenEmbeddingSpec(Spec):
    """One learned vector a word; words past the output vocabulary are unknown at the input too."""

    kind: Literal["token_embedding"] = "token_embedding"


class LSTMSpec(Spec):
    """LSTM with projection (Sak et al. 2014) and clipping (bilm-tf)."""

    kind: Literal["lstm"] = "lstm"
    cell: PositiveInt = 4096
    cell_clip: PositiveFloat | None = None
    projection_clip: PositiveFloat | None = None
    forget_bias: float = 1.0


class BackboneSpec(Spec):
    """`depth` blocks of one mixer. `residual_from` is the first block (from 0) whose input is added to its output."""

    kind: Literal["blocks"] = "blocks"
    depth: PositiveInt = 2
    mixer: LSTMSpec = LSTMSpec()
    residual_from: NonNegativeInt | None = 1


class CustomBackboneSpec(Spec):
    """A backbone of your own: `module:function`, called as `function(width=..., **arguments)`, returns a torch module."""

    kind: Literal["custom"] = "custom"
    build: str
    arguments: dict[str, Any] = {}


class FullSoftmaxSpec(Spec):
    """Every output word, in chunks: the logits never exist whole."""

    kind: Literal["full"] = "full"


class SampledSoftmaxSpec(Spec):
    """Log-uniform candidates, drawn without repetition and corrected by their expected counts (Jean et al. 2015). Training only."""

    kind: Literal["sampled"] = "sampled"
    samples: PositiveInt = 8192


class AdaptiveSoftmaxSpec(Spec):
    """Frequent words exactly, rarer ones through clusters of smaller projections (Grave et al. 2017)."""

    kind: Literal["adaptive"] = "adaptive"
    cutoffs: tuple[PositiveInt, ...] = (4000, 20000)
    factor: PositiveFloat = 4.0


class VocabularyHeadSpec(Spec):
    """Vectors -> distribution over the `size` most frequent words."""

    size: PositiveInt = 100_000
    """Output words, the marks and <unk> included; a corpus with fewer types uses all of them."""
    softmax: Annotated[FullSoftmaxSpec | SampledSoftmaxSpec | AdaptiveSoftmaxSpec, Field(discriminator="kind")] = FullSoftmaxSpec()
    tied: bool = False
    """Share the input embedding (word input only)."""


class ModelSpec(Spec):
    """FrontEnd + Backbone + head. `width` is the size of the vectors between all of them."""

    width: PositiveInt = 512
    dropout: Probability = 0.1
    frontend: Annotated[CharacterCNNSpec | TokenEmbeddingSpec, Field(discriminator="kind")] = CharacterCNNSpec()
    backbone: Annotated[BackboneSpec | CustomBackboneSpec, Field(discriminator="kind")] = BackboneSpec()
    head: VocabularyHeadSpec = VocabularyHeadSpec()


class BiLMSpec(Spec):
    """Bidirectional language model (Peters et al. 2018, section 3.1)."""

    kind: Literal["bilm"] = "bilm"
    start: Literal["carried", "zero"] = "carried"
    """The state of a document that begins with a window: `carried` over from the document before, as bilm-tf does everywhere; or
    `zero`, so that the start of a text that is scored or embedded by itself is nothing that the model has never seen."""


class StreamSpec(Spec):
    """Rows that read on where they stopped: truncated back-propagation through time."""

    streams: PositiveInt = 128
    """Parallel streams in each direction; one step reads streams x window words forward and as many backward."""
    window: PositiveInt = 20


class AdagradSpec(Spec):
    """Adagrad as in bilm-tf (TensorFlow's: no epsilon, accumulators start at `initial`)."""

    kind: Literal["adagrad"] = "adagrad"
    initial: PositiveFloat = 1.0


class AdamWSpec(Spec):
    """AdamW (Loshchilov and Hutter 2019); rows of the softmax that a step did not touch stay as they are."""

    kind: Literal["adamw"] = "adamw"
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01


class TrainingSpec(Spec):
    """The loop: how far, how fast, how safely. Exactly one of steps, tokens, minutes, epochs ends a run."""

    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    minutes: PositiveFloat | None = None
    epochs: PositiveFloat | None = None
    optimizer: Annotated[AdagradSpec | AdamWSpec, Field(discriminator="kind")] = AdagradSpec()
    learning_rate: PositiveFloat = 0.2
    warmup: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the run over which the learning rate rises from 0."""
    decay: Literal["none", "linear", "cosine"] = "none"
    floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Where decay ends, as a share of the learning rate."""
    clip_norm: PositiveFloat | None = 10.0
    """Largest global norm of the gradient of `loss_scale` x loss."""
    loss_scale: PositiveFloat = 1.0
    """The gradient is that of loss_scale x loss (bilm-tf: the window length, 20). Reported losses are not scaled."""
    accumulate: PositiveInt = 1
    """Windows whose gradients are added up before a step of the optimizer."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the machine computes it in hardware."""
    validations: NonNegativeInt = 8
    """How often in a run the validation text is scored (and once at the end)."""
    validation_tokens: PositiveInt = 10_000
    """Words of the validation text that are scored during training; the end scores all of it."""
    save_minutes: PositiveFloat = 5.0
    """A checkpoint is written after this much time, and at every validation and at the end."""
    save_steps: PositiveInt | None = None
    """A checkpoint is also written every so many steps."""
    keep: PositiveInt = 2
    """Newest checkpoints that are kept; the best is kept besides."""


class RunSpec(Spec):
    """What a recipe returns: the paper, and every choice of the run."""

    name: str
    paper: str = ""
    seed: NonNegativeInt = 0
    text: TextSpec = TextSpec()
    characters: CharacterSpec = CharacterSpec()
    objective: BiLMSpec = BiLMSpec()
    model: ModelSpec = ModelSpec()
    stream: StreamSpec = StreamSpec()
    training: TrainingSpec = TrainingSpec()
