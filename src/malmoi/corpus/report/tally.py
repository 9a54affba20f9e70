"""What a cleaning counts: funnel, reasons, samples and distributions. Tallies of parts of a corpus add up to that of the whole.

`Tally.json()` is what `report.json` holds and what the page draws:

    steps    in order, first "read", one object a step:
             name      "read", or the kind of the step (a second one of a kind is "noise-2")
             in, out   [documents, characters, words] before and after it
             seconds   of the processor, summed over workers (what deciding on duplicates takes stands in the stage "decide")
             changed   documents that stayed with another text
             reasons   {reason: [documents, characters]} of those that went
             taken     {reason: [parts, characters]} cut out of documents that stayed
             counts    {what was done: times}
             flags     {flag: documents}
             samples   [{kind, reason, detail, id, before, after, key}], at most 20 for each kind and reason, in the order of `key`
                       kind: "removed" and "taken" (before: the beginning of the text) or "changed" (before, after: around the first change)
    before   what the first step got:   {lengths: [documents with 0, 1, 2-3, 4-7, 8-15, ... characters], classes: {class: characters}}
    after    what was kept: the same
    splits   {"train": [documents, characters, words], "valid": ..., "test": ...}
    stages   {"start", "read", "steps", "sign", "decide", "write": seconds}
"""

from __future__ import annotations

import hashlib
import unicodedata
from bisect import insort
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import numpy as np

SAMPLES = 20
EXCERPT = 240
"""Characters of a sample."""
CLASSES = ("hangul", "latin", "han", "kana", "digits", "marks", "space", "other")
"""Classes of characters; marks are punctuation and symbols, other are letters of other scripts, combining and control characters."""
SPLITS = ("train", "valid", "test")


def step_names(steps: Sequence[Any]) -> list[str]:
    """A name for each spec: its kind, numbered from the second one of a kind on."""
    names: list[str] = []
    for step in steps:
        same = sum(name.partition("-")[0] == step.kind for name in names)
        names.append(f"{step.kind}-{same + 1}" if same else step.kind)
    return names


class Distribution:
    """Lengths and characters of some texts."""

    def __init__(self, lengths: Sequence[int] = (), classes: Mapping[str, int] | None = None) -> None:
        self.lengths = list(lengths)
        self.classes = {name: (classes or {}).get(name, 0) for name in CLASSES}

    def add(self, texts: Sequence[str]) -> None:
        """Count some texts. Raises UnicodeEncodeError for half a surrogate pair."""
        counts = np.zeros(len(CLASSES), np.int64)
        for begin in range(0, len(texts), 256):
            codes = np.frombuffer("".join(texts[begin : begin + 256]).encode("utf-32-le"), dtype="<u4")
            counts += np.bincount(_table()[np.minimum(codes, 0x40000)], minlength=len(CLASSES))
        self._add_lengths(np.bincount([len(text).bit_length() for text in texts], minlength=1).tolist())
        for name, count in zip(CLASSES, counts.tolist(), strict=True):
            self.classes[name] += count

    def merge(self, other: Distribution) -> None:
        """Add what another one counted."""
        self._add_lengths(other.lengths)
        for name, count in other.classes.items():
            self.classes[name] += count

    def _add_lengths(self, bins: Sequence[int]) -> None:
        self.lengths = [a + b for a, b in zip_longest(self.lengths, bins, fillvalue=0)]

    def json(self) -> dict[str, Any]:
        """As in the head of this file."""
        return {"lengths": self.lengths, "classes": self.classes}


