"""Kinds of artifacts: each that is written has a name, and one in the place of another is told by it."""

import ast
from pathlib import Path

import pytest

from malmoi.core import artifact
from malmoi.core.errors import MalmoiError
from malmoi.core.kinds import KINDS, named, use_of

SOURCE = Path(__file__).parents[2] / "src" / "malmoi"


def kinds_in_source():
    """The constant KIND of every module, and what stands in `writing(place, "kind")`."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            values = []
            if isinstance(node, ast.Assign) and [target.id for target in node.targets if isinstance(target, ast.Name)] == ["KIND"]:
                values = [node.value]
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "writing":
                values = node.args[1:2]
            found |= {value.value for value in values if isinstance(value, ast.Constant)}
    return found


def test_every_kind_that_is_written_has_a_name():
    assert kinds_in_source() == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_reads_well_in_a_sentence(kind):
    entry = KINDS[kind]
    assert entry.name.startswith(("a ", "an ", "predictions")) and not (entry.use + entry.written).endswith((".", "!"))
    use = use_of(Path("runs") / "one" / "two", {"kind": kind, "base": "runs/bert"})
    assert "{" not in use and ("runs" in use or kind.startswith(("corpus-", "predictions")))


@pytest.mark.parametrize(
    ("there", "wanted", "message"),
    [
        (
            {"kind": "tuned", "base": "runs/bert"},
            "run",
            "M007: {path} is not a run: it is a tuned model, which answers a task. next: `malmoi evaluate {path} --data DIR` scores it, "
            "and runs/bert is the run that it was made of; a run is what `malmoi pretrain --out` or `malmoi import --out` wrote.",
        ),
        ({"kind": "checkpoint"}, "run", "M007: {path} is not a run: it is a checkpoint. next: it belongs to {root}; a run is what"),
        (
            {"kind": "corpus"},
            "run",
            "M007: {path} is not a run: it is a cleaned corpus. next: `malmoi pretrain RECIPE --corpus {path} --out RUN`",
        ),
        ({"kind": "run"}, "corpus", "; a cleaned corpus is what `malmoi corpus --profile NAME --out` wrote."),
        ({"kind": "run"}, "shards", "M007: {path} is not a set of shards: it is a run. next: make them again."),
        ({"kind": "gold"}, "run", "M007: {path} is not a run: it is 'gold'. next: a run is what `malmoi pretrain --out`"),
    ],
)
def test_one_in_the_place_of_another(there, wanted, message, tmp_path):
    path = tmp_path / "checkpoints" / "one"
    path.mkdir(parents=True)
    artifact.seal(path / "manifest.json", there)
    with pytest.raises(MalmoiError) as caught:
        artifact.read_manifest(path, wanted, next="make them again.")
    assert message.format(path=path, root=tmp_path) in str(caught.value)
    assert named("gold") == "'gold'"
