"""The package itself: its public names and its version."""

import subprocess
import sys
import tomllib
from pathlib import Path

import malmoi


def test_version_is_that_of_pyproject():
    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert malmoi.__version__ == pyproject["project"]["version"]


def test_import_is_light():
    code = "import sys, malmoi, malmoi.core.recipe, malmoi.core.artifact; print(*sorted({'torch', 'numpy', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
