"""The catalogue of errors: complete, free of dead codes, and filled in rightly wherever it is used."""

import ast
import re
import string
from pathlib import Path

import pytest

from malmoi.core.errors import CATALOGUE, MalmoiError, nearest

SOURCE = Path(__file__).parents[2] / "src" / "malmoi"
CODE = re.compile(r"M\d{3}")
FORMATTED = string.Formatter()


def fields_of(code):
    entry = CATALOGUE[code]
    return {name for template in (entry.sentence, entry.next) for _, name, _, _ in FORMATTED.parse(template) if name}


def trees():
    for path in sorted(SOURCE.rglob("*.py")):
        if path != SOURCE / "core" / "errors.py":
            yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def codes_in_use():
    return {
        node.value: name
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
    }


def calls():
    """Every `...("M012", key=..., ...)` of the source: (where, code, keys)."""
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                code = node.args[0].value
                keys = {keyword.arg for keyword in node.keywords}
                if isinstance(code, str) and CODE.fullmatch(code) and None not in keys:
                    yield f"{name}:{node.lineno}", code, keys


def test_every_code_in_use_stands_in_the_catalogue():
    assert {code: name for code, name in codes_in_use().items() if code not in CATALOGUE} == {}


def test_every_code_of_the_catalogue_is_used():
    assert sorted(set(CATALOGUE) - set(codes_in_use())) == []


def test_every_use_gives_what_the_sentence_asks_for():
    wrong = {where: fields_of(code) - keys for where, code, keys in calls() if fields_of(code) - keys}
    assert wrong == {}
    assert sum(1 for _ in calls()) > 30, "the search for uses found too little to mean anything"


@pytest.mark.parametrize("code", CATALOGUE)
def test_an_entry_reads_well(code):
    entry = CATALOGUE[code]
    assert CODE.fullmatch(code)
    assert entry.sentence.endswith((".", "}")) and not entry.sentence[0].isupper() and "\n" not in entry.sentence + entry.next
    assert entry.next, "every error says what to do next"


def test_the_message_is_one_line_with_a_next_step():
    error = MalmoiError("M001", name="elmo-smal", nearest=nearest("elmo-smal", ["elmo-small", "x"]))
    assert str(error) == "M001: there is no recipe named 'elmo-smal'; did you mean 'elmo-small'? next: `malmoi recipes` lists them."
    assert (error.code, error.next) == ("M001", "`malmoi recipes` lists them.") and isinstance(error, ValueError)
    assert str(MalmoiError("M001", name="zzz", nearest="")).startswith("M001: there is no recipe named 'zzz'. next: ")
