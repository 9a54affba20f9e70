"""The files of a task as they were published: a folder, one file, packed ones (.xz, .gz, .zip) read through."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from malmoi.core.artifact import refuse_absent
from malmoi.core.errors import MalmoiError

PACKED: Mapping[str, Callable[[bytes], bytes]] = {".xz": lzma.decompress, ".gz": gzip.decompress}
READ_ONLY_HERE = ("source_", "readme", "license")
"""How the names of files that hold no examples begin."""


@dataclass(frozen=True)
class Source:
    """One file. name: path within what was given, without the ending of a compression. where: for messages. split: what it is read as."""

    name: str
    where: str
    task: str
    read: Callable[[], bytes]
    split: str = ""

    def text(self) -> str:
        """The whole file, without a byte order mark. Raises MalmoiError M011 where it is not UTF-8, M015 where it is damaged."""
        try:
            data = self.read()
        except (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as failure:
            raise MalmoiError("M015", path=self.where, problem=str(failure)) from failure
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as failure:
            line = data.count(b"\n", 0, failure.start) + 1
            raise MalmoiError("M011", path=self.where, line=line, byte=failure.start) from None

    def lines(self) -> Iterator[tuple[int, str]]:
        """(number from 1, line without its end). Only the line feed ends a line: texts hold other separators."""
        text = self.text()
        lines = text.removesuffix("\n").split("\n") if text else []
        return ((number, line.removesuffix("\r")) for number, line in enumerate(lines, 1))

    def document(self) -> Any:
        """What a .json file holds. Raises MalmoiError M153 where it is not JSON."""
        try:
            return json.loads(self.text())
        except json.JSONDecodeError as failure:
            raise self.broken(f"line {failure.lineno}", f"this is not JSON ({failure.msg})") from None

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(where it stands, object) of a JSON list, or of JSON lines."""
        if self.text().lstrip().startswith("["):
            for number, record in enumerate(self.document(), 1):
                yield f"record {number}", record
            return
        for number, line in self.lines():
            if line.strip():
                try:
                    yield f"line {number}", json.loads(line)
                except json.JSONDecodeError as failure:
                    raise self.broken(f"line {number}", f"this is not JSON ({failure.msg})") from None

    def broken(self, place: str, problem: str) -> MalmoiError:
        """The error that tells of a line, or a record, that cannot be read."""
        return MalmoiError("M153", path=self.where, place=place, problem=problem)

    def known(self, place: str, label: str, labels: Collection[str]) -> str:
        """`label`, if it is one. Raises MalmoiError M154. No labels: all are known."""
        if labels and label not in labels:
            raise MalmoiError("M154", path=self.where, place=place, label=label, task=self.task, labels=", ".join(labels))
        return label

    def of_another_task(self, problem: str) -> MalmoiError:
        """The error that tells of files of another task, and of which it looks like."""
        from malmoi.tasks.formats.looks import looks

        return MalmoiError("M152", path=self.where, task=self.task, problem=problem, looks=looks([self], but=self.task))


def sources(path: Path, *, task: str) -> list[Source]:
    """Every file at `path`, which is a file or a folder, with those in .zip archives, by name.

    Raises MalmoiError M010 where nothing is there, M015 for a damaged archive.
    """
    refuse_absent(path)
    if path.is_file():
        found = [(path, path.name)]
    else:
        inside = (Path(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names)
        found = [(file, file.relative_to(path).as_posix()) for file in inside if not file.name.startswith(".")]
    members = [source for file, name in sorted(found, key=lambda pair: pair[1]) for source in _opened(file, name, task=task)]
    kept = [source for source in members if not Path(source.name).name.lower().startswith(READ_ONLY_HERE)]
    return kept


def _opened(path: Path, name: str, *, task: str) -> Iterator[Source]:
    if path.suffix == ".zip":
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as failure:
            raise MalmoiError("M015", path=path, problem=str(failure)) from failure
        for info in archive.infolist():
            if not info.is_dir():
                yield Source(f"{name}!{info.filename}", f"{path}!{info.filename}", task, partial(archive.read, info))
        return
    unpack = PACKED.get(path.suffix)
    plain = name.removesuffix(path.suffix) if unpack else name
    yield Source(plain, str(path), task, partial(_unpacked, path, unpack))


def _unpacked(path: Path, unpack: Callable[[bytes], bytes] | None) -> bytes:
    data = path.read_bytes()
    return unpack(data) if unpack else data


def chosen(found: list[Source], names: Mapping[str, str], *, joined: bool = False) -> dict[str, list[Source]]:
    """The file of each split: the one whose name holds the split's pattern (a regular expression; capitals do not matter).

    What is in archives counts only where no plain file fits. joined: several files may make a split; else MalmoiError M152.
    """
    splits: dict[str, list[Source]] = {}
    for split, pattern in names.items():
        fitting = [source for source in found if re.search(pattern, source.name, re.IGNORECASE)]
        fitting = [source for source in fitting if "!" not in source.name] or fitting
        if len(fitting) > 1 and not joined:
            listed = ", ".join(source.name for source in fitting[:4])
            raise MalmoiError("M152", path=fitting[0].where, task=fitting[0].task, problem=f"its {split} could be {listed}", looks="")
        if fitting:
            splits[split] = [replace(source, split=split) for source in fitting]
    return splits


def unnamed(path: Path, task: str, found: list[Source]) -> MalmoiError:
    """The error that says that no file has a name of the task, and of which task the files look like."""
    from malmoi.tasks.formats.looks import looks

    return MalmoiError("M152", path=path, task=task, problem="no file has a name of it", looks=looks(found, but=task))
