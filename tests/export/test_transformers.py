"""Directories of transformers, without transformers: what stands in them, and what is refused on the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from malmoi import api, recipes
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import SubwordSpec
from malmoi.export.configs import even_groups, family_of, refuse_spec
from malmoi.export.imported import parts_of
from malmoi.export.transformers import Part, write_transformers
from malmoi.vocab import Subwords, Vocabulary

FAMILIES = ("bert", "albert", "electra", "distilbert", "gpt2", "openai-gpt")
Export = Callable[..., Path]


def names(path: Path) -> set[str]:
    with safe_open(path / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        return set(file.keys())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_files(family: str, export: Export) -> None:
    out = export(family, facts={"documents": 12345, "tokens": 9})
    places = [out / "discriminator", out / "generator"] if family == "electra" else [out]
    causal = family in ("gpt2", "openai-gpt")
    for place in places:
        found = {path.name for path in place.iterdir()} - {"manifest.json", "README.md"}
        expected = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
        assert found == expected | ({"generation_config.json"} if causal else set())
        tokenizer = json.loads((place / "tokenizer_config.json").read_text())
        assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast" and tokenizer["clean_up_tokenization_spaces"] is False
        assert ("token_type_ids" in tokenizer["model_input_names"]) is (family in ("bert", "albert", "electra"))
        assert (tokenizer["do_lower_case"], tokenizer["strip_accents"], tokenizer["model_max_length"]) == (False, False, 40)
        assert (tokenizer.get("bos_token"), tokenizer["cls_token"]) == ("[CLS]" if causal else None, "[CLS]")
        assert not any("decoder.weight" in name or "lm_head.weight" in name for name in names(place))
        assert json.loads((place / "config.json").read_text())["model_type"] == family
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "12,345" in text and family in text and "AutoTokenizer" in text
    if causal:
        assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == 3


def test_the_files_for_sentences(export: Export) -> None:
    """The keys that text-embeddings-inference asks for and sentence-transformers 6 still reads."""
    out = export("bert", {"objective.pair": "next"}, sentences=True)
    pooling = json.loads((out / "1_Pooling" / "config.json").read_text())
    modes = {name for name, value in pooling.items() if value is True}
    assert pooling["word_embedding_dimension"] == 32 and modes == {"pooling_mode_mean_tokens", "include_prompt"}
    assert pooling["pooling_mode_cls_token"] is False
    assert json.loads((out / "sentence_bert_config.json").read_text()) == {"max_seq_length": 40, "do_lower_case": False}
    modules = json.loads((out / "modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == ["Transformer", "WordWeights", "Pooling"]
    weights = json.loads((out / "1_WordWeights" / "config.json").read_text())
    assert weights["word_weights"] == {"[CLS]": 0.0, "[SEP]": 0.0} and weights["unknown_word_weight"] == 1.0
    assert weights["vocab"] == list(json.loads((out / "tokenizer.json").read_text())["model"]["vocab"])
    assert json.loads((out / "config.json").read_text())["architectures"] == ["BertModel"]
    found = names(out)
    assert {"embeddings.word_embeddings.weight", "pooler.dense.weight"} <= found
    assert not any(name.startswith(("bert.", "cls.")) for name in found)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_an_output_layer_only_the_encoder_is_written(
    family: str, make_spec: Any, subwords: Any, make_objective: Any, tmp_path: Path
) -> None:
    """Of ELECTRA no generator either: its table is not the one that was trained on."""
    spec, vocabulary = make_spec(family), subwords()
    objective = make_objective(spec, vocabulary)
    write_transformers(
        tmp_path / "out", spec=spec, parts=parts_of(spec, objective), vocabulary=vocabulary, head=False, facts={"head": False}
    )
    assert 'AutoModel.from_pretrained(".")' in (tmp_path / "out" / "README.md").read_text()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"][0].endswith("Model") and not (tmp_path / "out" / "generator").exists()
    kept = load_file(tmp_path / "out" / "model.safetensors")
    table = next(tensor for name, tensor in kept.items() if name.endswith(("word_embeddings.weight", "wte.weight", "tokens_embed.weight")))
    assert torch.equal(table, objective.model.frontend.weight) and not any("predictions" in name or "lm_head" in name for name in kept)


def test_tokenizers_that_lower_case_say_so(make_spec: Any, make_objective: Any, tmp_path: Path) -> None:
    vocabulary = Subwords.train(["The Cat sat"] * 3, SubwordSpec(size=60, minimum_count=1, lowercase=True))
    spec = make_spec("bert")
    write_transformers(tmp_path / "out", spec=spec, parts=parts_of(spec, make_objective(spec, vocabulary)), vocabulary=vocabulary)
    config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert (config["do_lower_case"], config["strip_accents"]) == (True, False)


UNWRITABLE: dict[str, tuple[str, dict[str, Any], str]] = {
    "rotary": ("gpt2", {"model.frontend.positions": "rotary"}, "model.frontend.positions is rotary"),
    "sines": ("bert", {"model.frontend.positions": "sinusoidal"}, "model.frontend.positions is sinusoidal"),
    "prefix": ("gpt2", {"model.backbone.mixer.sees": "prefix"}, "model.backbone.mixer.sees is prefix"),
    "custom": ("gpt2", {"model.backbone": {"kind": "custom", "build": "a:b"}}, "model.backbone.kind is custom"),
    "custom, masked": ("bert", {"model.backbone": {"kind": "custom", "build": "a:b"}}, "model.backbone.kind is custom"),
    "sequence": ("bert", {"objective": {"kind": "sequence"}}, "objective.kind is sequence"),
    "biLM": ("bert", {"objective": {"kind": "bilm"}}, "objective.kind is bilm"),
    "pre-norm": ("bert", {"model.backbone.norm": "pre"}, "model.backbone.norm is pre"),
    "post-norm, erf": ("openai-gpt", {"model.backbone.feedforward.activation": "gelu"}, "feedforward.activation is gelu"),
    "post-norm, width": ("openai-gpt", {"model.backbone.feedforward.width": 100}, "not 4 times model.width"),
    "no norm": ("bert", {"model.frontend.norm": False}, "model.frontend.norm is false"),
    "norm": ("gpt2", {"model.frontend.norm": True}, "model.frontend.norm is true"),
    "types": ("gpt2", {"model.frontend.types": 2}, "model.frontend.types is 2"),
    "factor": ("gpt2", {"model.frontend.width": 8, "model.head.tied": False}, "model.frontend.width is 8"),
    "scale": ("bert", {"model.frontend.scale": True}, "model.frontend.scale is true"),
    "transform": ("bert", {"model.head.transform": "none"}, "model.head.transform is none"),
    "other transform": ("bert", {"model.head.transform": "relu"}, "model.head.transform is relu"),
    "generator's transform": ("electra", {"model.head.transform": "relu"}, "model.head.transform is relu"),
    "bias": ("gpt2", {"model.head.bias": "zero"}, "model.head.bias is zero"),
    "no bias": ("bert", {"model.head.bias": "none"}, "model.head.bias is none"),
    "untied factor": ("albert", {"model.head.tied": False}, "model.head.tied is false"),
    "adaptive": ("bert", {"model.head": {"softmax": {"kind": "adaptive"}}}, "model.head.softmax.kind is adaptive"),
    "rounded groups": ("albert", {"model.backbone.depth": 18, "model.backbone.groups": 14}, "model.backbone.groups is 14"),
}


@pytest.mark.parametrize("case", UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_what_no_family_holds_is_refused(case: tuple[str, dict[str, Any], str], make_spec: Any, subwords: Any, tmp_path: Path) -> None:
    family, changes, words = case
    spec = make_spec(family, changes)
    parts = {name: parts_of_nothing(spec) for name in ("model", "generator")}
    with pytest.raises(MalmoiError, match=words) as caught:
        write_transformers(tmp_path / "out", spec=spec, parts=parts, vocabulary=subwords())
    assert caught.value.code == "M051" and not list(tmp_path.iterdir())


def parts_of_nothing(spec: Any) -> Any:
    return Part(spec.model, {})


def test_where_only_the_encoder_is_written_the_head_does_not_matter(export: Export) -> None:
    out = export("bert", {"model.head": {"tied": False, "transform": "none", "bias": "none"}}, sentences=True)
    assert "embeddings.LayerNorm.weight" in names(out)


def test_groups_that_transformers_rounds_otherwise() -> None:
    assert [even_groups(18, 14), even_groups(12, 1), even_groups(12, 12), even_groups(5, 2)] == [False, True, True, True]


def test_a_vocabulary_of_words_is_refused(make_spec: Any, tmp_path: Path) -> None:
    spec = make_spec("gpt2")
    with pytest.raises(MalmoiError, match=r"M051.*one of words"):
        write_transformers(
            tmp_path / "out", spec=spec, parts={"model": parts_of_nothing(spec)}, vocabulary=Vocabulary.build({"a": 1}, spec.characters)
        )


def test_files_that_are_there_stay(export: Export, tmp_path: Path) -> None:
    (tmp_path / "out-bert").mkdir()
    (tmp_path / "out-bert" / "mine").write_text("x")
    with pytest.raises(MalmoiError, match="M004"):
        export("bert")
    assert [path.name for path in (tmp_path / "out-bert").iterdir()] == ["mine"]


def test_an_interrupted_export_leaves_nothing(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("malmoi.export.transformers.card", stop)
        with pytest.raises(KeyboardInterrupt):
            export("electra")
    assert not list(tmp_path.iterdir())
    assert (export("electra") / "generator" / "config.json").is_file()


def test_the_verbs_go_round(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = export("albert")
    found = api.import_("transformers", paths=[source], out=tmp_path / "run")
    assert found["head"] and found["objective"] == "masked" and found["left_behind"] == []
    again = api.export(tmp_path / "run", format="transformers", out=tmp_path / "again")
    assert again["notes"] == []
    before, after = (load_file(path / "model.safetensors") for path in (source, tmp_path / "again"))
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (source / name).read_text() == (tmp_path / "again" / name).read_text()
    api.export(tmp_path / "run", format="sentence-transformers", out=tmp_path / "sentences")
    bare = api.import_("transformers", paths=[tmp_path / "sentences"], out=tmp_path / "bare")
    assert bare["head"] is False and bare["left_behind"] == ["albert.pooler.bias", "albert.pooler.weight"]
    api.export(tmp_path / "bare", format="transformers", out=tmp_path / "encoder")
    assert json.loads((tmp_path / "encoder" / "config.json").read_text())["architectures"] == ["AlbertModel"]
    with pytest.raises(MalmoiError, match="M004"):
        api.import_("transformers", paths=[source], out=tmp_path / "run")
    with pytest.raises(MalmoiError, match="M009.*transformers"):
        api.import_("transformer", paths=[source], out=tmp_path / "x")
    with pytest.raises(MalmoiError, match="M009.*2 paths"):
        api.import_("transformers", paths=[source, source], out=tmp_path / "x")
    with pytest.raises(MalmoiError, match="M051.*allennlp"):
        api.export(tmp_path / "run", format="allennlp", out=tmp_path / "x")


WRITTEN_AS = {"bert": "bert", "albert": "albert", "electra": "electra", "gpt1": "openai-gpt", "gpt2": "gpt2"}


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_written_as_its_own_family(name: str) -> None:
    spec, kind = recipes.find(name), name.partition("-")[0]
    if kind not in WRITTEN_AS:
        with pytest.raises(MalmoiError, match="M051.*objective.kind"):
            family_of(spec, format="transformers")
        return
    family = family_of(spec, format="transformers")
    assert family.name == WRITTEN_AS[kind]
    refuse_spec(family, spec.model, format="transformers", heads=True)
