"""From a spec to modules. The one place where a spec's parts become torch."""

from __future__ import annotations

import torch
from torch import nn

from malmoi.core.errors import MalmoiError
from malmoi.core.locate import locate
from malmoi.core.recipe import BackboneSpec, CharacterCNNSpec, ModelSpec, RunSpec
from malmoi.core.seeds import seed_of
from malmoi.nn import Backbone, CharacterCNN, ForeignBackbone, Model, TokenEmbedding, VocabularyHead
from malmoi.nn.heads import candidates
from malmoi.objectives.bilm import UNKNOWN, BiLM


def build(spec: RunSpec, *, words: int, characters: int) -> BiLM:
    """The objective of a run with fresh weights, decided by `spec.seed`.

    words: size of the vocabulary; characters: how many character ids there are (the last one is the padding).
    Raises MalmoiError M030 for a tying that cannot be.
    """
    model = spec.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(spec.seed, "weights"))
        size = min(model.head.size, words)
        frontend = _frontend(model, size=size, characters=characters)
        head = VocabularyHead(model.head, width=model.width, size=size, tied=_tied(model, frontend))
        both = [Model(frontend, _backbone(model), {"words": head}, dropout=model.dropout) for _ in range(2)]
    return BiLM(*both, start=spec.objective.start)


def _frontend(model: ModelSpec, *, size: int, characters: int) -> nn.Module:
    if isinstance(model.frontend, CharacterCNNSpec):
        return CharacterCNN(model.frontend, width=model.width, characters=characters, pad=characters - 1)
    return TokenEmbedding(size=size, width=model.width, unknown=UNKNOWN, sparse=candidates(model.head, size) is not None)


def _tied(model: ModelSpec, frontend: nn.Module) -> nn.Parameter | None:
    if not model.head.tied:
        return None
    if not isinstance(frontend, TokenEmbedding):
        raise MalmoiError(
            "M030",
            problem="the input is spelt from characters and has no embedding of words",
            next="set model.head.tied=false, or model.frontend.kind=token_embedding.",
        )
    if model.head.softmax.kind == "adaptive":
        raise MalmoiError(
            "M030", problem="adaptive softmax has matrices of several widths", next="set model.head.softmax.kind=full or sampled."
        )
    return frontend.weight


def _backbone(model: ModelSpec) -> nn.Module:
    if isinstance(model.backbone, BackboneSpec):
        return Backbone(model.backbone, width=model.width, dropout=model.dropout)
    factory = locate(model.backbone.build, argument="model.backbone.build")
    return ForeignBackbone(factory(width=model.width, **model.backbone.arguments))
