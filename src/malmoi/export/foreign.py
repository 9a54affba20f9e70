"""A directory of transformers -> a run, without transformers: config.json, safetensors and tokenizer.json are read, nothing is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import BackboneSpec, RunSpec, TokenEmbeddingSpec
from malmoi.export.configs import model_of, read_config, spec_of
from malmoi.export.families import ELECTRA, Family
from malmoi.export.tensors import VOCABULARY, Directory, Piece, Shape, groups, pieces, unreadable
from malmoi.export.tokenizer_files import read_tokenizer
from malmoi.export.transformers import DISCRIMINATOR, GENERATOR
from malmoi.vocab import Subwords

Shapes = Mapping[str, Shape]
BUFFERS = (".attn.bias", ".attn.masked_bias", "embeddings.position_ids")
"""Constants that older versions stored."""


@dataclass(frozen=True)
class Foreign:
    """What a directory holds: a spec, the vocabulary, parameters named as in `state_dict()` of the objective that `build` makes of both,
    whether an output layer was among them, its config, the tensors that have no place in the model, and what a user should know."""

    spec: RunSpec
    vocabulary: Subwords
    state: dict[str, Tensor]
    head: bool
    config: dict[str, Any]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


def read_transformers(path: Path | str, *, shapes: Callable[[RunSpec, Subwords], Shapes]) -> Foreign:
    """Read a directory of BERT, ALBERT, ELECTRA (also two: discriminator/ and generator/), DistilBERT, GPT-2 or OpenAI-GPT.

    shapes: spec and vocabulary -> the shape of every parameter of the objective that `build` makes of them.
    Raises MalmoiError M010 for a missing directory, M053 for one that cannot be read, M054 for a field of a config that may not be there.
    """
    path = Path(path)
    if not path.is_dir():
        raise MalmoiError("M010", path=path, nearest="")
    if (path / DISCRIMINATOR / "config.json").is_file() and (path / GENERATOR / "config.json").is_file():
        return _read_two(path, shapes)
    family, config = read_config(path)
    directory = Directory(path, family)
    vocabulary = read_tokenizer(path, config)
    heads = _heads(family, config, directory)
    objective: dict[str, Any] = {"kind": "causal" if family.objectives == ("causal",) else "masked"}
    if "pair" in heads:
        objective["pair"] = "order" if family.groups else "next"
    spec = spec_of(
        model_of(family, config, path=path), name=f"imported-{family.name}", objective=objective, words=len(vocabulary), path=path
    )
    reader = _Reader(family, directory, config, words=len(vocabulary))
    reader.look(spec)
    state = reader.state(spec, heads, shapes(spec, vocabulary), "model.")
    return Foreign(spec, vocabulary, state, "words" in heads, config, reader.dropped(), reader.notes())


def _read_two(path: Path, shapes: Callable[[RunSpec, Subwords], Shapes]) -> Foreign:
    """Discriminator and generator, which share their embeddings."""
    found = {}
    for part in (DISCRIMINATOR, GENERATOR):
        family, config = read_config(path / part)
        if family is not ELECTRA:
            raise unreadable(path / part, f"its model_type is {family.name}, where discriminator and generator are electra")
        found[part] = config, Directory(path / part, family)
    (config, large), (small_config, small) = found[DISCRIMINATOR], found[GENERATOR]
    vocabulary = read_tokenizer(path / DISCRIMINATOR, config)
    tree, small_tree = (model_of(ELECTRA, each, path=path / part) for part, (each, _) in found.items())
    share = small_tree["width"] / tree["width"]
    if not 0 < share <= 1:
        raise unreadable(path, f"its generator is {small_tree['width']} wide, more than its discriminator, {tree['width']}")
    tree["head"] = small_tree["head"]
    objective = {"kind": "replaced", "generator": share}
    spec = spec_of(tree, name="imported-electra", objective=objective, words=len(vocabulary), path=path / DISCRIMINATOR)
    _agree(path, tree, small_tree, share)
    first = _Reader(ELECTRA, large, config, words=len(vocabulary))
    second = _Reader(ELECTRA, small, small_config, words=len(vocabulary))
    first.look(spec)
    expected = shapes(spec, vocabulary)
    state = first.state(spec, ("replaced",), expected, "model.") | second.state(spec, ("words",), expected, "generator.")
    for name in ("weight", "positions", "types", "norm.weight", "norm.bias"):
        ours = (state.get(f"{model}.frontend.{name}") for model in ("model", "generator"))
        one, other = ours
        if one is not None and other is not None and not torch.equal(one, other):
            raise unreadable(path, f"frontend.{name} differs between discriminator and generator, which share it in a run")
    dropped = (*first.dropped(), *second.dropped())
    return Foreign(spec, vocabulary, state, True, {DISCRIMINATOR: config, GENERATOR: small_config}, dropped, first.notes())


def _agree(path: Path, tree: Mapping[str, Any], small: Mapping[str, Any], share: float) -> None:
    """The generator must be the discriminator with heads and feed-forward times `share`, at the same depth: that is what a run has."""
    for field, one, other in (
        ("num_hidden_layers", tree["backbone"]["depth"], small["backbone"]["depth"]),
        ("num_attention_heads", max(1, round(tree["backbone"]["mixer"]["heads"] * share)), small["backbone"]["mixer"]["heads"]),
        (
            "intermediate_size",
            max(1, round(tree["backbone"]["feedforward"]["width"] * share)),
            small["backbone"]["feedforward"]["width"],
        ),
        ("embedding_size", tree["frontend"]["width"] or tree["width"], small["frontend"]["width"] or small["width"]),
        ("hidden_act", tree["backbone"]["feedforward"]["activation"], small["backbone"]["feedforward"]["activation"]),
        ("layer_norm_eps", tree["backbone"]["epsilon"], small["backbone"]["epsilon"]),
        ("max_position_embeddings", tree["frontend"]["length"], small["frontend"]["length"]),
        ("type_vocab_size", tree["frontend"]["types"], small["frontend"]["types"]),
    ):
        if one != other:
            problem = f"its {field} is {other}; a run whose generator is {share:g} of the discriminator has {one}"
            raise unreadable(path / GENERATOR / "config.json", problem, "import the two directories one by one.")


def _heads(family: Family, config: Mapping[str, Any], directory: Directory) -> tuple[str, ...]:
    """Which heads the directory holds. A causal model whose output matrix is its embedding has no tensor to show it."""
    heads = []
    anchors = list(family.words.values())
    named = config.get("architectures")
    bare = isinstance(named, list) and family.encoder in named
    if anchors:
        language = f"{anchors[0]}.weight" in directory.shapes
    else:
        language = not bare and (config.get("tie_word_embeddings", True) or family.decoder in directory.shapes)
    if language:
        heads.append("words")
    if family.pair and all(f"{name}.weight" in directory.shapes for name in family.pair.values()):
        heads.append("pair")
    return tuple(heads)


class _Reader:
    """Takes the tensors of one directory, piece by piece, and remembers which."""

    def __init__(self, family: Family, directory: Directory, config: Mapping[str, Any], *, words: int) -> None:
        self.family, self.directory, self.words = family, directory, words
        self.rows = config.get("vocab_size", directory.shapes.get(family.prefix + family.tensors["frontend.weight"], (0,))[0])
        self.used: set[str] = set()
        if not isinstance(self.rows, int) or self.rows < words:
            problem = f"vocab_size is {self.rows}, and its tokenizer has {words:,} ids"
            raise unreadable(directory.path / "config.json", problem, "give a tokenizer.json that belongs to the model.")

    def look(self, spec: RunSpec) -> None:
        """Width and depth first, so that no model is made of numbers that the file does not bear out."""
        family, model = self.family, spec.model
        frontend, backbone = model.frontend, model.backbone
        assert isinstance(frontend, TokenEmbeddingSpec) and isinstance(backbone, BackboneSpec)
        self.directory.expect(family.prefix + family.tensors["frontend.weight"], (self.rows, frontend.width or model.width))
        last = family.prefix + family.block.format(i=backbone.depth - 1, g=groups(model) - 1)
        if not any(name.startswith(last) for name in self.directory.shapes):
            raise self.directory.broken(f"{last}* is missing, where config.json says {backbone.depth} layers")

    def state(self, spec: RunSpec, heads: tuple[str, ...], shapes: Shapes, root: str) -> dict[str, Tensor]:
        """Parameters by name, under `root`; every name and shape is checked before anything is read."""
        family, listed = self.family, self.directory.shapes
        table = [piece for piece in pieces(family, spec.model, heads=heads) if root + piece.ours in shapes]
        if family.bias is not None and family.own_bias not in listed:  # version 4 stores the one bias that both are
            table = [Piece(piece.ours, (family.bias,)) if piece.theirs == (family.own_bias,) else piece for piece in table]
        for piece in table:
            for name in piece.theirs:
                self.directory.expect(name, piece.shape(self._stored(piece, shapes[root + piece.ours])))
        self._refuse_rest(spec, {name for piece in table for name in piece.theirs})
        return {root + piece.ours: self._value(piece) for piece in table}

    def _stored(self, piece: Piece, shape: Shape) -> Shape:
        return (self.rows, *shape[1:]) if piece.ours in VOCABULARY else shape

    def _value(self, piece: Piece) -> Tensor:
        value = piece.unpack(self.directory.read)
        return value[: self.words].clone() if piece.ours in VOCABULARY else value

    def _refuse_rest(self, spec: RunSpec, used: set[str]) -> None:
        """Tensors of the encoder that the config says nothing of are refused, and copies that are none."""
        self.used = set(used)
        family, listed, tied = self.family, self.directory.shapes, spec.model.head.tied
        copies = {family.decoder: family.prefix + family.tensors["frontend.weight"], family.own_bias: family.bias} if tied else {}
        mapping = f"{family.prefix}{family.modules.get('frontend.projection', '-')}."
        for name in sorted(set(listed) - used):
            if name in copies and copies[name] in listed:
                if not torch.equal(self.directory.read(name), self.directory.read(str(copies[name]))):
                    raise self.directory.broken(f"{name} differs from {copies[name]}, which config.json says it is")
                self.used.add(name)
            elif name.endswith(BUFFERS) or (name == family.bias and family.own_bias in used):
                self.used.add(name)
            elif name.startswith(mapping):
                if not _identity(self.directory.read(name)):
                    problem = f"{name} is not the identity: an embedding as wide as the model has no projection in a run"
                    raise self.directory.broken(problem)
                self.used.add(name)
            elif name.startswith(family.prefix) and not name.startswith(family.pair.get("pooler", "-") + "."):
                raise self.directory.broken(f"it also holds {name} with shape {listed[name]}, of which config.json says nothing")

    def dropped(self) -> tuple[str, ...]:
        """Tensors that were left behind: heads that a run has not."""
        return tuple(sorted(set(self.directory.shapes) - self.used))

    def notes(self) -> tuple[str, ...]:
        more = self.rows - self.words
        left = f"{more:,} rows of the embedding have no token and were left behind, in the output layer too"
        return (f"{left}: likelihoods are over {self.words:,} tokens.",) if more else ()


def _identity(value: Tensor) -> bool:
    return torch.equal(value, torch.eye(len(value)) if value.dim() == 2 else torch.zeros(len(value)))
