"""Predictions in the forms in which they are handed in, one file a split: `write(path, examples, predictions)`.

Each raises MalmoiError M156 where predictions and examples are not equally many, or one is missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from malmoi.core.errors import MalmoiError
from malmoi.tasks.task import Choice, Prediction, Question, Tagged, Task, Texts, WordPair

Writer = Callable[[Path, Sequence[Any], Sequence[Prediction]], None]


ENDINGS = {"ud-pos": ".conllu", "ud-pos-ko": ".conllu", "wnut17": ".conll", "wikigold": ".conll"}
"""What files of tags are called; how others end can be seen by how they begin."""


def handed_in(task: Task, path: Path, examples: Sequence[Any], predictions: Sequence[Prediction]) -> Path:
    """Write them in the form of the task to `path` with the ending that this form has, which is returned."""
    assert task.write is not None, "every task of the catalogue has a form"
    task.write(path, examples, predictions)
    with open(path, encoding="utf-8") as file:
        first = file.readline()
    if first.startswith(("[", "{")):
        usual = ".jsonl" if first.startswith('{"') else ".json"
    else:
        usual = ".tsv" if "\t" in first else ".txt"
    return path.rename(path.with_suffix(ENDINGS.get(task.name, usual)))


def _paired(examples: Sequence[Any], predictions: Sequence[Prediction]) -> list[tuple[Any, Any]]:
    if len(examples) != len(predictions):
        raise MalmoiError("M156", done="written", problem=f"there are {len(predictions)} for {len(examples)} examples")
    missing = next((example.id for example, told in zip(examples, predictions, strict=True) if told is None), None)
    if missing is not None:
        raise MalmoiError("M156", done="written", problem=f"there is none for {missing!r}")
    return list(zip(examples, predictions, strict=True))


def _lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=4) + "\n", encoding="utf-8")


def _plain(text: str) -> str:
    """A field of a table: what would end it becomes a space."""
    return " ".join(text.split()) if any(mark in text for mark in "\t\n\r") else text


def glue(path: Path, examples: Sequence[Any], predictions: Sequence[Prediction]) -> None:
    """GLUE's .tsv (gluebenchmark.com/faq): `index` from 0 and `prediction`, in the order of the file. Also for tasks without a form."""
    told = (prediction for _, prediction in _paired(examples, predictions))
    _lines(path, ["index\tprediction", *(f"{index}\t{_number(one)}" for index, one in enumerate(told))])


def _number(value: Prediction) -> str:
    """Numbers with three decimals, as in STS-B's file; labels and choices as they are."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def squad(path: Path, examples: Sequence[Question], predictions: Sequence[Prediction]) -> None:
    """SQuAD's, KorQuAD's and KLUE-MRC's JSON: id -> text; "" for no answer."""
    _json(path, {example.id: str(told) for example, told in _paired(examples, predictions)})


def no_answer(path: Path, examples: Sequence[Question], scores: Sequence[float]) -> None:
    """SQuAD 2.0's na_prob.json: id -> how sure it is that there is no answer."""
    _json(path, {example.id: float(score) for example, score in _paired(examples, scores)})


def conll(path: Path, examples: Sequence[Tagged], predictions: Sequence[Prediction], *, separator: str = " ") -> None:
    """What conlleval reads: word, gold tag, predicted tag; a blank line behind each sentence. Without gold tags two columns."""
    lines: list[str] = []
    for example, tags in _paired(examples, predictions):
        if len(tags) != len(example.words):
            problem = f"{example.id!r} has {len(example.words)} words, and there are {len(tags)} tags"
            raise MalmoiError("M156", done="written", problem=problem)
        columns = [example.words, *([example.tags] if example.tags else []), tags]
        lines += [*(separator.join(row) for row in zip(*columns, strict=True)), ""]
    _lines(path, lines)


def wnut(path: Path, examples: Sequence[Tagged], predictions: Sequence[Prediction]) -> None:
    """WNUT-17: as `conll`, with tabs."""
    conll(path, examples, predictions, separator="\t")


def universal(path: Path, examples: Sequence[Tagged], predictions: Sequence[Prediction]) -> None:
    """CoNLL-U with the words and their universal tags; the other columns are empty."""
    lines: list[str] = []
    for example, tags in _paired(examples, predictions):
        rows = enumerate(zip(example.words, tags, strict=True), 1)
        words = ("\t".join((str(number), word, "_", tag, *"______")) for number, (word, tag) in rows)
        lines += [f"# sent_id = {example.id}", *words, ""]
    _lines(path, lines)


