from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from training.log_file import logged


def test_what_is_logged_is_appended(tmp_path: Path) -> None:
    for number in (1, 2):
        with logged(tmp_path / "log.txt") as log:
            log.info("epoch %d", number)
            logging.getLogger("training.checkpoint").warning("damaged")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [re.sub(r"^[\d-]+ [\d:,]+ ", "", line) for line in lines] == [
        "INFO epoch 1",
        "WARNING damaged",
        "INFO epoch 2",
        "WARNING damaged",
    ]


def test_what_ends_it_is_there_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), logged(tmp_path / "log.txt"):
        raise ZeroDivisionError("no learning today")
    text = (tmp_path / "log.txt").read_text()
    assert "ERROR failed: no learning today\nTraceback (most recent call last):" in text
    assert text.endswith("ZeroDivisionError: no learning today\n")


def test_nothing_is_logged_after_it(tmp_path: Path) -> None:
    with logged(tmp_path / "log.txt") as log:
        pass
    log.info("late")
    assert (tmp_path / "log.txt").read_text() == ""
