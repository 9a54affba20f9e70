"""What malmoi writes, transformers computes alike, and the other way round: hidden states of every layer, and logits.

The installed transformers is the oracle; `test_transformers_4.py` runs this file and test_tokenizers.py against another major version.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.recipe import RunSpec
from malmoi.export.foreign import read_transformers
from malmoi.export.imported import import_transformers, objective_with, parts_of, shapes_of
from malmoi.export.tokenizer_files import tokenizer_files
from malmoi.export.transformers import write_sentence_transformers, write_transformers
from malmoi.vocab import Subwords

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-5
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "bert, wide, one head, relu": (
        "bert",
        {
            "model.width": 24,
            "model.backbone.mixer.heads": 1,
            "model.backbone.feedforward": {"width": 100, "activation": "relu"},
            "model.head.transform": "relu",
            "model.backbone.epsilon": 1e-3,
        },
    ),
    "bert, next sentence, tanh": (
        "bert",
        {
            "objective.pair": "next",
            "model.backbone.feedforward.activation": "gelu_tanh",
            "model.head.transform": "gelu_tanh",
            "model.backbone.depth": 3,
        },
    ),
    "bert, one type, untied": ("bert", {"model.frontend.types": 1, "model.head.tied": False}),
    "bert, no types": ("bert", {"model.frontend.types": 0, "model.backbone.epsilon": 1e-5}),
    "bert, shared attention": ("bert", {"model.backbone.share": "attention", "model.backbone.depth": 3}),
    "bert, shared feed-forward": ("bert", {"model.backbone.share": "feedforward", "model.backbone.depth": 4, "model.backbone.groups": 2}),
    "albert": ("albert", {}),
    "albert, groups, no pair": ("albert", {"model.backbone.depth": 5, "model.backbone.groups": 2, "objective.pair": "none"}),
    "albert, factor alone": ("albert", {"model.backbone.share": "none", "model.frontend.types": 0}),
    "albert, sharing alone, relu": (
        "albert",
        {
            "model.frontend.width": None,
            "model.backbone.feedforward.activation": "relu",
            "model.head.transform": "relu",
            "model.backbone.epsilon": 1e-5,
        },
    ),
    "albert, factor and shared attention": ("albert", {"model.backbone.share": "attention", "objective.pair": "next"}),
    "electra": ("electra", {}),
    "electra, no factor, half": ("electra", {"model.frontend.width": None, "objective.generator": 0.5, "model.frontend.types": 1}),
    "electra, other activation, equal": (
        "electra",
        {
            "model.backbone.feedforward.activation": "gelu_tanh",
            "objective.generator": 1.0,
            "model.backbone.epsilon": 1e-4,
            "model.frontend.types": 0,
        },
    ),
    "electra, shared": ("electra", {"model.backbone.share": "all", "model.backbone.depth": 3, "model.frontend.width": 8}),
    "distilbert": ("distilbert", {}),
    "distilbert, deep, relu": (
        "distilbert",
        {"model.backbone.depth": 4, "model.backbone.feedforward.activation": "relu", "model.head.transform": "relu"},
    ),
    "distilbert, untied, two heads": ("distilbert", {"model.backbone.mixer.heads": 2, "model.width": 40, "model.head.tied": False}),
    "gpt2": ("gpt2", {}),
    "gpt2, narrow feed-forward, erf": ("gpt2", {"model.backbone.feedforward": {"width": 20, "activation": "gelu"}, "model.width": 48}),
    "gpt2, one block, untied, relu": (
        "gpt2",
        {"model.backbone.depth": 1, "model.head.tied": False, "model.backbone.feedforward.activation": "relu"},
    ),
    "gpt2, shared": ("gpt2", {"model.backbone.share": "all", "model.backbone.depth": 3, "model.backbone.epsilon": 1e-3}),
    "openai-gpt": ("openai-gpt", {}),
    "openai-gpt, relu, one head": ("openai-gpt", {"model.backbone.feedforward.activation": "relu", "model.backbone.mixer.heads": 1}),
    "openai-gpt, untied, deep": ("openai-gpt", {"model.head.tied": False, "model.backbone.depth": 4, "model.backbone.epsilon": 1e-4}),
}
LANGUAGE = {
    "bert": "BertForMaskedLM",
    "albert": "AlbertForMaskedLM",
    "electra": "ElectraForMaskedLM",
    "distilbert": "DistilBertForMaskedLM",
    "gpt2": "GPT2LMHeadModel",
    "openai-gpt": "OpenAIGPTLMHeadModel",
}
PAIRED = {"bert": "BertForPreTraining", "albert": "AlbertForPreTraining"}


def load(name: str, path: Path, **arguments: Any) -> Any:
    """A model of transformers, after everything in the file was used and nothing was missing."""
    model, found = getattr(transformers, name).from_pretrained(path, output_loading_info=True, **arguments)
    problems = {kind: list(found.get(kind) or ()) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}
    assert not any(problems.values()), (name, problems)
    return model.eval()


def theirs(model: Any, batch: Batch) -> Any:
    types = {} if batch.types is None else {"token_type_ids": batch.types}
    with torch.no_grad():
        return model(input_ids=batch.ids, attention_mask=batch.segments, output_hidden_states=True, **types)


def apart(ours: Tensor, others: Tensor, batch: Batch) -> float:
    """The largest difference at positions that are not padding."""
    assert ours.shape == others.shape
    return float((ours - others)[batch.segments > 0].abs().max())


@torch.no_grad()
def differences(model: Any, foreign: Any, batch: Batch, head: str = "words") -> dict[str, float]:
    """hidden: over all layers; logits: of the head."""
    trace, found = model.encode(batch), theirs(foreign, batch)
    assert len(found.hidden_states) == len(trace.layers)
    layers = [apart(mine, other, batch) for mine, other in zip(trace.layers, found.hidden_states, strict=True)]
    logits = {} if head not in model.heads else {"logits": _logits(model, head, trace.last)}
    other = getattr(found, "logits", getattr(found, "prediction_logits", None))
    return {"hidden": max(layers)} | {name: apart(value, other, batch) for name, value in logits.items()}


def _logits(model: Any, head: str, last: Tensor) -> Tensor:
    return model.heads[head].logits(last) if head == "words" else model.heads[head](last)


def without_types(family: str, batch: Batch) -> Batch:
    return Batch(batch.ids, batch.segments, batch.positions) if family in ("distilbert", "gpt2", "openai-gpt") else batch


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest, make_spec: Callable[..., RunSpec]) -> tuple[str, RunSpec]:
    family, changes = request.param
    return family, make_spec(family, changes)


def written(spec: RunSpec, objective: Any, vocabulary: Subwords, out: Path) -> Path:
    write_transformers(out, spec=spec, parts=parts_of(spec, objective), vocabulary=vocabulary)
    return out


def test_out(case: tuple[str, RunSpec], subwords: Callable[..., Subwords], make_objective: Any, ragged: Any, tmp_path: Path) -> None:
    family, spec = case
    vocabulary = subwords()
    objective = make_objective(spec, vocabulary)
    out = written(spec, objective, vocabulary, tmp_path / "out")
    batch = without_types(family, ragged(len(vocabulary), spec.model.frontend.types))  # type: ignore[union-attr]
    found = {}
    if family == "electra":
        found["model"] = differences(objective.model, load("ElectraForPreTraining", out / "discriminator"), batch, "replaced")
        found["generator"] = differences(objective.generator, load("ElectraForMaskedLM", out / "generator"), batch)
    elif "pair" in objective.model.heads:
        foreign = load(PAIRED[_type(out)], out)
        found["model"] = differences(objective.model, foreign, batch)
        outputs = theirs(foreign, batch)
        logits = outputs.sop_logits if "sop_logits" in outputs else outputs.seq_relationship_logits
        with torch.no_grad():
            pair = objective.model.heads["pair"](objective.model.encode(batch).last[:, 0])
        found["pair"] = {"logits": float((pair - logits).abs().max())}
    else:
        found["model"] = differences(objective.model, load(LANGUAGE[_type(out)], out), batch)
    for part, numbers in found.items():
        assert numbers.keys() >= {"logits"} and max(numbers.values()) < TOLERANCE, (part, numbers)


def test_the_model_is_the_family_that_its_spec_is(case: tuple[str, RunSpec], subwords: Any, make_objective: Any, tmp_path: Path) -> None:
    family, spec = case
    out = written(spec, make_objective(spec, subwords()), subwords(), tmp_path / "out")
    assert _type(out / "discriminator" if family == "electra" else out) == family


def _type(out: Path) -> str:
    return str(json.loads((out / "config.json").read_text())["model_type"])


def test_back_again_is_bit_equal(case: tuple[str, RunSpec], subwords: Any, make_objective: Any, tmp_path: Path) -> None:
    family, spec = case
    objective = make_objective(spec, subwords())
    read = read_transformers(written(spec, objective, subwords(), tmp_path / "out"), shapes=shapes_of)
    before, after = objective.state_dict(), objective_with(read).state_dict()
    extra = {name: value for name, value in after.items() if name not in before}
    assert before.keys() <= after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())
    assert read.head and not read.dropped
    assert all(name.endswith("frontend.types") and not value.any() for name, value in extra.items() if "projection" not in name)
    if spec.model.backbone.share == "none" and not extra and family not in ("albert", "electra"):  # type: ignore[union-attr]
        assert read.spec.model.backbone == spec.model.backbone and read.spec.model.frontend == spec.model.frontend
        assert read.spec.objective == spec.objective
    assert read.vocabulary.marks.ids == subwords().marks.ids and len(read.vocabulary) == len(subwords())


def test_the_encoder_for_sentences(case: tuple[str, RunSpec], subwords: Any, make_objective: Any, ragged: Any, tmp_path: Path) -> None:
    family, spec = case
    vocabulary = subwords()
    objective = make_objective(spec, vocabulary)
    out = tmp_path / "out"
    write_sentence_transformers(out, spec=spec, parts=parts_of(spec, objective), vocabulary=vocabulary)
    trained = "pair" in objective.model.heads
    poolers = {"add_pooling_layer": False} if family in ("bert", "albert") and not trained else {}
    foreign = load(json.loads((out / "config.json").read_text())["architectures"][0], out, **poolers)
    batch = without_types(family, ragged(len(vocabulary), spec.model.frontend.types))  # type: ignore[union-attr]
    assert differences(objective.model, foreign, batch, head="none")["hidden"] < TOLERANCE


FOREIGN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": (
        "BertForMaskedLM",
        "BertConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40},
    ),
    "bert for pre-training": (
        "BertForPreTraining",
        "BertConfig",
        {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "hidden_act": "relu", "intermediate_size": 64},
    ),
    "bert, no head": (
        "BertModel",
        "BertConfig",
        {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "type_vocab_size": 3},
    ),
    "bert, untied": (
        "BertForMaskedLM",
        "BertConfig",
        {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "tie_word_embeddings": False, "hidden_act": "gelu_new"},
    ),
    "albert": (
        "AlbertForMaskedLM",
        "AlbertConfig",
        {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48, "embedding_size": 16},
    ),
    "albert, groups": (
        "AlbertForPreTraining",
        "AlbertConfig",
        {
            "hidden_size": 24,
            "num_hidden_layers": 5,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "embedding_size": 40,
            "num_hidden_groups": 3,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-4,
        },
    ),
    "albert, no head": (
        "AlbertModel",
        "AlbertConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 16, "num_hidden_groups": 2},
    ),
    "electra generator": (
        "ElectraForMaskedLM",
        "ElectraConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "embedding_size": 16},
    ),
    "electra, as wide": (
        "ElectraForMaskedLM",
        "ElectraConfig",
        {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "embedding_size": 32, "hidden_act": "relu"},
    ),
    "electra, no head": ("ElectraModel", "ElectraConfig", {"hidden_size": 32, "num_hidden_layers": 3, "embedding_size": 8}),
    "distilbert": ("DistilBertForMaskedLM", "DistilBertConfig", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
    "distilbert, sines": (
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        {"dim": 24, "n_layers": 3, "n_heads": 2, "sinusoidal_pos_embds": True, "activation": "relu"},
    ),
    "distilbert, no head": ("DistilBertModel", "DistilBertConfig", {"dim": 32, "n_layers": 1, "n_heads": 1, "hidden_dim": 100}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    "gpt2, inner, untied": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_embd": 48, "n_layer": 3, "n_head": 3, "n_inner": 20, "activation_function": "relu", "tie_word_embeddings": False},
    ),
    "gpt2, no head": ("GPT2Model", "GPT2Config", {"n_embd": 32, "n_layer": 1, "n_head": 2, "activation_function": "gelu"}),
    "openai-gpt": ("OpenAIGPTLMHeadModel", "OpenAIGPTConfig", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    "openai-gpt, relu": ("OpenAIGPTLMHeadModel", "OpenAIGPTConfig", {"n_embd": 24, "n_layer": 3, "n_head": 2, "afn": "relu"}),
    "openai-gpt, no head": ("OpenAIGPTModel", "OpenAIGPTConfig", {"n_embd": 32, "n_layer": 1, "n_head": 1, "layer_norm_epsilon": 1e-3}),
}


def save_foreign(kind: tuple[str, str, dict[str, Any]], out: Path, vocabulary: Subwords, shaken: Any, rows: int = 0) -> Any:
    """A model of transformers with weights far from their start, saved by itself beside our tokenizer."""
    name, config, arguments = kind
    length = "n_positions" if "n_embd" in arguments else "max_position_embeddings"
    made = getattr(transformers, config)(vocab_size=len(vocabulary) + rows, **{length: 40}, **arguments)
    model = shaken(getattr(transformers, name)(made))
    model.save_pretrained(out)
    for file, content in tokenizer_files(vocabulary, length=40, types=True, causal="n_embd" in arguments).items():
        (out / file).write_text(content, encoding="utf-8")
    return model


@pytest.mark.parametrize("kind", FOREIGN.values(), ids=FOREIGN.keys())
def test_in(kind: tuple[str, str, dict[str, Any]], subwords: Any, shaken: Any, ragged: Any, tmp_path: Path) -> None:
    vocabulary = subwords()
    foreign = save_foreign(kind, tmp_path / "in", vocabulary, shaken)
    if kind[0] == "AlbertModel":  # an embedding of 128 for a model of 32
        assert foreign.config.embedding_size == 128
    read = read_transformers(tmp_path / "in", shapes=shapes_of)
    objective = objective_with(read)
    batch = ragged(len(vocabulary), getattr(foreign.config, "type_vocab_size", 0))
    found = differences(objective.model, foreign, batch, head="words" if read.head else "none")
    assert max(found.values()) < TOLERANCE, found
    assert read.head is ("Model" not in kind[0] or "LMHead" in kind[0])
    assert ("logits" in found) is read.head
    if kind[0].endswith("ForPreTraining"):
        outputs = theirs(foreign, batch)
        logits = outputs.sop_logits if "sop_logits" in outputs else outputs.seq_relationship_logits
        with torch.no_grad():
            pair = objective.model.heads["pair"](objective.model.encode(batch).last[:, 0])
        assert float((pair - logits).abs().max()) < TOLERANCE


def test_in_as_a_run(subwords: Any, shaken: Any, ragged: Any, tmp_path: Path) -> None:
    """More rows than tokens: those have no token and are left behind; the rest is the same bit for bit through a run on disk."""
    from malmoi.run import load_run

    vocabulary = subwords()
    foreign = save_foreign(FOREIGN["bert"], tmp_path / "in", vocabulary, shaken, rows=7)
    path, read = import_transformers(tmp_path / "in", tmp_path / "run")
    assert any("7 rows" in note for note in read.notes)
    opened = load_run(path)
    assert opened.has_head and opened.step == 0 and opened.vocabulary.fingerprint == vocabulary.fingerprint
    found, batch = theirs(foreign, batch := ragged(len(vocabulary), 2)), batch
    with torch.no_grad():
        trace = opened.objective.model.encode(batch)  # type: ignore[attr-defined]
        logits = opened.objective.model.heads["words"].logits(trace.last)  # type: ignore[attr-defined]
    assert apart(trace.last, found.hidden_states[-1], batch) < TOLERANCE
    assert apart(logits, found.logits[..., : len(vocabulary)], batch) < TOLERANCE


def test_in_of_two_models(subwords: Any, shaken: Any, ragged: Any, tmp_path: Path) -> None:
    """ELECTRA's discriminator and generator, which share their embeddings, as one run."""
    vocabulary, common = subwords(), {"num_hidden_layers": 2, "embedding_size": 16}
    large = {"hidden_size": 48, "num_attention_heads": 6, "intermediate_size": 96, **common}
    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, **common}
    one = save_foreign(("ElectraForPreTraining", "ElectraConfig", large), tmp_path / "in" / "discriminator", vocabulary, shaken)
    other = save_foreign(("ElectraForMaskedLM", "ElectraConfig", small), tmp_path / "in" / "generator", vocabulary, shaken)
    other.electra.embeddings.load_state_dict(one.electra.embeddings.state_dict())
    other.save_pretrained(tmp_path / "in" / "generator")
    read = read_transformers(tmp_path / "in", shapes=shapes_of)
    objective, batch = objective_with(read), ragged(len(vocabulary), 2)
    assert read.head and read.spec.objective.kind == "replaced" and not read.dropped
    found = [differences(objective.model, one, batch, "replaced"), differences(objective.generator, other, batch)]
    assert all(max(each.values()) < TOLERANCE for each in found), found
