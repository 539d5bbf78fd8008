"""The whole of full training on images in files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.training.full import small
from tests.training.full.pictures import lay_out
from training.full.image_batches import ImageBatches
from training.full.image_files import ImageFiles
from training.full.recipe import Recipe

RECIPE = replace(
    small.EVERYTHING, epochs=2, batch_size=8, augment="trivial", resolution=16, evaluation_resolution=24, lighting=0.1
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Breaking(ImageFiles):
    """Breaks off in the middle of the second epoch."""

    def open(self, recipe: Recipe, **arguments: Any) -> ImageBatches:
        batches = ImageFiles.open(self, recipe, **arguments)
        train = batches.train

        def breaking(epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
            for position, batch in enumerate(train(epoch, start), start):
                if (epoch, position) == (2, 4):
                    raise small.Broken
                yield batch

        batches.train = breaking  # type: ignore[method-assign]
        return batches


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("images"), train=9, val=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_that_broke_off_comes_to_the_same_weights(workers: int, root: Path, tmp_path: Path) -> None:
    files = ImageFiles(root=str(root), workers=0)
    unbroken = list(small.run(tmp_path / "unbroken", RECIPE, data=files))
    every_step = replace(RECIPE, checkpoint_every=1e-6)
    with contextlib.suppress(small.Broken):
        list(small.run(tmp_path / "broken", every_step, data=Breaking(root=str(root), workers=workers)))
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    resumed = list(small.run(tmp_path / "broken", every_step, data=ImageFiles(root=str(root), workers=workers)))
    assert list(map(small.timeless, resumed)) == list(map(small.timeless, unbroken))
    small.assert_same_weights(tmp_path / "broken", tmp_path / "unbroken")


def test_skipped_images_are_counted_over_the_epochs(root: Path, tmp_path: Path) -> None:
    images = lay_out(tmp_path / "images", train=8, val=3)
    for name in ("train/blue/1.jpg", "val/red/0.jpg"):
        (images / name).write_bytes(b"no picture")
    recipe = replace(RECIPE, ema=0.0)
    files = ImageFiles(root=str(images), workers=0, on_error="skip")
    assert [metrics.skipped for metrics in small.run(tmp_path / "run", recipe, data=files)] == [2, 4]
    stopped = small.run(tmp_path / "stopped", recipe, data=replace(files, on_error="stop"))
    with pytest.raises(ValueError, match=r"train/blue/1\.jpg: cannot be read as an image"):
        list(stopped)
