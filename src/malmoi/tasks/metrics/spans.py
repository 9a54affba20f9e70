"""Of tags: accuracy, and entities by strict IOB2 (seqeval's strict mode), by conlleval, by KLUE-NER."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from malmoi.core.errors import MalmoiError
from malmoi.tasks.metrics.labels import f1_of
from malmoi.tasks.task import Prediction, Tagged

Entity = tuple[str, int, int]
"""(kind, first word, behind the last word)."""


def told_tags(examples: Sequence[Tagged], predictions: Sequence[Prediction]) -> list[tuple[str, ...]]:
    """The predictions, as many tags as each sentence has words. Raises MalmoiError M156."""
    if len(examples) != len(predictions) or not examples:
        raise MalmoiError("M156", done="scored", problem=f"there are {len(predictions)} for {len(examples)} sentences")
    found = []
    for example, told in zip(examples, predictions, strict=True):
        if not example.tags:
            raise MalmoiError("M156", done="scored", problem=f"the tags of {example.id!r} are not known")
        if not isinstance(told, tuple) or len(told) != len(example.tags):
            problem = f"{example.id!r} has {len(example.tags)} words, and there are {len(told) if isinstance(told, tuple) else 0} tags"
            raise MalmoiError("M156", done="scored", problem=problem)
        found.append(told)
    return found


def tag_accuracy(examples: Sequence[Tagged], predictions: Sequence[Prediction]) -> dict[str, float]:
    """The share of words whose tag is right, over all sentences."""
    told = [tag for tags in told_tags(examples, predictions) for tag in tags]
    golds = [tag for example in examples for tag in example.tags]
    return {"accuracy": sum(gold == one for gold, one in zip(golds, told, strict=True)) / len(golds)}


def strict_entities(tags: Sequence[str]) -> set[Entity]:
    """Entities by strict IOB2: B-X and the I-X that follow it without a gap; an I- that continues nothing begins nothing."""
    return _read(tags, lenient=False)


def conll_entities(tags: Sequence[str]) -> set[Entity]:
    """Entities as conlleval finds them: an I-X that continues nothing begins an entity."""
    return _read(tags, lenient=True)


def _read(tags: Sequence[str], *, lenient: bool) -> set[Entity]:
    found, kind, begin = set(), "", 0
    for place, tag in enumerate((*tags, "O")):
        part, _, name = tag.partition("-")
        if kind and not (part == "I" and name == kind):
            found.add((kind, begin, place))
            kind = ""
        if part == "B" or (lenient and part == "I" and not kind):
            kind, begin = name, place
    return found


def _counted(examples: Sequence[Tagged], predictions: Sequence[Prediction], *, lenient: bool) -> dict[str, float]:
    hits = truths = claims = 0
    for example, told in zip(examples, told_tags(examples, predictions), strict=True):
        gold, found = _read(example.tags, lenient=lenient), _read(told, lenient=lenient)
        hits, truths, claims = hits + len(gold & found), truths + len(gold), claims + len(found)
    precision, recall = hits / claims if claims else 0.0, hits / truths if truths else 0.0
    return {"f1": 2 * hits / (truths + claims) if truths + claims else 0.0, "precision": precision, "recall": recall}


def entity_f1(examples: Sequence[Tagged], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Micro F1, precision and recall of entities, kind and both ends right: strict IOB2; `conlleval_f1` as that script; tag accuracy."""
    lenient = _counted(examples, predictions, lenient=True)
    return {
        **_counted(examples, predictions, lenient=False),
        "conlleval_f1": lenient["f1"],
        **tag_accuracy(examples, predictions),
    }


def klue_ner(examples: Sequence[Tagged], predictions: Sequence[Prediction], *, labels: Sequence[str]) -> dict[str, float]:
    """KLUE-NER as KLUE-baseline computes it (metrics/functional.py, models/named_entity_recognition.py).

    Characters that are spaces are left out; each sentence has an O before it and one behind it (the marks, here taken as right); all
    sentences stand in one sequence. entity_f1: the mean over kinds that are there or predicted of the strict IOB2 F1.
    character_f1: the mean F1 over all of `labels`, O with them (1 for one that is neither there nor predicted).
    """
    golds: list[str] = []
    told: list[str] = []
    for example, tags in zip(examples, told_tags(examples, predictions), strict=True):
        kept = [place for place, word in enumerate(example.words) if word != " "]
        golds += ["O", *(example.tags[place] for place in kept), "O"]
        told += ["O", *(tags[place] for place in kept), "O"]
    return {"entity_f1": _macro(strict_entities(golds), strict_entities(told)), "character_f1": _characters(golds, told, labels)}


def _macro(golds: set[Entity], told: set[Entity]) -> float:
    hits, truths, claims = (Counter(kind for kind, _, _ in some) for some in (golds & told, golds, told))
    kinds = {*truths, *claims}
    return sum(2 * hits[kind] / (truths[kind] + claims[kind]) for kind in kinds) / len(kinds) if kinds else 0.0


def _characters(golds: Sequence[str], told: Sequence[str], labels: Sequence[str]) -> float:
    there = {*golds, *told}
    return sum(f1_of(golds, told, label) if label in there else 1.0 for label in labels) / len(labels)
