"""test_parity.py and test_tokenizers.py against another major version of transformers, by choice: it cannot stand beside version 5.

pip install --target DIR --no-deps transformers==4.57.6 tokenizers==0.22.1 "huggingface-hub<1" requests urllib3 certifi charset-normalizer
MALMOI_TRANSFORMERS_4=DIR pytest tests/export/test_transformers_4.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLE = "MALMOI_TRANSFORMERS_4"


@pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"set {VARIABLE} to a directory with transformers 4 (the head of this file says how)"
)
def test_parity_with_version_4() -> None:
    folder = os.environ[VARIABLE]
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    version = [sys.executable, "-c", "import transformers; print(transformers.__version__)"]
    found = subprocess.run(version, env=environment, capture_output=True, text=True, check=True).stdout
    assert found.startswith("4."), f"{folder} holds transformers {found}"
    files = [str(Path(__file__).with_name(name)) for name in ("test_parity.py", "test_tokenizers.py")]
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    result = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout and "skipped" not in result.stdout
