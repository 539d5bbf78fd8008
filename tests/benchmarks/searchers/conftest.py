"""`python benchmarks/searchers/window_table.py` finds the modules beside it; so do the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks" / "searchers"))
