"""Text that every installation carries: the topics of `help()`, and the documentation strings of the standard library and of
the packages that malmoi needs. They are read from source files; nothing is imported, downloaded or bundled.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from malmoi.corpus.document import Document
from malmoi.corpus.files.blocks import nfc

LIMIT = 5_000_000
"""Characters after which it is enough."""
PACKAGES = ("numpy", "pydantic", "typer", "rich", "tokenizers", "safetensors", "pyarrow", "torch")

_LEFT_OUT = {"test", "tests", "testing", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages", "encodings", "include"}
_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_DENSITY = 0.15  # share of a source file in triple quotes, below which parsing it costs more than it gives
_SHORTEST = 6  # words of a document
_PROSE = 0.72  # share of letters and spaces in a paragraph; code, tables and signatures have less
_QUOTED = re.compile(rb'"""(.*?)"""', re.DOTALL)
_ROLE = re.compile(r":[a-zA-Z:]+:`~?([^`]*)`")
_EXAMPLE = re.compile(r"^[ \t]*>>>.*(?:\n[ \t]*\S.*)*", re.MULTILINE)
_RULER = re.compile(r"^[ \t]*[-=~^*#+_.|]{3,}[ \t]*$", re.MULTILINE)
_DIRECTIVE = re.compile(r"^[ \t]*\.\. .*$", re.MULTILINE)


def builtin_documents() -> Iterator[Document]:
    """One document a topic or documentation string, prose only, each text once; `id` is `module:name`.

    The same installation gives the same documents in the same order: 4 to 5 million characters of English, in seconds.
    """
    seen: set[str] = set()
    size = 0
    for id, raw in _raw():
        text = prose(raw)
        if text in seen or len(text.split()) < _SHORTEST:
            continue
        seen.add(text)
        size += len(text)
        yield Document(id, text)
        if size >= LIMIT:
            return


def prose(text: str) -> str:
    """A documentation string without its indentation, interactive examples, rulers, directives, and paragraphs of code."""
    text = inspect.cleandoc(text)
    for pattern in (_EXAMPLE, _RULER, _DIRECTIVE):
        text = pattern.sub("", text)
    text = _ROLE.sub(r"\1", text).replace("``", "")
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return nfc("\n".join(part for part in paragraphs if part and _is_prose(part)))


def _is_prose(paragraph: str) -> bool:
    return sum(map(len, re.findall(r"[^\W\d_]+| ", paragraph))) >= _PROSE * len(paragraph)


def _raw() -> Iterator[tuple[str, str]]:
    """`(id, documentation string as written)` of everything, most general first."""
    from pydoc_data.topics import topics  # data only: a dict of texts

    yield from ((f"topics:{name}", topics[name]) for name in sorted(topics))
    yield from _folder(Path(sysconfig.get_path("stdlib")), "")
    for package in PACKAGES:
        spec = find_spec(package)
        if spec and spec.submodule_search_locations:
            yield from _folder(Path(spec.submodule_search_locations[0]), f"{package}.")


def _folder(root: Path, prefix: str) -> Iterator[tuple[str, str]]:
    """The documentation strings of all modules below `root`; private modules last."""
    files: list[Path] = []
    for base, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith((".", "__"))]
        files += [Path(base, name).relative_to(root) for name in names if name.endswith(".py")]
    for path in sorted(files, key=lambda path: (any(part.startswith("_") for part in path.parts), path.as_posix())):
        name = prefix + ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        source = (root / path).read_bytes()
        if sum(map(len, _QUOTED.findall(source))) >= _DENSITY * max(len(source), 1):
            yield from ((f"{name}:{qualified}", text) for qualified, text in docstrings(source))


def docstrings(source: bytes) -> Iterator[tuple[str, str]]:
    """`(qualified name, string)` for a module, its classes and functions at any depth, and the long texts that it hands to calls.

    Packages written in C document their functions by such calls (`add_docstr`). A source that is not Python gives nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the sources of others
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    waiting: list[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]] = [("", tree)]
    while waiting:
        name, node = waiting.pop(0)
        if text := ast.get_docstring(node, clean=False):
            yield name, text
        for child in node.body:
            if isinstance(child, _DEFINITIONS):
                waiting.append((f"{name}.{child.name}".lstrip("."), child))
            elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Call):
                yield from ((f"{name}@{child.lineno}", text) for text in _texts(child.value))


def _texts(call: ast.Call) -> Iterator[str]:
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count("\n") > 2:
            yield node.value
