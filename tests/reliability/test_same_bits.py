"""The same run twice is the same bits; so it is wherever it runs: another time zone, a plain locale, an odd path, a narrow umask."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import OBJECTIVES, losses, run, spec_of, state

from malmoi.core.devices import exactly
from malmoi.core.errors import MalmoiError
from malmoi.run import locked


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_runs_are_one(tmp_path, objective):
    spec = spec_of(objective, steps=8)
    run(spec, tmp_path / "one")
    run(spec, tmp_path / "other")
    one, other = state(tmp_path / "one"), state(tmp_path / "other")
    assert all(torch.equal(one[name], other[name]) for name in one) and losses(tmp_path / "one") == losses(tmp_path / "other")
    run(spec.model_copy(update={"seed": 1}), tmp_path / "third")
    assert losses(tmp_path / "one") != losses(tmp_path / "third")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_deterministic_changes_nothing_on_a_cpu(tmp_path, objective, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    spec = spec_of(objective, steps=4)
    run(spec, tmp_path / "one")
    exactly()
    try:
        run(spec, tmp_path / "other")
    finally:
        torch.use_deterministic_algorithms(False)
    one, other = state(tmp_path / "one"), state(tmp_path / "other")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_odd_surroundings(tmp_path):
    """The command under LC_ALL=C, at the other end of the world, into a Korean path, with umask 077."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"말{n % 7} w{n % 11} and w{n % 3}" for n in range(250)), encoding="utf-8")
    out = os.fsencode(tmp_path / "말모이")
    settings = [
        "model.width=8",
        "model.backbone.mixer.cell=8",
        "model.frontend.filters=[[1,4],[2,4]]",
        "stream.streams=4",
        "stream.window=5",
    ]
    line = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())", "pretrain", "elmo-tiny", "--steps", "2"]
    line += [
        "--corpus",
        str(corpus),
        "--device",
        "cpu",
        "--allow-unknown",
        *(part for each in settings for part in ("--set", each)),
        "--out",
        out,
    ]
    odd = {"LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Kiritimati"}
    environment = {**os.environ, **odd, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(line, env=environment, capture_output=True, umask=0o077, timeout=300)
    assert ran.returncode == 0, ran.stderr.decode(errors="replace")
    assert os.path.isfile(out + b"/checkpoints/step-00000002/manifest.json")
    assert os.stat(out + b"/spec.json").st_mode & 0o777 == 0o600


def test_a_path_that_is_not_utf8_is_refused_at_once(tmp_path):
    """safetensors could not read back what it wrote there."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xffn"))
    with pytest.raises(MalmoiError, match="M046: .* its name is not UTF-8"), locked(path):
        pass
