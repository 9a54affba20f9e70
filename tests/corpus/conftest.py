"""Helpers of these tests are modules beside them: test folders are no packages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # small_corpus
