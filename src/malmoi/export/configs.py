"""config.json of transformers <-> ModelSpec, by the tables of `families`: what a spec is written as, and what a config is read as.

Reading is closed: a field that is neither in a table nor known to be harmless is refused by name, for it may change what is computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.core.recipe import BackboneSpec, MaskedSpec, ModelSpec, RunSpec, TokenEmbeddingSpec
from malmoi.core.spec import validate
from malmoi.export.families import ALBERT, BERT, DISTILBERT, ELECTRA, FAMILIES, GPT2, OPENAI, Family
from malmoi.export.tensors import groups, unreadable

HARMLESS = frozenset(
    """_name_or_path architectures attn_implementation _attn_implementation_autoset bad_words_ids begin_suppress_tokens bos_token_id
    chunk_size_feed_forward classifier_dropout cls_token_id decoder_start_token_id diversity_penalty do_sample dtype early_stopping
    encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id
    gradient_checkpointing id2label initializer_range keys_to_ignore_at_inference label2id language length_penalty
    mask_token_id max_length min_length model_type name no_repeat_ngram_size num_beam_groups num_beams num_labels num_return_sequences
    output_attentions output_hidden_states output_past output_scores pad_token_id prefix problem_type remove_invalid_values
    repetition_penalty return_dict return_dict_in_generate sep_token_id summary_activation summary_first_dropout summary_last_dropout
    summary_proj_to_labels summary_type summary_use_proj suppress_tokens task_specific_params temperature tie_weights_ tokenizer_class
    top_k top_p torch_dtype torchscript transformers_version typical_p use_bfloat16 use_cache vocab_size""".split()
)
"""Fields that do not change what the model computes from ids: names, training, generation, sizes that the tensors say themselves."""
GUARDED: Mapping[str, tuple[Any, ...]] = {
    "is_encoder_decoder": (False,),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,),
    "tie_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
    "tf_legacy_loss": (False,),
}
"""Fields that may be there with these values."""
DEEPEST = 1024
"""Layers that share their weights do not show in the file how many they are."""
LARGEST = 1 << 24
"""Of any side of a matrix."""
EXECUTES = ("auto_map", "custom_pipelines", "trust_remote_code")


def family_of(spec: RunSpec, *, format: str) -> Family:
    """The family that a spec is. Raises MalmoiError M051 for a spec that none is."""
    model, objective = spec.model, spec.objective.kind
    if objective == "causal":
        return OPENAI if isinstance(model.backbone, BackboneSpec) and model.backbone.norm == "post" else GPT2
    if objective == "replaced":
        return ELECTRA
    if objective != "masked":
        raise _unwritable(format, f"objective.kind is {objective}; causal, masked and replaced models can be written")
    if not (isinstance(model.frontend, TokenEmbeddingSpec) and isinstance(model.backbone, BackboneSpec)):
        return BERT
    if model.backbone.share == "all" or model.frontend.width not in (None, model.width):
        return ALBERT
    bare = model.frontend.types == 0 and isinstance(spec.objective, MaskedSpec) and spec.objective.pair == "none"
    return DISTILBERT if bare and model.backbone.epsilon == 1e-12 else BERT


def refuse_spec(family: Family, model: ModelSpec, *, format: str, heads: bool) -> None:
    """M051 naming the field of a spec that the family has no place for. heads: whether the output layer is written too."""
    for path, values in family.holds.items():
        if path.startswith("head.") and not heads:
            continue
        found = get(model, path)
        if path == "frontend.width" and found == model.width:
            continue
        if found not in values:
            raise _unwritable(format, f"model.{path} is {_said(found)}, {family.name} has {_alternatives(values)}")
    for each in family.fields:
        for path in each.ours:
            value, written = get(model, path), get(model, each.ours[0])
            if path.startswith("head.") and not heads:
                continue
            if each.values is not None and value not in each.values.values():
                raise _unwritable(format, f"model.{path} is {_said(value)}, {family.name} has {_alternatives(set(each.values.values()))}")
            if value != written:
                raise _unwritable(
                    format, f"model.{path} is {_said(value)}, {family.name} has one with model.{each.ours[0]}, {_said(written)}"
                )
    backbone = model.backbone
    assert isinstance(backbone, BackboneSpec) and backbone.feedforward is not None
    if family.width is None and backbone.feedforward.width != 4 * model.width:
        raise _unwritable(format, f"model.backbone.feedforward.width is not 4 times model.width, as {family.name} has it")
    if heads and not model.head.tied and get(model, "frontend.width") not in (None, model.width):
        raise _unwritable(format, f"model.head.tied is false, {family.name} with factorized embeddings has true")
    if family.groups and not even_groups(backbone.depth, groups(model)):
        raise _unwritable(format, f"model.backbone.groups is {backbone.groups}, and transformers rounds {backbone.depth} blocks otherwise")


def even_groups(depth: int, count: int) -> bool:
    """Whether transformers' `int(i / (depth / count))`, in floating point, gives every block the group it has here (not for 18 / 14)."""
    return all(int(i / (depth / count)) == i * count // depth for i in range(depth))


def config_of(family: Family, model: ModelSpec, *, words: int, marks: Marks, architecture: str) -> dict[str, Any]:
    """config.json of a model of this spec."""
    backbone = model.backbone
    assert isinstance(backbone, BackboneSpec) and backbone.feedforward is not None
    config: dict[str, Any] = {"architectures": [architecture], "model_type": family.name, "dtype": "float32", "vocab_size": words}
    for each in family.fields:
        value = get(model, each.ours[0])
        config[each.theirs] = value if each.values is None else next(name for name, ours in each.values.items() if ours == value)
    if "type_vocab_size" in config:
        config["type_vocab_size"] = max(1, config["type_vocab_size"])
    if family.width is not None:
        config[family.width] = backbone.feedforward.width
    if family.embedding is not None:
        config[family.embedding] = get(model, "frontend.width") or model.width
    if family.groups:
        config |= {"num_hidden_groups": groups(model), "inner_group_num": 1}
    if family is GPT2 or family is OPENAI:
        config |= {"embd_pdrop": model.dropout, "bos_token_id": marks.begin, "eos_token_id": marks.end}
    return config | {"pad_token_id": marks.pad}


def read_config(path: Path) -> tuple[Family, dict[str, Any]]:
    """config.json of a directory, checked field by field. Raises MalmoiError M053 and M054."""
    file = path / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise unreadable(path, "it has no config.json") from None
    except (ValueError, OSError, RecursionError) as failure:
        raise unreadable(file, f"it is not JSON ({failure})") from None
    if not isinstance(config, dict):
        raise unreadable(file, "it is not a JSON object")
    for name in EXECUTES:
        if config.get(name):
            raise _refused(file, name, config[name], "it asks for code from elsewhere, and nothing foreign is run")
    family = FAMILIES.get(config["model_type"]) if isinstance(config.get("model_type"), str) else None
    if family is None:
        raise _refused(file, "model_type", config.get("model_type"), f"these are read: {', '.join(FAMILIES)}")
    _refuse_config(file, family, config)
    return family, config


def _refuse_config(file: Path, family: Family, config: Mapping[str, Any]) -> None:
    own = {each.theirs for each in family.fields} | {family.width, family.embedding, *family.harmless}
    own |= {"num_hidden_groups"} if family.groups else set()
    guarded = {**GUARDED, **family.guarded}
    for name, value in config.items():
        if name in own or name in HARMLESS:
            continue
        if name not in guarded:
            raise _refused(file, name, value, "malmoi does not know this field, and it may change what the model computes")
        if value not in guarded[name]:
            raise _refused(file, name, value, f"only {_alternatives(guarded[name])} can be read")


def model_of(family: Family, config: Mapping[str, Any], *, path: Path) -> dict[str, Any]:
    """The tree of a ModelSpec that config.json describes. Raises MalmoiError M053, M054."""
    file = path / "config.json"
    tree: dict[str, Any] = {}
    for name, values in family.holds.items():
        _put(tree, name, values[0])
    for each in family.fields:
        value = config.get(each.theirs, each.default)
        if each.values is not None:
            if not isinstance(value, str) or value not in each.values:
                raise _refused(file, each.theirs, value, f"these are read: {', '.join(each.values)}")
            value = each.values[value]
        for name in each.ours:
            _put(tree, name, value)
    width, inner = tree["width"], config.get(family.width, family.inner) if family.width else None
    if not _whole(width) or not _whole(tree["backbone"]["mixer"]["heads"]) or width % tree["backbone"]["mixer"]["heads"]:
        raise unreadable(file, f"its heads ({tree['backbone']['mixer']['heads']}) do not divide its width ({width})")
    if not _whole(tree["backbone"]["depth"]) or tree["backbone"]["depth"] > DEEPEST:
        raise unreadable(file, f"it has {tree['backbone']['depth']} layers, where 1 to {DEEPEST:,} are read")
    _put(tree, "backbone.feedforward.width", 4 * width if inner is None else inner)
    if family.embedding is not None:
        narrow = config.get(family.embedding, 128)
        _put(tree, "frontend.width", None if narrow == width else narrow)
    if family.groups:
        depth, count = tree["backbone"]["depth"], config.get("num_hidden_groups", 1)
        if not (_whole(depth) and _whole(count) and count <= depth and even_groups(depth, count)):
            raise _refused(file, "num_hidden_groups", count, f"{depth} layers cannot be cut into so many groups of neighbours")
        alone = count == depth > 1
        tree["backbone"] |= {"share": "none" if alone else "all", "groups": 1 if alone else count}
    for name in ("width", "frontend.width", "frontend.length", "frontend.types", "backbone.feedforward.width"):
        *parents, last = name.split(".")
        size = reduce(lambda node, part: node[part], parents, tree).get(last)
        if isinstance(size, int) and size > LARGEST:
            raise unreadable(file, f"it makes model.{name} {size:,}, where {LARGEST:,} is the largest that is read")
    causal = family.objectives == ("causal",)
    return tree | {"initialization": "gpt2" if causal else "bert"}


def spec_of(tree: dict[str, Any], *, name: str, objective: dict[str, Any], words: int, path: Path) -> RunSpec:
    """A RunSpec around the tree of a model. Raises MalmoiError M053 for values that are out of range."""
    head = tree.setdefault("head", {})
    head["size"] = max(words, 1)
    length = tree["frontend"]["length"]
    if not _whole(length):
        raise unreadable(path / "config.json", f"it knows {length} positions")
    run = {
        "name": name,
        "subwords": {"size": max(words, 1)},
        "objective": objective,
        "model": tree,
        "stream": {"kind": "rows", "length": max(8, min(512, length))},
        "training": {"optimizer": {"kind": "adamw"}, "learning_rate": 1e-4},
    }
    try:
        return validate(RunSpec, run)
    except MalmoiError as problem:
        raise unreadable(path / "config.json", problem.message) from None


def get(model: ModelSpec, path: str) -> Any:
    """The value at a path of a spec; None where there is no such part."""
    value: Any = model
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        tree = tree.setdefault(part, {})
    tree[last] = value


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _unwritable(format: str, problem: str) -> MalmoiError:
    return MalmoiError(
        "M051",
        format=format,
        problem=problem,
        next="`malmoi recipes bert-small` (gpt2-small, gpt1-small, albert-small, electra-small) shows a model that can be written.",
    )


def _refused(path: Path, field: str, value: Any, problem: str) -> MalmoiError:
    said = json.dumps(value, ensure_ascii=False, default=str)
    return MalmoiError("M054", path=path, field=field, value=said if len(said) <= 60 else said[:60] + "...", problem=problem)


def _alternatives(values: Any) -> str:
    return " or ".join(sorted(_said(value) for value in values))


def _said(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value
