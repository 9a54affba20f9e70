"""What is read is safetensors, JSON, text and flat arrays: nothing that comes from a file is ever run."""

import ast
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from toy_training import Toy, train, training

from malmoi.core.artifact import MANIFEST, seal, sha256
from malmoi.core.errors import MalmoiError
from malmoi.train import checkpoint as checkpoints

SOURCE = Path(__file__).parents[2] / "src" / "malmoi"
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def test_no_module_unpickles():
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(path.name, name) for name in names if name.split(".")[0] in FORBIDDEN]
            if isinstance(node, ast.Attribute) and node.attr == "load" and isinstance(node.value, ast.Name) and node.value.id == "torch":
                found.append((path.name, "torch.load"))
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                found.append((path.name, "allow_pickle"))
            if isinstance(node, ast.Attribute) and node.attr.endswith(("_object", "_object_list")) and "broadcast" in node.attr + "gather":
                found += (
                    [(path.name, node.attr)] if node.attr.split("_object")[0] in ("all_gather", "gather", "broadcast", "scatter") else []
                )
    assert found == []


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def replaced(path, name, content):
    """A checkpoint in which a file was exchanged by someone who can also mend the manifest."""
    (path / name).write_bytes(content)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": len(content), "sha256": sha256(path / name)}
    seal(path / MANIFEST, manifest)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "carry.safetensors"])
@pytest.mark.parametrize("kind", ["pickle", "torch.save"])
def test_a_checkpoint_that_carries_code_is_refused(tmp_path, name, kind):
    train(tmp_path / "run", training(steps=2))
    (path,) = checkpoints.steps(tmp_path / "run" / "checkpoints")
    canary = tmp_path / "canary"
    if kind == "pickle":
        content = pickle.dumps(Canary(canary))
    else:
        torch.save(Canary(canary), tmp_path / "bad.pt")
        content = (tmp_path / "bad.pt").read_bytes()
    replaced(path, name, content)
    with pytest.raises(MalmoiError, match=f"M032: .*{name}"):
        train(tmp_path / "run", training(steps=3), resume=True)
    with pytest.raises(MalmoiError, match="M032"):
        checkpoints.load_module(path, Toy()) if name.startswith("model") else checkpoints.load(path)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists(), "the canary sings when it is unpickled"
