"""What `malmoi doctor` is given: a run, shards, a cleaned or a counted corpus, text, or another artifact. Opens it and hands it to the
checks."""

from __future__ import annotations

import json
from pathlib import Path

from malmoi import run as runs
from malmoi.core.artifact import MANIFEST, kind_at, verify
from malmoi.core.errors import MalmoiError
from malmoi.core.kinds import KINDS, named, use_of
from malmoi.core.recipe import TextSpec
from malmoi.core.spec import validate
from malmoi.health import Finding, examine_cleaned, examine_corpus, examine_run, examine_shards
from malmoi.shards import Shards
from malmoi.shards.store import ENDS
from malmoi.vocab import load_vocabulary

EXAMINED = ("run", "shards", "corpus")
"""Kinds that there are checks for."""


def diagnose(path: Path) -> list[Finding]:
    """Every check that fits what `path` is. Damage that keeps a check from running is a finding itself."""
    kind = _kind(path)
    try:
        if kind == "run":
            return _run(path)
        if kind == "shards":
            return examine_shards(path, load_vocabulary(_beside(path)))
        if kind == "cleaned":
            return examine_cleaned(path)
        if kind == "corpus":
            return _corpus(path)
        if kind == "other":
            return _other(path)
    except MalmoiError as problem:
        return [Finding.of_error(problem)]
    return examine_corpus([path])


def _kind(path: Path) -> str:
    if kind_at(path) in KINDS.keys() - EXAMINED:
        return "other"
    if (path / "spec.json").is_file() or (path / "checkpoints").is_dir():
        return "run"
    if (path / "corpus.json").is_file():
        return "corpus"
    if (path / "report.json").is_file() or (path / "inputs.json").is_file():
        return "cleaned"
    if (path / MANIFEST).is_file() and (path / ENDS).is_file():
        return "shards"
    return "text"


def _run(path: Path) -> list[Finding]:
    opened = runs.load_run(path)
    bare = [] if opened.has_head else [Finding.good("output layer", f"none to examine: {opened.headless}")]
    shards, source = (Shards.open(path / part, opened.vocabulary) if (path / part).is_dir() else None for part in ("shards", "sources"))
    return bare + examine_run(
        opened.spec,
        objective=opened.objective,
        vocabulary=opened.vocabulary,
        shards=shards,
        source=source,
        directory=path,
        step=opened.step,
    )


def _other(path: Path) -> list[Finding]:
    """Of an artifact that no check is for: whether its files are whole."""
    manifest = verify(path, str(kind_at(path)))
    files = f"all {len(manifest['files']):,} files are as they were written, which is all that was looked at"
    return [Finding.good("files", f"{path} is {named(manifest['kind'])}; {files}; {use_of(path, manifest)}")]


def _corpus(path: Path) -> list[Finding]:
    facts = json.loads((path / "corpus.json").read_text(encoding="utf-8"))
    return examine_corpus(facts["sources"], text=validate(TextSpec, facts.get("text", {})), vocabulary=load_vocabulary(path / "vocab"))


def _beside(shards: Path) -> Path:
    """The vocabulary of shards stands beside them."""
    vocabulary = shards.parent / "vocab"
    if not (vocabulary / MANIFEST).is_file():
        raise MalmoiError("M021", path=vocabulary, next="keep the vocabulary beside the shards, or examine the whole run.")
    return vocabulary
