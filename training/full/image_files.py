"""Images that full training reads from files, at full size. No torch at import."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from seqconv import validation
from training.datasets.class_folders import ClassFolders, find
from training.datasets.folder import IMAGENET_MEAN, IMAGENET_STD
from training.datasets.root import root_path

if TYPE_CHECKING:
    import torch

    from training.full.image_batches import ImageBatches
    from training.full.recipe import Recipe

ON_ERROR = ("stop", "skip")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFiles:
    """The `training.full.data.FullData` of a folder of class folders, see `training.datasets.class_folders.find`.

    The folders are looked through once, when something about them is first asked for; what was found is pickled with
    this object, so that all processes that train see the same files.

    Raises:
        ValueError: a field of the wrong kind or out of range; when the folders are looked through, whatever is wrong
            with them.
    """

    root: str
    """Folder of the class folders, or of train/ and val/."""
    name: str = "folder"
    """What it is, recorded with every result."""
    held_out: bool = True
    """Whether test images may be held out of the training set; else train/ and val/ must be there."""
    resolution: int = 224
    """Side in pixels of the training images where the recipe says nothing else."""
    on_error: str = "stop"
    """What an unreadable image does: stop the training, or skip: be left out and counted."""
    workers: int | None = None
    """Processes that read images for this one; None: its share of the machine's cores; 0: this one reads by itself."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean of each channel, for pixel values from 0 to 1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Standard deviation of each channel, for pixel values from 0 to 1."""

    def __post_init__(self) -> None:
        root_path(self.root)
        validation.integer("dataset.resolution", self.resolution, low=8)
        validation.one_of("dataset.on_error", self.on_error, ON_ERROR)
        if self.workers is not None:
            validation.integer("dataset.workers", self.workers, low=0)
        object.__setattr__(self, "mean", _channels("dataset.mean", self.mean))
        object.__setattr__(self, "std", _channels("dataset.std", self.std, open_low=True))

    @cached_property
    def folders(self) -> ClassFolders:
        """The files and their labels."""
        return find(root_path(self.root), held_out=self.held_out)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label."""
        return self.folders.train.class_names

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.folders.train)

    @property
    def test_size(self) -> int:
        """Number of test images."""
        return len(self.folders.test)

    @property
    def source(self) -> str:
        """One sentence: which images, and from where."""
        return self.folders.source

    def open(self, recipe: Recipe, *, rank: int, world: int, seed: int, device: torch.device) -> ImageBatches:
        """The batches of process `rank` of `world`.

        Raises:
            ValueError: a batch that does not divide among the processes, too few images for one, or folders that
                cannot be used.
        """
        from training.full.image_batches import ImageBatches

        return ImageBatches(self, recipe, rank=rank, world=world, seed=seed, device=device)


def _channels(name: str, values: Any, *, open_low: bool = False) -> tuple[float, float, float]:
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        raise ValueError(f"{name} must be three numbers, one for each channel, got {values!r}")
    red, green, blue = (validation.number(name, value, low=0, high=1, open_low=open_low) for value in values)
    return red, green, blue
