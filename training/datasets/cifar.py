"""CIFAR-10 and CIFAR-100 in the files of their python version: found, downloaded, checked and read.

The data sets: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from seqconv import validation
from training.data import ImageData, Proxy
from training.datasets import restricted_pickle
from training.datasets.download import DownloadError, fetch, file_md5
from training.datasets.root import root_path

OFFICIAL = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32
_MOST_FILES, _MOST_BYTES = 100, 1 << 30
"""Of an archive; the official ones have 9 files and 186 MB."""


class MissingDataError(ValueError):
    """The data set is not there and could not be had."""

    def __init__(self, message: str, *, why: str) -> None:
        super().__init__(message)
        self.why = why
        """The part of the message that says why it could not be had."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names and md5 sums of the files of one data set."""

    title: str
    """Its name in a sentence."""
    folder: str
    """Folder that holds the files."""
    archive: str
    """Name of the archive of that folder."""
    archive_md5: str
    """Checksum of the archive."""
    train: Mapping[str, str]
    """Training files and their checksums."""
    test: Mapping[str, str]
    """Test files and their checksums."""
    meta: Mapping[str, str]
    """The file of the class names and its checksum."""
    labels: str
    """Entry of a file that has its labels."""
    names: str
    """Entry of the meta file that has the class names."""
    classes: int
    """Number of classes."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files."""
        return (*self.train, *self.test, *self.meta)


