"""The table of aggregation windows: the command at a tiny size, and that the published table is one of its space."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import window_table
from window_table import CONFIG, TABLE, halved

from search_spaces.space import size
from seqconv.complexity import measure
from seqconv.serialization import read_yaml
from tests.real_data import write_cifar10
from training.datasets import Cifar10

PUBLISHED = Path(__file__).parents[3] / "experiments" / "window_table"
GROUPS = [f"search_space.stage{stage}.groups=2" for stage in (1, 2, 3)]
ONE_KNOB = [*GROUPS, "search_space.stage1.window=1", "search_space.stage2.window=1"]
"""Leaves the three windows of stage 3."""
TINY = ["--images", "20", "--validation", "10", "--epochs", "2", "--seeds", "2", *ONE_KNOB]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_cifar10(folder / "cifar-10-batches-py")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A table of three architectures, the first of them with two seeds."""
    out = tmp_path_factory.mktemp("tiny")
    window_table.main(["--root", str(root), "--out", str(out), *TINY])
    return out


def test_it_trains_every_architecture_and_then_some_again(tiny: Path) -> None:
    frame = pd.read_parquet(tiny / TABLE)
    assert list(frame["seed"]) == [0, 0, 0, 1]
    assert sorted(frame["knob.stage3.window"][:3]) == [0.25, 1.0, 1.75]
    assert frame["fingerprint"][3] == frame["fingerprint"][0]
    assert frame["fingerprint"].nunique() == 3
    assert frame[["validation_error_1", "validation_error_2"]].isin(np.arange(11) / 10).all(axis=None)
    assert (frame["seconds_1"] > 0).all() and (frame["seconds_1"] < frame["seconds_2"]).all()
    assert (frame["wall_seconds"] > 0).all()
    order = frame.sort_values("knob.stage3.window")
    assert order["macs"].is_monotonic_increasing and order["paper_flops"].gt(order["macs"]).all()


def test_it_goes_on_where_it_stopped(
    tiny: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = pd.read_parquet(tiny / TABLE)
    shutil.copy(tiny / CONFIG, tmp_path)
    whole.drop(1).to_parquet(tmp_path / TABLE, index=False)
    window_table.main(["--root", str(root), "--out", str(tmp_path), *TINY])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["2/4"]
    again = pd.read_parquet(tmp_path / TABLE)
    fixed = [name for name in whole.columns if "seconds" not in name]
    pd.testing.assert_frame_equal(again[fixed], whole.loc[[0, 2, 3, 1], fixed].reset_index(drop=True))


def test_more_seeds_are_added(tiny: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    window_table.main(["--root", str(root), "--out", str(tmp_path), *TINY, "--every", "2"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["5/5"]
    assert list(pd.read_parquet(tmp_path / TABLE)["seed"]) == [0, 0, 0, 1, 1]


def test_rows_of_another_configuration_are_refused(tiny: Path, root: Path) -> None:
    assert refusal(["--root", str(root), "--out", str(tiny), *TINY, "--epochs", "1"]) == (
        f"error: {tiny / TABLE} was trained with another configuration than this one: give another --out"
    )


def test_a_space_that_cannot_be_enumerated_is_refused(root: Path, tmp_path: Path) -> None:
    window = "search_space.stage3.window={type: float, low: 0.5, high: 1.5, step: null}"
    assert refusal(["--root", str(root), "--out", str(tmp_path), *ONE_KNOB, window]) == (
        "error: search_space windowed_small: a table needs knobs with few values, steps and no conditions"
    )


@pytest.mark.parametrize("name", ["seeds", "every"])
def test_numbers_below_one_are_refused(name: str, root: Path, tmp_path: Path) -> None:
    refused = refusal(["--root", str(root), "--out", str(tmp_path), f"--{name}", "0"])
    assert refused == f"error: {name} must be an integer at least 1, got 0"


def test_a_folder_without_the_data_is_refused(tmp_path: Path) -> None:
    assert refusal(["--root", str(tmp_path), "--out", str(tmp_path)]).startswith(
        f"error: CIFAR-10 is not under {tmp_path}"
    )


def test_more_images_than_there_are_are_refused(root: Path, tmp_path: Path) -> None:
    assert "trial.share must be" in refusal(["--root", str(root), "--out", str(tmp_path)])


def refusal(arguments: list[str]) -> str:
    with pytest.raises(SystemExit) as error:
        window_table.main(arguments)
    return str(error.value.code)


def test_a_halved_image_has_the_means_of_four_pixels(root: Path) -> None:
    data = Cifar10(root=str(root), verify=False, download=False).load()
    small = halved(data)
    expected = data.train_images.reshape(-1, 3, 16, 2, 16, 2).mean(axis=(3, 5))
    assert small.train_images.dtype == np.uint8
    np.testing.assert_array_equal(small.train_images, np.floor(expected + 0.5))
    assert small.test_images.shape == (len(data.test_images), 3, 16, 16)


def test_the_published_table_is_that_of_its_space() -> None:
    space = window_table.search_space([])
    frame = pd.read_parquet(PUBLISHED / TABLE)
    assert read_yaml(PUBLISHED / CONFIG)["search_space"] == space.to_dict()
    assert not frame.isna().any(axis=None)
    plan = window_table.trainings(space, seeds=3, every=3)
    assert len(plan) == len(frame) == (size(space) or 0) * 5 // 3
    for training, row in zip(plan, frame.to_dict("records"), strict=True):
        assert {f"knob.{name}": value for name, value in training.values.items()}.items() <= row.items()
        assert row["seed"] == training.seed
        assert row["fingerprint"] == space.decode(training.values).fingerprint()
    for row, training in list(zip(frame.itertuples(), plan, strict=True))[::40]:
        cost = measure(space.decode(training.values), resolution=16, classes=10)
        assert [getattr(row, name) for name in window_table.COSTS] == [getattr(cost, n) for n in window_table.COSTS]
