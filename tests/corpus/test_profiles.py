"""Every profile stands as text in tests/golden/corpus/, so that a changed threshold shows in review.

`UPDATE_GOLDEN=1 pytest tests/corpus/test_profiles.py` rewrites the texts.
"""

import os
from pathlib import Path

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.core.spec import flat
from malmoi.corpus.profiles import PROFILES, profile

GOLDEN = Path(__file__).parents[1] / "golden" / "corpus"


@pytest.mark.parametrize("name", PROFILES)
def test_profile_is_as_written_down(name):
    path = GOLDEN / f"{name}.txt"
    spec = profile(name)
    text = "".join(f"steps.{place}.{line}" for place, step in enumerate(spec.steps) for line in flat(step).splitlines(keepends=True))
    text = flat(spec.model_copy(update={"steps": ()})) + text
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"no golden text of {name}: run with UPDATE_GOLDEN=1"
    assert text == path.read_text(encoding="utf-8"), "the profile changed: if that is meant, run with UPDATE_GOLDEN=1 and say why"


def test_no_golden_text_without_a_profile():
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == sorted(PROFILES)


def test_a_profile_that_is_not_there():
    with pytest.raises(MalmoiError, match="M009.*web-ko"):
        profile("web-kr")
