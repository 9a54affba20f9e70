"""Which files a list of sources means, and their fingerprint."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from malmoi.core.artifact import fingerprint, kind_at, nearest_path, sha256
from malmoi.core.errors import MalmoiError

COMPRESSIONS = (".gz", ".xz", ".zst")
SUFFIXES = {".txt": "text", ".jsonl": "jsonl", ".parquet": "parquet"}
MARKUP = {".html", ".htm", ".xml", ".json", ".csv", ".tsv", ".doc", ".rtf"}
"""Text, but read as such its markup would become words."""

CLEANED = {
    **SUFFIXES,
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".warc", ".wet"), "warc"),
    **dict.fromkeys((".tar", ".tgz", ".txz", ".tzst"), "tar"),
    ".zip": "zip",
}
"""What cleaning reads besides."""

TRAIN = "train"
"""The folder of a cleaned corpus whose documents are for training."""

Format = Literal["text", "jsonl", "parquet"]
Kind = Literal["text", "jsonl", "parquet", "html", "warc", "tar", "zip", "unknown"]


class Found(NamedTuple):
    """A file of a source. name: relative to the source. asked: named by a path or a glob, not found in a folder."""

    path: Path
    name: str
    asked: bool


def source_files(sources: Sequence[str | Path] | str | Path) -> list[Path]:
    """The files that `sources` (files, folders, globs) mean, each once, in the order of the sources and sorted inside each.

    Of a folder, at any depth, those with a known suffix; of a glob, all that match. Hidden files of a folder are left out.
    Of a cleaned corpus only what is to be trained on. Raises MalmoiError M010 for a source that is not there, M013 for an empty folder,
    M014 for a folder of unknown suffixes.
    """
    return [file.path for file in _files(sources)]


def cleaning_files(sources: Sequence[str | Path] | str | Path) -> list[tuple[Path, str, Kind]]:
    """`(path, name, kind)` of the files that a cleaning reads, with all others of their folders, which are of kind "unknown".

    Names are relative to their sources, and made different from each other. Raises MalmoiError M010 to M014 as `source_files`.
    """
    found: list[tuple[Path, str, Kind]] = []
    names: dict[str, int] = {}
    for path, name, asked in _files(sources, kinds=CLEANED, others=True):
        names[name] = names.get(name, 0) + 1
        unique = name if names[name] == 1 else f"{name}#{names[name]}"
        kind = kind_of(path.name)
        found.append((path, unique, "text" if kind == "unknown" and asked and _suffix(path) not in MARKUP else kind))
    if found and all(kind == "unknown" for _, _, kind in found):
        format_of(found[0][0])  # says why
    return found


def kind_of(name: str) -> Kind:
    """What a cleaning takes a file of that name for."""
    return CLEANED.get(_suffix(Path(name)), "unknown")  # type: ignore[return-value]


def source_fingerprint(sources: Sequence[str | Path] | str | Path) -> str:
    """SHA-256 over name (relative to its source), size and SHA-256 of every file: moving a folder does not change it, an edit does."""
    files = [{"path": file.name, "bytes": file.path.stat().st_size, "sha256": sha256(file.path)} for file in _files(sources)]
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
    return Path(name.removesuffix(".lz4") if name.endswith(".warc.lz4") else name).suffix


def _files(sources: Sequence[str | Path] | str | Path, *, kinds: Collection[str] = SUFFIXES.keys(), others: bool = False) -> list[Found]:
    """A file that two sources mean stands where it came first. kinds: the suffixes taken from folders; others: the other files as well."""
    if isinstance(sources, str | Path):
        sources = [sources]
    found: dict[str, Found] = {}
    for source in sources:
        for file in _expand(Path(source), kinds, others):
            found.setdefault(os.path.realpath(file.path), file)
    return list(found.values())


def _expand(source: Path, kinds: Collection[str], others: bool) -> Iterator[Found]:
    if source.is_dir():
        yield from _folder(source, kinds, others)
    elif source.exists():
        yield Found(_regular(source), source.name, True)
    elif glob.has_magic(str(source)):
        matches = sorted(Path(match) for match in glob.glob(str(source), recursive=True))
        files = [match for match in matches if not match.is_dir()]
        folders = [match for match in matches if match.is_dir()] if not files else []
        if not matches:
            raise MalmoiError("M010", path=source, nearest=" (nothing matches)")
        root = Path(os.path.commonpath([match.parent for match in matches]))
        yield from (Found(_regular(match), match.relative_to(root).as_posix(), True) for match in files)
        for folder in folders:
            inside = folder.relative_to(root).as_posix()
            yield from (Found(path, f"{inside}/{name}", asked) for path, name, asked in _folder(folder, kinds, others))
    else:
        raise MalmoiError("M010", path=source, nearest=nearest_path(source))


def _regular(path: Path) -> Path:
    if not path.is_file():
        raise MalmoiError("M014", path=path, problem="it is not a regular file")
    return path


def _folder(root: Path, kinds: Collection[str], others: bool) -> list[Found]:
    """Files at any depth, sorted by their relative name; links are followed, each folder once."""
    files: list[Path] = []
    seen: set[str] = set()
    for base, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders[:] = []
        elif _is_corpus(Path(base)):
            folders[:] = [name for name in folders if name == TRAIN]
        else:
            folders[:] = [name for name in folders if not name.startswith(".")]
            files += [Path(base, name) for name in names if not name.startswith(".")]
        seen.add(real)
    found = sorted((Found(path, path.relative_to(root).as_posix(), False) for path in files), key=lambda file: file.name)
    known = [file for file in found if _suffix(file.path) in kinds]
    if files and not known:
        example = min(path.name for path in files)
        problem = f"none of its {len(files):,} files has a known suffix (a glob such as '{root}/**/*' takes any name, e.g. {example})"
        raise MalmoiError("M014", path=root, problem=problem)
    if not known:
        raise MalmoiError("M013", path=root)
    return found if others else known


def _is_corpus(folder: Path) -> bool:
    """Whether a folder is a cleaned corpus, of which only TRAIN may be trained on: the rest is held out, or was removed."""
    return kind_at(folder) == "corpus"
