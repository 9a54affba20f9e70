"""A run that was stopped and resumed is the run that was not, bit for bit, for every objective."""

import pytest
import torch
from small_runs import OBJECTIVES, StopAt, losses, run, spec_of, state


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, objective, accumulate):
    spec = spec_of(objective, accumulate=accumulate)
    run(spec, tmp_path / "whole")
    expected = state(tmp_path / "whole")
    for stop in (1, 7, 19):
        place = tmp_path / f"stop-{stop}"
        _, outcome = run(spec, place, progress=StopAt(stop))
        assert (outcome.stopped, outcome.step) == ("SIGINT", stop)
        _, outcome = run(spec, place, resume=True)
        assert (outcome.stopped, outcome.step) == ("done", 20)
        found = state(place)
        assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected), stop
        assert losses(place) == losses(tmp_path / "whole")
