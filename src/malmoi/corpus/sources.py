"""Which files a list of sources means, and their fingerprint."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from malmoi.core.artifact import fingerprint, sha256
from malmoi.core.errors import MalmoiError, nearest

COMPRESSIONS = (".gz", ".xz", ".zst")
SUFFIXES = {".txt": "text", ".jsonl": "jsonl", ".parquet": "parquet"}
MARKUP = {".html", ".htm", ".xml", ".json", ".csv", ".tsv", ".doc", ".rtf"}
"""Text, but read as such its markup would become words."""

Format = Literal["text", "jsonl", "parquet"]


def source_files(sources: Sequence[str | Path] | str | Path) -> list[Path]:
    """The files that `sources` (files, folders, globs) mean, each once, in the order of the sources and sorted inside each.

    Of a folder, at any depth, those with a known suffix; of a glob, all that match. Hidden files of a folder are left out.
    Raises MalmoiError M010 for a source that is not there, M013 for an empty folder, M014 for a folder of unknown suffixes.
    """
    return [path for path, _ in _named_files(sources)]


def source_fingerprint(sources: Sequence[str | Path] | str | Path) -> str:
    """SHA-256 over name (relative to its source), size and SHA-256 of every file: moving a folder does not change it, an edit does."""
    files = [{"path": name, "bytes": path.stat().st_size, "sha256": sha256(path)} for path, name in _named_files(sources)]
    return fingerprint(files)


def format_of(path: Path) -> Format:
    """How a file is read, by its name without `.gz`, `.xz` or `.zst`. A name without a known suffix is plain text.

    Raises MalmoiError M014 for markup and tables, which would become words.
    """
    suffix = _suffix(path)
    if suffix in MARKUP:
        raise MalmoiError("M014", path=path, problem=f"the markup of {suffix} would be read as words")
    return SUFFIXES.get(suffix, "text")  # type: ignore[return-value]


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return Path(name).suffix


def _named_files(sources: Sequence[str | Path] | str | Path) -> list[tuple[Path, str]]:
    """`(path, name relative to its source)`; a file that two sources mean stands where it came first."""
    if isinstance(sources, str | Path):
        sources = [sources]
    found: dict[str, tuple[Path, str]] = {}
    for source in sources:
        for path, name in _expand(Path(source)):
            found.setdefault(os.path.realpath(path), (path, name))
    return list(found.values())


def _expand(source: Path) -> Iterator[tuple[Path, str]]:
    if source.is_dir():
        yield from _folder(source)
    elif source.exists():
        yield _regular(source), source.name
    elif glob.has_magic(str(source)):
        matches = sorted(Path(match) for match in glob.glob(str(source), recursive=True))
        files = [match for match in matches if not match.is_dir()]
        folders = [match for match in matches if match.is_dir()] if not files else []
        if not matches:
            raise MalmoiError("M010", path=source, nearest=" (nothing matches)")
        root = Path(os.path.commonpath([match.parent for match in matches]))
        yield from ((_regular(match), match.relative_to(root).as_posix()) for match in files)
        for folder in folders:
            yield from ((path, f"{folder.relative_to(root).as_posix()}/{name}") for path, name in _folder(folder))
    else:
        raise MalmoiError("M010", path=source, nearest=_nearest_path(source))


def _regular(path: Path) -> Path:
    if not path.is_file():
        raise MalmoiError("M014", path=path, problem="it is not a regular file")
    return path


def _folder(root: Path) -> list[tuple[Path, str]]:
    """Known files at any depth, sorted by their relative name; links are followed, each folder once."""
    files: list[Path] = []
    seen: set[str] = set()
    for base, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(base)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            files += [Path(base, name) for name in names if not name.startswith(".")]
        seen.add(real)
    known = sorted(((path, path.relative_to(root).as_posix()) for path in files if _suffix(path) in SUFFIXES), key=lambda pair: pair[1])
    if files and not known:
        example = min(path.name for path in files)
        problem = f"none of its {len(files):,} files has a known suffix (a glob such as '{root}/**/*' takes any name, e.g. {example})"
        raise MalmoiError("M014", path=root, problem=problem)
    if not known:
        raise MalmoiError("M013", path=root)
    return known


def _nearest_path(path: Path) -> str:
    """The hint for a path that is not there: the closest name in the deepest folder of it that exists."""
    missing, folder = path, path.parent
    while not folder.is_dir() and folder != folder.parent:
        missing, folder = folder, folder.parent
    hint = nearest(missing.name, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else ""
    return hint if missing == path else f", because {missing} does not{hint}"
