"""Directories of transformers and sentence-transformers, written without either: config, weights, tokenizer, card.

    DIR/config.json  model.safetensors  tokenizer.json  tokenizer_config.json  README.md  generation_config.json (causal)
    DIR/modules.json  1_WordWeights/config.json  1_Pooling/config.json  sentence_bert_config.json
        config_sentence_transformers.json (sentence-transformers)

A run of replaced-token detection is two models: DIR/discriminator and DIR/generator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from malmoi.core.artifact import write_text, writing
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import ModelSpec, RunSpec, TokenEmbeddingSpec
from malmoi.export.card import card
from malmoi.export.configs import config_of, family_of, refuse_spec
from malmoi.export.families import ELECTRA, Family
from malmoi.export.tensors import packed
from malmoi.export.tokenizer_files import tokenizer_files
from malmoi.vocab import Subwords, Vocabulary

TRANSFORMERS, SENTENCES = "transformers", "sentence-transformers"
DISCRIMINATOR, GENERATOR = "discriminator", "generator"
POOLING = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


@dataclass(frozen=True)
class Part:
    """A model to write: its spec, and its tensors as in `Model.state_dict()`."""

    model: ModelSpec
    state: Mapping[str, Tensor]


def write_transformers(
    directory: Path | str,
    *,
    spec: RunSpec,
    parts: Mapping[str, Part],
    vocabulary: Subwords | Vocabulary,
    head: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write a run as transformers' directory (two of them for ELECTRA), whole or not at all.

    parts: "model", and "generator" of replaced-token detection. head False, for a run without an output layer: only the encoder is
    written. facts: of the run's manifest, for the card. Returns sentences for whoever uses the files. Raises MalmoiError M051 for
    a model that no family of the format can hold, M004 where `directory` holds something.
    """
    directory, family, subwords = _ready(directory, spec, vocabulary, TRANSFORMERS)
    model = parts["model"]
    refuse_spec(family, model.model, format=TRANSFORMERS, heads=head)
    with writing(directory, "transformers") as (temporary, fields):
        if not head:
            _write_model(temporary, family, spec, model, subwords, (), family.encoder)
        elif family is ELECTRA:
            small = parts["generator"]
            refuse_spec(family, small.model, format=TRANSFORMERS, heads=True)
            _write_model(temporary / DISCRIMINATOR, family, spec, model, subwords, ("replaced",), "ElectraForPreTraining")
            _write_model(temporary / GENERATOR, family, spec, small, subwords, ("words",), family.language)
        else:
            pair = ("pair",) if "heads.pair.pooler.weight" in model.state and family.pair else ()
            _write_model(temporary, family, spec, model, subwords, ("words", *pair), family.language)
        write_text(temporary / "README.md", card(spec, family=family.name, format=TRANSFORMERS, facts=facts or {}))
        fields["spec"] = spec.model_dump(mode="json")
    return _notes(family, spec)


def write_sentence_transformers(
    directory: Path | str,
    *,
    spec: RunSpec,
    parts: Mapping[str, Part],
    vocabulary: Subwords | Vocabulary,
    facts: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write the encoder of a run, with the mean over its tokens, as sentence-transformers' directory; otherwise as `write_transformers`.

    The marks around a text count nothing in the mean, so that the vectors are those of `malmoi embed --layer top --pool mean`. A server
    that reads 1_Pooling alone (text-embeddings-inference) takes them in.
    """
    directory, family, subwords = _ready(directory, spec, vocabulary, SENTENCES)
    part = parts["model"]
    refuse_spec(family, part.model, format=SENTENCES, heads=False)
    length = _frontend(part.model).length
    with writing(directory, "transformers") as (temporary, fields):
        _write_model(temporary, family, spec, part, subwords, (), family.encoder)
        pooling = {"word_embedding_dimension": part.model.width}
        pooling |= {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in POOLING} | {"include_prompt": True}
        modules = [("", "Transformer"), ("1_WordWeights", "WordWeights"), ("1_Pooling", "Pooling")]
        listed = [
            {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for place, (path, kind) in enumerate(modules)
        ]
        for path, _ in modules[1:]:
            (temporary / path).mkdir()
        tokens, marks = subwords.tokens, subwords.marks
        weights = {
            "vocab": list(tokens),
            "word_weights": {tokens[mark]: 0.0 for mark in (marks.begin, marks.end)},
            "unknown_word_weight": 1.0,
        }
        for name in ("config.json", "wordweights_config.json"):  # sentence-transformers 6, and before
            _json(temporary / "1_WordWeights" / name, weights)
        _json(temporary / "1_Pooling" / "config.json", pooling)
        _json(temporary / "modules.json", listed)
        _json(temporary / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False})
        sentence: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
        _json(temporary / "config_sentence_transformers.json", sentence)
        write_text(temporary / "README.md", card(spec, family=family.name, format=SENTENCES, facts=facts or {}))
        fields["spec"] = spec.model_dump(mode="json")
    untrained = "no sentence task was trained: the mean of the tokens is a start, not yet a good sentence vector."
    return [*_notes(family, spec), *([] if "sentences" in (facts or {}) else [untrained])]


def _ready(directory: Path | str, spec: RunSpec, vocabulary: Subwords | Vocabulary, format: str) -> tuple[Path, Family, Subwords]:
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise MalmoiError("M004", path=directory, what="files", instead="remove it")
    family = family_of(spec, format=format)
    if not isinstance(vocabulary, Subwords):
        raise MalmoiError(
            "M051",
            format=format,
            problem="its vocabulary is one of words, which no tokenizer of the format is",
            next="train with a vocabulary of subwords: --set subwords.algorithm=wordpiece.",
        )
    return directory, family, vocabulary


def _write_model(
    directory: Path, family: Family, spec: RunSpec, part: Part, vocabulary: Subwords, heads: tuple[str, ...], architecture: str
) -> None:
    """config.json, model.safetensors, the tokenizer's two files, for causal models generation_config.json."""
    directory.mkdir(exist_ok=True)
    causal, marks = spec.objective.kind == "causal", vocabulary.marks
    config = config_of(family, part.model, words=len(vocabulary), marks=marks, architecture=architecture)
    _json(directory / "config.json", config)
    save_file(packed(family, part.model, part.state, heads=heads), directory / "model.safetensors", metadata={"format": "pt"})
    frontend = _frontend(part.model)
    types = config.get("type_vocab_size", 0) > 1  # with one type, a pair would ask for a second
    for name, content in tokenizer_files(vocabulary, length=frontend.length, types=types, causal=causal).items():
        write_text(directory / name, content)
    if causal and heads:
        ids = {"bos_token_id": marks.begin, "eos_token_id": marks.end, "pad_token_id": marks.pad}
        _json(directory / "generation_config.json", {"_from_model_config": True, **ids})


def _frontend(model: ModelSpec) -> TokenEmbeddingSpec:
    assert isinstance(model.frontend, TokenEmbeddingSpec)
    return model.frontend


def _notes(family: Family, spec: RunSpec) -> list[str]:
    share = getattr(spec.model.backbone, "share", "none")
    if share in ("none", "all" if family.groups else "none"):
        return []
    return [
        f"model.backbone.share is {share} here; {family.name} writes the shared weights once for every block, and would train them apart."
    ]


def _json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
