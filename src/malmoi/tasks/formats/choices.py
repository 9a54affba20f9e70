"""Several ways to go on, or answers, of which one is right: SWAG, CODAH, CommonsenseQA, KoBEST's COPA and HellaSwag."""

from __future__ import annotations

from malmoi.tasks.formats.looks import field
from malmoi.tasks.formats.source import Source
from malmoi.tasks.formats.texts import rows
from malmoi.tasks.task import Choice

CONNECTIVES = {"원인": "왜냐하면", "결과": "그래서"}
"""Cause and effect (KoBEST-COPA), as a word that leads on: because, therefore."""


def _place(source: Source, line: int, text: str | None, *, among: str) -> int | None:
    """The number of a choice (from 0) by its name in `among`. None where a test file does not tell."""
    if text is None or (text == "" and source.split == "test"):
        return None
    return among.index(source.known(f"line {line}", text.strip(), tuple(among)))


def swag(source: Source) -> list[Choice]:
    """SWAG (Zellers et al. 2018), .csv: `startphrase` (the first sentence and the beginning of the second) and four endings."""
    found: list[Choice] = []
    endings = ("ending0", "ending1", "ending2", "ending3")
    needed = ("startphrase", *endings, *(() if source.split == "test" else ("label",)))
    for line, row in rows(source, needed=needed, comma=True):
        label = _place(source, line, row.get("label"), among="0123")
        found.append(Choice(f"{source.split}-{len(found)}", row["startphrase"], tuple(row[name] for name in endings), label))
    return found


def codah_rows(source: Source) -> list[Choice]:
    """CODAH (Chen et al. 2019), .tsv without a header: kind of question, its beginning, four ends, the number of the right one."""
    found: list[Choice] = []
    header = ("kind", "prompt", "0", "1", "2", "3", "label")
    for line, row in rows(source, needed=("prompt",), header=header):
        label = _place(source, line, row["label"], among="0123")
        found.append(Choice(f"{source.split}-{len(found)}", row["prompt"], tuple(row[name] for name in "0123"), label))
    return found


def commonsense(source: Source) -> list[Choice]:
    """CommonsenseQA 1.11 (Talmor et al. 2019), .jsonl: a question with answers A to E; test files have no `answerKey`."""
    found: list[Choice] = []
    for place, record in source.records():
        try:
            stem, choices = str(field(record, "question", "stem")), field(record, "question", "choices")
            names, texts = "".join(str(one["label"]) for one in choices), tuple(str(one["text"]) for one in choices)
        except (KeyError, TypeError) as missing:
            problem = f"{place} has no {missing}"
            raise source.of_another_task(problem) if not found else source.broken(place, problem) from None
        key = record.get("answerKey")
        if key is None and source.split != "test":
            raise source.broken(place, "it has no answerKey")
        label = None if key is None else names.index(source.known(place, str(key), tuple(names)))
        found.append(Choice(str(record.get("id", f"{source.split}-{len(found)}")), stem, texts, label))
    return found


def copa(source: Source) -> list[Choice]:
    """KoBEST-COPA (Kim et al. 2022): the sentence, then the word that asks for a cause or an effect leads on to either choice."""
    found: list[Choice] = []
    for line, row in rows(source, needed=("sentence", "question", "1", "2")):
        asked = source.known(f"line {line}", row["question"].strip(), tuple(CONNECTIVES))
        label = _place(source, line, row.get("Answer"), among="12")
        id, context = row.get("ID") or f"{source.split}-{len(found)}", f"{row['sentence'].strip()} {CONNECTIVES[asked]}"
        found.append(Choice(id, context, (row["1"].strip(), row["2"].strip()), label))
    return found


def hellaswag(source: Source) -> list[Choice]:
    """KoBEST-HellaSwag (Kim et al. 2022): a context and four sentences that may follow."""
    found: list[Choice] = []
    names = ("choice1", "choice2", "choice3", "choice4")
    for line, row in rows(source, needed=("context", *names)):
        label = _place(source, line, row.get("label"), among="0123")
        found.append(Choice(f"{source.split}-{len(found)}", row["context"], tuple(row[name] for name in names), label))
    return found
