"""Files of labelled images, one folder to a class: root/train/<class>/* and root/test/<class>/*, or root/<class>/*."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data import stratified_order

TEST_SHARE = 0.2
_SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Files:
    """The files of a training or of a test set, by class and then by name."""

    root: Path
    """Folder of the class folders."""
    class_names: tuple[str, ...]
    """Names of the class folders, sorted."""
    names: np.ndarray
    """Name of each file as bytes of one width: a million strings would take several times as much in every process."""
    labels: np.ndarray
    """int64, one a file, an index into `class_names`."""

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> Path:
        """Where a file lies."""
        name = bytes(self.names[index])
        return self.root / self.class_names[int(self.labels[index])] / os.fsdecode(name)

    def take(self, chosen: np.ndarray) -> Files:
        """The files of those indices, in that order."""
        return Files(root=self.root, class_names=self.class_names, names=self.names[chosen], labels=self.labels[chosen])


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassFolders:
    """A training set and a test set of the same classes."""

    train: Files
    test: Files

    @property
    def source(self) -> str:
        """One sentence: how many images there are, and where."""
        share = f"held out of it ({TEST_SHARE:.0%})"
        where = share if self.test.root == self.train.root else f"of {self.test.root}"
        return f"{len(self.train):,} training images of {self.train.root}, {len(self.test):,} to test {where}"


def find(root: Path, *, held_out: bool = True) -> ClassFolders:
    """The files under `root`, none of them opened.

    `train/` holds the training set where it exists, else root does; `test/` or `val/` the test set, the first of them
    that has class folders. Where neither exists, a fixed 20 % of each class are the test set. Names that begin with a
    dot are left out.

    Args:
        root: folder of the class folders, or of train/ and test/.
        held_out: whether test images may be held out of the training set; else both parts must be there.

    Raises:
        ValueError: no folder, a part that is missing, fewer than two classes, a class without images, a folder in a
            class, or test classes that are not those of the training set.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; dataset.root must hold one folder of images for each class")
    test_root = _test_root(root)
    # Beside class folders and without a test set, "train" is one of the classes.
    is_part = (root / "train").is_dir() and (test_root is not None or _has_folders(root / "train"))
    train_root = root / "train" if is_part else root
    if not held_out and (train_root == root or test_root is None):
        found = ", ".join(name for name, _ in _visible(root)) or "nothing"
        raise ValueError(
            f"{root}: dataset.root must hold train/ and val/ (or test/), each with one folder of images for each "
            f"class; it holds {found}"
        )
    train = _files(train_root)
    if train_root == root or test_root is None:
        return _hold_out(train)
    test = _files(test_root)
    odd = sorted({*test.class_names} ^ {*train.class_names})
    if odd:
        raise ValueError(f"{test_root}: must have the classes of the training set; {', '.join(odd)} stand in one alone")
    return ClassFolders(train=train, test=test)


def _test_root(root: Path) -> Path | None:
    """ImageNet comes with a test/ of images without labels beside val/."""
    parts = [root / part for part in ("test", "val") if (root / part).is_dir()]
    return next(filter(_has_folders, parts), next(iter(parts), None))


def _has_folders(path: Path) -> bool:
    return path.is_dir() and any(is_folder for _, is_folder in _visible(path))


def _files(root: Path) -> Files:
    entries = _visible(root)
    classes = [name for name, folder in entries if folder]
    if len(classes) < 2:
        loose = len(entries) - len(classes)
        advice = f" beside {loose:,} files; each file goes into the folder of its class" if loose else ""
        found = ", ".join(classes) or "none"
        raise ValueError(f"{root}: must hold the folders of at least two classes, found {found}{advice}")
    names = [_images(root / name) for name in classes]
    return Files(
        root=root,
        class_names=tuple(classes),
        names=np.concatenate([np.array(of_class) for of_class in names]),
        labels=np.repeat(np.arange(len(classes), dtype=np.int64), [len(of_class) for of_class in names]),
    )


def _images(folder: Path) -> list[bytes]:
    entries = _visible(folder)
    if not entries:
        raise ValueError(f"{folder}: the class has no images; add some or remove the folder")
    for name, is_folder in entries:
        if is_folder:
            raise ValueError(f"{folder / name}: is a folder; a class folder holds images alone")
    return [os.fsencode(name) for name, _ in entries]


def _visible(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, and whether each is a folder itself: one look at it, not one at every file."""
    with os.scandir(folder) as entries:
        return sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))


def _hold_out(files: Files) -> ClassFolders:
    """A fixed share of each class becomes the test set."""
    train, test = [], []
    for label, name in enumerate(files.class_names):
        members = np.flatnonzero(files.labels == label)
        if len(members) < 2:
            where = files.root / name
            raise ValueError(f"{where}: the class needs at least two images, one of them for the test set")
        order = stratified_order(np.zeros(len(members), np.int64), seed=_SEED)
        cut = max(1, round(TEST_SHARE * len(members)))
        test.append(members[np.sort(order[:cut])])
        train.append(members[np.sort(order[cut:])])
    return ClassFolders(train=files.take(np.concatenate(train)), test=files.take(np.concatenate(test)))