class StepTally:
    """What one step did. Fields as in the head of this file; `before` and `after` are its "in" and "out"."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.before, self.after = [0, 0, 0], [0, 0, 0]
        self.seconds = 0.0
        self.changed = 0
        self.reasons: dict[str, list[int]] = {}
        self.taken: dict[str, list[int]] = {}
        self.counts: dict[str, int] = {}
        self.flags: dict[str, int] = {}
        self.samples: dict[tuple[str, str], list[tuple[str, dict[str, str]]]] = {}

    def removed(self, id: str, text: str, *, reason: str, detail: str = "") -> None:
        """A document went."""
        _count(self.reasons, reason, len(text))
        self._sample("removed", reason, id, text, detail=detail)

    def took(self, id: str, text: str, *, reason: str) -> None:
        """A part of a document that stayed went."""
        _count(self.taken, reason, len(text))
        self._sample("taken", reason, id, text)

    def altered(self, id: str, before: str, after: str, *, counts: Mapping[str, int], flags: Mapping[str, str]) -> None:
        """A document stayed with another text, or with flags."""
        for name, times in counts.items():
            self.counts[name] = self.counts.get(name, 0) + times
        for name in flags:
            self.flags[name] = self.flags.get(name, 0) + 1
        self.changed += before != after
        self._sample("changed", next(iter(counts), next(iter(flags), "")), id, before, after=after)

    def _sample(self, kind: str, reason: str, id: str, before: str, *, after: str | None = None, detail: str = "") -> None:
        """Keep it if the SHA-256 of its id is among the smallest: chosen alike however the work is shared."""
        kept = self.samples.setdefault((kind, reason), [])
        key = hashlib.sha256(id.encode("utf-8", "backslashreplace")).hexdigest()[:16]
        if len(kept) == SAMPLES and key >= kept[-1][0]:
            return
        begin = 0 if after is None else _first_difference(before, after)
        cut = slice(max(0, begin - EXCERPT // 4), max(0, begin - EXCERPT // 4) + EXCERPT)
        facts = {"kind": kind, "reason": reason, "detail": detail, "id": id, "before": before[cut], "after": (after or "")[cut]}
        self._keep((kind, reason), (key, {**facts, "key": key}))

    def _keep(self, group: tuple[str, str], sample: tuple[str, dict[str, str]]) -> None:
        kept = self.samples.setdefault(group, [])
        insort(kept, sample, key=lambda known: (known[0], known[1]["id"], known[1]["before"]))
        del kept[SAMPLES:]

    def merge(self, other: StepTally) -> None:
        """Add what was counted elsewhere."""
        self.before = [a + b for a, b in zip(self.before, other.before, strict=True)]
        self.after = [a + b for a, b in zip(self.after, other.after, strict=True)]
        self.seconds += other.seconds
        self.changed += other.changed
        for mine, theirs in ((self.reasons, other.reasons), (self.taken, other.taken)):
            for reason, (number, characters) in theirs.items():
                _count(mine, reason, characters, number=number)
        for counted, more in ((self.counts, other.counts), (self.flags, other.flags)):
            for name, times in more.items():
                counted[name] = counted.get(name, 0) + times
        for group, samples in other.samples.items():
            for sample in samples:
                self._keep(group, sample)

    def json(self) -> dict[str, Any]:
        """As in the head of this file."""
        samples = [facts for group in sorted(self.samples) for _, facts in self.samples[group]]
        largest = {"reasons": self.reasons, "taken": self.taken}
        ordered = {name: dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0]))) for name, found in largest.items()}
        counted = {"counts": dict(sorted(self.counts.items())), "flags": dict(sorted(self.flags.items()))}
        numbers = {"in": self.before, "out": self.after, "seconds": self.seconds, "changed": self.changed}
        return {"name": self.name, **numbers, **ordered, **counted, "samples": samples}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> StepTally:
        """From what `json` gave."""
        made = cls(value["name"])
        made.before, made.after = list(value["in"]), list(value["out"])
        made.seconds, made.changed = value["seconds"], value["changed"]
        made.reasons = {reason: list(pair) for reason, pair in value["reasons"].items()}
        made.taken = {reason: list(pair) for reason, pair in value["taken"].items()}
        made.counts, made.flags = dict(value["counts"]), dict(value["flags"])
        for facts in value["samples"]:
            made._keep((facts["kind"], facts["reason"]), (facts["key"], dict(facts)))
        return made


class Tally:
    """What a cleaning of some shards counted."""

    def __init__(self, names: Sequence[str]) -> None:
        self.steps = {name: StepTally(name) for name in names}
        self.before, self.after = Distribution(), Distribution()
        self.splits = {name: [0, 0, 0] for name in SPLITS}
        self.stages: dict[str, float] = {}

    def spent(self, stage: str, seconds: float) -> None:
        """Add seconds of computing to a stage."""
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def rest(self, stage: str, seconds: float) -> None:
        """Add to a stage what is left of `seconds` without those of all stages so far."""
        self.spent(stage, max(0.0, seconds - sum(self.stages.values())))

    def merge(self, other: Tally) -> None:
        """Add what was counted elsewhere; the order of merging changes nothing but the last digits of seconds."""
        for name, step in other.steps.items():
            self.steps.setdefault(name, StepTally(name)).merge(step)
        self.before.merge(other.before)
        self.after.merge(other.after)
        for name, totals in other.splits.items():
            self.splits[name] = [a + b for a, b in zip(self.splits[name], totals, strict=True)]
        for stage, seconds in other.stages.items():
            self.spent(stage, seconds)

    def json(self) -> dict[str, Any]:
        """As in the head of this file."""
        steps = [step.json() for step in self.steps.values()]
        distributions = {"before": self.before.json(), "after": self.after.json()}
        return {"steps": steps, **distributions, "splits": self.splits, "stages": self.stages}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Tally:
        """From what `json` gave; further keys are left aside."""
        made = cls([])
        made.steps = {step["name"]: StepTally.of(step) for step in value["steps"]}
        made.before, made.after = Distribution(**value["before"]), Distribution(**value["after"])
        made.splits = {name: list(totals) for name, totals in value["splits"].items()}
        made.stages = dict(value["stages"])
        return made


def _count(table: dict[str, list[int]], reason: str, characters: int, *, number: int = 1) -> None:
    entry = table.setdefault(reason, [0, 0])
    entry[0] += number
    entry[1] += characters


def _first_difference(a: str, b: str) -> int:
    """Where two texts begin to differ."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # the longest common beginning, by halving
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    """(0x40001,) uint8: code point -> place in CLASSES; what lies beyond is as the last one."""
    table = np.full(0x40001, CLASSES.index("other"), np.uint8)
    for code in range(0x20000):
        kind = unicodedata.category(chr(code))
        if kind[0] in "PS":
            table[code] = CLASSES.index("marks")
        elif kind == "Nd":
            table[code] = CLASSES.index("digits")
        elif kind[0] == "Z" or code in (9, 10, 11, 12, 13):
            table[code] = CLASSES.index("space")
    scripts = {
        "hangul": ((0x1100, 0x1200), (0x3131, 0x318F), (0xA960, 0xA980), (0xAC00, 0xD7FC), (0xFFA0, 0xFFDD)),
        "latin": ((0x41, 0x5B), (0x61, 0x7B), (0xAA, 0xAB), (0xBA, 0xBB), (0xC0, 0xD7), (0xD8, 0xF7), (0xF8, 0x250), (0x1E00, 0x1F00)),
        "han": ((0x3005, 0x3008), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x40000)),
        "kana": ((0x3041, 0x3097), (0x309D, 0x30A0), (0x30A1, 0x30FB), (0x30FC, 0x3100), (0x31F0, 0x3200), (0xFF66, 0xFFA0)),
    }
    for name, ranges in scripts.items():
        for begin, end in ranges:
            table[begin:end] = CLASSES.index(name)
    full = ((0xFF21, 0xFF3B), (0xFF41, 0xFF5B))
    for begin, end in full:
        table[begin:end] = CLASSES.index("latin")
    return table
