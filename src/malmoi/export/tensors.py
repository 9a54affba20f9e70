"""Tensors between a Model and a directory of transformers: by the tables, both ways, exact; and safetensors files read with care.

Every conversion cuts, joins or transposes, so no number changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import BackboneSpec, ModelSpec
from malmoi.export.families import Family

Shape = tuple[int, ...]
FLOATS = {"F32", "F16", "BF16"}
VOCABULARY = ("frontend.weight", "heads.words.weight", "heads.words.bias")
"""Parameters with one row a token."""
CONVERT = "python -c \"from transformers import AutoModel as M; M.from_pretrained('DIR').save_pretrained('NEW', safe_serialization=True)\""


def unreadable(path: Path, problem: str, next: str = "give a directory as save_pretrained wrote it.") -> MalmoiError:
    """M053."""
    return MalmoiError("M053", path=path, format="a model of transformers", problem=problem, next=next)


@dataclass(frozen=True)
class Piece:
    """One parameter of ours and the tensors of theirs that are its parts, in order; flipped: each of them stands transposed."""

    ours: str
    theirs: tuple[str, ...]
    flipped: bool = False

    def pack(self, tensor: Tensor) -> dict[str, Tensor]:
        """Ours -> theirs."""
        parts = tensor.detach().to("cpu", torch.float32).chunk(len(self.theirs))
        return {
            name: (part.T if self.flipped else part).clone(memory_format=torch.contiguous_format)
            for name, part in zip(self.theirs, parts, strict=True)
        }

    def unpack(self, read: Callable[[str], Tensor]) -> Tensor:
        """Theirs -> ours."""
        parts = [read(name) for name in self.theirs]
        return torch.cat([part.T if self.flipped else part for part in parts]).contiguous()

    def shape(self, ours: Shape) -> Shape:
        """The shape of each of theirs, where ours has `ours`."""
        part = (ours[0] // len(self.theirs), *ours[1:])
        return part[::-1] if self.flipped else part


def pieces(family: Family, model: ModelSpec, *, heads: Iterable[str]) -> Iterator[Piece]:
    """Every parameter that a model of this spec can have, by full names (with the family's prefix).

    heads: which of words, pair, replaced. Parameters that this spec has not (token types, say) are listed too.
    """
    backbone = model.backbone
    assert isinstance(backbone, BackboneSpec)
    for ours, theirs in family.tensors.items():
        yield Piece(ours, (family.prefix + theirs,))
    yield from _modules(family.modules, "", family.prefix)
    for index in range(backbone.depth):
        inside = family.block.format(i=index, g=index * groups(model) // backbone.depth)
        yield from _modules(family.blocks, f"backbone.blocks.{index}.", family.prefix + inside, flipped=family.conv1d)
    for head in heads:
        yield from _modules(getattr(family, head), f"heads.{head}.", "")
        if head == "words":
            if family.bias is not None:
                yield Piece("heads.words.bias", (family.bias if model.head.tied else family.own_bias,))
            if not model.head.tied:
                yield Piece("heads.words.weight", (family.decoder,))


def groups(model: ModelSpec) -> int:
    """ALBERT's num_hidden_groups: blocks that are not the same in every part are groups of their own."""
    assert isinstance(model.backbone, BackboneSpec)
    return model.backbone.groups if model.backbone.share == "all" else model.backbone.depth


def _modules(table: Mapping[str, str], ours: str, theirs: str, *, flipped: bool = False) -> Iterator[Piece]:
    for mine, names in table.items():
        for kind in ("weight", "bias"):
            matrix = kind == "weight" and not mine.endswith("norm")
            yield Piece(f"{ours}{mine}.{kind}", tuple(f"{theirs}{name}.{kind}" for name in names.split()), flipped and matrix)


def packed(family: Family, model: ModelSpec, state: Mapping[str, Tensor], *, heads: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of a directory. state: of a Model. An encoder without heads has names without prefix, and
    BERT's pooler if it was trained."""
    heads = tuple(heads)
    table = {piece.ours: piece for piece in pieces(family, model, heads=heads)}
    left = {name for name in state if name not in table and not name.startswith("heads.")}
    assert not left, f"{family.name} has no place for {sorted(left)}"
    found = _standins(family, model, state)
    for name, piece in table.items():
        if name in state:
            found.update(piece.pack(state[name]))
    if "words" in heads and family.bias is not None:
        found[family.bias] = found.get(family.bias, state["heads.words.bias"].detach().to("cpu", torch.float32).clone())
    if not heads and "heads.pair.pooler.weight" in state and family.pair:
        for piece in pieces(family, model, heads=("pair",)):
            if piece.ours.startswith("heads.pair.pooler."):
                found.update(piece.pack(state[piece.ours]))
    return found if heads else {name.removeprefix(family.prefix): tensor for name, tensor in found.items()}


def _standins(family: Family, model: ModelSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the format has and the model has not, with values that change nothing: a token type of zeros, the identity as mapping."""
    found: dict[str, Tensor] = {}
    wide = state["frontend.weight"].shape[1]
    if "frontend.types" in family.tensors and "frontend.types" not in state:
        found[family.prefix + family.tensors["frontend.types"]] = torch.zeros(1, wide)
    if family.groups and "frontend.projection.weight" not in state:
        name = family.prefix + family.modules["frontend.projection"]
        found |= {f"{name}.weight": torch.eye(wide), f"{name}.bias": torch.zeros(wide)}
    return found


class Directory:
    """The safetensors of a directory, whole or sharded: names and shapes at once, values when they are asked for, as float32.

    Names are given with the family's prefix, and gamma and beta of old files are weight and bias. Raises MalmoiError M053.
    """

    def __init__(self, path: Path, family: Family) -> None:
        self.path = path
        self.places: dict[str, tuple[Path, str]] = {}
        self.shapes: dict[str, Shape] = {}
        bare = {name.split(".")[0] for name in (*family.tensors.values(), *family.modules.values(), family.block)}
        for file in _files(path):
            for name, shape in self._listed(file):
                full = family.prefix + name if name.split(".")[0] in bare or (family.prefix + name).startswith(_pooler(family)) else name
                for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
                    full = full.removesuffix(old) + new if full.endswith(old) else full
                if full in self.places:
                    raise self.broken(f"{full} stands there twice, in {self.places[full][0].name} and {file.name}")
                self.places[full], self.shapes[full] = (file, name), shape

    def broken(self, problem: str) -> MalmoiError:
        """M053 about this directory."""
        return unreadable(self.path, problem)

    def read(self, name: str) -> Tensor:
        """One tensor as float32, checked to be finite."""
        file, stored = self.places[name]
        try:
            with safe_open(file, framework="pt") as opened:
                value: Tensor = opened.get_tensor(stored).float()
        except (SafetensorError, OSError) as failure:
            raise self.broken(f"{file.name} cannot be read ({failure})") from None
        if not torch.isfinite(value).all():
            raise self.broken(f"{name} holds numbers that are not finite")
        return value

    def expect(self, name: str, shape: Shape) -> None:
        """M053 unless `name` is there with this shape."""
        if name not in self.shapes:
            raise self.broken(f"{name} is missing, which should have shape {shape}")
        if self.shapes[name] != shape:
            raise self.broken(f"{name} has shape {self.shapes[name]}, config.json says {shape}")

    def _listed(self, file: Path) -> list[tuple[str, Shape]]:
        try:
            with safe_open(file, framework="pt") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
                kinds = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
        except (SafetensorError, OSError) as failure:
            raise self.broken(f"{file.name} cannot be read as safetensors ({failure})") from None
        for name, (kind, _) in kinds.items():
            if kind not in FLOATS and not name.endswith(("position_ids", "attn.bias", "attn.masked_bias")):
                raise self.broken(f"{name} is stored as {kind}; {', '.join(sorted(FLOATS))} are read")
        return [(name, shape) for name, (_, shape) in kinds.items()]


def _pooler(family: Family) -> str:
    return family.pair.get("pooler", "none") + "."


def _files(path: Path) -> list[Path]:
    """The safetensors files of a directory. What stands beside them is never opened."""
    if (path / "model.safetensors").is_file():
        return [path / "model.safetensors"]
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = _shards(index)
        for name in names:
            if not (path / name).is_file():
                raise unreadable(path, f"{index.name} names {name}, which is not there", "copy all shards.")
        return [path / name for name in names]
    pickled = sorted(each.name for suffix in ("*.bin", "*.pt", "*.pth", "*.ckpt") for each in path.glob(suffix))
    if pickled:
        problem = f"it has {pickled[0]}, a pickle that could run code when it is opened, and no model.safetensors"
        raise unreadable(path, problem, f"if you trust it, convert it elsewhere: {CONVERT}")
    raise unreadable(path, "it has no model.safetensors")


def _shards(index: Path) -> list[str]:
    try:
        found: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(found.values()))
        plain = all(isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors") for name in names)
    except (ValueError, KeyError, TypeError, AttributeError):
        plain = False
    if not plain or not names:
        raise unreadable(index, "it is not an index of .safetensors files beside it")
    return names
