from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promotion.progress import Progress
from promotion.training import Training
from tests.promotion.fakes import architecture, metrics, write_epochs
from training.full.metrics import FullMetrics
from training.full.model import ModelSpec

Write = Callable[..., None]


@pytest.fixture
def training(tmp_path: Path) -> Training:
    spec = ModelSpec(architecture=architecture())
    return Training(candidate="trial-0001", stage="cifar", seed=0, folder=tmp_path / "seed-0", spec=spec)


@pytest.fixture
def write(training: Training) -> Write:
    """Writes the metrics of some epochs, each time with a later date."""
    dates = iter(range(1000, 9000))

    def writing(*epochs: FullMetrics) -> None:
        write_epochs(training.folder, *epochs)
        date = next(dates)
        os.utime(training.folder / "metrics.csv", (date, date))

    return writing


def looked(training: Training, lines: list[str], every: float = 0.0, epochs: int = 10) -> Progress:
    progress = Progress(epochs, lines.append, every)
    progress.look([training])
    return progress


def epochs(count: int, **changes: Any) -> list[FullMetrics]:
    return [metrics(epoch, 0.5 - 0.01 * epoch, **changes) for epoch in range(1, count + 1)]


def test_nothing_is_said_before_the_first_epoch(training: Training) -> None:
    lines: list[str] = []
    looked(training, lines).look([training])
    assert lines == []


def test_an_epoch_that_ended(training: Training, write: Write) -> None:
    lines: list[str] = []
    progress = looked(training, lines)
    write(*epochs(1))
    for _ in range(3):
        progress.look([training])
    assert lines == ["trial-0001, cifar, seed 0: epoch 1/10, test error 0.4900, 100 images/s, 0:01:30 to go"]


def test_averaged_weights_have_an_error_of_their_own(training: Training, write: Write) -> None:
    lines: list[str] = []
    progress = looked(training, lines)
    write(*epochs(2, ema_error=0.25))
    progress.look([training])
    assert "epoch 2/10, test error 0.4800, averaged 0.2500, 100 images/s" in lines[0]


def test_a_line_now_and_then(training: Training, write: Write) -> None:
    """The next one tells of what is newest by then."""
    lines: list[str] = []
    progress = looked(training, lines, every=3600)
    for count in (1, 2, 3):
        write(*epochs(count))
        progress.look([training])
    assert [line.partition(",")[0] for line in lines] == ["trial-0001"] and "epoch 1/10" in lines[0]
    progress._said[training.folder] -= 3600
    progress.look([training])
    assert len(lines) == 2 and "epoch 3/10" in lines[1]


def test_what_an_earlier_command_did_is_no_news(training: Training, write: Write) -> None:
    lines: list[str] = []
    write(*epochs(4))
    progress = looked(training, lines)
    assert lines == []
    write(*epochs(5))
    progress.look([training])
    assert len(lines) == 1 and "epoch 5/10" in lines[0]


def test_a_loader_that_is_the_bottleneck_is_told_of_once(training: Training, write: Write) -> None:
    lines: list[str] = []
    progress = looked(training, lines, every=3600)
    for count in (1, 2):
        write(*epochs(count, data_share=0.6))
        progress.look([training])
    assert [line for line in lines if "bottleneck" in line] == [
        "trial-0001, cifar, seed 0: the loader is the bottleneck, 60% of the time passes with waiting for images: it "
        "gives 100 images/s, the model takes 250; more dataset.workers, a faster disk or smaller files help"
    ]


@pytest.mark.parametrize(("share", "told"), [(0.3, 0), (0.31, 1), (1.0, 1)])
def test_from_which_share_on(training: Training, write: Write, share: float, told: int) -> None:
    lines: list[str] = []
    progress = looked(training, lines)
    write(*epochs(1, data_share=share))
    progress.look([training])
    assert sum("bottleneck" in line for line in lines) == told
