"""AllenNLP's ELMo format, which is bilm-tf's: options.json beside an HDF5 file of weights. Both ways are exact.

The format has no vocabulary, and its softmax is left out by the program that writes it, so what is read gives vectors but no perplexity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError
from torch import Tensor

from malmoi.core.artifact import MANIFEST, read_manifest, write_json, writing
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import BackboneSpec, CharacterCNNSpec, CharacterSpec, LSTMSpec, ModelSpec, RunSpec, VocabularyHeadSpec
from malmoi.export.layout import CHARACTERS, Dataset, datasets, identities

OPTIONS, WEIGHTS = "options.json", "weights.hdf5"
KEPT = "allennlp.json"
"""In an imported run: the options as they were, and what was left behind."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_NEXT = "give options.json and the .hdf5 file of one checkpoint, as bilm-tf's dump_weights.py or `malmoi export` wrote them."


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _LSTMOptions(_Part):
    dim: PositiveInt
    projection_dim: PositiveInt
    use_skip_connections: bool
    n_layers: PositiveInt = 1
    cell_clip: PositiveFloat | None = None
    proj_clip: PositiveFloat | None = None


class _LetterOptions(_Part):
    dim: PositiveInt


class _CharacterOptions(_Part):
    embedding: _LetterOptions
    filters: list[list[PositiveInt]] = Field(min_length=1)
    activation: Literal["relu", "tanh"]
    max_characters_per_token: int = Field(ge=4)
    n_characters: int
    n_highway: int | None = Field(default=None, ge=0)


class _Options(_Part):
    lstm: _LSTMOptions
    char_cnn: _CharacterOptions
    bidirectional: bool = True
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)


@dataclass(frozen=True)
class Checkpoint:
    """What a file pair holds: a spec (its head is a stand-in), the parameters named as in `BiLM.named_parameters()` (without the
    head), the options as written, and the datasets that have no place in the model (a softmax, for which there are no words)."""

    spec: RunSpec
    state: dict[str, Tensor]
    options: dict[str, Any]
    dropped: tuple[str, ...]


def read_allennlp(options_path: Path | str, weights_path: Path | str) -> Checkpoint:
    """Read a checkpoint: 261 or 262 character rows, any number of layers and highways, with or without clips, skips, projections, softmax.

    Raises MalmoiError M010 for a missing file, M050 for anything that is not such a checkpoint (naming the field or the dataset
    and the shapes), M005 without h5py.
    """
    options_path, weights_path = Path(options_path), Path(weights_path)
    for path in (options_path, weights_path):
        if not path.is_file():
            raise MalmoiError("M010", path=path, nearest="")
    if options_path.read_bytes()[:8] == _HDF5 and weights_path.read_bytes()[:8] != _HDF5:
        raise MalmoiError(
            "M050", path=options_path, problem="it is the HDF5 file: the two files are swapped", next="give options.json first."
        )
    options = _read_options(options_path)
    spec, arrays, dropped = _read_weights(weights_path, _checked(options, options_path))
    state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
    return Checkpoint(spec=spec, state=state, options=options, dropped=dropped)


def write_allennlp(
    directory: Path | str, *, spec: RunSpec, state: Mapping[str, Tensor], options: Mapping[str, Any] | None = None
) -> list[str]:
    """Write options.json and weights.hdf5 into `directory` (with a manifest; whole or not at all).

    state: parameters named as in `BiLM.named_parameters()` or `state_dict()`; the head is not part of the format.
    options: what an imported run came with; taken over where it describes the same model.
    Returns sentences that whoever uses the files should read. Raises MalmoiError M051 for a model that the format cannot hold,
    M004 when the directory holds something else, M005 without h5py.
    """
    h5py, directory = _h5py(), Path(directory)
    notes = _refuse(spec)
    _refuse_overwriting(directory)
    projected = _projected(spec, state)
    if projected and spec.model.width == _lstm(spec).cell:
        notes.append("its LSTM cells are as wide as their output: AllenNLP reads their projection, bilm-tf would leave it out.")
    with writing(directory, "allennlp") as (temporary, fields):
        with h5py.File(temporary / WEIGHTS, "w") as file:
            for dataset in datasets(spec.model, projected=projected):
                value = dataset.pack([_array(state[name]) for name in dataset.parameters])
                assert value.shape == dataset.shape and value.dtype == np.float32, f"{dataset.name}: {value.shape} {value.dtype}"
                file.create_dataset(dataset.name, data=np.ascontiguousarray(value))
        write_json(temporary / OPTIONS, _write_options(spec, options, projected=projected))
        fields["spec"] = spec.model_dump(mode="json")
    return notes


