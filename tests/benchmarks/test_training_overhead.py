"""The command at a tiny size, whose times mean nothing."""

import re
from pathlib import Path

import pytest
import training_overhead

from tests.real_data import write_cifar10

TINY = ["--preset", "cifar_b_small", "--batch", "2", "--steps", "1", "--rounds", "1"]


def test_it_compares_both_kinds_of_data_with_the_bare_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    training_overhead.main([*TINY, "--root", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()[-6:]
    for title, rows in (("noise in memory", lines[:3]), ("CIFAR-10", lines[3:])):
        assert all(row.startswith(title) for row in rows)
        assert re.search(r"bare loop +\d+\.\d images/s, epochs of \d+ to \d+ ms$", rows[0])
        assert re.search(r"train_full +\d+\.\d images/s, epochs of \d+ to \d+ ms$", rows[1])
        assert re.search(r"\d\.\d{3} of the bare loop's, (NOT WITHIN|within) the bar 0\.9$", rows[2])


def test_more_images_than_there_are_is_refused(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    with pytest.raises(SystemExit) as error:
        training_overhead.main(["--batch", "2", "--steps", "100", "--root", str(tmp_path)])
    assert error.value.code == "error: cifar10 has 100 training images, 200 are asked for: lower --steps"


def test_a_folder_without_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        training_overhead.main(["--root", str(tmp_path)])
    assert str(error.value.code).startswith(f"error: CIFAR-10 is not under {tmp_path}")
