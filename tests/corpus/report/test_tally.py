"""Counts of parts add up to those of the whole, however they are shared."""

import json
import random

import pytest

from malmoi.corpus.report.tally import CLASSES, SAMPLES, Distribution, Tally, step_names
from malmoi.corpus.steps.spec import ExactSpec, NoiseSpec


def work(tally, numbers):
    """A tally of documents 0, 1, 2 ...: some go, some change."""
    step = tally.steps["length"]
    for number in numbers:
        id, text = f"a.txt:{number}", "가나다 " * (number % 7)
        step.before = [a + b for a, b in zip(step.before, [1, len(text), number % 7], strict=True)]
        tally.before.add([text])
        if number % 3 == 0:
            step.removed(id, text, reason="short" if number % 2 else "long", detail=f"{number}")
        elif number % 3 == 1:
            step.altered(id, text + "x", text + "y", counts={"x": 1, "z": 2}, flags={"han": "1"})
            step.took(id, "line", reason="menu")
    tally.spent("read", 0.25)
    return tally


def numbers_of(tally):
    return json.dumps(tally.json(), sort_keys=True)


@pytest.mark.parametrize("parts", [2, 5])
def test_parts_add_up_to_the_whole_in_any_order(parts):
    whole = work(Tally(["read", "length"]), range(500))
    order = list(range(500))
    random.Random(3).shuffle(order)
    together = Tally(["read", "length"])
    for part in range(parts):
        together.merge(Tally.of(json.loads(json.dumps(work(Tally(["read", "length"]), order[part::parts]).json()))))
    whole.stages = together.stages = {}
    assert numbers_of(together) == numbers_of(whole)


def test_what_is_counted():
    tally = work(Tally(["length"]), range(500))
    step = tally.json()["steps"][0]
    assert step["reasons"] == {"long": [84, sum(4 * (n % 7) for n in range(0, 500, 6))], "short": [83, step["reasons"]["short"][1]]}
    assert (step["changed"], step["counts"], step["flags"]) == (167, {"x": 167, "z": 334}, {"han": 167})
    assert step["taken"] == {"menu": [167, 668]}
    assert {(sample["kind"], sample["reason"]) for sample in step["samples"]} == {
        ("removed", "long"),
        ("removed", "short"),
        ("changed", "x"),
        ("taken", "menu"),
    }
    assert len(step["samples"]) == 4 * SAMPLES


def test_samples_show_where_the_text_changed():
    tally = Tally(["normalize"])
    before, after = "가" * 5000 + "ㅋㅋㅋㅋㅋ", "가" * 5000 + "ㅋㅋ"
    tally.steps["normalize"].altered("a", before, after, counts={}, flags={})
    (sample,) = tally.json()["steps"][0]["samples"]
    assert sample["before"].endswith("ㅋㅋㅋㅋㅋ") and sample["after"].endswith("가ㅋㅋ") and len(sample["before"]) < 300


def test_lengths_and_classes():
    found = Distribution()
    found.add(["", "a", "가나", "가a漢の 1!é", "\U00020000" * 8, "а\u0301"])
    assert found.lengths == [1, 1, 2, 0, 2]
    assert found.classes == dict(zip(CLASSES, (3, 3, 9, 1, 1, 1, 1, 2), strict=True))


def test_half_a_surrogate_pair_is_told():
    with pytest.raises(UnicodeEncodeError):
        Distribution().add(["a", "\ud800"])


def test_names_are_kinds_numbered_where_there_are_several():
    assert step_names([NoiseSpec(), ExactSpec(), NoiseSpec(news=True), NoiseSpec()]) == ["noise", "exact", "noise-2", "noise-3"]
