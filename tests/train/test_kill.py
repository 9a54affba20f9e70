"""The killed run of benchmarks/kill_resume.py in small: three kills, one of each kind."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_three_kills_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS.parent / "src"))
    import kill_resume

    facts = kill_resume.kill_and_compare(tmp_path, kills=3, seed=3, steps=60, words=2000, threads=1)
    assert facts["kills"] == 3 and facts["kinds"] == {"steps": 1, "save": 1, "start": 1}
    assert facts["record"][0]["checkpoint"] > 0  # the first kill came after a checkpoint, so that there was something to go on from
    assert all(facts["identical"].values()), facts
