"""Where each number of a model stands in the directories of transformers, family by family: tables that export and import both read.

A directory is config.json beside safetensors; the tables say which field of the config is which field of a ModelSpec, and which tensor is
which parameter of a Model. GPT-2 and OpenAI-GPT keep their matrices (in, out), transposed (transformers' Conv1D).
Read from transformers 5.23: models/*/configuration_*.py, modeling_*.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Table = Mapping[str, str]

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_python": "gelu"}
"""Theirs -> ours; the first name of ours is the one that is written."""
TANH_ONLY = {"gelu": "gelu_tanh", "relu": "relu"}
"""OpenAI-GPT calls the approximation by tanh "gelu" (ACT_FNS of modeling_openai.py)."""


@dataclass(frozen=True)
class Field:
    """A field of config.json and the fields of a ModelSpec that it sets; `default` stands where the config says nothing, as there."""

    theirs: str
    ours: tuple[str, ...]
    default: Any
    values: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Family:
    """One model_type.

    prefix: of the encoder's tensors in a directory with heads; a bare encoder's have none. encoder, language: `architectures` of the two.
    fields: what config and spec say alike; holds: what a spec must say beside them (what a path under `head.` says does not matter where
    only the encoder is written); objectives: what such a model may be trained by.
    guarded: fields of the config that may be there with these values only. width: the field of the feed-forward width (inner: what it is
    where the config says nothing); None: 4 times the model's; embedding: the field of the width of a factorized embedding.
    tensors, modules, blocks: parameters by name (ours -> theirs), of modules `.weight` and `.bias`; several of theirs are
    parts, in order, of one of ours. words, pair, replaced: the heads, by full names. decoder: the output matrix, where it is not tied.
    """

    name: str
    prefix: str
    encoder: str
    language: str
    objectives: tuple[str, ...]
    fields: tuple[Field, ...]
    holds: Mapping[str, tuple[Any, ...]]
    tensors: Table
    modules: Table
    block: str
    blocks: Table
    decoder: str
    words: Table = field(default_factory=dict)
    bias: str | None = None
    pair: Table = field(default_factory=dict)
    replaced: Table = field(default_factory=dict)
    width: str | None = None
    inner: int | None = None
    embedding: str | None = None
    groups: bool = False
    conv1d: bool = False
    guarded: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()

    @property
    def own_bias(self) -> str:
        """The output's bias where it is not tied: of the decoder itself, which is what is computed with."""
        return self.decoder.removesuffix("weight") + "bias"


def _defaults(fields: tuple[Field, ...], **defaults: Any) -> tuple[Field, ...]:
    """The same fields; where the config says nothing, these values stand."""
    return tuple(replace(each, default=defaults.get(each.theirs, each.default)) for each in fields)


_HOLDS = {
    "frontend.kind": ("token_embedding",),
    "backbone.kind": ("blocks",),
    "backbone.mixer.kind": ("attention",),
    "frontend.positions": ("learned",),
    "frontend.scale": (False,),
    "head.softmax.kind": ("full", "sampled"),
}
_ENCODER = _HOLDS | {
    "backbone.mixer.sees": ("full",),
    "backbone.norm": ("post",),
    "frontend.norm": (True,),
    "head.bias": ("zero", "frequency"),
}
_CAUSAL = _HOLDS | {
    "backbone.mixer.sees": ("causal",),
    "frontend.norm": (False,),
    "frontend.types": (0,),
    "frontend.width": (None,),
    "backbone.share": ("none", "feedforward", "attention", "all"),
    "head.bias": ("none",),
    "head.transform": ("none",),
}
_ACTIVATION = ("backbone.feedforward.activation", "head.transform")
_BERT_FIELDS = (
    Field("hidden_size", ("width",), 768),
    Field("num_hidden_layers", ("backbone.depth",), 12),
    Field("num_attention_heads", ("backbone.mixer.heads",), 12),
    Field("hidden_act", _ACTIVATION, "gelu", ACTIVATIONS),
    Field("hidden_dropout_prob", ("dropout",), 0.1),
    Field("attention_probs_dropout_prob", ("backbone.mixer.dropout",), 0.1),
    Field("max_position_embeddings", ("frontend.length",), 512),
    Field("type_vocab_size", ("frontend.types",), 2),
    Field("layer_norm_eps", ("backbone.epsilon",), 1e-12),
    Field("tie_word_embeddings", ("head.tied",), True),
)
_GPT_FIELDS = (
    Field("n_embd", ("width",), 768),
    Field("n_layer", ("backbone.depth",), 12),
    Field("n_head", ("backbone.mixer.heads",), 12),
    Field("resid_pdrop", ("dropout",), 0.1),
    Field("attn_pdrop", ("backbone.mixer.dropout",), 0.1),
    Field("layer_norm_epsilon", ("backbone.epsilon",), 1e-5),
    Field("tie_word_embeddings", ("head.tied",), True),
)
_BERT_TENSORS = {
    "frontend.weight": "embeddings.word_embeddings.weight",
    "frontend.positions": "embeddings.position_embeddings.weight",
    "frontend.types": "embeddings.token_type_embeddings.weight",
}
_BERT_BLOCKS = {
    "attention.part.qkv": "attention.self.query attention.self.key attention.self.value",
    "attention.part.out": "attention.output.dense",
    "attention.norm": "attention.output.LayerNorm",
    "feedforward.part.up": "intermediate.dense",
    "feedforward.part.down": "output.dense",
    "feedforward.norm": "output.LayerNorm",
}
_GPT_BLOCKS = {
    "attention.part.qkv": "attn.c_attn",
    "attention.part.out": "attn.c_proj",
    "attention.norm": "ln_1",
    "feedforward.part.up": "mlp.c_fc",
    "feedforward.part.down": "mlp.c_proj",
    "feedforward.norm": "ln_2",
}
_NO_DECODER = {"is_decoder": (False,), "add_cross_attention": (False,), "position_embedding_type": ("absolute",)}

