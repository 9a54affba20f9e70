"""A cleaned corpus: every file as it was written, counts that add up, what was removed, and no text of the held-out parts in train."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.core.artifact import verify
from malmoi.core.errors import MalmoiError
from malmoi.corpus.files.rows import read_rows
from malmoi.corpus.minhash import alike, signatures
from malmoi.corpus.report.tally import SPLITS
from malmoi.corpus.steps.spec import NearSpec
from malmoi.health.examine import examine_corpus
from malmoi.health.finding import Finding, listing

REMOVED_WARNING = 0.9
"""Share of the documents. Web text in Korean loses two thirds (FineWeb-2 keeps 30.8 %)."""
HELD_WARNING = 0.01
"""Share of a held-out part that may stand in train before its scores mean nothing."""
CHARACTERS = 200_000_000
"""Of train that is compared with the held-out parts: some ten seconds a hundred million."""
AGAIN = "start the same command again: it is mended from what was stored."


def examine_cleaned(directory: Path) -> list[Finding]:
    """What `malmoi corpus --profile` wrote: M006, M020, M021 (damage), M146 (counts), M148 (share removed), M147 (held-out text in train),
    and the checks of text on `train`."""
    try:
        manifest = verify(directory, "corpus", next=AGAIN)
        report = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    except MalmoiError as problem:
        return [Finding.of_error(problem)]
    found = [Finding.good("files", f"all {len(manifest['files']):,} are as they were written")]
    found += [*add_up(directory, report), *share_removed(report), *held_out(directory, report)]
    return [*found, *examine_corpus([directory / "train"])] if report["splits"]["train"][0] else found


def add_up(directory: Path, report: Mapping[str, Any]) -> list[Finding]:
    """M146 unless what the report tells is what lies in the files: no document is lost, none is there twice."""
    rows = {name: sum(len(batch) for path in _files(directory, name) for batch in read_rows(path, ["id"])) for name in SPLITS}
    removed: Counter[tuple[str, str, bool]] = Counter()
    for path in _files(directory, "removed"):
        for batch in read_rows(path, ["step", "reason", "part"]):
            removed.update(batch)
    problems = [
        f"{name} has {rows[name]:,} documents, the report says {counted[0]:,}"
        for name, counted in report["splits"].items()
        if rows[name] != counted[0]
    ]
    for step in report["steps"]:
        for field, part in (("reasons", False), ("taken", True)):
            told = {reason: number for reason, (number, _) in step[field].items()}
            there = {reason: number for (name, reason, kind), number in removed.items() if name == step["name"] and kind is part}
            problems += [f"removed holds {there}, the report says {told} of {step['name']}"] * (told != there)
        if step["in"][0] - step["out"][0] != sum(number for number, _ in step["reasons"].values()):
            problems.append(f"{step['name']} took {step['in'][0] - step['out'][0]:,} documents without a reason for each")
    pairs = zip(report["steps"], report["steps"][1:], strict=False)
    problems += [f"{after['name']} did not get what {before['name']} kept" for before, after in pairs if before["out"] != after["in"]]
    whole = sum(number for (_, _, part), number in removed.items() if not part)
    if sum(rows.values()) + whole != report["documents"]:
        problems.append(f"{report['documents']:,} documents were read, but {sum(rows.values()):,} are kept and {whole:,} removed")
    if problems:
        return [Finding.of("M146", "error", path=directory, problem=listing(problems, most=2), next=AGAIN)]
    return [Finding.good("counts", f"{report['documents']:,} documents were read, {sum(rows.values()):,} are kept, {whole:,} removed")]


def share_removed(report: Mapping[str, Any]) -> list[Finding]:
    """M148 (warning) if so much was removed that the profile hardly fits the text."""
    share = 1 - report["kept"] / max(report["documents"], 1)
    if share <= REMOVED_WARNING:
        return [Finding.good("removed", f"{share:.1%} of the documents")]
    step, reason = max(
        ((step["name"], reason, number) for step in report["steps"] for reason, (number, _) in step["reasons"].items()),
        key=lambda each: each[2],
    )[:2]
    next = "look at the samples in report.html; if they are good text, loosen that step with --set, or take another profile."
    return [Finding.of("M148", "warning", share=share, step=step, reason=reason.replace("_", " "), next=next)]


def held_out(directory: Path, report: Mapping[str, Any]) -> list[Finding]:
    """M147 for documents of valid or test that stand in train too, as they are or almost: an error from a hundredth of them on."""
    found, near = [], _near(report)
    for split in (name for name in SPLITS[1:] if report["spec"][name] > 0):
        held = [(id, text) for rows in _texts(directory, split) for id, text in rows]
        if not held:
            next = f"clean with --set {split}=0.05, or give more text."
            found.append(Finding.of("M105", "warning", what=split, tokens=0, problem="nothing could be held out", next=next))
            continue
        twins, compared = _twins(held, _texts(directory, "train"), near)
        if not twins:
            facts = f"none of {len(held):,} documents stands in train ({compared:,} characters compared)"
            found.append(Finding.good(split, facts))
            continue
        one, (other, similarity) = max(twins.items(), key=lambda twin: twin[1][1])
        level = "error" if len(twins) > HELD_WARNING * len(held) else "warning"
        facts_of = {"count": len(twins), "total": len(held), "split": split, "one": one, "other": other, "similarity": similarity}
        found.append(Finding.of("M147", level, **facts_of))  # type: ignore[arg-type]
    return found


def _twins(held: list[tuple[str, str]], train: Iterator[list[tuple[str, str]]], near: NearSpec) -> tuple[dict[str, tuple[str, float]], int]:
    """`{id: (id in train, similarity)}` of held-out texts, and the characters that they were compared with."""
    shape = {"ngram": near.ngram, "bands": near.bands, "rows": near.rows}
    keys_DB, sketches_DK = signatures([text for _, text in held], **shape)
    places: dict[int, list[int]] = defaultdict(list)
    for place, keys in enumerate(keys_DB.tolist()):
        for key in set(keys) - {0}:
            places[key].append(place)
    wanted = np.array(sorted(places), np.uint64)
    twins: dict[str, tuple[str, float]] = {}
    compared = 0
    for rows in train:
        if compared >= CHARACTERS:
            break
        compared += sum(len(text) for _, text in rows)
        others_DB, others_DK = signatures([text for _, text in rows], **shape)
        for row in np.flatnonzero(np.isin(others_DB, wanted).any(axis=1)).tolist():
            for place in {place for key in others_DB[row].tolist() for place in places.get(key, ())}:
                similarity = float(alike(sketches_DK[place], others_DK[row]))
                if similarity >= near.similarity and similarity > twins.get(held[place][0], ("", 0.0))[1]:
                    twins[held[place][0]] = rows[row][0], similarity
    return twins, compared


def _near(report: Mapping[str, Any]) -> NearSpec:
    """How near duplicates were found, or would have been."""
    specs = [NearSpec.model_validate(step) for step in report["spec"]["steps"] if step["kind"] == "near"]
    return specs[0] if specs else NearSpec()


def _texts(directory: Path, folder: str) -> Iterator[list[tuple[str, str]]]:
    for path in _files(directory, folder):
        for rows in read_rows(path, ["id", "text"], size=1024):
            yield [(id, text) for id, text in rows]


def _files(directory: Path, folder: str) -> list[Path]:
    return sorted((directory / folder).glob("*.parquet"))
