"""Every recipe's resolved spec stands as text in tests/golden/, so that a changed default shows in review.

`UPDATE_GOLDEN=1 pytest tests/test_golden_recipes.py` rewrites the texts.
"""

import os
from pathlib import Path

import pytest

from malmoi import recipes
from malmoi.core.spec import flat

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", recipes.names())
def test_recipe_is_as_written_down(name):
    path = GOLDEN / f"{name}.txt"
    text = flat(recipes.find(name))
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"no golden text of {name}: run with UPDATE_GOLDEN=1"
    assert text == path.read_text(encoding="utf-8"), "the resolved spec changed: if that is meant, run with UPDATE_GOLDEN=1 and say why"


def test_no_golden_text_without_a_recipe():
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == sorted(recipes.names())
