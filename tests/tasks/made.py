"""Tiny runs with fresh weights, and tasks that they can learn in seconds: one of each kind."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.core.recipe import RunSpec, SubwordSpec
from malmoi.objectives import build
from malmoi.run import Run
from malmoi.tasks.metrics import answers, labels, spans
from malmoi.tasks.task import Choice, InContext, Question, Splits, Tagged, Task, Texts
from malmoi.vocab import Subwords, Vocabulary

WORDS = "the a old new river house 바람 나무 walks sings slowly there 오늘 그 작은 길 stone light".split()
PLACES = ["Seoul", "Paris", "서울", "부산", "Lagos"]
PEOPLE = ["Kim", "Anna", "세종", "Bo"]
LENGTH = 32
CONTENT = [
    *WORDS,
    *PLACES,
    *PEOPLE,
    "good",
    "bad",
    "red",
    "blue",
    "star",
    "right",
    "wrong",
    "bank",
    "money",
    "who",
    "where",
    "?",
    "은",
    "에서",
]


def filler(random: np.random.Generator, count: int) -> list[str]:
    return [str(word) for word in random.choice(WORDS, count)]


def placed(random: np.random.Generator, words: list[str], *extra: str) -> str:
    """`extra` among the words, each somewhere."""
    words = list(words)
    for word in extra:
        words.insert(int(random.integers(len(words) + 1)), word)
    return " ".join(words)


def example(kind: str, number: int, random: np.random.Generator) -> Any:
    id, one, other = f"x-{number}", filler(random, 5), filler(random, 5)
    pick = int(random.integers(2))
    if kind == "sentence":
        return Texts(id, placed(random, one, ("bad", "good")[pick]), label=("0", "1")[pick])
    if kind == "pair":
        again = int(random.integers(2))
        colours = "red", "blue"
        return Texts(id, placed(random, one, colours[pick]), placed(random, other, colours[again]), f"{colours[pick]}-{colours[again]}")
    if kind == "regression":
        a, b = (int(count) for count in random.integers(0, 3, 2))
        return Texts(id, placed(random, one, *["star"] * a), placed(random, other, *["star"] * b), float(a + b))
    if kind == "tagging":
        words, tags = [], []
        for word in one:
            words.append(word)
            tags.append("O")
            if random.random() < 0.3:
                words += [str(random.choice(PEOPLE)), str(random.choice(PLACES))]
                tags += ["B-PER", "I-PER"]
        return Tagged(id, tuple(words), tuple(tags))
    if kind == "span":
        place = str(random.choice(PLACES))
        context = placed(random, one, place) if pick or number % 2 else " ".join(one)
        found = ((place, context.index(place)),) if place in context else ()
        return Question(id, "where ?", context, found)
    if kind == "choice":
        ends = [placed(random, filler(random, 2), "right" if place == pick else "wrong") for place in range(2)]
        return Choice(id, " ".join(one), tuple(ends), pick)
    again = int(random.integers(2))
    texts = [placed(random, some[:3], "good", "bad") for some in (one, other)]
    marked = [("bad", "good")[which] for which in (pick, again)]
    edges = [(text.split().index(word), word) for text, word in zip(texts, marked, strict=True)]
    found_at = [len(" ".join([*text.split()[:place], ""])) for text, (place, _) in zip(texts, edges, strict=True)]
    marks = [(begin, begin + len(word)) for begin, (_, word) in zip(found_at, edges, strict=True)]
    return InContext(id, texts[0], marks[0], texts[1], marks[1], f"{marked[0]}-{marked[1]}", "")


METRICS: dict[str, tuple[Any, str]] = {
    "sentence": (labels.accuracy, "accuracy"),
    "pair": (labels.accuracy, "accuracy"),
    "regression": (labels.correlations, "pearson"),
    "tagging": (spans.entity_f1, "f1"),
    "span": (answers.squad2, "f1"),
    "choice": (labels.accuracy, "accuracy"),
    "context": (labels.accuracy, "accuracy"),
}


def task_of(kind: Any, **changes: Any) -> Task:
    metric, main = METRICS[kind]
    return Task(
        **{
            "name": f"easy-{kind}",
            "kind": kind,
            "language": "en",
            "paper": "-",
            "read": lambda path: Splits(),
            "metric": metric,
            "main": main,
        }
        | changes
    )


def splits_of(kind: str, *, train: int = 256, dev: int = 64, test: int = 0, seed: int = 0) -> Splits:
    random = np.random.default_rng(seed)
    examples = [example(kind, number, random) for number in range(train + dev + test)]
    return Splits(examples[:train], examples[train : train + dev], examples[train + dev :])


@cache
def subwords(algorithm: Any = "wordpiece") -> Subwords:
    size = 150 if algorithm == "wordpiece" else 800
    return Subwords.train([" ".join(CONTENT)] * 3, SubwordSpec(algorithm=algorithm, size=size, minimum_count=1))


SHARED = {"share": "all"}


def run_of(family: str, path: Path, *, dropout: float = 0.0, depth: int = 2, algorithm: Any = None, **changes: Any) -> Run:
    """bert, albert, electra, gpt, sequence or elmo, fresh."""
    if family == "elmo":
        return elmo(path)
    causal = family == "gpt"
    objective: dict[str, Any] = {
        "gpt": {"kind": "causal"},
        "electra": {"kind": "replaced", "generator": 0.5},
        "sequence": {"kind": "sequence"},
    }.get(family, {"kind": "masked", "pair": {"bert": "next", "albert": "order"}.get(family, "none")})
    blocks = {"kind": "blocks", "depth": depth, "residual_from": None, "feedforward": {"width": 64}, "norm": "pre"}
    mixer = {"kind": "attention", "heads": 2, "sees": "causal" if causal else "full", "dropout": dropout}
    front = {"kind": "token_embedding", "positions": "learned", "length": 64, "types": 0 if causal else 2, "norm": not causal}
    narrow = {"width": 16} if family in ("albert", "electra") else {}
    spec = RunSpec.model_validate(
        {
            "name": family,
            "subwords": {},
            "objective": objective,
            "stream": {"kind": "rows", "rows": 4, "length": LENGTH},
            "model": {
                "width": 32,
                "dropout": dropout,
                "frontend": front | narrow,
                "backbone": blocks | {"mixer": mixer} | (SHARED if family == "albert" else {}),
                "head": {"tied": True, "transform": "none" if causal else "gelu"},
                "initialization": "transformer",
            }
            | changes,
        }
    )
    vocabulary = subwords(algorithm or ("bpe" if causal else "wordpiece"))
    return Run(path, spec, {"head": True}, vocabulary, build(spec, **vocabulary.sizes()).eval(), path / "checkpoints", 7, None)


def elmo(path: Path) -> Run:
    spec = RunSpec.model_validate(
        {
            "name": "elmo",
            "characters": {"length": 20},
            "model": {
                "width": 16,
                "dropout": 0.0,
                "frontend": {"kind": "character_cnn", "width": 4, "filters": [[1, 8], [3, 16]], "highway": 1},
                "backbone": {"kind": "blocks", "depth": 2, "mixer": {"kind": "lstm", "cell": 32}},
            },
        }
    )
    vocabulary = Vocabulary.build(dict.fromkeys(CONTENT, 3), spec.characters)
    return Run(path, spec, {"head": True}, vocabulary, build(spec, **vocabulary.sizes()).eval(), path / "checkpoints", 7, None)