@dataclass(frozen=True, kw_only=True)
class _Cifar:
    """Finds the files under `root`, in the archive that lies there, or downloads it.

    Raises:
        ValueError: a field of the wrong kind.
    """

    root: str = "data"
    """Folder that has or gets the data set's folder, or that folder itself."""
    verify: bool = True
    """Compare md5 sums with the official ones; false for a re-encoded copy."""
    download: bool = True
    """Download what is not there."""
    base_url: str = OFFICIAL
    """Where the archive is downloaded from."""
    patience: float = 15.0
    """Seconds until the server must have answered."""

    name: ClassVar[str]
    layout: ClassVar[Layout]
    proxy: ClassVar[Proxy] = Proxy(epochs=3, share=0.03, validation_limit=1000)

    def __post_init__(self) -> None:
        root_path(self.root)
        validation.boolean("dataset.verify", self.verify)
        validation.boolean("dataset.download", self.download)
        validation.number("dataset.patience", self.patience, low=0, open_low=True)
        if not str(self.base_url).startswith(("https://", "http://")):
            raise ValueError(f"dataset.base_url must begin with https:// or http://, got {self.base_url!r}")
        if "@" in urlsplit(self.base_url).netloc:  # which no request would use, and every message would repeat
            raise ValueError("dataset.base_url must have no user or password in it")

    def load(self) -> ImageData:
        """All images and labels, in the official order.

        Raises:
            MissingDataError: the data set is not there and cannot be downloaded.
            ValueError: a file that is missing, damaged, or not the official one, naming it.
        """
        folder = self._located()
        train_images, train_labels = self._images(folder, self.layout.train)
        test_images, test_labels = self._images(folder, self.layout.test)
        checked = "verified" if self.verify else "not compared (dataset.verify=false)"
        counts = f"{len(train_images):,} training and {len(test_images):,} test images"
        return ImageData(
            name=self.name,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=self._class_names(folder),
            source=f"{self.layout.title}, {counts} under {folder}, md5 sums {checked}",
            proxy=self.proxy,
        )

    def _located(self) -> Path:
        """The folder of the files, made from the archive where only that is there or can be had."""
        root, layout = root_path(self.root), self.layout
        if (root / layout.folder).is_dir():
            return root / layout.folder
        if root.name == layout.folder or any((root / name).is_file() for name in layout.files):
            return root
        archive = root / layout.archive
        if not archive.is_file():
            self._download(archive)
        elif self.verify:
            _compare(archive, file_md5(archive), layout.archive_md5, remove=archive)
        _extract(archive, root, layout.folder)
        return root / layout.folder

    def _download(self, archive: Path) -> None:
        layout = self.layout
        why = "dataset.download is false"
        if self.download:
            try:
                url = f"{self.base_url.rstrip('/')}/{layout.archive}"
                return fetch(url, archive, md5=layout.archive_md5, patience=self.patience)
            except DownloadError as error:
                why = f"could not be downloaded ({error})"
        raise MissingDataError(
            f"{layout.title} is not under {archive.parent} (looked for {layout.folder}/, {layout.archive} and "
            f"{next(iter(layout.train))}) and {why}: put one of them there, say where they are with dataset.root=DIR, "
            f"or use dataset=digits or dataset=auto, which need no download",
            why=why,
        )

    def _images(self, folder: Path, files: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
        parts = [self._batch(folder / file, md5) for file, md5 in files.items()]
        images = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, 32, 32)
        return images, np.concatenate([labels for _, labels in parts])

    def _batch(self, path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of pixels and the labels of one file."""
        content = self._read(path, md5)
        pixels = _entry(path, content, "data")
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
            found = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise ValueError(f"{path}: data must be uint8 rows of {_PIXELS} values, got {found}")
        return pixels, self._labels(path, _entry(path, content, self.layout.labels), len(pixels))

    def _labels(self, path: Path, values: Any, count: int) -> np.ndarray:
        where = f"{path}: {self.layout.labels}"
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        if not isinstance(plain, list) or not all(type(value) is int for value in plain):
            raise ValueError(f"{where} must be a list of integers")
        if len(plain) != count or not plain:
            raise ValueError(f"{where} must be one for each of the {count} images, at least one, got {len(plain)}")
        wrong = [value for value in plain if not 0 <= value < self.layout.classes]
        if wrong:
            raise ValueError(f"{where} must be from 0 to {self.layout.classes - 1}, got {wrong[0]}")
        return np.array(plain, np.int64)

    def _class_names(self, folder: Path) -> tuple[str, ...]:
        ((file, md5),) = self.layout.meta.items()
        names = _entry(folder / file, self._read(folder / file, md5), self.layout.names)
        whole = isinstance(names, list) and all(isinstance(name, (str, bytes)) for name in names)
        if not whole or len(names) != self.layout.classes:
            raise ValueError(f"{folder / file}: {self.layout.names} must be a list of {self.layout.classes} names")
        return tuple(map(restricted_pickle.text, names))

    def _read(self, path: Path, md5: str) -> dict[str, Any]:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            advice = f"complete {path.parent}, or remove it to have it downloaded again"
            raise ValueError(f"{path}: no such file; {advice}") from None
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
        if self.verify:
            _compare(path, hashlib.md5(content, usedforsecurity=False).hexdigest(), md5, remove=path.parent)
        return restricted_pickle.loads(content, path)


class Cifar10(_Cifar):
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels in 10 classes."""

    name = "cifar10"
    layout = Layout(
        title="CIFAR-10",
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_md5="c58f30108f718f92721af3b95e74349a",
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
        meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        labels="labels",
        names="label_names",
        classes=10,
    )


class Cifar100(_Cifar):
    """CIFAR-100: 50,000 training and 10,000 test images of 32x32 pixels in 100 classes."""

    name = "cifar100"
    layout = Layout(
        title="CIFAR-100",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
        train={"train": "16019d7e3df5f24257cddd939b257f8d"},
        test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        meta={"meta": "7973b15100ade9c7d40fb424638fde48"},
        labels="fine_labels",
        names="fine_label_names",
        classes=100,
    )


def _compare(path: Path, found: str, expected: str, *, remove: Path) -> None:
    if found != expected:
        raise ValueError(
            f"{path}: has md5 {found}, expected {expected}: it is damaged or not the official file; remove {remove} to "
            f"have the data set downloaded again, or pass dataset.verify=false for a re-encoded copy; it is then read "
            f"with a restricted unpickler"
        )


def _entry(path: Path, content: Mapping[str, Any], key: str) -> Any:
    if key not in content:
        raise ValueError(f"{path}: has no entry {key!r}; it has {', '.join(content) or 'none'}")
    return content[key]


def _extract(archive: Path, root: Path, folder: str) -> None:
    """Unpack beside the goal and rename, so that a folder of that name is always whole."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder}.", dir=root) as temporary:
            with tarfile.open(archive, "r:gz") as files:
                files.extractall(temporary, members=_bounded(files), filter="data")
            if not (Path(temporary) / folder).is_dir():
                raise ValueError(f"{archive}: has no folder {folder}")
            _put(Path(temporary) / folder, root / folder)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{archive}: truncated, or no archive that can be unpacked ({error}); remove it to have it downloaded again"
        ) from None
    except OSError as error:
        raise ValueError(f"{archive}: cannot be unpacked to {root}: {error.strerror or error}") from None


def _bounded(files: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, as long as they come to no more than a data set of this kind may."""
    total = 0
    for number, member in enumerate(files, start=1):
        total += member.size
        if number > _MOST_FILES or total > _MOST_BYTES:
            raise tarfile.TarError(f"unpacked it is more than {_MOST_FILES} files or {_MOST_BYTES:,} bytes")
        yield member


def _put(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        # Another process may have been first; what it put there is as whole as this one.
        if not target.is_dir():
            raise
        shutil.rmtree(source)
