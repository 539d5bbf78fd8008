"""Draws what `long_search.py` measured.

python benchmarks/searchers/plot_long_search.py --rows random=FILE.csv guided=FILE.csv --out FILE.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", required=True, metavar="NAME=FILE.csv")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    given = parser.parse_args(arguments)
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for text in given.rows:
        name, _, file = text.partition("=")
        rows = pd.read_csv(file)
        per_trial = 1000 * rows.driver_s.diff() / rows.trials.diff()
        for panel, values in zip(panels, (per_trial, rows.resident_mib, rows.journal_mib), strict=True):
            panel.plot(rows.trials, values, label=name)
    titles = ("driver, ms of processor time a trial", "driver, resident MiB", "journal, MiB")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("trials begun")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].legend()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.out, dpi=120)


if __name__ == "__main__":
    main()
