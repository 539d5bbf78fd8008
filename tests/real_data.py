"""Fixtures of image data for the tests: the real CIFAR-10 where it lies beside the checkout, else synthetic images."""

from __future__ import annotations

import fcntl
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data" / "prepare.py"
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="session")
def cifar10_root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset.root with CIFAR-10 in the python version's files, of other md5 sums than the official ones.

    50,000 + 10,000 real images (laid out once, then kept in pytest's cache), or 5,000 + 1,000 synthetic ones that are
    easy to tell apart.
    """
    if not SHARED.is_file():
        root = tmp_path_factory.mktemp("synthetic_cifar10")
        write_cifar10(root / "cifar-10-batches-py", images=1000)
        return root
    root = Path(request.config.cache.mkdir("cifar10"))
    if not (root / "cifar-10-batches-py").is_dir():
        with (root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.run([sys.executable, str(SHARED), str(root)], check=True, stdout=subprocess.DEVNULL)
    return root


def write_cifar10(folder: Path, *, images: int = 20, protocol: int = 2) -> None:
    """Six batches of `images` synthetic images each, a colour to a class, and the class names."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for file in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        labels = generator.permutation(np.arange(images) % 10).tolist()
        write_pickle(folder / file, {b"labels": labels, b"data": colours(labels, generator)}, protocol)
    write_pickle(folder / "batches.meta", {b"label_names": [name.encode() for name in CIFAR10_CLASSES]}, protocol)


def colours(labels: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """Rows of 3,072 values: noise around one colour for each label."""
    label = np.array(labels)
    colour = np.stack([20 * label + 30, 210 - 20 * label, 50 * (label % 4) + 50], axis=1)
    noise = generator.integers(-30, 31, (len(label), 3, 1024))
    return (colour[..., None] + noise).reshape(len(label), 3072).astype(np.uint8)


def write_pickle(path: Path, content: object, protocol: int = 2) -> None:
    path.write_bytes(pickle.dumps(content, protocol))
