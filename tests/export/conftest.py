"""The oracle as a fixture: test folders are no packages, so it is loaded by its path. And small models of every family of transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from malmoi.core.batch import Batch
from malmoi.core.recipe import RunSpec, SubwordSpec
from malmoi.core.spec import validate
from malmoi.export.imported import parts_of
from malmoi.export.transformers import write_sentence_transformers, write_transformers
from malmoi.objectives import build
from malmoi.vocab import Subwords

TEXTS = [
    "안녕하세요, 말모이는 우리말을 모은 첫 사전입니다. 낱말을 모으고 뜻을 풉니다.",
    "The quick brown fox jumps over the lazy dog; naïve café, déjà vu!",
    "한국어와 English를 섞어 쓰면 어떻게 될까? 3.14%와 42km, 그리고 😀 웃는 얼굴.",
    "말모이 말모이 사전 사전 낱말 낱말 the the dog dog fox fox jumps jumps",
] * 3


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """tests/oracles/numpy_elmo.py."""
    path = Path(__file__).resolve().parents[1] / "oracles" / "numpy_elmo.py"
    spec = importlib.util.spec_from_file_location("numpy_elmo", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def subwords() -> Callable[[str], Subwords]:
    """Algorithm -> a small vocabulary of mixed text."""
    made: dict[str, Subwords] = {}

    def get(algorithm: str = "wordpiece") -> Subwords:
        if algorithm not in made:
            made[algorithm] = Subwords.train(TEXTS, SubwordSpec(algorithm=algorithm, size=420, minimum_count=1))  # type: ignore[arg-type]
        return made[algorithm]

    return get


ENCODER: dict[str, Any] = {
    "width": 32,
    "frontend": {"kind": "token_embedding", "positions": "learned", "length": 40, "types": 2, "norm": True},
    "backbone": {
        "kind": "blocks",
        "depth": 2,
        "mixer": {"kind": "attention", "heads": 4},
        "feedforward": {"width": 48},
        "norm": "post",
        "epsilon": 1e-12,
    },
    "head": {"tied": True, "transform": "gelu"},
}
CAUSAL: dict[str, Any] = {
    "width": 32,
    "frontend": {"kind": "token_embedding", "positions": "learned", "length": 40},
    "backbone": {
        "kind": "blocks",
        "depth": 2,
        "mixer": {"kind": "attention", "heads": 4, "sees": "causal"},
        "feedforward": {"width": 128, "activation": "gelu_tanh"},
        "norm": "pre",
    },
    "head": {"tied": True, "bias": "none"},
}
BASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bert": ({"kind": "masked"}, ENCODER),
    "albert": (
        {"kind": "masked", "pair": "order"},
        ENCODER | {"frontend": ENCODER["frontend"] | {"width": 12}, "backbone": ENCODER["backbone"] | {"depth": 3, "share": "all"}},
    ),
    "electra": ({"kind": "replaced", "generator": 0.25}, ENCODER | {"frontend": ENCODER["frontend"] | {"width": 12}}),
    "distilbert": ({"kind": "masked"}, ENCODER | {"frontend": ENCODER["frontend"] | {"types": 0}}),
    "gpt2": ({"kind": "causal"}, CAUSAL),
    "openai-gpt": ({"kind": "causal"}, CAUSAL | {"backbone": CAUSAL["backbone"] | {"norm": "post"}}),
}


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., RunSpec]:
    """(family, changes by path) -> a small spec: `make_spec("bert", {"model.width": 24})`."""

    def make(family: str, changes: dict[str, Any] | None = None) -> RunSpec:
        objective, model = BASES[family]
        tree: dict[str, Any] = {"name": f"small-{family}", "objective": objective, "model": model}
        tree |= {"subwords": {"size": 420}, "stream": {"kind": "rows", "length": 16}}
        for path, value in (changes or {}).items():
            tree = _with(tree, path.split("."), value)
        return validate(RunSpec, tree)

    return make


def _with(tree: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    inner = value if len(path) == 1 else _with(tree.get(path[0], {}), path[1:], value)
    return {**tree, path[0]: inner}


@pytest.fixture(scope="session")
def shaken() -> Callable[..., Any]:
    """Give every parameter of a module a value that is far from its start, norms and biases too, decided by a seed."""

    def shake(module: Any, seed: int = 1) -> Any:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator) * 0.2
                norm = "norm" in name.lower() or ".ln_" in name or name.startswith("ln_")
                parameter.copy_(noise + 1.0 if norm and name.endswith("weight") else noise)
        return module.eval()

    return shake


@pytest.fixture(scope="session")
def make_objective(shaken: Callable[..., Any]) -> Callable[..., Any]:
    """(spec, vocabulary) -> its objective with weights far from their start."""

    def make(spec: RunSpec, vocabulary: Subwords, seed: int = 1) -> Any:
        return shaken(build(spec, **vocabulary.sizes()), seed)

    return make


@pytest.fixture(scope="session")
def ragged() -> Callable[..., Batch]:
    """(words, types) -> rows of 23, 9, 16 and 1 tokens, padded at the end with segments 0."""

    def make(words: int, types: int, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.tensor([23, 9, 16, 1])
        read = torch.arange(23) < lengths[:, None]
        ids = torch.randint(words, read.shape, generator=generator) * read
        kinds = torch.randint(max(types, 1), read.shape, generator=generator) * read
        return Batch(ids=ids, segments=read.long(), positions=torch.arange(23).expand(4, 23) * read, types=kinds if types else None)

    return make


@pytest.fixture
def export(make_spec: Any, subwords: Any, make_objective: Any, tmp_path: Path) -> Callable[..., Path]:
    """(family, changes) -> a directory as malmoi writes it."""

    def write(
        family: str,
        changes: dict[str, Any] | None = None,
        *,
        vocabulary: Subwords | None = None,
        place: str | None = None,
        sentences: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> Path:
        spec, vocabulary = make_spec(family, changes), vocabulary or subwords()
        out = tmp_path / (place or f"out-{family}")
        writer = write_sentence_transformers if sentences else write_transformers
        writer(out, spec=spec, parts=parts_of(spec, make_objective(spec, vocabulary)), vocabulary=vocabulary, facts=facts)
        return out

    return write