def import_allennlp(options_path: Path | str, weights_path: Path | str, out: Path | str) -> Path:
    """Make a run directory from a checkpoint, whole or not at all. It gives vectors; it has no head, so no perplexity.

    Raises as `read_allennlp`, and MalmoiError M004 when `out` is there already.
    """
    from malmoi.export.imported import write_run

    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MalmoiError("M004", path=out, what="files", instead="remove it")
    return write_run(out, read_allennlp(options_path, weights_path))


def kept_options(run: Path) -> dict[str, Any] | None:
    """The options that an imported run came with; None for a run that was trained here."""
    path = run / KEPT
    return json.loads(path.read_text(encoding="utf-8"))["options"] if path.is_file() else None


def _h5py() -> Any:
    try:
        return import_module("h5py")
    except ImportError:
        raise MalmoiError("M005", what="AllenNLP's format", package="h5py", extra="hdf5") from None


def _broken(path: Path, problem: str) -> MalmoiError:
    return MalmoiError("M050", path=path, problem=problem, next=_NEXT)


def _unwritable(problem: str) -> MalmoiError:
    return MalmoiError("M051", format="allennlp", problem=problem, next="`malmoi recipes elmo-original` shows a model that can be written.")


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).numpy()


def _read_options(path: Path) -> dict[str, Any]:
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as failure:
        raise _broken(path, f"it is not JSON ({failure})") from None
    if not isinstance(options, dict):
        raise _broken(path, "it is not a JSON object")
    if "char_cnn" not in options and "lstm" in options:
        raise MalmoiError(
            "M050",
            path=path,
            problem="it has no char_cnn: the model reads word ids, and the file does not say which word has which id",
            next="give a checkpoint with character input.",
        )
    return options


def _checked(options: dict[str, Any], path: Path) -> _Options:
    try:
        found = _Options.model_validate(options)
    except ValidationError as failure:
        first = failure.errors()[0]
        raise _broken(path, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}") from None
    cnn, lstm = found.char_cnn, found.lstm
    if cnn.n_characters not in (CHARACTERS, CHARACTERS + 1):
        raise _broken(path, f"char_cnn.n_characters is {cnn.n_characters}, where bytes give {CHARACTERS} (training) or {CHARACTERS + 1}")
    if any(len(pair) != 2 or pair[0] > cnn.max_characters_per_token for pair in cnn.filters):
        raise _broken(path, f"char_cnn.filters: each is [width, count], at most {cnn.max_characters_per_token} wide")
    if lstm.projection_dim > lstm.dim:
        raise _broken(path, f"lstm.projection_dim {lstm.projection_dim} is larger than lstm.dim {lstm.dim}")
    if not found.bidirectional:
        raise _broken(path, "it has one direction only")
    return found


def _spec(options: _Options, *, projected: bool) -> RunSpec:
    """projected: whether the file has projections; without one there is nothing that proj_clip could clip."""
    cnn, lstm = options.char_cnn, options.lstm
    return RunSpec(
        name="imported",
        characters=CharacterSpec(unit="byte", length=cnn.max_characters_per_token, cut="byte"),
        model=ModelSpec(
            width=lstm.projection_dim,
            dropout=options.dropout,
            frontend=CharacterCNNSpec(
                width=cnn.embedding.dim,
                filters=tuple((wide, count) for wide, count in cnn.filters),
                activation=cnn.activation,
                highway=cnn.n_highway or 0,
            ),
            backbone=BackboneSpec(
                depth=lstm.n_layers,
                mixer=LSTMSpec(
                    cell=lstm.dim, cell_clip=lstm.cell_clip, projection_clip=lstm.proj_clip if projected else None, forget_bias=1.0
                ),
                residual_from=1 if lstm.use_skip_connections else None,
            ),
            head=VocabularyHeadSpec(size=3),
        ),
    )


def _projected(spec: RunSpec, state: Mapping[str, Tensor]) -> bool:
    """False where the projections are identities that the format leaves out."""
    if spec.model.width != _lstm(spec).cell:
        return True
    return not all(np.array_equal(_array(state[name]), identity) for name, identity in identities(spec.model).items())


def _lstm(spec: RunSpec) -> LSTMSpec:
    assert isinstance(spec.model.backbone, BackboneSpec) and isinstance(spec.model.backbone.mixer, LSTMSpec)
    return spec.model.backbone.mixer


def _write_options(spec: RunSpec, kept: Mapping[str, Any] | None, *, projected: bool) -> dict[str, Any]:
    """Options for inference: what an imported run came with if that still describes the model, or else the spec's own."""
    if kept is not None and _spec(_Options.model_validate(kept), projected=projected).model == spec.model:
        return {**kept, "char_cnn": {**kept["char_cnn"], "n_characters": CHARACTERS + 1}}
    frontend, backbone = spec.model.frontend, spec.model.backbone
    assert isinstance(frontend, CharacterCNNSpec) and isinstance(backbone, BackboneSpec)
    mixer = _lstm(spec)
    return {
        "lstm": {
            "use_skip_connections": backbone.residual_from == 1,
            "projection_dim": spec.model.width,
            "cell_clip": mixer.cell_clip,
            "proj_clip": mixer.projection_clip,
            "dim": mixer.cell,
            "n_layers": backbone.depth,
        },
        "char_cnn": {
            "activation": frontend.activation,
            "filters": [list(pair) for pair in frontend.filters],
            "n_highway": frontend.highway,
            "embedding": {"dim": frontend.width},
            "n_characters": CHARACTERS + 1,
            "max_characters_per_token": spec.characters.length,
        },
    }