BERT = Family(
    name="bert",
    prefix="bert.",
    encoder="BertModel",
    language="BertForMaskedLM",
    objectives=("masked",),
    fields=_BERT_FIELDS,
    holds=_ENCODER | {"frontend.width": (None,), "backbone.share": ("none", "feedforward", "attention")},
    tensors=_BERT_TENSORS,
    modules={"frontend.norm": "embeddings.LayerNorm"},
    block="encoder.layer.{i}.",
    blocks=_BERT_BLOCKS,
    words={"transform.dense": "cls.predictions.transform.dense", "transform.norm": "cls.predictions.transform.LayerNorm"},
    bias="cls.predictions.bias",
    decoder="cls.predictions.decoder.weight",
    pair={"pooler": "bert.pooler.dense", "classifier": "cls.seq_relationship"},
    width="intermediate_size",
    inner=3072,
    guarded=_NO_DECODER | {"pooler_type": ("first_token_transform",), "directionality": ("bidi",)},
    harmless=("pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head"),
)

ALBERT = Family(
    name="albert",
    prefix="albert.",
    encoder="AlbertModel",
    language="AlbertForMaskedLM",
    objectives=("masked",),
    fields=_defaults(
        _BERT_FIELDS,
        hidden_size=4096,
        num_attention_heads=64,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    ),
    holds=_ENCODER,
    tensors=_BERT_TENSORS,
    modules={"frontend.norm": "embeddings.LayerNorm", "frontend.projection": "encoder.embedding_hidden_mapping_in"},
    block="encoder.albert_layer_groups.{g}.albert_layers.0.",
    blocks={
        "attention.part.qkv": "attention.query attention.key attention.value",
        "attention.part.out": "attention.dense",
        "attention.norm": "attention.LayerNorm",
        "feedforward.part.up": "ffn",
        "feedforward.part.down": "ffn_output",
        "feedforward.norm": "full_layer_layer_norm",
    },
    words={"transform.dense": "predictions.dense", "transform.norm": "predictions.LayerNorm"},
    bias="predictions.bias",
    decoder="predictions.decoder.weight",
    pair={"pooler": "albert.pooler", "classifier": "sop_classifier.classifier"},
    width="intermediate_size",
    inner=16384,
    embedding="embedding_size",
    groups=True,
    guarded={"inner_group_num": (1,), "position_embedding_type": ("absolute",), "net_structure_type": (0,), "num_memory_blocks": (0,)},
    harmless=("classifier_dropout_prob", "gap_size", "down_scale_factor"),
)

