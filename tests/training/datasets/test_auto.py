from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.real_data import write_cifar10
from training.datasets import Auto, Cifar10, Digits
from training.datasets.cifar import MissingDataError

FOLDER = "cifar-10-batches-py"
DIGITS = "digits, 1,797 handwritten digits of scikit-learn drawn at 16 pixels"


def test_cifar10_where_it_is_there(tmp_path: Path) -> None:
    write_cifar10(tmp_path / FOLDER)
    data = Auto(root=str(tmp_path), verify=False).load()
    assert data.name == "cifar10"
    assert data.source == Cifar10(root=str(tmp_path), verify=False).load().source
    assert data.proxy == Cifar10.proxy


def test_digits_where_it_cannot_be_had(refusing_url: str, tmp_path: Path) -> None:
    data = Auto(root=str(tmp_path), base_url=refusing_url).load()
    why = f"CIFAR-10 is not under {tmp_path} and could not be downloaded (127.0.0.1 refuses the connection)"
    assert (data.name, data.source) == ("digits", f"{DIGITS}: {why}")
    assert data.proxy == Digits.proxy
    assert list(tmp_path.iterdir()) == []


def test_digits_where_no_download_is_wanted(tmp_path: Path) -> None:
    data = Auto(root=str(tmp_path), download=False).load()
    assert data.source == f"{DIGITS}: CIFAR-10 is not under {tmp_path} and dataset.download is false"


def test_digits_where_the_server_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        data = Auto(root=str(tmp_path), base_url=url, patience=0.2).load()
    assert time.monotonic() - began < 4
    assert data.source.endswith("could not be downloaded (127.0.0.1 did not answer within 0.2 s)")


def test_gives_up_soon_unless_told_otherwise() -> None:
    assert Auto().patience <= 5


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_damaged_cifar10_is_an_error(name: str, tmp_path: Path) -> None:
    write_cifar10(tmp_path / FOLDER)
    (tmp_path / FOLDER / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=f"{name}: truncated") as raised:
        Auto(root=str(tmp_path), verify=False).load()
    assert not isinstance(raised.value, MissingDataError)


def test_cifar10_of_other_sums_is_an_error(tmp_path: Path) -> None:
    write_cifar10(tmp_path / FOLDER)
    with pytest.raises(ValueError, match="data_batch_1: has md5"):
        Auto(root=str(tmp_path)).load()


def test_incomplete_cifar10_is_an_error(tmp_path: Path) -> None:
    write_cifar10(tmp_path / FOLDER)
    (tmp_path / FOLDER / "test_batch").unlink()
    with pytest.raises(ValueError, match="test_batch: no such file"):
        Auto(root=str(tmp_path), verify=False).load()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"root": ""}, "dataset.root must be the path of a folder, got ''"),
        ({"verify": None}, "dataset.verify must be true or false, got None"),
        ({"patience": -1}, "dataset.patience must be a number above 0, got -1"),
    ],
)
def test_fields_are_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Auto(**fields)
