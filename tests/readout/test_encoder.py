"""Vectors: those of the original, and of nothing but the line itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.core.batch import Batch
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import BackboneSpec, CharacterCNNSpec, CharacterSpec, LSTMSpec, ModelSpec, RunSpec, TokenEmbeddingSpec
from malmoi.objectives import BiLM, build
from malmoi.readout import Encoder, encoder, warm_state, words
from malmoi.vocab import Vocabulary

SPEC = RunSpec(
    name="tiny",
    characters=CharacterSpec(length=20, cut="byte"),
    model=ModelSpec(
        width=8,
        dropout=0.5,
        frontend=CharacterCNNSpec(width=4, filters=((1, 4), (2, 6), (3, 6)), highway=1),
        backbone=BackboneSpec(mixer=LSTMSpec(cell=16, cell_clip=3.0, projection_clip=3.0)),
    ),
)
COUNTS = {"a": 9, "dog": 5, "말모이": 3, "runs": 3}
LINES = ["a dog runs", "", "말모이 는 a dog", "supercalifragilisticexpialidocious", "a", "dog dog dog dog dog dog dog"]


def objective_of(spec: RunSpec = SPEC) -> tuple[BiLM, Vocabulary]:
    vocabulary = Vocabulary.build(COUNTS, spec.characters)
    objective = build(spec, words=len(vocabulary), characters=vocabulary.characters.size).eval()
    with torch.no_grad():  # larger than at the start of training, so that a word's neighbours show
        for parameter in [*objective.forward_model.backbone.parameters(), *objective.backward_model.backbone.parameters()]:
            parameter.mul_(2.0)
    return objective, vocabulary


def fresh(spec: RunSpec = SPEC) -> Encoder:
    objective, vocabulary = objective_of(spec)
    return Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary)


def the_original(oracle: ModuleType, spec: RunSpec = SPEC) -> Any:
    """The numpy oracle with the weights of `objective_of`, through no code of the export."""
    objective, _ = objective_of(spec)
    weights = {}
    for name, tensor in objective.state_dict().items():
        weights[name] = tensor.numpy()
    theirs: dict[str, np.ndarray] = {"char_embed": weights["forward_model.frontend.embedding"]}
    for k in range(3):
        theirs[f"CNN/W_cnn_{k}"] = np.einsum("oiw->wio", weights[f"forward_model.frontend.convolutions.{k}.weight"])[None]
        theirs[f"CNN/b_cnn_{k}"] = weights[f"forward_model.frontend.convolutions.{k}.bias"]
    for theirs_name, part in (("carry", "gate"), ("transform", "transform")):
        theirs[f"CNN_high_0/W_{theirs_name}"] = weights[f"forward_model.frontend.highways.0.{part}.weight"].T
        theirs[f"CNN_high_0/b_{theirs_name}"] = weights[f"forward_model.frontend.highways.0.{part}.bias"]
    theirs["CNN_proj/W_proj"] = weights["forward_model.frontend.projection.weight"].T
    theirs["CNN_proj/b_proj"] = weights["forward_model.frontend.projection.bias"]
    for number, way in enumerate(("forward", "backward")):
        for layer in range(2):
            root, mixer = f"RNN_{number}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/", f"{way}_model.backbone.blocks.{layer}.mixer."
            i, f, g, o = np.split(np.concatenate([weights[mixer + "input"], weights[mixer + "recurrent"]], axis=1), 4)
            theirs[root + "W_0"] = np.concatenate([i, g, f, o]).T
            i, f, g, o = np.split(weights[mixer + "bias"], 4)
            theirs[root + "B"] = np.concatenate([i, g, f, o])
            theirs[root + "W_P_0"] = weights[mixer + "projection"].T
    options = oracle.options_of(
        filters=[[1, 4], [2, 6], [3, 6]], max_characters_per_token=20, dim=16, projection_dim=8, cell_clip=3.0, proj_clip=3.0
    )
    return oracle.NumpyElmo(options, theirs)


def test_bilm_tf_all_ten_batches_in_order(shared: Path) -> None:
    h5py = pytest.importorskip("h5py")
    from malmoi.export.allennlp import read_allennlp
    from malmoi.export.imported import objective_of as imported

    folder = shared / "fixtures" / "elmo" / "bilm-tf" / "model"
    read = read_allennlp(folder / "options.json", folder / "lm_weights.hdf5")
    objective = imported(read)
    vocabulary = Vocabulary.build({}, read.spec.characters)
    sentences = json.loads((folder / "lm_embeddings_sentences.json").read_text())
    lines = [sentences[row][number] for number in range(10) for row in range(3)]
    found = Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary).encode(
        lines, layer="top", state="compat", batch_size=3
    )
    for index, vectors in enumerate(found):
        with h5py.File(folder / f"lm_embeddings_{index % 3}.hdf5", "r") as file:
            np.testing.assert_allclose(vectors, np.concatenate(list(file[str(index // 3)][...]), axis=1), rtol=1e-5, atol=1e-6)


def test_reset_is_the_original_from_zero(oracle: ModuleType) -> None:
    model = the_original(oracle)
    for line, vectors in zip(LINES, fresh().encode(LINES, layer="all"), strict=True):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, model.alone(line.split()).reshape(vectors.shape), rtol=1e-5, atol=1e-6)


def test_warm_is_the_original_after_32_empty_documents(oracle: ModuleType) -> None:
    model, state = the_original(oracle), {}
    for direction, mark in enumerate(("<S>", "</S>")):
        model.run(np.array([model.token(mark)] * 32), 0, direction, state)
    for line, vectors in zip(LINES, fresh().encode(LINES, layer="all", state="warm"), strict=True):
        np.testing.assert_allclose(vectors, model.alone(line.split(), state).reshape(vectors.shape), rtol=1e-5, atol=1e-6)
    cold = fresh().encode(LINES[:1], state="reset")[0]
    assert np.abs(cold - fresh().encode(LINES[:1], state="warm")[0]).max() > 1e-3


def test_a_smaller_last_batch_and_the_states_of_compat(oracle: ModuleType) -> None:
    model, state, lines = the_original(oracle), {}, [line.split() for line in LINES[:5]]
    expected = [layers for start in (0, 2, 4) for layers in model.batch(lines[start : start + 2], state)]
    for mine, theirs in zip(fresh().encode(lines, layer="all", state="compat", batch_size=2), expected, strict=True):
        np.testing.assert_allclose(mine, theirs.reshape(mine.shape), rtol=1e-5, atol=1e-6)


def test_windows_change_nothing(oracle: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {state: fresh().encode(LINES, layer="all", state=state, batch_size=4) for state in ("reset", "warm", "compat")}
    monkeypatch.setattr(encoder, "WINDOW", 2)
    for state, expected in whole.items():
        for mine, theirs in zip(fresh().encode(LINES, layer="all", state=state, batch_size=4), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


TEXTS = st.lists(st.lists(st.text("abz말모é ", min_size=1, max_size=30), max_size=9), min_size=1, max_size=6)


@settings(max_examples=10, deadline=None)
@given(lines=TEXTS, state=st.sampled_from(["reset", "warm"]), size=st.integers(1, 9), random=st.randoms())
def test_a_line_depends_on_nothing_but_itself(lines: list[list[str]], state: str, size: int, random: Any) -> None:
    """Bit for bit, on the CPU: whatever stands beside it, in whatever order, in batches of whatever size."""
    order = list(range(len(lines)))
    random.shuffle(order)
    objective, vocabulary = objective_of()
    models = (objective.forward_model, objective.backward_model)
    together = Encoder(*models, vocabulary=vocabulary).encode([lines[index] for index in order], layer="all", state=state, batch_size=size)
    for index, vectors in zip(order, together, strict=True):
        alone = Encoder(*models, vocabulary=vocabulary).encode([lines[index]], layer="all", state=state)[0]
        np.testing.assert_allclose(vectors, alone, rtol=0, atol=1e-6)
        if torch.backends.mkl.is_available():
            np.testing.assert_array_equal(vectors, alone)


def test_layers_and_pooling_are_what_they_say() -> None:
    model = fresh()
    for every, *rest in zip(
        model.encode(LINES, layer="all"), *(model.encode(LINES, layer=layer) for layer in (0, 1, 2, "2", "top", "mean", "mix")), strict=True
    ):
        zero, one, two, same, top, mean, mix = rest
        assert np.array_equal(every, np.array([zero, one, two])) and np.array_equal(two, top) and np.array_equal(two, same)
        np.testing.assert_allclose(mean, every.mean(axis=0), atol=1e-7)
        np.testing.assert_array_equal(mean, mix)
        np.testing.assert_array_equal(zero[:, :8], zero[:, 8:])
    assert model.layers == 3 and model.width == 16
    for line, mean, first in zip(LINES, model.encode(LINES, pool="mean"), model.encode(LINES, layer="all", pool="first"), strict=True):
        assert mean.shape == (16,) and first.shape == (3, 16)
        vectors = model.encode([line], layer="all")[0]
        if line:
            np.testing.assert_allclose(mean, vectors.mean(axis=(0, 1)), atol=1e-6)
            np.testing.assert_array_equal(first, vectors[:, 0])
        else:
            assert not mean.any() and not first.any() and vectors.shape == (3, 0, 16)


def test_it_is_the_path_of_training() -> None:
    """The traces of the objective, on the rows that training would build, are what `encode` gives."""
    objective, vocabulary = objective_of()
    words_of = ["a", "dog", "말모이"]
    ids = torch.tensor([[1, *map(vocabulary.id_of, words_of)], [0, *map(vocabulary.id_of, words_of[::-1])]])
    unique, inverse = torch.unique(ids, return_inverse=True)
    characters = torch.from_numpy(np.array(vocabulary.spelling[unique.numpy()]).astype(np.int64))
    batch = Batch(ids=ids, segments=torch.ones_like(ids), positions=torch.zeros_like(ids), words=inverse, characters=characters)
    with torch.no_grad():
        traces = objective.traces(batch)
    found = Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary).encode([words_of], layer="all")[0]
    for layer in range(3):
        forward, backward = traces["forward"].layers[layer][0, 1:], traces["backward"].layers[layer][0, 1:].flip(0)
        np.testing.assert_allclose(found[layer], torch.cat([forward, backward], dim=1).numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_sleeps_and_modes_come_back() -> None:
    objective, vocabulary = objective_of()
    quiet = Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary).encode(LINES, layer="all")
    objective.train()
    objective.backward_model.backbone.eval()
    loud = Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary)
    for state in ("reset", "compat"):
        list(loud.stream(LINES, state=state))
    for mine, theirs in zip(loud.encode(LINES, layer="all"), quiet, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert objective.forward_model.dropout.training and not any(each.training for each in objective.backward_model.backbone.modules())


def test_a_full_cache_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"w{k} dog w{k + 1}" for k in range(40)]
    expected = fresh().encode(lines)
    monkeypatch.setattr(words, "TABLE_FLOATS", 8 * 12)
    monkeypatch.setattr(encoder, "GROUP_LINES", 3)
    model = fresh()
    for mine, theirs in zip(model.encode(lines), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert len(model._words.table) <= 3 + 12


def test_each_distinct_word_is_spelt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    plain = words.WordVectors._vectors
    monkeypatch.setattr(words.WordVectors, "_vectors", lambda self, asked: seen.extend(asked) or plain(self, asked))
    model = fresh()
    model.encode(LINES)
    model.encode(LINES, state="compat")
    assert sorted(seen) == sorted({"<S>", "</S>"} | {word for line in LINES for word in line.split()})


def test_reads_no_further_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "GROUP_LINES", 10)

    def endless() -> Iterator[str]:
        while True:
            endless.read += 1  # type: ignore[attr-defined]
            yield "a dog runs"

    endless.read = 0  # type: ignore[attr-defined]
    stream = fresh().stream(endless())
    for _ in range(25):
        found, vectors = next(stream)
        assert found == ["a", "dog", "runs"] and vectors.shape == (3, 16)
    assert endless.read == 30  # type: ignore[attr-defined]


def test_words_written_like_marks_are_unknown_but_in_compat() -> None:
    model = fresh()
    mark, unknown = model.encode([["a", "<S>"], ["a", "<UNK>"]])
    np.testing.assert_array_equal(mark, unknown)
    mark, unknown = model.encode([["a", "<S>"], ["a", "<UNK>"]], state="compat", batch_size=2)
    assert np.abs(mark - unknown).max() > 1e-3


def test_word_input() -> None:
    spec = SPEC.model_copy(update={"model": SPEC.model.model_copy(update={"frontend": TokenEmbeddingSpec()})})
    objective, vocabulary = objective_of(spec)
    table = objective.forward_model.frontend.weight.detach().numpy()
    model = Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary)
    found = model.encode([["dog", "unheard", "</S>"]], layer=0)[0]
    np.testing.assert_array_equal(found[:, :8], table[[vocabulary.id_of("dog"), 2, 2]])
    np.testing.assert_array_equal(model._words.table[1:3].numpy(), table[[1, 0]])


def test_warm_state_has_settled() -> None:
    objective, vocabulary = objective_of()
    state = warm_state(objective.forward_model, objective.backward_model, vocabulary=vocabulary)
    assert {name: [tensor.shape for block in blocks for tensor in block] for name, blocks in state.items()} == {
        name: [(1, 8), (1, 16), (1, 8), (1, 16)] for name in ("forward", "backward")
    }
    stored = Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary, warm=state)
    np.testing.assert_array_equal(stored.encode(LINES[:1], state="warm")[0], fresh().encode(LINES[:1], state="warm")[0])


@pytest.mark.parametrize(
    ("argument", "value"), [("layer", 3), ("layer", -1), ("layer", "upper"), ("pool", "max"), ("state", "cold"), ("batch_size", 0)]
)
def test_wrong_arguments_are_named_before_work_begins(argument: str, value: Any) -> None:
    with pytest.raises(MalmoiError, match=f"M009: {argument} is {value!r}"):
        fresh().stream(iter(()), **{argument: value})
