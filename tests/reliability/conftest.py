"""Helpers of these tests are modules beside them: test folders are no packages."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "train"), str(HERE.parent / "corpus")]  # small_runs, toy_training, small_corpus
