"""What files look like, for the message about files of another task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from malmoi.core.errors import MalmoiError
from malmoi.tasks.formats.source import Source

SIGNS: tuple[tuple[str, frozenset[str]], ...] = (
    ("squad2", frozenset({"data", "paragraphs", "is_impossible", "id"})),
    ("klue-mrc", frozenset({"data", "paragraphs", "guid"})),
    ("squad1 or korquad", frozenset({"data", "paragraphs", "qas"})),
    ("klue-nli", frozenset({"guid", "premise", "hypothesis"})),
    ("klue-sts", frozenset({"guid", "sentence1", "sentence2", "labels"})),
    ("klue-tc", frozenset({"guid", "title", "label"})),
    ("mcl-wic", frozenset({"id", "lemma", "pos", "start1"})),
    ("commonsenseqa", frozenset({"id", "question", "stem"})),
    ("korsts", frozenset({"genre", "filename", "year", "id", "score", "sentence1", "sentence2"})),
    ("stsb", frozenset({"index", "genre", "score", "sentence1", "sentence2"})),
    ("mnli", frozenset({"pairID", "genre", "sentence1", "sentence2"})),
    ("snli", frozenset({"pairID", "sentence1", "sentence2", "gold_label"})),
    ("kornli", frozenset({"sentence1", "sentence2", "gold_label"})),
    ("rte", frozenset({"index", "sentence1", "sentence2", "label"})),
    ("mrpc", frozenset({"Quality", "#1 String", "#2 String"})),
    ("sst2", frozenset({"sentence", "label"})),
    ("nsmc", frozenset({"id", "document", "label"})),
    ("nsmc", frozenset({"review", "rating", "movie_id"})),
    ("kobest-boolq", frozenset({"Text", "Question", "Answer"})),
    ("kobest-copa", frozenset({"sentence", "question", "1", "2", "Answer"})),
    ("kobest-wic", frozenset({"Target", "SENTENCE1", "SENTENCE2"})),
    ("kobest-hellaswag", frozenset({"context", "choice1", "choice4", "label"})),
    ("kobest-sentineg", frozenset({"Text", "Label"})),
    ("swag", frozenset({"startphrase", "ending0", "ending3"})),
    ("wordsim353", frozenset({"Word 1", "Word 2"})),
    ("wordsim353-ko", frozenset({"word 1", "word 2", "kor_score"})),
    ("klue-ner", frozenset({"(a column of characters)"})),
    ("ud-pos", frozenset({"(ten columns)"})),
    ("cola", frozenset({"(code, 0 or 1, mark, sentence)"})),
    ("codah", frozenset({"(seven columns)"})),
    ("conll2003-ner, wnut17, wikigold or conll2000", frozenset({"(a word and its tag)"})),
)
"""(tasks, what is found in their files: keys, columns, shapes); the first that fits wholly tells."""
LOOKED_AT = 8
"""Files that are opened for it."""
HEAD = 100_000
"""Characters of each."""


def looks(found: Sequence[Source], *, but: str) -> str:
    """`; it looks like files of X`, or nothing where none fits. but: the task that was asked for."""
    told = sorted(found, key=lambda source: not source.name.endswith((".json", ".jsonl", ".data")))
    for source in told[:LOOKED_AT]:
        try:
            signs = _signs(source.text()[:HEAD])
        except MalmoiError:
            continue
        fitting = next((name for name, wanted in SIGNS if wanted <= signs and name != but), "")
        if fitting:
            return f"; {source.name} looks like a file of {fitting}"
    return ""


def _signs(text: str) -> set[str]:
    """Keys, columns and shapes at the beginning of a file."""
    if text.lstrip().startswith(("[", "{")):
        return _keys(text)
    lines = [line.rstrip("\r") for line in text.split("\n")]
    first = next((line for line in lines if line.strip()), "")
    signs = {name.strip() for name in first.split("\t")} | {name.strip() for name in first.split(",")}
    if first.startswith("## "):
        signs.add("(a column of characters)")
    rows = [line for line in lines[:200] if line.strip() and not line.startswith("#")][:50]
    tabs = {row.count("\t") for row in rows}
    if tabs == {9}:
        signs.add("(ten columns)")
    elif tabs == {6}:
        signs.add("(seven columns)")
    elif tabs == {3} and all(row.split("\t")[1] in ("0", "1") for row in rows):
        signs.add("(code, 0 or 1, mark, sentence)")
    elif rows and all(row.split()[-1].startswith(("B-", "I-")) or row.split()[-1] in ("O", "-X-") for row in rows if row.split()):
        signs.add("(a word and its tag)")
    return signs


def _keys(text: str) -> set[str]:
    """Names that stand before a colon in JSON, of which only the beginning may be there."""
    found, decoder, place = set(), json.JSONDecoder(), text.find('"')
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            break
        if isinstance(value, str) and text[end : end + 2].lstrip().startswith(":"):
            found.add(value)
        place = text.find('"', end)
    return found


def field(record: Any, *path: str) -> Any:
    """record[path[0]][path[1]]...; KeyError where it is not there, whatever stands in its place."""
    for name in path:
        if not isinstance(record, dict):
            raise KeyError(name)
        record = record[name]
    return record
