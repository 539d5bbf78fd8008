from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real_data import CIFAR10_CLASSES, colours, write_cifar10, write_pickle
from tests.training.datasets.conftest import names
from tests.training.datasets.test_restricted_pickle import Evil
from training.datasets import Cifar10, Cifar100, cifar
from training.datasets.cifar import MissingDataError

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small copy of CIFAR-10's layout."""
    write_cifar10(tmp_path / FOLDER)
    return tmp_path


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The small copy as an archive, whose sums pass for the official ones."""
    folder = tmp_path / "made" / FOLDER
    write_cifar10(folder)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        files.add(folder, FOLDER)
    official(monkeypatch, folder, buffer.getvalue())
    return buffer.getvalue()


def official(monkeypatch: pytest.MonkeyPatch, folder: Path, archive: bytes = b"") -> None:
    """Let the sums of the files in `folder`, and of `archive`, pass for the official ones."""
    layout = Cifar10.layout
    sums = {
        part: {name: md5((folder / name).read_bytes()) for name in getattr(layout, part)}
        for part in ("train", "test", "meta")
    }
    monkeypatch.setattr(Cifar10, "layout", replace(layout, archive_md5=md5(archive), **sums))


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def load(root: Path, **fields: Any) -> Any:
    return Cifar10(root=str(root), **{"verify": False, "download": False, **fields}).load()


def edit(path: Path, **entries: Any) -> None:
    """Replace entries of a batch; None removes one."""
    content = pickle.loads(path.read_bytes(), encoding="bytes")
    content |= {key.encode(): value for key, value in entries.items()}
    write_pickle(path, {key: value for key, value in content.items() if value is not None}, 4)


def test_images_of_cifar10(cifar10_root: Path) -> None:
    data = load(cifar10_root)
    files = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    batches = [pickle.loads((cifar10_root / FOLDER / file).read_bytes(), encoding="bytes") for file in files]
    images = np.concatenate([data.train_images, data.test_images])
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert np.array_equal(images.reshape(len(images), -1), np.concatenate([batch[b"data"] for batch in batches]))
    assert labels.tolist() == [label for batch in batches for label in batch[b"labels"]]
    assert len(data.test_images) * 5 == len(data.train_images)
    assert set(np.bincount(data.train_labels)) == {len(data.train_images) // 10}
    assert (data.name, data.classes, data.resolution) == ("cifar10", 10, 32)
    assert data.class_names == CIFAR10_CLASSES
    assert data.proxy == Cifar10.proxy
    counts = f"{len(data.train_images):,} training and {len(data.test_images):,} test images"
    checked = "md5 sums not compared (dataset.verify=false)"
    assert data.source == f"CIFAR-10, {counts} under {cifar10_root / FOLDER}, {checked}"


def test_root_may_be_the_folder_itself(root: Path) -> None:
    assert len(load(root / FOLDER).train_images) == 100
    (root / FOLDER).rename(root / "renamed")
    assert len(load(root / "renamed").train_images) == 100


def test_root_in_the_home_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    assert len(load(Path("~")).train_images) == 100


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_batches_that_were_written_again(protocol: int, root: Path) -> None:
    before = load(root)
    for file in (root / FOLDER).iterdir():
        content = pickle.loads(file.read_bytes(), encoding="bytes")
        plain = {key.decode(): value for key, value in content.items()}
        if "labels" in plain:
            plain["labels"] = np.array(plain["labels"])
        write_pickle(file, plain, protocol)
    after = load(root)
    assert np.array_equal(before.train_images, after.train_images)
    assert np.array_equal(before.test_labels, after.test_labels)
    assert before.class_names == after.class_names


def test_cifar100(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    labels = list(range(100))
    for file in ("train", "test"):
        pixels = colours([0] * 100, np.random.default_rng(0))
        write_pickle(folder / file, {b"data": pixels, b"fine_labels": labels, b"coarse_labels": [0] * 100})
    write_pickle(folder / "meta", {b"fine_label_names": [f"name {i}".encode() for i in labels]})
    data = Cifar100(root=str(tmp_path), verify=False).load()
    assert (data.name, data.classes, data.class_names[99]) == ("cifar100", 100, "name 99")
    assert data.train_labels.tolist() == labels
    assert data.source.startswith("CIFAR-100, 100 training and 100 test images")


def test_sums_and_names_are_those_of_torchvision() -> None:
    from torchvision import datasets

    for mine, theirs in ((Cifar10.layout, datasets.CIFAR10), (Cifar100.layout, datasets.CIFAR100)):
        assert (mine.folder, mine.archive, mine.archive_md5) == (theirs.base_folder, theirs.filename, theirs.tgz_md5)
        assert list(map(list, mine.train.items())) == theirs.train_list
        assert list(map(list, mine.test.items())) == theirs.test_list
        assert mine.meta == {theirs.meta["filename"]: theirs.meta["md5"]}
        assert f"{Cifar10().base_url}{mine.archive}" == theirs.url


def test_sums_are_compared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official(monkeypatch, root / FOLDER)
    assert load(root, verify=True).source.endswith("md5 sums verified")
    edit(root / FOLDER / "data_batch_3", filenames=[b"other"])
    found = md5((root / FOLDER / "data_batch_3").read_bytes())
    with pytest.raises(ValueError, match=r"data_batch_3: has md5") as raised:
        load(root, verify=True)
    message = str(raised.value)
    assert f"has md5 {found}, expected {Cifar10.layout.train['data_batch_3']}" in message
    assert f"remove {root / FOLDER} to have" in message
    assert "pass dataset.verify=false for a re-encoded copy; it is then read with a restricted unpickler" in message
    assert len(load(root).train_images) == 100


def test_sum_of_the_class_names_is_compared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official(monkeypatch, root / FOLDER)
    edit(root / FOLDER / "batches.meta", num_vis=0)
    with pytest.raises(ValueError, match=r"batches\.meta: has md5"):
        load(root, verify=True)


def test_command_in_a_batch_is_not_run(root: Path) -> None:
    write_pickle(root / FOLDER / "data_batch_2", {b"data": Evil(f"touch {root / 'ran'}")})
    with pytest.raises(ValueError, match=r"data_batch_2: refused to load (posix|nt)\.system"):
        load(root)
    assert not (root / "ran").exists()


def test_truncated_batch(root: Path) -> None:
    path = root / FOLDER / "data_batch_4"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="data_batch_4: truncated, or no pickle"):
        load(root)


def test_missing_batch(root: Path) -> None:
    (root / FOLDER / "data_batch_5").unlink()
    with pytest.raises(ValueError, match=f"data_batch_5: no such file; complete .*{FOLDER}, or remove it") as raised:
        load(root, download=True)
    assert not isinstance(raised.value, MissingDataError)


def test_batch_that_is_a_folder(root: Path) -> None:
    (root / FOLDER / "data_batch_5").unlink()
    (root / FOLDER / "data_batch_5").mkdir()
    with pytest.raises(ValueError, match="data_batch_5: cannot be read: Is a directory"):
        load(root)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"data": None}, "data_batch_1: has no entry 'data'; it has labels"),
        ({"labels": None}, "data_batch_1: has no entry 'labels'; it has data"),
        ({"data": [1, 2]}, "data_batch_1: data must be uint8 rows of 3072 values, got list"),
        ({"data": np.zeros((20, 3071), np.uint8)}, r"data must be uint8 rows of 3072 values, got uint8 \(20, 3071\)"),
        ({"data": np.zeros((20, 3072), np.int64)}, r"data must be uint8 rows of 3072 values, got int64 \(20, 3072\)"),
        ({"data": np.zeros((19, 3072), np.uint8)}, "labels must be one for each of the 19 images, .*, got 20"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "one for each of the 0 images, at least one, got 0"),
        ({"labels": [0] * 19 + [10]}, "data_batch_1: labels must be from 0 to 9, got 10"),
        ({"labels": [-1] * 20}, "data_batch_1: labels must be from 0 to 9, got -1"),
        ({"labels": ["0"] * 20}, "data_batch_1: labels must be a list of integers"),
        ({"labels": np.zeros((20, 1), np.int64)}, "data_batch_1: labels must be a list of integers"),
        ({"labels": b"0"}, "data_batch_1: labels must be a list of integers"),
    ],
)
def test_batch_of_another_content(entries: dict[str, Any], message: str, root: Path) -> None:
    edit(root / FOLDER / "data_batch_1", **entries)
    with pytest.raises(ValueError, match=message):
        load(root)


@pytest.mark.parametrize("label_names", [[b"one"], b"airplane", np.arange(10)])
def test_class_names_of_another_content(label_names: Any, root: Path) -> None:
    edit(root / FOLDER / "batches.meta", label_names=label_names)
    with pytest.raises(ValueError, match=r"batches\.meta: label_names must be a list of 10 names"):
        load(root)


def test_archive_is_unpacked(archive: bytes, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / ARCHIVE).write_bytes(archive)
    assert len(load(root, verify=True).train_images) == 100
    assert names(root) == [FOLDER, ARCHIVE]


def test_archive_of_another_sum(archive: bytes, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / ARCHIVE).write_bytes(archive[:-100])
    with pytest.raises(ValueError, match=rf"{ARCHIVE}: has md5 .* remove .*{ARCHIVE} to have the data set downloaded"):
        load(root, verify=True)
    with pytest.raises(ValueError, match=f"{ARCHIVE}: truncated, or no archive that can be unpacked"):
        load(root)
    (root / ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(ValueError, match=f"{ARCHIVE}: truncated, or no archive .*not a gzip file.*; remove it"):
        load(root)
    assert names(root) == [ARCHIVE]


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../outside", f"{ARCHIVE}: truncated, or no archive that can be unpacked .*outside"),
        ("other/data_batch_1", f"{ARCHIVE}: has no folder {FOLDER}"),
    ],
)
def test_archive_of_another_content(member: str, message: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with tarfile.open(root / ARCHIVE, "w:gz") as files:
        files.addfile(tarfile.TarInfo(member))
    with pytest.raises(ValueError, match=message):
        load(root)
    assert names(root) == [ARCHIVE]
    assert names(tmp_path) == ["data"]


@pytest.mark.parametrize("limit", ["_MOST_FILES", "_MOST_BYTES"])
def test_an_archive_of_more_than_the_data_set(
    limit: str, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ARCHIVE).write_bytes(archive)
    monkeypatch.setattr(cifar, limit, 3)
    before = names(tmp_path)
    with pytest.raises(ValueError, match=rf"{ARCHIVE}: truncated, or no .*unpacked it is more than \d+ files or"):
        load(tmp_path)
    assert names(tmp_path) == before


def test_an_archive_with_a_link_to_elsewhere(tmp_path: Path) -> None:
    link = tarfile.TarInfo(f"{FOLDER}/data_batch_1")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as files:
        files.addfile(link)
    found = "truncated, or no archive that can be unpacked .*link to an absolute path"
    with pytest.raises(ValueError, match=f"{ARCHIVE}: {found}"):
        load(tmp_path)
    assert names(tmp_path) == [ARCHIVE]


def test_class_names_that_are_no_text(cifar10_root: Path, tmp_path: Path) -> None:
    write_cifar10(tmp_path / FOLDER)
    write_pickle(tmp_path / FOLDER / "batches.meta", {b"label_names": [("a", "b")] * 10})
    with pytest.raises(ValueError, match=r"batches\.meta: label_names must be a list of 10 names"):
        load(tmp_path)


def test_archive_in_a_read_only_folder(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    (tmp_path / ARCHIVE).write_bytes(archive)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(ValueError, match=f"{ARCHIVE}: cannot be unpacked to {tmp_path}: Read-only file system"):
        load(tmp_path)


def test_archive_that_another_process_unpacks_first(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack = tarfile.TarFile.extractall

    def meanwhile(*arguments: Any, **options: Any) -> None:
        unpack(*arguments, **options)
        write_cifar10(tmp_path / FOLDER)

    (tmp_path / ARCHIVE).write_bytes(archive)
    monkeypatch.setattr(tarfile.TarFile, "extractall", meanwhile)
    assert len(load(tmp_path).train_images) == 100
    assert names(tmp_path) == [FOLDER, ARCHIVE, "made"]


def test_download(server: Any, archive: bytes, tmp_path: Path) -> None:
    server.files[ARCHIVE] = archive
    root = tmp_path / "data"
    first = load(root, verify=True, download=True, base_url=server.url)
    assert len(first.train_images) == 100
    assert names(root) == [FOLDER, ARCHIVE]
    load(root, verify=True, download=True, base_url=server.url)
    assert len(server.ranges) == 1


def test_interrupted_download_is_resumed_by_the_next_call(server: Any, archive: bytes, tmp_path: Path) -> None:
    server.files[ARCHIVE], server.send_only = archive, 1000
    root = tmp_path / "data"
    with pytest.raises(MissingDataError, match=r"could not be downloaded .*keeps 1,000 bytes, and the next"):
        load(root, download=True, base_url=server.url)
    assert names(root) == [f"{ARCHIVE}.part"]
    server.send_only = None
    assert len(load(root, download=True, base_url=server.url).train_images) == 100
    assert server.ranges == [None, "bytes=1000-"]


def test_download_of_another_sum(server: Any, tmp_path: Path) -> None:
    server.files[ARCHIVE] = b"<html>Please log in</html>"
    with pytest.raises(MissingDataError, match=f"expected {Cifar10.layout.archive_md5}; what came was removed"):
        load(tmp_path / "data", download=True, base_url=server.url)
    assert names(tmp_path / "data") == []


def test_data_that_cannot_be_had(refusing_url: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    with pytest.raises(MissingDataError) as raised:
        load(root, download=True, base_url=refusing_url)
    assert str(raised.value) == (
        f"CIFAR-10 is not under {root} (looked for {FOLDER}/, {ARCHIVE} and data_batch_1) and could not be downloaded "
        f"(127.0.0.1 refuses the connection): put one of them there, say where they are with dataset.root=DIR, or use "
        f"dataset=digits or dataset=auto, which need no download"
    )
    assert not root.exists()


def test_data_that_may_not_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"and dataset\.download is false: put one of them there"):
        load(tmp_path)


def test_root_that_cannot_be_made(server: Any, tmp_path: Path) -> None:
    server.files[ARCHIVE] = b"any"
    (tmp_path / "data").write_text("")
    with pytest.raises(MissingDataError, match=r"could not be downloaded \(.*data cannot be written: File exists\)"):
        load(tmp_path / "data", download=True, base_url=server.url)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"root": ""}, "dataset.root must be the path of a folder, got ''"),
        ({"root": 3}, "dataset.root must be the path of a folder, got 3"),
        ({"verify": "no"}, "dataset.verify must be true or false, got 'no'"),
        ({"download": 1}, "dataset.download must be true or false, got 1"),
        ({"patience": 0}, "dataset.patience must be a number above 0, got 0"),
        ({"base_url": "https://me:word@host/"}, "dataset.base_url must have no user or password in it"),
        ({"base_url": "file:///tmp"}, "dataset.base_url must begin with https:// or http://, got 'file:///tmp'"),
    ],
)
@pytest.mark.parametrize("kind", [Cifar10, Cifar100])
def test_fields_are_checked(kind: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**fields)
