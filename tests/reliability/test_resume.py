"""A run that was stopped and resumed is the run that was not, bit for bit, for every objective."""

import pytest
import torch
from small_runs import OBJECTIVES, StopAt, batches_of, losses, run, spec_of, state

from malmoi.train.prefetch import Prefetched


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("accumulate, threads", [(1, 0), (2, 2)])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, objective, accumulate, threads):
    spec = spec_of(objective, accumulate=accumulate)
    run(spec, tmp_path / "whole")
    expected = state(tmp_path / "whole")
    for stop in (1, 7, 19):
        place = tmp_path / f"stop-{stop}"
        _, outcome = run(spec, place, batches=Prefetched(batches_of(spec), threads=threads), progress=StopAt(stop))
        assert (outcome.stopped, outcome.step) == ("SIGINT", stop)
        _, outcome = run(spec, place, batches=Prefetched(batches_of(spec), threads=threads), resume=True)
        assert (outcome.stopped, outcome.step) == ("done", 20)
        found = state(place)
        assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected), stop
        assert losses(place) == losses(tmp_path / "whole")
