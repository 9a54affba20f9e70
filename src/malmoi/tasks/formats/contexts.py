"""A word in two contexts: MCL-WiC (Martelli et al. 2021), KoBEST-WiC (Kim et al. 2022)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from malmoi.core.errors import MalmoiError
from malmoi.tasks.formats.source import Source, chosen, sources, unnamed
from malmoi.tasks.formats.texts import rows
from malmoi.tasks.task import InContext, Splits

TRUE_FALSE = ("T", "F")
DATA = {"train": r"training\.en-en\.data$", "dev": r"dev\.en-en\.data$", "test": r"test\.en-en\.data$"}
GOLD = {split: pattern.replace("data", "gold") for split, pattern in DATA.items()}


def mcl_wic(path: Path) -> Splits:
    """English-English, from the published archives or what they hold: .data files with offsets, .gold files with T or F.

    A test set without its gold file has no labels. Raises MalmoiError M152 (another task), M153 (record), M154 (label), M155 (empty).
    """
    found = sources(Path(path), task="mcl-wic")
    data, gold = chosen(found, DATA), chosen(found, GOLD)
    if not data:
        raise unnamed(Path(path), "mcl-wic", found)
    splits = {split: _pairs(source, _tags(gold[split][0]) if split in gold else {}) for split, [source] in data.items()}
    for split, examples in splits.items():
        if not examples:
            raise MalmoiError("M155", path=data[split][0].where, problem=f"the {split} split of mcl-wic is empty")
    return Splits(splits.get("train", ()), splits.get("dev", ()), splits.get("test", ()))


def _tags(source: Source) -> Mapping[str, str]:
    tags = {}
    for place, record in source.records():
        if not {"id", "tag"} <= set(record):
            raise source.broken(place, "it has no id or tag")
        tags[str(record["id"])] = source.known(place, str(record["tag"]), TRUE_FALSE)
    return tags


def _pairs(source: Source, tags: Mapping[str, str]) -> list[InContext]:
    found: list[InContext] = []
    for place, record in source.records():
        try:
            id, first, second = str(record["id"]), str(record["sentence1"]), str(record["sentence2"])
            spans = [(int(record[f"start{number}"]), int(record[f"end{number}"])) for number in (1, 2)]
        except (KeyError, TypeError, ValueError) as failure:
            problem = f"{place} has no {failure}"
            raise source.of_another_task(problem) if not found else source.broken(place, problem) from None
        for text, (begin, end) in zip((first, second), spans, strict=True):
            if not 0 <= begin < end <= len(text):
                raise source.broken(place, f"characters {begin} to {end} are not within the sentence")
        if tags and id not in tags:
            raise source.broken(place, f"the gold file has no answer for {id!r}")
        found.append(InContext(id, first, spans[0], second, spans[1], tags.get(id), str(record.get("lemma", ""))))
    return found


def kobest_wic(source: Source) -> list[InContext]:
    """KoBEST-WiC: columns Target, SENTENCE1, SENTENCE2, ANSWER; the word stands in [brackets], or else where
    it first occurs in the sentence."""
    spelled = {"TRUE": "True", "FALSE": "False", "1": "True", "0": "False"}
    found: list[InContext] = []
    for line, row in rows(source, needed=("Target", "SENTENCE1", "SENTENCE2")):
        word, answer = row["Target"].strip(), row.get("ANSWER", "").strip()
        label = source.known(f"line {line}", spelled.get(answer, answer), ("True", "False")) if answer else None
        (first, first_span), (second, second_span) = (_marked(source, line, row[name], word) for name in ("SENTENCE1", "SENTENCE2"))
        id = row.get("ID") or f"{source.split}-{len(found)}"
        found.append(InContext(id, first, first_span, second, second_span, label, word))
    return found


def _marked(source: Source, line: int, text: str, word: str) -> tuple[str, tuple[int, int]]:
    """The sentence without the brackets around the word, and where that stands."""
    marked = re.search(rf"\[({re.escape(word)})\]", text) or re.search(r"\[([^\]]+)\]", text)
    if marked:
        begin, inside = marked.start(), marked[1]
        return text[:begin] + inside + text[marked.end() :], (begin, begin + len(inside))
    begin = text.find(word)
    if begin < 0 or not word:
        raise source.broken(f"line {line}", f"the word {word!r} does not stand in its sentence")
    return text, (begin, begin + len(word))
