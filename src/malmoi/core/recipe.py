"""The tree of specs that a recipe returns: every choice of a run, and nothing that a machine decides.

Parts that can be swapped are unions told apart by `kind`. Torch is not needed here, so listing recipes is instant.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Tag, model_validator

from malmoi.core.objectives import BiLMSpec, CausalSpec, MaskedSpec, Probability, ReplacedSpec, SequenceSpec, SkipGramSpec
from malmoi.core.spec import Spec


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


class SubwordSpec(Spec):
    """Pieces of words, learned from the corpus: NFC, Hangul syllables whole, case kept unless asked."""

    algorithm: Literal["wordpiece", "bpe", "byte_bpe", "unigram"] = "wordpiece"
    """WordPiece as BERT; BPE over characters as GPT-1, over bytes as GPT-2; Unigram as ALBERT. All but WordPiece fall back to bytes, so
    that nothing is unknown."""
    size: PositiveInt = 30_000
    """Pieces, the marks [PAD] [UNK] [CLS] [SEP] [MASK] included."""
    lowercase: bool = False
    minimum_count: PositiveInt = 2


class TokenEmbeddingSpec(Spec):
    """One learned vector a token (of a word vocabulary: the output words, all others are unknown at the input too), and what is added
    to it: positions, token types."""

    kind: Literal["token_embedding"] = "token_embedding"
    width: PositiveInt | None = None
    """Factorized embedding (ALBERT section 3.1): vectors of this width, projected to model.width."""
    positions: Literal["none", "learned", "sinusoidal", "rotary"] = "none"
    length: PositiveInt = 512
    """Positions that are learned: the longest text the model reads at once."""
    types: NonNegativeInt = 0
    """Token types (BERT's segments A and B)."""
    norm: bool = False
    """Layer norm on the sum."""
    scale: bool = False
    """Token vectors times the root of their width (Vaswani et al. 2017, section 3.4)."""


class SoftOneHotSpec(Spec):
    """A number a position, as a soft choice between learned bins (Li, Du and Bengio 2017, section 3.2): `Batch.values`."""

    kind: Literal["soft_one_hot"] = "soft_one_hot"
    bins: PositiveInt = 30


class LSTMSpec(Spec):
    """LSTM with projection (Sak et al. 2014) and clipping (bilm-tf)."""

    kind: Literal["lstm"] = "lstm"
    cell: PositiveInt = 4096
    cell_clip: PositiveFloat | None = None
    projection_clip: PositiveFloat | None = None
    forget_bias: float = 1.0


class AttentionSpec(Spec):
    """Multi-head attention (Vaswani et al. 2017, section 3.2) inside each document of a row."""

    kind: Literal["attention"] = "attention"
    heads: PositiveInt = 4
    sees: Literal["full", "causal", "prefix"] = "full"
    """What a position attends to in its own document: all of it, itself and what is before it, or that and the whole prefix."""
    dropout: Probability = 0.0
    """Of attention weights."""


class MLPSpec(Spec):
    """Two linear layers with an activation between them."""

    width: PositiveInt = 1024
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"


class BackboneSpec(Spec):
    """`depth` blocks: one mixer, then a feed-forward part if there is one.

    LSTM blocks (bilm-tf) have neither norm nor feed-forward part; `residual_from` is the first block (from 0) whose input is added to its
    output. Blocks of attention add every part to what enters it: x + part(norm(x)) with a last norm after all blocks
    (`pre`), or norm(x + part(x)) (`post`).
    """

    kind: Literal["blocks"] = "blocks"
    depth: PositiveInt = 2
    mixer: Annotated[LSTMSpec | AttentionSpec, Field(discriminator="kind")] = LSTMSpec()
    residual_from: NonNegativeInt | None = 1
    feedforward: MLPSpec | None = None
    norm: Literal["none", "pre", "post"] = "none"
    epsilon: PositiveFloat = 1e-5
    """Of the norms."""
    share: Literal["none", "feedforward", "attention", "all"] = "none"
    """Which weights all blocks of a group have in common (ALBERT section 3.1)."""
    groups: PositiveInt = 1
    """Groups of neighbouring blocks, for `share`."""

    @model_validator(mode="after")
    def _parts_fit(self) -> BackboneSpec:
        if self.mixer.kind == "lstm" and (self.feedforward is not None or self.norm != "none" or self.share != "none"):
            raise ValueError("blocks of lstm have no feedforward, norm or share")
        if self.mixer.kind == "attention" and (self.feedforward is None or self.norm == "none"):
            raise ValueError("blocks of attention need feedforward and norm=pre or post")
        if self.groups > self.depth:
            raise ValueError(f"there are {self.groups} groups for {self.depth} blocks")
        return self


class IdentitySpec(Spec):
    """No blocks: the vectors of the front-end are those of the model (Word2Vec)."""

    kind: Literal["identity"] = "identity"


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
    """Share the input embedding (token input only)."""
    transform: Literal["none", "gelu", "gelu_tanh", "relu"] = "none"
    """A dense layer (to the width of the embedding), this activation and a norm before the output, as BERT has it."""
    bias: Literal["none", "zero", "frequency"] = "zero"
    """What is added to the logits: nothing, or a number a token that starts at 0, or at the logarithm of the token's frequency in the
    training text, so that the first steps need not be spent on learning it."""


class ModelSpec(Spec):
    """FrontEnd + Backbone + head. `width` is the size of the vectors between all of them."""

    width: PositiveInt = 512
    dropout: Probability = 0.1
    frontend: Annotated[CharacterCNNSpec | TokenEmbeddingSpec | SoftOneHotSpec, Field(discriminator="kind")] = CharacterCNNSpec()
    backbone: Annotated[BackboneSpec | IdentitySpec | CustomBackboneSpec, Field(discriminator="kind")] = BackboneSpec()
    head: VocabularyHeadSpec = VocabularyHeadSpec()
    initialization: Literal["parts", "bert", "gpt2", "transformer", "neighbours", "word2vec"] = "parts"
    """Each part's own; or by paper: all matrices from N(0, 0.02) (`bert`; GPT-1's is the same), those that write into the residual stream
    divided by the root of their number (`gpt2`), Xavier's uniform (`transformer`), vectors of words from U(-0.5, 0.5) / width and output
    rows of zeros (`word2vec`); or as bert with heads that begin by looking beside each token (`neighbours`), without which a small masked
    model knows only word frequencies for a long time."""


class StreamSpec(Spec):
    """Rows that read on where they stopped: truncated back-propagation through time."""

    kind: Literal["streams"] = "streams"
    streams: PositiveInt = 128
    """Parallel streams in each direction; one step reads streams x window words forward and as many backward."""
    window: PositiveInt = 20


class RowsSpec(Spec):
    """Rows without padding, packed from the documents of an epoch in a new order each time (for pairs of texts: one pair a row)."""

    kind: Literal["rows"] = "rows"
    rows: PositiveInt = 32
    length: Annotated[int, Field(ge=8)] = 128


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
    decayed: Literal["all", "matrices"] = "all"
    """What decays: everything, or all but biases and norms (BERT, GPT)."""


class SGDSpec(Spec):
    """Plain stochastic gradient descent, as word2vec.c has it."""

    kind: Literal["sgd"] = "sgd"


class GuardSpec(Spec):
    """When the loop does not trust a step. A loss or gradient that is not finite is never applied, whatever stands here."""

    nonfinite: PositiveInt = 5
    """The run stops after so many such steps in a row."""
    spike: PositiveFloat | None = None
    """A loss so many standard deviations above its running mean is a spike: the run goes back to the last good checkpoint and passes over
    the batches from there to the spike. None: spikes are taken as they come."""
    rollbacks: NonNegativeInt = 3
    """The run stops at a spike after so many returns."""


class TrainingSpec(Spec):
    """The loop: how far, how fast, how safely. Exactly one of steps, tokens, minutes, epochs ends a run."""

    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    minutes: PositiveFloat | None = None
    epochs: PositiveFloat | None = None
    optimizer: Annotated[AdagradSpec | AdamWSpec | SGDSpec, Field(discriminator="kind")] = AdagradSpec()
    learning_rate: PositiveFloat = 0.2
    warmup: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the run over which the learning rate rises from 0."""
    decay: Literal["none", "linear", "cosine", "inverse_sqrt"] = "none"
    floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Where decay ends, as a share of the learning rate."""
    clip_norm: PositiveFloat | None = 10.0
    """Largest global norm of the gradient of `loss_scale` x loss."""
    loss_scale: PositiveFloat = 1.0
    """The gradient is that of loss_scale x loss (bilm-tf: the window length, 20). Reported losses are not scaled."""
    accumulate: PositiveInt = 1
    """Windows whose gradients are added up before a step of the optimizer."""
    guard: GuardSpec = GuardSpec()
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


def _kind_of_stream(value: Any) -> str:
    """Specs that were stored before there were rows say nothing."""
    return str(value.get("kind", "streams") if isinstance(value, dict) else value.kind)


class RunSpec(Spec):
    """What a recipe returns: the paper, and every choice of the run."""

    name: str
    paper: str = ""
    seed: NonNegativeInt = 0
    text: TextSpec = TextSpec()
    characters: CharacterSpec = CharacterSpec()
    subwords: SubwordSpec | None = None
    """None: the vocabulary is one of words, spelt as `characters` says."""
    objective: Annotated[BiLMSpec | CausalSpec | MaskedSpec | ReplacedSpec | SequenceSpec | SkipGramSpec, Field(discriminator="kind")] = (
        BiLMSpec()
    )
    model: ModelSpec = ModelSpec()
    stream: Annotated[Annotated[StreamSpec, Tag("streams")] | Annotated[RowsSpec, Tag("rows")], Discriminator(_kind_of_stream)] = (
        StreamSpec()
    )
    training: TrainingSpec = TrainingSpec()
