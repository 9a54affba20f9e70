"""From a spec to modules. The one place where a spec's parts become torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from malmoi.core.errors import MalmoiError
from malmoi.core.locate import locate
from malmoi.core.marks import Marks
from malmoi.core.recipe import (
    AttentionSpec,
    BackboneSpec,
    BiLMSpec,
    CausalSpec,
    CharacterCNNSpec,
    IdentitySpec,
    MaskedSpec,
    ModelSpec,
    ReplacedSpec,
    RowsSpec,
    RunSpec,
    SkipGramSpec,
    SoftOneHotSpec,
    TokenEmbeddingSpec,
)
from malmoi.core.seeds import seed_of
from malmoi.nn import (
    Backbone,
    CharacterCNN,
    ForeignBackbone,
    Identity,
    Model,
    PairHead,
    ReplacedHead,
    SoftOneHot,
    TokenEmbedding,
    VocabularyHead,
    initialize,
)
from malmoi.nn.heads import candidates
from malmoi.objectives.base import Objective
from malmoi.objectives.bilm import BiLM
from malmoi.objectives.causal import Causal
from malmoi.objectives.masked import Masked
from malmoi.objectives.replaced import Replaced
from malmoi.objectives.sequence import Sequence
from malmoi.objectives.skipgram import SkipGram

WORDS = Marks(pad=0, unknown=2, begin=1, end=0)
"""The marks of a vocabulary of words."""


def build(spec: RunSpec, *, words: int, characters: int, marks: Marks | None = None, counts: np.ndarray | None = None) -> Objective:
    """The objective of a run with fresh weights, decided by `spec.seed`.

    words: size of the vocabulary; characters: how many character ids there are (the last one is the padding; 0 for subwords); marks: of a
    vocabulary of subwords; counts (words,): of the training text, by id, for objectives that draw words (None: by Zipf's law, and all are
    frequent enough). Raises MalmoiError M030 for a tying that cannot be, M032 for parts that do not fit each other.
    """
    _refuse(spec, marks)
    size = words if marks is not None else min(spec.model.head.size, words)
    if isinstance(spec.objective, SkipGramSpec) and counts is not None:
        size = spec.objective.known(counts, size)
    parts = _Parts(spec, size=size, characters=characters, marks=marks or WORDS, counts=counts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(spec.seed, "weights"))
        objective = parts.objective()
        initialize(objective, spec.model.initialization)
    return objective


class _Parts:
    """The parts of a spec as modules; each method makes new ones."""

    def __init__(self, spec: RunSpec, *, size: int, characters: int, marks: Marks, counts: np.ndarray | None) -> None:
        self.spec, self.size, self.characters, self.marks, self.counts = spec, size, characters, marks, counts

    def objective(self) -> BiLM | Causal | Masked | Replaced | Sequence | SkipGram:
        kind, model, unknown = self.spec.objective, self.spec.model, self.marks.unknown
        frontend = self.frontend(model)
        if isinstance(kind, BiLMSpec):
            head = self.words(model, frontend)
            both = [Model(frontend, self.backbone(model), {"words": head}, dropout=model.dropout) for _ in range(2)]
            return BiLM(both[0], both[1], start=kind.start)
        if isinstance(kind, CausalSpec):
            return Causal(Model(frontend, self.backbone(model), {"words": self.words(model, frontend)}), unknown=unknown)
        if isinstance(kind, SkipGramSpec):
            return SkipGram(
                Model(frontend, self.backbone(model), {"words": self.words(model, frontend)}), kind, marks=self.marks, counts=self.counts
            )
        if isinstance(kind, MaskedSpec):
            heads: dict[str, nn.Module] = {"words": self.words(model, frontend)}
            if kind.pair != "none":
                heads["pair"] = PairHead(model.width)
            return Masked(Model(frontend, self.backbone(model), heads), kind, marks=self.marks)
        if isinstance(kind, ReplacedSpec):
            activation = getattr(model.backbone, "feedforward", None)
            detector = ReplacedHead(model.width, activation=activation.activation if activation else "gelu")
            small = scaled(model, kind.generator)
            assert isinstance(frontend, TokenEmbedding)
            shared = self.frontend(small, like=frontend)
            generator = Model(shared, self.backbone(small), {"words": self.words(small, shared)})
            return Replaced(Model(frontend, self.backbone(model), {"replaced": detector}), generator, kind, marks=self.marks)
        target = self.frontend(model, like=frontend) if isinstance(frontend, TokenEmbedding) else self.frontend(model)
        decoder = Model(target, self.backbone(model, decoder=True), {"words": self.words(model, target)})
        return Sequence(Model(frontend, self.backbone(model), {}), decoder, smoothing=kind.smoothing, unknown=unknown)

    def frontend(self, model: ModelSpec, *, like: TokenEmbedding | None = None) -> nn.Module:
        if isinstance(model.frontend, CharacterCNNSpec):
            return CharacterCNN(model.frontend, width=model.width, characters=self.characters, pad=self.characters - 1)
        if isinstance(model.frontend, SoftOneHotSpec):
            return SoftOneHot(model.frontend, width=model.width)
        return TokenEmbedding(
            model.frontend,
            size=self.size,
            width=model.width,
            unknown=self.marks.unknown,
            dropout=model.dropout if _attends(model) else 0.0,
            epsilon=_epsilon(model),
            sparse=candidates(model.head, self.size) is not None or isinstance(self.spec.objective, SkipGramSpec),
            like=like,
        )

    def words(self, model: ModelSpec, frontend: nn.Module) -> VocabularyHead:
        return VocabularyHead(model.head, width=model.width, size=self.size, tied=_tied(model, frontend), epsilon=_epsilon(model))

    def backbone(self, model: ModelSpec, *, decoder: bool = False) -> nn.Module:
        spec = model.backbone
        if isinstance(spec, IdentitySpec):
            return Identity()
        if not isinstance(spec, BackboneSpec):
            factory = locate(spec.build, argument="model.backbone.build")
            return ForeignBackbone(factory(width=model.width, **spec.arguments))
        rotary = isinstance(model.frontend, TokenEmbeddingSpec) and model.frontend.positions == "rotary"
        if decoder and isinstance(spec.mixer, AttentionSpec):
            spec = spec.model_copy(update={"mixer": spec.mixer.model_copy(update={"sees": "causal"})})
        try:
            return Backbone(spec, width=model.width, dropout=model.dropout, cross=decoder, rotary=rotary and _attends(model))
        except ValueError as problem:
            raise MalmoiError("M032", what="model.backbone", problem=problem, next="change model.width or the number of heads.") from None


def scaled(model: ModelSpec, share: float) -> ModelSpec:
    """ELECTRA's generator (Clark et al. 2020, section 3.2): the model with width, heads and feed-forward times `share`; its depth stays."""
    backbone = model.backbone
    assert isinstance(backbone, BackboneSpec) and isinstance(backbone.mixer, AttentionSpec) and backbone.feedforward is not None
    heads = max(1, round(backbone.mixer.heads * share))
    width = max(1, round(model.width * share / heads)) * heads
    parts = {
        "mixer": backbone.mixer.model_copy(update={"heads": heads}),
        "feedforward": backbone.feedforward.model_copy(update={"width": max(1, round(backbone.feedforward.width * share))}),
    }
    return model.model_copy(update={"width": width, "backbone": backbone.model_copy(update=parts)})


