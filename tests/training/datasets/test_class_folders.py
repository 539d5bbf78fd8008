from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.datasets.class_folders import Files, find


def touch(root: Path, counts: dict[str, int]) -> None:
    """Empty files: nothing here is opened."""
    for name, images in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(images):
            (root / name / f"{number}.jpg").touch()


def paths(files: Files) -> list[str]:
    return [files.path(index).relative_to(files.root).as_posix() for index in range(len(files))]


def test_files_are_ordered_by_class_and_name(tmp_path: Path) -> None:
    touch(tmp_path / "train", {"b": 2, "a": 1})
    touch(tmp_path / "val", {"a": 1, "b": 1})
    folders = find(tmp_path)
    assert paths(folders.train) == ["a/0.jpg", "b/0.jpg", "b/1.jpg"]
    assert folders.train.labels.tolist() == [0, 1, 1]
    assert folders.train.class_names == folders.test.class_names == ("a", "b")
    assert folders.train.path(2) == tmp_path / "train" / "b" / "1.jpg"
    assert paths(folders.test) == ["a/0.jpg", "b/0.jpg"]
    assert folders.source == f"3 training images of {tmp_path / 'train'}, 2 to test of {tmp_path / 'val'}"


def test_names_are_sorted_whatever_the_order_of_the_folder(tmp_path: Path) -> None:
    for part in ("train", "val"):
        touch(tmp_path / part, {"b": 30, "a": 30})
    expected = [f"{name}/{image}" for name in "ab" for image in sorted(f"{number}.jpg" for number in range(30))]
    assert paths(find(tmp_path).train) == paths(find(tmp_path).test) == expected


@pytest.mark.parametrize("name", ["ü n.jpg", "a" * 200 + ".jpg", os.fsdecode(b"\xff.jpg"), "0.jpg "])
def test_names_come_back_as_they_are(name: str, tmp_path: Path) -> None:
    for part in ("train", "val"):
        touch(tmp_path / part, {"a": 1, "b": 1})
        (tmp_path / part / "b" / name).touch()
    files = find(tmp_path).train
    assert sorted(os.listdir(files.root / "b")) == sorted(files.path(index).name for index in (1, 2))


def test_pickles_small(tmp_path: Path) -> None:
    for part in ("train", "val"):
        touch(tmp_path / part, {"a": 500, "b": 500})
    folders = find(tmp_path)
    content = pickle.dumps(folders)
    assert len(content) < 2000 * (7 + 8) + 2000
    assert paths(pickle.loads(content).train) == paths(folders.train)


@given(st.lists(st.integers(2, 30), min_size=2, max_size=4))
def test_a_fifth_of_each_class_is_held_out(tmp_path_factory: pytest.TempPathFactory, counts: list[int]) -> None:
    root = tmp_path_factory.mktemp("classes")
    touch(root, {str(number): images for number, images in enumerate(counts)})
    folders, again = find(root), find(root)
    assert paths(folders.test) == paths(again.test)
    assert sorted(paths(folders.train) + paths(folders.test)) == sorted(
        path.relative_to(root).as_posix() for path in root.glob("*/*")
    )
    assert np.bincount(folders.test.labels).tolist() == [max(1, round(0.2 * images)) for images in counts]
    for files in (folders.train, folders.test):
        assert [files.class_names[label] for label in files.labels] == [path.partition("/")[0] for path in paths(files)]
    total = len(folders.train)
    assert folders.source == f"{total} training images of {root}, {len(folders.test)} to test held out of it (20%)"


def test_train_alone_holds_out_a_fifth(tmp_path: Path) -> None:
    touch(tmp_path / "train", {"a": 5, "b": 5})
    assert find(tmp_path).test.labels.tolist() == [0, 1]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "car", "train"):
        (tmp_path / name).mkdir()
        for number in range(5):
            (tmp_path / name / f"{number}.png").touch()
    assert find(tmp_path).train.class_names == ("bus", "car", "train")


def test_test_goes_before_val(tmp_path: Path) -> None:
    for part, images in (("train", 3), ("val", 2), ("test", 1)):
        touch(tmp_path / part, {"a": images, "b": images})
    assert len(find(tmp_path).test) == 2
    assert find(tmp_path).test.root == tmp_path / "test"


def test_val_goes_before_a_test_without_class_folders(tmp_path: Path) -> None:
    for part in ("train", "val"):
        touch(tmp_path / part, {"a": 2, "b": 2})
    touch(tmp_path, {"test": 3})
    assert find(tmp_path).test.root == tmp_path / "val"


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, {"a": 2, "b": 2, ".cache": 1})
    (tmp_path / "a" / ".hidden").touch()
    (tmp_path / "labels.txt").touch()
    folders = find(tmp_path)
    assert folders.train.class_names == ("a", "b")
    assert len(folders.train) + len(folders.test) == 4


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such folder; dataset\.root must hold one folder of images for"):
        find(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("classes", "files", "found"),
    [
        ((), 0, "none"),
        (("one",), 0, "one"),
        ((), 1200, "none beside 1,200 files; each file goes into the folder of its class"),
    ],
)
def test_fewer_than_two_classes(classes: tuple[str, ...], files: int, found: str, tmp_path: Path) -> None:
    touch(tmp_path / "train", {"a": 1, "b": 1})
    touch(tmp_path, {"val": files})
    for name in classes:
        (tmp_path / "val" / name).mkdir()
    with pytest.raises(ValueError, match=f"val: must hold the folders of at least two classes, found {found}$"):
        find(tmp_path)


def test_class_without_images(tmp_path: Path) -> None:
    touch(tmp_path, {"a": 2, "b": 2, "empty": 0})
    with pytest.raises(ValueError, match="empty: the class has no images; add some or remove the folder"):
        find(tmp_path)


def test_class_of_one_image(tmp_path: Path) -> None:
    touch(tmp_path, {"a": 2, "alone": 1})
    with pytest.raises(ValueError, match="alone: the class needs at least two images, one of them for the test set"):
        find(tmp_path)


def test_folder_in_a_class(tmp_path: Path) -> None:
    touch(tmp_path, {"a": 2, "b": 2, "b/more": 1})
    with pytest.raises(ValueError, match="more: is a folder; a class folder holds images alone"):
        find(tmp_path)


def test_test_set_of_other_classes(tmp_path: Path) -> None:
    touch(tmp_path / "train", {"a": 2, "red": 2})
    touch(tmp_path / "test", {"a": 2, "green": 2})
    with pytest.raises(ValueError, match="test: must have the classes of the training set; green, red stand in one"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("parts", "found"),
    [((), "nothing"), (("train",), "train"), (("a", "b"), "a, b"), (("training", "val"), "training, val")],
)
def test_parts_that_must_be_there(parts: tuple[str, ...], found: str, tmp_path: Path) -> None:
    for part in parts:
        touch(tmp_path / part, {"a": 2, "b": 2})
    with pytest.raises(
        ValueError,
        match=rf"dataset\.root must hold train/ and val/ \(or test/\), each with one folder of .*; it holds {found}$",
    ):
        find(tmp_path, held_out=False)