def _refuse(spec: RunSpec) -> list[str]:
    """M051 for what the format cannot hold; sentences about what its readers will do differently."""
    model, notes = spec.model, []
    if not isinstance(model.frontend, CharacterCNNSpec):
        raise _unwritable(f"its input is {model.frontend.kind}, the format has characters")
    if spec.characters.unit != "byte":
        raise _unwritable(f"its characters are {spec.characters.unit}s, the format has bytes")
    if not isinstance(model.backbone, BackboneSpec) or not isinstance(model.backbone.mixer, LSTMSpec):
        raise _unwritable("its backbone is not made of LSTM blocks")
    if model.backbone.residual_from not in (None, 1):
        raise _unwritable(f"its residual connections begin at block {model.backbone.residual_from}, the format's at block 1")
    if model.backbone.mixer.forget_bias != 1.0:
        raise _unwritable(f"its forget bias is {model.backbone.mixer.forget_bias}, the format's is 1.0")
    if spec.characters.cut != "byte":
        notes.append(
            f"words of more than {spec.characters.length - 2} bytes are cut at a character here, at a byte by the programs that read this."
        )
    if model.backbone.residual_from is None and model.backbone.depth > 1:
        notes.append("AllenNLP reads only models with skip connections; bilm-tf reads this one.")
    return notes


def _refuse_overwriting(directory: Path) -> None:
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if directory.is_dir() and (directory / MANIFEST).is_file():
        try:
            read_manifest(directory, "allennlp")
            return
        except MalmoiError:
            pass
    raise MalmoiError("M004", path=directory, what="something else", instead="remove it")


def _read_weights(path: Path, options: _Options) -> tuple[RunSpec, dict[str, np.ndarray], tuple[str, ...]]:
    """(spec, parameters by name, datasets that were left behind)."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            names: dict[str, Any] = {}
            file.visititems(lambda name, item: names.update({name: item}) if isinstance(item, h5py.Dataset) else None)
            projected = options.lstm.dim != options.lstm.projection_dim or any(name.endswith("W_P_0") for name in names)
            spec = _spec(options, projected=projected)
            found = {} if projected else identities(spec.model)
            used = set()
            for dataset in datasets(spec.model, projected=projected):
                source = _name_in(names, dataset.name)
                if source is None:
                    raise _broken(path, f"{dataset.name} is missing, which should have shape {dataset.shape}{_instead(names)}")
                used.add(source)
                found.update(zip(dataset.parameters, dataset.unpack(_exact(names[source], dataset, path)), strict=True))
            rest = {name: names[name].shape for name in sorted(set(names) - used)}
    except OSError as failure:
        raise _broken(path, f"it cannot be read as HDF5 ({failure})") from None
    for name, shape in rest.items():
        if name.startswith(("char_embed", "CNN", "RNN_")):
            raise _broken(path, f"it also holds {name} with shape {shape}, of which options.json says nothing")
    return spec, found, tuple(rest)


def _name_in(names: Mapping[str, Any], wanted: str) -> str | None:
    """bilm-tf writes a model of one layer without the MultiRNNCell level."""
    return next((name for name in (wanted, wanted.replace("MultiRNNCell/Cell0/", "")) if name in names), None)


def _instead(names: Mapping[str, Any]) -> str:
    return "; the file has a table of word vectors instead of characters" if "embedding" in names and "char_embed" not in names else ""


def _exact(found: Any, wanted: Dataset, path: Path) -> np.ndarray:
    """The values as float32, without loss; of 262 rows of characters the first, which only masks, is left out."""
    name, shape = wanted.name, wanted.shape
    rows_with_mask = name == "char_embed" and found.shape == (shape[0] + 1, *shape[1:])
    if found.shape != shape and not rows_with_mask:
        raise _broken(path, f"{name} has shape {found.shape}, options.json asks for {shape}")
    value = found[...]
    if value.dtype.kind != "f" or not np.isfinite(value).all():
        raise _broken(path, f"{name} does not hold finite floating-point numbers")
    single = value.astype(np.float32)
    if not np.array_equal(single, value):
        raise _broken(path, f"{name} is {value.dtype} and would lose digits as float32")
    if rows_with_mask and single[0].any():
        raise _broken(path, f"{name} has {shape[0] + 1} rows, of which the first masks and must be 0")
    return single[1:] if rows_with_mask else single
