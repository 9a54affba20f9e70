"""What is read of a directory of transformers, what is refused by name, and that nothing in it is executed."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from malmoi.core.errors import MalmoiError
from malmoi.export.configs import get, model_of, read_config, spec_of
from malmoi.export.foreign import read_transformers
from malmoi.export.imported import import_transformers, objective_with, shapes_of

Export = Callable[..., Path]


def change(directory: Path, **fields: Any) -> None:
    """Fields of config.json; ... takes one out."""
    path = directory / "config.json"
    config = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}))


def edit(directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """`change` the tensors of a directory in place."""
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


def read(directory: Path) -> Any:
    return read_transformers(directory, shapes=shapes_of)


def test_old_names_and_bare_names_are_read(export: Export, subwords: Any) -> None:
    """gamma and beta, an encoder without its prefix, constants that older versions stored."""
    out = export("bert")
    before = objective_with(read(out)).state_dict()

    def age(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[old.removeprefix("bert.")] = tensors.pop(name)
        tensors["embeddings.position_ids"] = torch.arange(40)[None]
        tensors["cls.predictions.decoder.weight"] = tensors["embeddings.word_embeddings.weight"].clone()
        tensors["pooler.dense.weight"] = torch.ones(32, 32)

    edit(out, age)
    found = read(out)
    after = objective_with(found).state_dict()
    assert found.head and found.dropped == ("bert.pooler.dense.weight",)
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())


def test_half_precision_and_shards_are_read(export: Export) -> None:
    out = export("gpt2")
    tensors = load_file(out / "model.safetensors")
    (out / "model.safetensors").unlink()
    halves = {name: value.to(torch.bfloat16) for name, value in tensors.items()}
    files = {"a.safetensors": dict(list(halves.items())[:5]), "b.safetensors": dict(list(halves.items())[5:])}
    for name, part in files.items():
        save_file(part, out / name)
    index = {"weight_map": {tensor: name for name, part in files.items() for tensor in part}}
    (out / "model.safetensors.index.json").write_text(json.dumps(index))
    state = read(out).state
    assert all(value.dtype == torch.float32 for value in state.values())
    assert torch.equal(state["model.frontend.weight"], halves["transformer.wte.weight"].float())
    (out / "b.safetensors").unlink()
    with pytest.raises(MalmoiError, match=r"M053.*b\.safetensors"):
        read(out)
    (out / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../a.safetensors"}}))
    with pytest.raises(MalmoiError, match=r"M053.*index"):
        read(out)


CONFIGS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "unknown type": ("bert", {"model_type": "deberta"}, "M054", "model_type.*deberta.*bert, albert"),
    "no type": ("bert", {"model_type": ...}, "M054", "model_type"),
    "code": ("bert", {"auto_map": {"AutoModel": "x--y.Z"}}, "M054", "auto_map.*nothing foreign is run"),
    "unknown field": ("bert", {"rotary_value": True}, "M054", "rotary_value is true"),
    "quantized": ("gpt2", {"quantization_config": {"bits": 4}}, "M054", "quantization_config"),
    "relative positions": ("bert", {"position_embedding_type": "relative_key"}, "M054", "position_embedding_type.*relative_key.*absolute"),
    "scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "M054", "scale_attn_by_inverse_layer_idx is true"),
    "not scaled": ("gpt2", {"scale_attn_weights": False}, "M054", "scale_attn_weights is false"),
    "decoder": ("bert", {"is_decoder": True}, "M054", "is_decoder is true"),
    "pruned": ("bert", {"pruned_heads": {"0": [1]}}, "M054", "pruned_heads"),
    "activation": ("bert", {"hidden_act": "silu"}, "M054", "hidden_act.*silu.*gelu"),
    "no activation": ("bert", {"hidden_act": ["gelu"]}, "M054", "hidden_act"),
    "OpenAI-GPT's activation": ("openai-gpt", {"afn": "swish"}, "M054", "afn.*swish"),
    "inner groups": ("albert", {"inner_group_num": 2}, "M054", "inner_group_num is 2"),
    "groups": ("albert", {"num_hidden_groups": 4}, "M054", "num_hidden_groups is 4"),
    "heads": ("bert", {"num_attention_heads": 5}, "M053", "heads.*5.*32"),
    "width": ("bert", {"hidden_size": "wide"}, "M053", "width"),
    "another width": ("bert", {"hidden_size": 64}, "M053", r"word_embeddings.weight has shape \(\d+, 32\), config.json says \(\d+, 64\)"),
    "another inner width": ("bert", {"intermediate_size": 50}, "M053", r"intermediate.dense.weight has shape \(48, 32\).*\(50, 32\)"),
    "Conv1D": ("gpt2", {"n_inner": 100}, "M053", r"c_fc.weight has shape \(32, 128\).*\(32, 100\)"),
    "more layers": ("bert", {"num_hidden_layers": 3}, "M053", r"encoder.layer.2.*3 layers"),
    "very many layers": ("albert", {"num_hidden_layers": 10**9}, "M053", "1000000000 layers"),
    "enormous": ("gpt2", {"n_inner": 10**30}, "M053", "model.backbone.feedforward.width 1,000"),
    "fewer layers": ("bert", {"num_hidden_layers": 1}, "M053", "also holds bert.encoder.layer.1"),
    "epsilon": ("bert", {"layer_norm_eps": -1.0}, "M053", "epsilon"),
    "positions": ("bert", {"max_position_embeddings": 41}, "M053", r"position_embeddings.weight has shape \(40, 32\).*\(41, 32\)"),
    "fewer words": ("bert", {"vocab_size": 10}, "M053", "vocab_size is 10"),
}


@pytest.mark.parametrize("case", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_config_that_may_change_what_is_computed_is_refused(case: tuple[str, dict[str, Any], str, str], export: Export) -> None:
    family, fields, code, words = case
    out = export(family)
    change(out, **fields)
    with pytest.raises(MalmoiError, match=words) as caught:
        read(out)
    assert caught.value.code == code


TENSORS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "missing": (lambda t: t.pop("bert.encoder.layer.1.output.dense.bias"), r"layer.1.output.dense.bias is missing.*\(32,\)"),
    "missing of the head": (lambda t: t.pop("cls.predictions.transform.LayerNorm.bias"), "transform.LayerNorm.bias is missing"),
    "shape": (lambda t: t.update({"cls.predictions.bias": torch.zeros(3)}), r"cls.predictions.bias has shape \(3,\)"),
    "extra": (lambda t: t.update({"bert.encoder.layer.1.adapter": torch.zeros(3)}), "also holds bert.encoder.layer.1.adapter"),
    "not finite": (lambda t: t["bert.embeddings.LayerNorm.bias"].fill_(torch.nan), "embeddings.LayerNorm.bias.*finite"),
    "whole numbers": (
        lambda t: t.update({"cls.predictions.bias": torch.zeros(3, dtype=torch.int64)}),
        "cls.predictions.bias is stored as I64",
    ),
    "twice": (lambda t: t.update({"embeddings.LayerNorm.bias": torch.zeros(32)}), "embeddings.LayerNorm.bias stands there twice"),
    "untied": (lambda t: t.update({"cls.predictions.decoder.weight": torch.zeros(3, 3)}), "decoder.weight differs from bert.embeddings"),
}


@pytest.mark.parametrize("case", TENSORS.values(), ids=TENSORS.keys())
def test_a_tensor_that_does_not_fit_is_named(case: tuple[Callable[[Any], Any], str], export: Export) -> None:
    out = export("bert")
    edit(out, case[0])
    with pytest.raises(MalmoiError, match=case[1]) as caught:
        read(out)
    assert caught.value.code == "M053"


def test_foreign_heads_are_left_behind_by_name(export: Export) -> None:
    out = export("bert")
    edit(out, lambda tensors: tensors.update({"classifier.weight": torch.zeros(2, 32)}))
    assert read(out).dropped == ("classifier.weight",)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "executed"))


def test_a_pickle_is_never_opened(export: Export, tmp_path: Path) -> None:
    out, trap = export("bert"), tmp_path / "trap"
    (out / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(trap)))
    (out / "modeling_bert.py").write_text(f"open({str(trap)!r}, 'w').write('executed')")
    read(out)
    (out / "model.safetensors").unlink()
    with pytest.raises(MalmoiError, match=r"M053.*pytorch_model.bin.*pickle.*save_pretrained"):
        read(out)
    assert not trap.exists()


def test_directories_that_are_none(export: Export, tmp_path: Path) -> None:
    with pytest.raises(MalmoiError, match="M010"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MalmoiError, match=r"M053.*config.json"):
        read(tmp_path / "empty")
    out = export("bert")
    whole = (out / "model.safetensors").read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
        (out / "model.safetensors").write_bytes(whole[:size])
        with pytest.raises(MalmoiError, match="M053.*safetensors"):
            read(out)
    (out / "config.json").write_text("[" * 100_000)
    with pytest.raises(MalmoiError, match="M053.*config.json"):
        read(out)


def test_a_tokenizer_that_is_none(export: Export) -> None:
    out = export("bert")
    config = json.loads((out / "tokenizer_config.json").read_text())
    (out / "tokenizer_config.json").write_text(json.dumps({**config, "auto_map": {"AutoTokenizer": ["x", None]}}))
    with pytest.raises(MalmoiError, match="M054.*auto_map"):
        read(out)
    (out / "tokenizer_config.json").write_text(json.dumps(config))
    (out / "tokenizer.json").write_text('{"model": {"type": "None", "vocab": {}}}')
    with pytest.raises(MalmoiError, match="M053.*tokenizer.json"):
        read(out)
    (out / "tokenizer.json").unlink()
    (out / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(MalmoiError, match="M053.*vocab.txt.*save_pretrained"):
        read(out)


def test_marks_are_found_by_name_by_id_or_as_the_one_there_is(export: Export) -> None:
    out = export("gpt2")
    (out / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "[SEP]"}, "unk_token": "[SEP]"}))
    change(out, bos_token_id=None, pad_token_id=None)
    marks = read(out).vocabulary.marks
    assert (marks.pad, marks.unknown, marks.begin, marks.end, marks.mask) == (3, 3, 3, 3, None)
    (out / "tokenizer_config.json").unlink()
    change(out, bos_token_id=2, eos_token_id=3, pad_token_id=0)
    marks = read(out).vocabulary.marks
    assert (marks.pad, marks.unknown, marks.begin, marks.end) == (0, 1, 2, 3)


def test_two_models_that_do_not_belong_together(export: Export, tmp_path: Path) -> None:
    out = export("electra")
    shutil.copytree(out, tmp_path / "other")
    change(tmp_path / "other" / "generator", num_attention_heads=2)
    with pytest.raises(MalmoiError, match="M053.*num_attention_heads is 2"):
        read(tmp_path / "other")
    edit(out / "generator", lambda tensors: tensors["electra.embeddings.word_embeddings.weight"].add_(1.0))
    with pytest.raises(MalmoiError, match="M053.*frontend.weight differs"):
        read(out)
    alone = read(out / "discriminator")
    assert not alone.head and alone.spec.objective.kind == "masked"
    assert {name.split(".")[0] for name in alone.dropped} == {"discriminator_predictions"}
    assert read(out / "generator").head


def test_an_interrupted_import_leaves_nothing(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = export("gpt2")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("malmoi.train.checkpoint.save", stop)
        with pytest.raises(KeyboardInterrupt):
            import_transformers(source, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


HUB: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bert-base-multilingual-cased": (
        {
            **{"architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "directionality": "bidi", "hidden_act": "gelu"},
            **{
                "hidden_dropout_prob": 0.1,
                "hidden_size": 768,
                "initializer_range": 0.02,
                "intermediate_size": 3072,
                "layer_norm_eps": 1e-12,
            },
            **{"max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0},
            **{"pooler_fc_size": 768, "pooler_num_attention_heads": 12, "pooler_num_fc_layers": 3, "pooler_size_per_head": 128},
            **{"pooler_type": "first_token_transform", "position_embedding_type": "absolute", "transformers_version": "4.7.0.dev0"},
            **{"type_vocab_size": 2, "use_cache": True, "vocab_size": 119547, "gradient_checkpointing": False},
        },
        {"width": 768, "backbone.depth": 12, "backbone.epsilon": 1e-12, "frontend.types": 2, "head.transform": "gelu", "head.size": 119547},
    ),
    "gpt2": (
        {
            **{"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256},
            **{"embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-5, "model_type": "gpt2"},
            **{
                "n_ctx": 1024,
                "n_embd": 768,
                "n_head": 12,
                "n_layer": 12,
                "n_positions": 1024,
                "resid_pdrop": 0.1,
                "summary_activation": None,
            },
            **{"summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True},
            **{"task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "vocab_size": 50257},
        },
        {
            "backbone.feedforward.width": 3072,
            "backbone.feedforward.activation": "gelu_tanh",
            "backbone.norm": "pre",
            "frontend.length": 1024,
        },
    ),
    "openai-gpt": (
        {
            **{"afn": "gelu", "architectures": ["OpenAIGPTLMHeadModel"], "attn_pdrop": 0.1, "embd_pdrop": 0.1, "initializer_range": 0.02},
            **{"layer_norm_epsilon": 1e-5, "model_type": "openai-gpt", "n_ctx": 512, "n_embd": 768, "n_head": 12, "n_layer": 12},
            **{"n_positions": 512, "n_special": 0, "predict_special_tokens": True, "resid_pdrop": 0.1, "summary_activation": None},
            **{"summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index", "vocab_size": 40478},
        },
        {"backbone.feedforward.width": 3072, "backbone.feedforward.activation": "gelu_tanh", "backbone.norm": "post", "head.bias": "none"},
    ),
    "albert-base-v2": (
        {
            **{
                "architectures": ["AlbertForMaskedLM"],
                "attention_probs_dropout_prob": 0,
                "bos_token_id": 2,
                "classifier_dropout_prob": 0.1,
            },
            **{"down_scale_factor": 1, "embedding_size": 128, "eos_token_id": 3, "gap_size": 0, "hidden_act": "gelu_new"},
            **{"hidden_dropout_prob": 0, "hidden_size": 768, "initializer_range": 0.02, "inner_group_num": 1, "intermediate_size": 3072},
            **{"layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "albert", "net_structure_type": 0},
            **{"num_attention_heads": 12, "num_hidden_groups": 1, "num_hidden_layers": 12, "num_memory_blocks": 0, "pad_token_id": 0},
            **{"type_vocab_size": 2, "vocab_size": 30000},
        },
        {"frontend.width": 128, "backbone.share": "all", "backbone.groups": 1, "head.transform": "gelu_tanh", "dropout": 0.0},
    ),
    "electra-small-discriminator": (
        {
            **{
                "architectures": ["ElectraForPreTraining"],
                "attention_probs_dropout_prob": 0.1,
                "embedding_size": 128,
                "hidden_act": "gelu",
            },
            **{
                "hidden_dropout_prob": 0.1,
                "hidden_size": 256,
                "initializer_range": 0.02,
                "intermediate_size": 1024,
                "layer_norm_eps": 1e-12,
            },
            **{
                "max_position_embeddings": 512,
                "model_type": "electra",
                "num_attention_heads": 4,
                "num_hidden_layers": 12,
                "pad_token_id": 0,
            },
            **{"summary_activation": "gelu", "summary_last_dropout": 0.1, "summary_type": "first", "summary_use_proj": True},
            **{"type_vocab_size": 2, "vocab_size": 30522, "position_embedding_type": "absolute", "use_cache": True},
        },
        {"frontend.width": 128, "backbone.mixer.heads": 4, "head.transform": "gelu", "backbone.share": "none"},
    ),
    "distilbert-base-uncased": (
        {
            **{"activation": "gelu", "architectures": ["DistilBertForMaskedLM"], "attention_dropout": 0.1, "dim": 768, "dropout": 0.1},
            **{"hidden_dim": 3072, "initializer_range": 0.02, "max_position_embeddings": 512, "model_type": "distilbert", "n_heads": 12},
            **{"n_layers": 6, "pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False},
            **{"tie_weights_": True, "transformers_version": "4.10.0.dev0", "vocab_size": 30522},
        },
        {"backbone.depth": 6, "backbone.epsilon": 1e-12, "frontend.types": 0, "backbone.feedforward.width": 3072},
    ),
}
"""config.json of well-known models, as they stand on the hub, and what they say."""


@pytest.mark.parametrize("case", HUB.values(), ids=HUB.keys())
def test_configs_of_well_known_models_are_read(case: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    config, expected = case
    (tmp_path / "config.json").write_text(json.dumps(config))
    family, found = read_config(tmp_path)
    objective = {"kind": family.objectives[0] if family.name != "electra" else "masked"}
    spec = spec_of(model_of(family, found, path=tmp_path), name="x", objective=objective, words=config["vocab_size"], path=tmp_path)
    assert {path: get(spec.model, path) for path in expected} == expected
