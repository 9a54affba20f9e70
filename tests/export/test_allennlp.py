"""AllenNLP's format: exact both ways, the same numbers as the original, and every broken file named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import BackboneSpec, CharacterCNNSpec, CharacterSpec, LSTMSpec, ModelSpec, RunSpec, TokenEmbeddingSpec
from malmoi.export.allennlp import import_allennlp, kept_options, read_allennlp, write_allennlp
from malmoi.export.imported import objective_of
from malmoi.objectives import build
from malmoi.readout import Encoder
from malmoi.run import load_run
from malmoi.vocab import Vocabulary

h5py = pytest.importorskip("h5py")

VARIANTS: dict[str, dict[str, Any]] = {
    "skips": {},
    "no skips": {"use_skip_connections": False},
    "active clips": {"cell_clip": 0.3, "proj_clip": 0.25},
    "no clips": {"cell_clip": None, "proj_clip": None},
    "one layer": {"n_layers": 1},
    "three layers": {"n_layers": 3},
    "layers by default": {"n_layers": None},
    "tanh": {"activation": "tanh"},
    "no highway": {"n_highway": None},
    "as many filters as width": {"filters": [[1, 2], [3, 4]]},
    "no projection": {"dim": 6},
    "short words": {"max_characters_per_token": 9},
}
SENTENCES = [
    ["the", "cat", "sat", "."],
    ["말모이", "는", "낱말을", "모은다"],
    [],
    ["한국어형태소분석기는어렵고길다" * 2, "x" * 60, "•", "naïve"],
    ["one"],
    ["<S>", "in", "text"],
    ["last", "batch", "is", "smaller"],
]
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def contents(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.update({name: item[...]}) if isinstance(item, h5py.Dataset) else None)
    return found


def encoder_of(options: Path, weights: Path) -> Encoder:
    read = read_allennlp(options, weights)
    objective = objective_of(read)
    return Encoder(objective.forward_model, objective.backward_model, vocabulary=Vocabulary.build({}, read.spec.characters))


def original(model: Any, sentences: list[list[str]], size: int) -> list[np.ndarray]:
    state: dict[Any, Any] = {}
    return [layers for start in range(0, len(sentences), size) for layers in model.batch(sentences[start : start + size], state)]


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_layer_is_the_originals(changes: dict[str, Any], oracle: ModuleType, tmp_path: Path) -> None:
    options = oracle.options_of(**changes)
    files = oracle.save(tmp_path, options, oracle.checkpoint(options))
    found = encoder_of(*files).encode(SENTENCES, layer="all", state="compat", batch_size=3)
    expected = original(oracle.load(*files), SENTENCES, 3)
    assert len(found) == len(SENTENCES) and found[2].shape == (options["lstm"].get("n_layers", 1) + 1, 0, 12)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, **TOLERANCE)


def test_clips_of_the_test_above_are_active(oracle: ModuleType) -> None:
    options = oracle.options_of(**VARIANTS["active clips"])
    weights = oracle.checkpoint(options)
    clipped = original(oracle.NumpyElmo(options, weights), SENTENCES, 3)
    free = original(oracle.NumpyElmo(oracle.options_of(cell_clip=None, proj_clip=None), weights), SENTENCES, 3)
    assert np.abs(clipped[0][1] - free[0][1]).max() > 0.1


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_round_trip_is_bit_equal(changes: dict[str, Any], oracle: ModuleType, tmp_path: Path) -> None:
    options = oracle.options_of(**changes)
    weights = oracle.checkpoint(options)
    read = read_allennlp(*oracle.save(tmp_path / "in", options, weights))
    write_allennlp(tmp_path / "out", spec=read.spec, state=read.state, options=read.options)
    again = contents(tmp_path / "out" / "weights.hdf5")
    assert {name: (value.dtype, value.shape, value.tobytes()) for name, value in again.items()} == {
        name: (value.dtype, value.shape, value.tobytes()) for name, value in weights.items()
    }
    assert json.loads((tmp_path / "out" / "options.json").read_text()) == options


def test_round_trip_of_bilm_tf_through_a_run(shared: Path, tmp_path: Path) -> None:
    folder = shared / "fixtures" / "elmo" / "bilm-tf" / "model"
    run = load_run(import_allennlp(folder / "options.json", folder / "lm_weights.hdf5", tmp_path / "run"))
    assert not run.has_head and run.step == 0 and len(run.vocabulary) == 3
    write_allennlp(tmp_path / "out", spec=run.spec, state=dict(run.objective.named_parameters()), options=kept_options(run.path))
    theirs, mine = contents(folder / "lm_weights.hdf5"), contents(tmp_path / "out" / "weights.hdf5")
    assert theirs.keys() == mine.keys() and all(theirs[name].tobytes() == mine[name].tobytes() for name in theirs)
    assert all(theirs[name].dtype == mine[name].dtype and theirs[name].shape == mine[name].shape for name in theirs)
    assert json.loads((tmp_path / "out" / "options.json").read_text()) == json.loads((folder / "options.json").read_text())


@pytest.mark.parametrize(("skips", "clip", "cell"), [(True, None, 10), (False, 0.2, 10), (True, 0.5, 6)])
def test_a_model_of_our_own_is_read_by_the_original(skips: bool, clip: float | None, cell: int, oracle: ModuleType, tmp_path: Path) -> None:
    spec = RunSpec(
        name="own",
        seed=3,
        characters=CharacterSpec(length=20, cut="byte"),
        model=ModelSpec(
            width=6,
            frontend=CharacterCNNSpec(width=4, filters=((1, 3), (3, 5)), highway=1),
            backbone=BackboneSpec(mixer=LSTMSpec(cell=cell, cell_clip=clip, projection_clip=clip), residual_from=1 if skips else None),
        ),
    )
    objective = build(spec, words=50, characters=261)
    notes = write_allennlp(tmp_path / "out", spec=spec, state=objective.state_dict())
    assert any("skip" in note for note in notes) is not skips
    assert any("projection" in note for note in notes) is (cell == 6)
    files = (tmp_path / "out" / "options.json", tmp_path / "out" / "weights.hdf5")
    assert json.loads(files[0].read_text())["char_cnn"]["n_characters"] == 262
    vocabulary = Vocabulary.build({"known": 2}, spec.characters)
    encoder = Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary)
    found = encoder.encode(SENTENCES, layer="all", state="compat", batch_size=2)
    for mine, theirs in zip(found, original(oracle.load(*files), SENTENCES, 2), strict=True):
        np.testing.assert_allclose(mine, theirs, **TOLERANCE)
    again = read_allennlp(*files)
    assert again.spec.model.backbone == spec.model.backbone and again.spec.model.frontend == spec.model.frontend
    assert all(torch.equal(tensor, objective.state_dict()[name]) for name, tensor in again.state.items())


def test_harmless_differences_are_read(oracle: ModuleType, tmp_path: Path) -> None:
    options = oracle.options_of(n_layers=1, n_characters=261)
    weights = oracle.checkpoint(options)
    plain = read_allennlp(*oracle.save(tmp_path / "plain", options, weights))
    odd = {name.replace("MultiRNNCell/Cell0/", ""): value for name, value in weights.items()}
    odd["char_embed"] = np.concatenate([np.zeros((1, 4), np.float32), weights["char_embed"]])
    odd |= {"softmax/W": np.ones((9, 6), np.float32), "softmax/b": np.ones(9, np.float32), "CNN_proj/b_proj": np.zeros(6, np.float64)}
    read = read_allennlp(*oracle.save(tmp_path / "odd", {**options, "batch_size": 128}, odd))
    assert read.dropped == ("softmax/W", "softmax/b") and plain.dropped == ()
    same = [name for name in plain.state if torch.equal(plain.state[name], read.state[name])]
    assert sorted(set(plain.state) - set(same)) == ["forward_model.frontend.projection.bias"]
    assert all(tensor.dtype == torch.float32 for tensor in read.state.values())
    write_allennlp(tmp_path / "out", spec=read.spec, state=read.state, options=read.options)
    written = json.loads((tmp_path / "out" / "options.json").read_text())
    assert written["batch_size"] == 128 and written["char_cnn"]["n_characters"] == 262


def change(weights: dict[str, np.ndarray], name: str, value: np.ndarray | None) -> dict[str, np.ndarray]:
    return {key: array for key, array in weights.items() if key != name} | ({} if value is None else {name: value})


KERNEL = "RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell/W_0"
BROKEN: dict[str, tuple[str, np.ndarray | None, list[str]]] = {
    "missing": (KERNEL, None, [KERNEL, "missing", "(12, 40)"]),
    "shape": (KERNEL, np.zeros((12, 44), np.float32), [KERNEL, "(12, 44)", "(12, 40)"]),
    "rank": ("CNN/W_cnn_1", np.zeros((2, 4, 4), np.float32), ["CNN/W_cnn_1", "(2, 4, 4)", "(1, 2, 4, 4)"]),
    "characters": ("char_embed", np.zeros((260, 4), np.float32), ["char_embed", "(260, 4)", "(261, 4)"]),
    "mask row": ("char_embed", np.ones((262, 4), np.float32), ["char_embed", "262 rows"]),
    "not finite": (KERNEL, np.full((12, 40), np.nan, np.float32), [KERNEL, "finite"]),
    "whole numbers": (KERNEL, np.zeros((12, 40), np.int32), [KERNEL, "floating"]),
    "too exact": (KERNEL, np.full((12, 40), 0.1, np.float64), [KERNEL, "float64"]),
    "one layer too many": (KERNEL.replace("Cell1", "Cell2"), np.zeros((12, 40), np.float32), ["Cell2", "(12, 40)"]),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_dataset_is_named(case: tuple[str, np.ndarray | None, list[str]], oracle: ModuleType, tmp_path: Path) -> None:
    name, value, words = case
    options = oracle.options_of()
    files = oracle.save(tmp_path, options, change(oracle.checkpoint(options), name, value))
    with pytest.raises(MalmoiError) as caught:
        read_allennlp(*files)
    assert caught.value.code == "M050" and all(word in caught.value.message for word in [*words, "weights.hdf5"])


OPTIONS: dict[str, tuple[Any, str]] = {
    "text": ("not json", "not JSON"),
    "list": ([], "not a JSON object"),
    "word input": ({"lstm": {}}, "no char_cnn"),
    "field": ({"n_characters": 60}, "n_characters is 60"),
    "type": ({"dim": "ten"}, "lstm.dim"),
    "absent": ({"use_skip_connections": None}, "lstm.use_skip_connections"),
    "activation": ({"activation": "gelu"}, "char_cnn.activation"),
    "wide filter": ({"filters": [[51, 3]]}, "char_cnn.filters"),
    "clip": ({"cell_clip": 0}, "lstm.cell_clip"),
    "projection": ({"projection_dim": 11}, "larger than lstm.dim"),
}


@pytest.mark.parametrize("case", OPTIONS.values(), ids=OPTIONS.keys())
def test_broken_options_are_named(case: tuple[Any, str], oracle: ModuleType, tmp_path: Path) -> None:
    found, words = case
    options, weights = oracle.save(tmp_path, oracle.options_of(), oracle.checkpoint(oracle.options_of()))
    if isinstance(found, dict) and "lstm" not in found:
        found = oracle.options_of(**found)
    options.write_text(found if isinstance(found, str) else json.dumps(found))
    with pytest.raises(MalmoiError, match=words) as caught:
        read_allennlp(options, weights)
    assert caught.value.code == "M050" and "options.json" in caught.value.message


def test_files_that_are_none(oracle: ModuleType, tmp_path: Path) -> None:
    options, weights = oracle.save(tmp_path, oracle.options_of(), oracle.checkpoint(oracle.options_of()))
    with pytest.raises(MalmoiError, match="swapped"):
        read_allennlp(weights, options)
    with pytest.raises(MalmoiError, match="M010"):
        read_allennlp(options, tmp_path / "nowhere.hdf5")
    whole = weights.read_bytes()
    for size in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:size])
        with pytest.raises(MalmoiError, match="M050.*weights.hdf5"):
            read_allennlp(options, weights)


def test_says_what_to_install(oracle: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = oracle.save(tmp_path, oracle.options_of(), oracle.checkpoint(oracle.options_of()))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MalmoiError, match=r"M005.*malmoi\[hdf5\]"):
        read_allennlp(*files)


def test_an_interrupted_import_leaves_nothing(oracle: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = oracle.save(tmp_path / "in", oracle.options_of(), oracle.checkpoint(oracle.options_of()))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("malmoi.train.checkpoint.save", stop)
        with pytest.raises(KeyboardInterrupt):
            import_allennlp(*files, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    import_allennlp(*files, tmp_path / "out")
    assert {"spec.json", "manifest.json", "metrics.jsonl", "checkpoints", "vocab"} <= {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(MalmoiError, match="M004"):
        import_allennlp(*files, tmp_path / "out")


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    model = ModelSpec(width=4, frontend=CharacterCNNSpec(filters=((1, 2),)), backbone=BackboneSpec(mixer=LSTMSpec(cell=8)))
    cases = {
        "token_embedding": RunSpec(name="x", model=model.model_copy(update={"frontend": TokenEmbeddingSpec()})),
        "jamo": RunSpec(name="x", model=model, characters=CharacterSpec(unit="jamo")),
        "block 0": RunSpec(name="x", model=model.model_copy(update={"backbone": BackboneSpec(residual_from=0)})),
        "forget bias": RunSpec(name="x", model=model.model_copy(update={"backbone": BackboneSpec(mixer=LSTMSpec(forget_bias=0.0))})),
    }
    for words, spec in cases.items():
        with pytest.raises(MalmoiError, match=f"M051.*{words}"):
            write_allennlp(tmp_path / "out", spec=spec, state={})
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_overwritten(oracle: ModuleType, tmp_path: Path) -> None:
    read = read_allennlp(*oracle.save(tmp_path / "in", oracle.options_of(), oracle.checkpoint(oracle.options_of())))
    with pytest.raises(MalmoiError, match="M004"):
        write_allennlp(tmp_path / "in", spec=read.spec, state=read.state)
    assert len(list((tmp_path / "in").iterdir())) == 2
    for _ in range(2):
        write_allennlp(tmp_path / "out", spec=read.spec, state=read.state)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "options.json", "weights.hdf5"]