def klue_ner(path: Path, examples: Sequence[Tagged], predictions: Sequence[Prediction]) -> None:
    """KLUE-NER as published: `## id` and the sentence, a character and its tag a line. (The leaderboard takes models, not predictions.)"""
    lines: list[str] = []
    for example, tags in _paired(examples, predictions):
        rows = (f"{word}\t{tag}" for word, tag in zip(example.words, tags, strict=True))
        lines += [f"## {example.id}\t{''.join(example.words)}", *rows, ""]
    _lines(path, lines)


def klue_tc(path: Path, examples: Sequence[Texts], predictions: Sequence[Prediction]) -> None:
    """KLUE-TC as published: guid, title, label."""
    _json(path, [{"guid": one.id, "title": one.first, "label": told} for one, told in _paired(examples, predictions)])


def klue_nli(path: Path, examples: Sequence[Texts], predictions: Sequence[Prediction]) -> None:
    """KLUE-NLI as published: guid, premise, hypothesis, gold_label."""
    rows = _paired(examples, predictions)
    _json(path, [{"guid": one.id, "premise": one.first, "hypothesis": one.second, "gold_label": told} for one, told in rows])


def klue_sts(path: Path, examples: Sequence[Texts], predictions: Sequence[Prediction]) -> None:
    """KLUE-STS as published: guid, the sentences, and under labels the number, the number to one decimal, and whether it is at least 3.

    The reader takes numbers from 0 to 5: what is beyond is moved to the border.
    """
    records = []
    for one, told in _paired(examples, predictions):
        score = min(max(float(told), 0.0), 5.0)
        labels = {"label": round(score, 1), "real-label": score, "binary-label": int(score >= 3)}
        records.append({"guid": one.id, "sentence1": one.first, "sentence2": one.second, "labels": labels})
    _json(path, records)


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    _lines(path, ["\t".join(header), *("\t".join(_plain(field) for field in row) for row in rows)])


def kornli(path: Path, examples: Sequence[Texts], predictions: Sequence[Prediction]) -> None:
    """KorNLI's .tsv: the two sentences and the label."""
    rows = [(one.first, one.second, str(told)) for one, told in _paired(examples, predictions)]
    _table(path, ("sentence1", "sentence2", "gold_label"), rows)


def korsts(path: Path, examples: Sequence[Texts], predictions: Sequence[Prediction]) -> None:
    """KorSTS's .tsv without its first columns: score (three decimals), the two sentences."""
    rows = [(f"{told:.3f}", one.first, one.second) for one, told in _paired(examples, predictions)]
    _table(path, ("score", "sentence1", "sentence2"), rows)


def nsmc(path: Path, examples: Sequence[Texts], predictions: Sequence[Prediction]) -> None:
    """NSMC's ratings_*.txt: id, document, label."""
    _table(path, ("id", "document", "label"), [(one.id, one.first, str(told)) for one, told in _paired(examples, predictions)])


def mcl_wic(path: Path, examples: Sequence[Any], predictions: Sequence[Prediction]) -> None:
    """MCL-WiC's JSON, as its .gold files: id and tag, T or F."""
    _json(path, [{"id": example.id, "tag": told} for example, told in _paired(examples, predictions)])


def commonsenseqa(path: Path, examples: Sequence[Choice], predictions: Sequence[Prediction]) -> None:
    """CommonsenseQA's .jsonl as published, with the predicted letter as answerKey."""
    lines = []
    for example, told in _paired(examples, predictions):
        choices = [{"label": letter, "text": text} for letter, text in zip("ABCDEFGH", example.choices, strict=False)]
        question = {"choices": choices, "stem": example.context}
        lines.append(json.dumps({"answerKey": "ABCDEFGH"[told], "id": example.id, "question": question}, ensure_ascii=False))
    _lines(path, lines)


def similarity(path: Path, examples: Sequence[WordPair], predictions: Sequence[Prediction]) -> None:
    """Two words and the predicted number, with tabs; `nan` where a word has no vector."""
    if len(examples) != len(predictions):
        raise MalmoiError("M156", done="written", problem=f"there are {len(predictions)} for {len(examples)} examples")
    told = (math.nan if one is None else one for one in predictions)
    _lines(path, [f"{pair.first}\t{pair.second}\t{one:.6f}" for pair, one in zip(examples, told, strict=True)])
