"""Fixtures of image data for the tests: real images where they lie beside the checkout, else synthetic ones."""

from __future__ import annotations

import fcntl
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).parents[2] / "shared" / "data" / "prepare.py"
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

IMAGENETTE_CLASSES = (
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
    "n03394916", "n03417042", "n03425413", "n03445777", "n03888257",
)  # fmt: skip


@pytest.fixture(scope="session")
def cifar10_root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset.root with CIFAR-10 in the python version's files, of other md5 sums than the official ones.

    50,000 + 10,000 real images (laid out once, then kept in pytest's cache), or 5,000 + 1,000 synthetic ones that are
    easy to tell apart.
    """
    if SHARED.is_file():
        return _real(request, "cifar-10-batches-py")
    root = tmp_path_factory.mktemp("synthetic_cifar10")
    write_cifar10(root / "cifar-10-batches-py", images=1000)
    return root


@pytest.fixture(scope="session")
def imagenette_root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset.root with train/ and val/ of ten classes of ImageNet, as JPEG files of 224x224.

    100 + 30 real images a class (laid out once, then kept in pytest's cache), or 20 + 6 synthetic ones that are easy to
    tell apart.
    """
    if SHARED.is_file():
        return _real(request, "imagenette") / "imagenette"
    root = tmp_path_factory.mktemp("synthetic_imagenette")
    write_imagenette(root)
    return root


def _real(request: pytest.FixtureRequest, folder: str) -> Path:
    """Where the real images lie, `folder` among them."""
    root = Path(request.config.cache.mkdir("cifar10"))
    if not (root / folder).is_dir():
        with (root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.run([sys.executable, str(SHARED), str(root)], check=True, stdout=subprocess.DEVNULL)
    return root


def write_imagenette(root: Path, *, train: int = 20, val: int = 6, size: int = 224) -> None:
    """JPEG files of `size` pixels a side, a colour to a class, under the names of ten of ImageNet's classes."""
    generator = np.random.default_rng(0)
    for label, name in enumerate(IMAGENETTE_CLASSES):
        for part, images in (("train", train), ("val", val)):
            (root / part / name).mkdir(parents=True)
            for number, row in enumerate(colours([label] * images, generator)):
                pixels = row.reshape(3, 32, 32).transpose(1, 2, 0)
                image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
                image.save(root / part / name / f"{name}_{number}.JPEG")


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