ELECTRA = Family(
    name="electra",
    prefix="electra.",
    encoder="ElectraModel",
    language="ElectraForMaskedLM",
    objectives=("replaced",),
    fields=tuple(
        replace(each, ours=("backbone.feedforward.activation",)) if each.theirs == "hidden_act" else each
        for each in _defaults(_BERT_FIELDS, hidden_size=256, num_attention_heads=4)
    ),
    holds=_ENCODER | {"backbone.share": ("none", "feedforward", "attention", "all"), "head.transform": ("gelu",)},
    tensors=_BERT_TENSORS,
    modules={"frontend.norm": "embeddings.LayerNorm", "frontend.projection": "embeddings_project"},
    block="encoder.layer.{i}.",
    blocks=_BERT_BLOCKS,
    words={"transform.dense": "generator_predictions.dense", "transform.norm": "generator_predictions.LayerNorm"},
    bias="generator_lm_head.bias",
    decoder="generator_lm_head.weight",
    replaced={"dense": "discriminator_predictions.dense", "out": "discriminator_predictions.dense_prediction"},
    width="intermediate_size",
    inner=1024,
    embedding="embedding_size",
    guarded=_NO_DECODER,
)

DISTILBERT = Family(
    name="distilbert",
    prefix="distilbert.",
    encoder="DistilBertModel",
    language="DistilBertForMaskedLM",
    objectives=("masked",),
    fields=(
        Field("dim", ("width",), 768),
        Field("n_layers", ("backbone.depth",), 6),
        Field("n_heads", ("backbone.mixer.heads",), 12),
        Field("activation", _ACTIVATION, "gelu", ACTIVATIONS),
        Field("dropout", ("dropout",), 0.1),
        Field("attention_dropout", ("backbone.mixer.dropout",), 0.1),
        Field("max_position_embeddings", ("frontend.length",), 512),
        Field("tie_word_embeddings", ("head.tied",), True),
    ),
    holds=_ENCODER
    | {
        "frontend.types": (0,),
        "frontend.width": (None,),
        "backbone.share": ("none", "feedforward", "attention"),
        "backbone.epsilon": (1e-12,),
    },
    tensors={ours: theirs for ours, theirs in _BERT_TENSORS.items() if ours != "frontend.types"},
    modules={"frontend.norm": "embeddings.LayerNorm"},
    block="transformer.layer.{i}.",
    blocks={
        "attention.part.qkv": "attention.q_lin attention.k_lin attention.v_lin",
        "attention.part.out": "attention.out_lin",
        "attention.norm": "sa_layer_norm",
        "feedforward.part.up": "ffn.lin1",
        "feedforward.part.down": "ffn.lin2",
        "feedforward.norm": "output_layer_norm",
    },
    words={"transform.dense": "vocab_transform", "transform.norm": "vocab_layer_norm"},
    bias="vocab_projector.bias",
    decoder="vocab_projector.weight",
    width="hidden_dim",
    inner=3072,
    guarded={"sinusoidal_pos_embds": (False, True)},  # the sines are stored: what is read is what was computed
    harmless=("qa_dropout", "seq_classif_dropout"),
)

GPT2 = Family(
    name="gpt2",
    prefix="transformer.",
    encoder="GPT2Model",
    language="GPT2LMHeadModel",
    objectives=("causal",),
    fields=(
        *_GPT_FIELDS,
        Field("n_positions", ("frontend.length",), 1024),
        Field("activation_function", ("backbone.feedforward.activation",), "gelu_new", ACTIVATIONS),
    ),
    holds=_CAUSAL | {"backbone.norm": ("pre",)},
    tensors={"frontend.weight": "wte.weight", "frontend.positions": "wpe.weight"},
    modules={"backbone.norm": "ln_f"},
    block="h.{i}.",
    blocks=_GPT_BLOCKS,
    decoder="lm_head.weight",
    width="n_inner",
    conv1d=True,
    guarded={"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,)},
    harmless=("embd_pdrop", "n_ctx", "reorder_and_upcast_attn"),
)

OPENAI = Family(
    name="openai-gpt",
    prefix="transformer.",
    encoder="OpenAIGPTModel",
    language="OpenAIGPTLMHeadModel",
    objectives=("causal",),
    fields=(
        *_GPT_FIELDS,
        Field("n_positions", ("frontend.length",), 512),
        Field("afn", ("backbone.feedforward.activation",), "gelu", TANH_ONLY),
    ),
    holds=_CAUSAL | {"backbone.norm": ("post",)},
    tensors={"frontend.weight": "tokens_embed.weight", "frontend.positions": "positions_embed.weight"},
    modules={},
    block="h.{i}.",
    blocks=_GPT_BLOCKS,
    decoder="lm_head.weight",
    conv1d=True,
    harmless=("embd_pdrop", "n_ctx", "n_special", "predict_special_tokens"),
)

FAMILIES = {family.name: family for family in (BERT, ALBERT, ELECTRA, DISTILBERT, GPT2, OPENAI)}
