"""From files to splits: which file is which, and how the splits that no file holds are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from malmoi.core.errors import MalmoiError
from malmoi.core.seeds import seed_of
from malmoi.tasks.formats.source import Source, chosen, sources, unnamed
from malmoi.tasks.task import Splits

GUESSES = {"train": r"train|trn", "dev": r"dev|valid|(^|[^a-z])val", "test": r"test"}
"""What the name of a single file says about it, where it is not one of the published names."""
SHARES = {"test": 0.2, "dev": 0.1}
"""Of the examples, where one file has to serve for everything; the rest is for training."""


def by_id(example: Any) -> str:
    """Examples that belong together: here each is for itself."""
    return str(example.id)


def by_first(example: Any) -> str:
    """Those with the same first text (the hypotheses of one premise, the questions of one passage) never part."""
    return str(example.first)


@dataclass(frozen=True)
class Reader:
    """`reader(path)` -> Splits of the task.

    parse: a file (which knows its split) -> examples, in the order of the file. names: for each split a pattern of file names.
    group: examples with the same group stay together where a split is made. divides: whether splits may be made at all (not for word
    similarity, nor where so little is known that it serves for evaluation only). said: what is to be known about the published files.
    joined: whether several files may make a split.
    """

    task: str
    parse: Callable[[Source], Sequence[Any]]
    names: Mapping[str, str]
    group: Callable[[Any], str] = by_id
    divides: bool = True
    said: Mapping[str, str] = field(default_factory=dict)
    joined: bool = False

    def __call__(self, path: Path) -> Splits:
        """Raises MalmoiError M010, M011 or M015 (file), M152 (another task), M153 (line), M154 (label), M155 (nothing in it)."""
        found = sources(Path(path), task=self.task)
        files = chosen(found, self.names, joined=self.joined)
        if not files and Path(path).is_file() and len(found) == 1:
            files = _guessed(found[0])
        if not files:
            raise unnamed(Path(path), self.task, found)
        read = {split: [example for source in some for example in self.parse(source)] for split, some in files.items()}
        empty = next((split for split, examples in read.items() if not examples), None)
        if empty is not None:
            raise MalmoiError("M155", path=files[empty][0].where, problem=f"the {empty} split of {self.task} is empty")
        made = {split: text for split, text in self.said.items() if split in read}
        return completed(read, group=self.group, made=made, where=str(path)) if self.divides else Splits(**read, made=made)


def _guessed(source: Source) -> dict[str, list[Source]]:
    fitting = [split for split, pattern in GUESSES.items() if re.search(pattern, Path(source.name).name, re.IGNORECASE)]
    split = fitting[0] if len(fitting) == 1 else "dev"
    return {split: [replace(source, split=split)]}


def completed(read: Mapping[str, Sequence[Any]], *, group: Callable[[Any], str], made: Mapping[str, str], where: str) -> Splits:
    """Splits with at least examples to learn from and others to choose by; what has to be made is said in `made`.

    train and dev are there: nothing is made. Two of three are there, with answers: the larger need is met from what is not for testing
    (a tenth of train for dev; nine tenths of dev for train). One file alone is divided into 70% train, 10% dev, 20% test.
    """
    splits, said = dict(read), dict(made)
    if "train" in splits and "dev" in splits:
        return Splits(**splits, made=said)
    tested = "test" in splits and len(splits) > 1
    whole = "train" if "train" in splits else "dev" if "dev" in splits else "test"
    shares = {"dev": SHARES["dev"]} if tested else SHARES
    parts = divided(splits[whole], shares, group=group)
    if not all(parts.values()):
        raise MalmoiError("M155", path=where, problem=f"{len(splits[whole])} examples are too few to be divided into {', '.join(parts)}")
    for split, examples in parts.items():
        splits[split] = examples
        how = f"{len(examples):,} of the {len(read[whole]):,} examples for {whole}, chosen by a hash; those of one text stay together"
        said[split] = f"{how} ({made[whole]})" if whole in made else how
    return Splits(**splits, made=said)


def divided(examples: Sequence[Any], shares: Mapping[str, float], *, group: Callable[[Any], str]) -> dict[str, list[Any]]:
    """Examples for each of `shares`, and `train` for the rest; whole groups, in the order of their hashes; the order of the file is kept.

    A split gets groups until it has its share, so that it may have somewhat more, never less.
    """
    members: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        members.setdefault(group(example), []).append(place)
    order = sorted(members, key=lambda name: seed_of("task split", name))
    places: dict[str, list[int]] = {}
    for split, share in shares.items():
        taken: list[int] = []
        while order and len(taken) < share * len(examples):
            taken += members[order.pop(0)]
        places[split] = taken
    places["train"] = [place for name in order for place in members[name]]
    return {split: [examples[place] for place in sorted(places[split])] for split in ("train", *shares)}
