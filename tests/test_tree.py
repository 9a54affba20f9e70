"""README's tree is that of the disk: every part it names exists, and every part that exists is named."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def named():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text[text.index("    src/malmoi/\n") :].split("\n\n")[0]
    return dict(re.findall(r"(?m)^ {6}(\w+(?:/|\.py)) +(\S.*)$", block))


def on_disk():
    package = ROOT / "src" / "malmoi"
    folders = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    return folders | modules


def test_every_part_that_readme_names_exists():
    assert set(named()) - on_disk() == set()


def test_every_part_that_exists_is_named_in_readme():
    assert on_disk() - set(named()) == set()


def contracts():
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


def test_the_folders_of_corpus_stand_below_it_in_the_order_of_their_contract():
    """Upstream first; the modules beside them are upstream of all, or belong to no folder."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    below = text[text.index("      corpus/ ") :].split("\n      vocab/")[0]
    folders = re.findall(r"(?m)^ {8}(\w+)/ +\S.{10,}$", below)
    package = ROOT / "src" / "malmoi" / "corpus"
    assert sorted(folders) == sorted(path.parent.name for path in package.glob("*/__init__.py"))
    [contract] = [each for each in contracts() if each.get("containers") == ["malmoi.corpus"]]
    parts = [part for layer in contract["layers"][::-1] for part in re.findall(r"\w+", layer)]
    assert [part for part in parts if part in folders] == folders
    assert set(parts) == {*folders, *(path.stem for path in package.glob("[!_]*.py"))}


def test_every_line_says_what_the_part_is():
    assert len(named()) > 10 and all(len(description) > 10 for description in named().values())


def test_the_order_is_that_of_the_import_contract():
    """README lists upstream first, the contract downstream first; parts on one line of the contract may stand in any order."""
    layers = [re.findall(r"\w+", layer) for layer in contracts()[0]["layers"]][::-1]
    rank = {part: place for place, layer in enumerate(layers) for part in layer}
    order = [rank[name.rstrip("/").removesuffix(".py")] for name in named()]
    assert order == sorted(order)
    assert set(rank) == {name.rstrip("/").removesuffix(".py") for name in named()}
