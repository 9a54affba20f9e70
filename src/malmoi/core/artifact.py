"""Artifacts: directories with a `manifest.json` that is written last and names every file with its SHA-256.

A directory without a manifest was never finished; one whose files differ from it is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from malmoi.core.errors import MalmoiError, nearest
from malmoi.core.kinds import mistaken

MANIFEST = "manifest.json"
NEW, OLD = ".malmoi-new", ".malmoi-old"
"""Endings of the hidden directories in which an artifact is made, and kept while another takes its place."""
FAILPOINT = os.environ.get("MALMOI_FAILPOINT", "")
"""For tests: the name of the place at which the process ends as if it were killed, `NAME` or `NAME:N` for the Nth time there."""


def reached(name: str) -> None:
    """A place at which a writer may be interrupted. Does nothing but for tests, see FAILPOINT."""
    global FAILPOINT
    if not FAILPOINT:
        return
    wanted, _, times = FAILPOINT.partition(":")
    if name == wanted:
        if int(times or 1) <= 1:
            os.kill(os.getpid(), signal.SIGKILL)
        FAILPOINT = f"{wanted}:{int(times) - 1}"


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form: what two artifacts compare to know that they belong together."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a small file so that a reader finds the old content or the new one, never a half (temporary, fsync, rename)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    reached(f"{path.name}-written")
    os.replace(temporary, path)
    reached(f"{path.name}-renamed")


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def writing(directory: Path, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Make an artifact whole or not at all.

    Yields `(temporary directory, fields)`. What the block writes there is synced, hashed and listed in the manifest together with
    `fields`, and the directory is renamed to its place (an older artifact of that name is replaced). An exception leaves
    the old state as it was.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    sweep(directory.parent)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}{NEW}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    reached("artifact-begun")
    try:
        fields: dict[str, Any] = {}
        yield temporary, fields
        reached("artifact-written")
        write_manifest(temporary, kind, fields)
        reached("artifact-sealed")
        old = directory.with_name(f".{directory.name}.{os.getpid()}{OLD}")
        if directory.exists():
            os.replace(directory, old)
            reached("artifact-old-aside")
        os.replace(temporary, directory)
        reached("artifact-renamed")
        sync_directory(directory.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Take away what killed writers left in `parent`; an artifact that was just being replaced is put back."""
    for path in parent.glob(".*.malmoi-*"):
        name, process = path.stem[1:].rpartition(".")[::2]
        if path.suffix not in (NEW, OLD) or not process.isdigit() or alive(int(process)):
            continue
        if path.suffix == OLD and not (parent / name).exists():
            os.replace(path, parent / name)
        else:
            shutil.rmtree(path, ignore_errors=True)
    for path in parent.glob(".*.tmp"):
        process = path.stem.rpartition(".")[2]
        if path.is_file() and process.isdigit() and not alive(int(process)):
            path.unlink(missing_ok=True)


def alive(process: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        pass
    return True


def write_manifest(directory: Path, kind: str, fields: dict[str, Any]) -> None:
    """List every file below `directory` (but hidden ones and manifests) with size and SHA-256; written last."""
    files: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != MANIFEST and not path.name.startswith("."):
            sync_file(path)
            files[path.relative_to(directory).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    seal(directory / MANIFEST, {"kind": kind, "versions": versions(), **fields, "files": files})


def seal(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest, or another small object, with the fingerprint of its own content, so that a damaged digit in it is found as
    surely as one in a file."""
    content = json.loads(json.dumps({key: value for key, value in manifest.items() if key != "seal"}))
    write_json(path, {**content, "seal": fingerprint(content)})


def read_manifest(directory: Path, kind: str, *, next: str = "make it again.") -> dict[str, Any]:
    """The manifest of an artifact of `kind`; MalmoiError M006 if there is none or it has changed, M007 if it is another kind's."""
    path = directory / MANIFEST
    if not path.is_file():
        raise MalmoiError("M006", path=directory, problem=f"it has no {MANIFEST}", next=next)
    manifest = read_sealed(path, next=next)
    if manifest.get("kind") != kind:
        raise mistaken(directory, manifest, wanted=kind, next=next)
    return manifest


def kind_at(directory: Path) -> str | None:
    """The kind of the artifact that is there, None where there is none or its manifest is damaged."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return manifest.get("kind") if isinstance(manifest, dict) else None


def read_sealed(path: Path, *, next: str) -> dict[str, Any]:
    """What `seal` wrote, without the seal; MalmoiError M006 if it has changed since."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        raise MalmoiError("M006", path=path, problem="it is not JSON", next=next) from None
    if not isinstance(content, dict) or content.pop("seal", None) != fingerprint(content):
        raise MalmoiError("M006", path=path, problem="it has changed since it was written", next=next)
    return content


def verify(directory: Path, kind: str, *, next: str = "make it again.") -> dict[str, Any]:
    """`read_manifest`, after every listed file was found with its size and SHA-256 (M021 missing, M020 changed)."""
    manifest = read_manifest(directory, kind, next=next)
    for name, facts in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            raise MalmoiError("M021", path=path, next=next)
        if (found := sha256(path)) != facts["sha256"]:
            raise MalmoiError("M020", path=path, found=found[:12], expected=facts["sha256"][:12], next=next)
    return manifest


def refuse_absent(path: Path) -> None:
    """Raise MalmoiError M010, with the nearest name that is there, for a path that is not."""
    if not path.exists():
        raise MalmoiError("M010", path=path, nearest=nearest_path(path))


def nearest_path(path: Path) -> str:
    """The hint for a path that is not there: the closest name in the deepest folder of it that exists."""
    missing, folder = path, path.parent
    while not folder.is_dir() and folder != folder.parent:
        missing, folder = folder, folder.parent
    hint = nearest(missing.name, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else ""
    return hint if missing == path else f", because {missing} does not{hint}"


def refuse_full(path: Path, needed: int, *, what: str) -> None:
    """Raise MalmoiError M045 if the disk under `path` has less than `needed` bytes free."""
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise MalmoiError("M045", path=path, free=free / 1e6, needed=needed / 1e6, what=what)


def sync_file(path: Path) -> None:
    """Make the content of a file survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` survive a power cut (a no-op where directories cannot be opened)."""
    try:
        sync_file(path)
    except (PermissionError, IsADirectoryError):
        pass


def versions() -> dict[str, str]:
    """Versions of malmoi and of what decides its numbers."""
    found = {}
    for package in ("malmoi", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