def _refuse(spec: RunSpec, marks: Marks | None) -> None:
    """Parts that do not fit each other, each with the setting that mends it."""
    model, kind = spec.model, spec.objective.kind
    frontend, backbone = model.frontend, model.backbone
    rows = spec.stream if isinstance(spec.stream, RowsSpec) else None
    sees = backbone.mixer.sees if isinstance(backbone, BackboneSpec) and isinstance(backbone.mixer, AttentionSpec) else None
    problem = None
    if (kind == "bilm") != (rows is None):
        problem = f"objective {kind} does not read stream.kind={spec.stream.kind}", f"set stream.kind={'streams' if rows else 'rows'}."
    elif rows and isinstance(backbone, BackboneSpec) and sees is None:
        problem = "an LSTM would carry its state from one document of a row into the next", "set model.backbone.mixer.kind=attention."
    elif kind in ("bilm", "skipgram") and marks is not None:
        problem = f"objective {kind} reads words, not subwords", "set subwords=null."
    elif kind == "skipgram" and not isinstance(backbone, IdentitySpec):
        problem = "a backbone that looks around would see the words that skip-gram should predict", "set model.backbone.kind=identity."
    elif kind == "skipgram" and not (isinstance(frontend, TokenEmbeddingSpec) and frontend.positions == "none"):
        problem = "objective skipgram learns one vector a word", "set model.frontend.kind=token_embedding, and its positions=none."
    elif kind == "skipgram" and (model.head.tied or model.head.softmax.kind != "full" or model.head.transform != "none"):
        problem = "objective skipgram has plain output rows of its own", "set model.head.tied=false, and its softmax.kind=full."
    elif kind == "skipgram" and model.dropout:
        problem = "objective skipgram drops nothing", "set model.dropout=0."
    elif kind not in ("bilm", "skipgram") and marks is None:
        problem = f"objective {kind} reads subwords", "set subwords.algorithm=wordpiece (or bpe, byte_bpe, unigram)."
    elif kind in ("masked", "replaced") and marks is not None and marks.mask is None:
        problem = f"objective {kind} needs a vocabulary with a mask", "use one that was made here."
    elif marks is not None and isinstance(frontend, CharacterCNNSpec):
        problem = "subwords are not spelt in characters", "set model.frontend.kind=token_embedding."
    elif kind in ("masked", "replaced", "sequence") and sees == "causal":
        problem = f"objective {kind} reads a text in both directions", "set model.backbone.mixer.sees=full."
    elif kind == "causal" and sees == "full":
        problem = "a causal model would see what it should predict", "set model.backbone.mixer.sees=causal."
    elif kind in ("replaced", "sequence") and sees is None:
        problem = f"objective {kind} is made of blocks of attention", "set model.backbone.mixer.kind=attention."
    elif kind in ("replaced", "sequence") and not isinstance(frontend, TokenEmbeddingSpec):
        problem = f"objective {kind} shares an embedding of tokens", "set model.frontend.kind=token_embedding."
    elif rows and isinstance(frontend, TokenEmbeddingSpec) and frontend.positions != "none" and frontend.length < rows.length:
        problem = f"rows of {rows.length} do not fit {frontend.length} positions", f"set model.frontend.length={rows.length}."
    elif model.initialization == "neighbours" and (sees != "full" or getattr(frontend, "positions", "none") != "learned"):
        problem = "heads that look around need learned positions and attention to both sides", "set model.initialization=bert."
    if problem:
        raise MalmoiError("M032", what="the spec", problem=problem[0], next=problem[1])


def _attends(model: ModelSpec) -> bool:
    return isinstance(model.backbone, BackboneSpec) and isinstance(model.backbone.mixer, AttentionSpec)


def _epsilon(model: ModelSpec) -> float:
    return model.backbone.epsilon if isinstance(model.backbone, BackboneSpec) else 1e-5


def _tied(model: ModelSpec, frontend: nn.Module) -> nn.Parameter | None:
    if not model.head.tied:
        return None
    problem = None
    if not isinstance(frontend, TokenEmbedding):
        problem = (
            "the input is spelt from characters and has no embedding of words",
            "set model.head.tied=false, or model.frontend.kind=token_embedding.",
        )
    elif model.head.softmax.kind == "adaptive":
        problem = "adaptive softmax has matrices of several widths", "set model.head.softmax.kind=full or sampled."
    elif frontend.weight.shape[1] != model.width and model.head.transform == "none":
        problem = (
            f"the embedding is {frontend.weight.shape[1]} wide, the model {model.width}",
            "set model.head.transform=gelu, which brings one to the other.",
        )
    if problem:
        raise MalmoiError("M030", problem=problem[0], next=problem[1])
    assert isinstance(frontend, TokenEmbedding)
    return frontend.weight
