"""Plain text as a task: its sentences, from whatever a corpus may be (.txt, .jsonl, .parquet, packed or not)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import TextSpec
from malmoi.core.seeds import seed_of
from malmoi.corpus import read
from malmoi.tasks.task import Splits, Task, Texts
from malmoi.vocab.sentences import sentence_breaks

SHORTEST, LONGEST = 10, 300
"""Characters of a sentence: shorter ones are headings and fragments, longer ones are not one sentence."""
HELD_OUT = 100
"""One sentence of so many is held out."""
FEWEST = 4


def sentences_of(text: str) -> Iterator[str]:
    """The sentences of a text that are neither too short nor too long, white space made even."""
    places = [0, *sentence_breaks(text).tolist(), len(text)]
    for begin, end in zip(places, places[1:], strict=False):
        sentence = " ".join(text[begin:end].split())
        if SHORTEST <= len(sentence) <= LONGEST:
            yield sentence


def plain(path: Path) -> Splits:
    """Every sentence once, one of a hundred for dev, chosen by a hash. Raises MalmoiError M010 to M019 and M024, M155 for too few."""
    found = dict.fromkeys(sentence for document in read([path], TextSpec(document="line")) for sentence in sentences_of(document.text))
    if len(found) < FEWEST:
        problem = f"it has {len(found)} different sentences of {SHORTEST} to {LONGEST} characters, and {FEWEST} are the fewest"
        raise MalmoiError("M155", path=path, problem=problem)
    held = set(heapq.nsmallest(max(2, len(found) // HELD_OUT), found, key=lambda sentence: seed_of("held out", sentence)))
    sides: tuple[list[Texts], list[Texts]] = [], []
    for number, sentence in enumerate(found):
        sides[sentence in held].append(Texts(str(number), sentence))
    said = f"{len(sides[1]):,} of the {len(found):,} different sentences, chosen by a hash"
    return Splits(train=sides[0], dev=sides[1], made={"dev": said})


def _unscored(*_: object) -> dict[str, float]:
    raise AssertionError("plain sentences have no answers")


SIMCSE = Task("simcse", "sentences", "any", "Gao et al. 2021, SimCSE, section 3", plain, _unscored, "in_batch_accuracy")
