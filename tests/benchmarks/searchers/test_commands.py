"""The published commands fit the code: their arguments are read, and their contenders bind to such a problem."""

import re
import shlex
from pathlib import Path

import contenders
import pytest
import regret

from searchers.history import History
from tests.benchmarks.searchers.toy import problem

RESULTS = Path(__file__).parents[3] / "experiments" / "searchers"


def comparisons() -> list[str]:
    """Arguments of regret.py, in run.sh as a function and in README.md as a command."""
    text = "\n".join((RESULTS / name).read_text(encoding="utf-8") for name in ("run.sh", "README.md"))
    joined = text.replace("\\\n", " ").replace("`\n", "").replace("$data", "cifar10").replace("$observe", "seed")
    return re.findall(r"(?:^ *|searchers/)regret(?:\.py)? (.*?--contenders [^`#\n]+)", joined, flags=re.MULTILINE)


def test_all_comparisons_are_found() -> None:
    assert len(comparisons()) >= 5


@pytest.mark.parametrize("arguments", comparisons())
def test_contenders_bind_to_what_they_are_to_search(arguments: str) -> None:
    given = regret.parsed(shlex.split(arguments))
    over = problem(tuple(given.objectives))
    for contender in given.contenders:
        assert contenders.propose(contender, over)
        assert (contenders.scheduler(contender, over, History()) is not None) == ("+" in contender)
