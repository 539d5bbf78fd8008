"""`python benchmarks/layers.py` finds the modules beside it; so do the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
