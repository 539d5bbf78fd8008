"""What each epoch of a trial is trained on: how many images, of how many pixels. No torch until a network is looked at.

Widths are not here: a trial has one network, see `seqconv.narrowing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqconv.architecture import Architecture
from training import levels

if TYPE_CHECKING:
    from training.data import Split
    from training.trial import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """The data of an epoch."""

    share: float | None
    """Of the training images, where it is one that grows later; None: all that the split has."""
    images: int
    """To train on."""
    resolution: int
    """Side of an image in pixels."""


def fidelities(config: TrialConfig, split: Split, *, epochs: int) -> list[Fidelity]:
    """The fidelity of each epoch.

    Raises:
        ValueError: a resolution above that of the images, or a share that the split was not made with.
    """
    side = split.train_images.shape[-1]
    resolution = side if config.resolution is None else config.resolution
    check_resolution(config, side)
    found = []
    for epoch in range(1, epochs + 1):
        share = levels.at(config.share, epoch) if isinstance(config.share, Mapping) else None
        # The last level is all that there is.
        share = None if isinstance(config.share, Mapping) and share == max(config.share.values()) else share
        if share is not None and share not in split.subsets:
            raise ValueError(
                f"the split has no subset for trial.share {share:g}: make it with split(share=trial.share)"
            )
        images = len(split.train_labels) if share is None else len(split.subsets[share])
        found.append(Fidelity(share=share, images=images, resolution=levels.at(resolution, epoch)))
    return found


def check_resolution(config: TrialConfig, side: int, architectures: Sequence[Architecture] = ()) -> None:
    """Refuse resolutions that images of `side` pixels cannot be shrunk to, or that a network's strides do not fit in.

    Raises:
        ValueError: naming the resolution, and the lowest or highest that is allowed.
    """
    if config.resolution is None:
        return
    resolutions = levels.values(config.resolution)
    if max(resolutions) > side:
        raise ValueError(f"trial.resolution must be at most {side}, the images' own, got {max(resolutions)}")
    least, architecture = max(((_reduction(a), a) for a in architectures), key=lambda pair: pair[0], default=(1, None))
    if architecture is not None and min(resolutions) < least:
        raise ValueError(
            f"trial.resolution must be at least {least}, got {min(resolutions)}: the strides of a network of "
            f"{len(architecture.stages)} stages shrink images {least} times, and leave nothing of smaller ones"
        )


def describe(epochs: Sequence[Fidelity], *, width: float | None, validated: int, side: int) -> str:
    """For a person: the images of each level, their pixels where they are not the `side` of the data's own, the width.

    Args:
        epochs: fidelity of each epoch.
        width: as in `TrialConfig`.
        validated: images to validate on.
        side: of the images of the data set.
    """
    text = f"{len(epochs)} epochs of {_levels([f'{epoch.images:,}' for epoch in epochs], ' images')}"
    if {epoch.resolution for epoch in epochs} != {side}:
        text += f" of {_levels([f'{epoch.resolution}x{epoch.resolution}' for epoch in epochs], ' pixels')}"
    if width is not None:
        text += f" with {width:g} of the channels"
    return f"{text}, validated on {validated:,}"


def costs(epochs: Sequence[Fidelity], validated: int) -> list[float]:
    """What each epoch costs against the others: an image forward and backward counts three times one forward."""
    return [float((3 * epoch.images + validated) * epoch.resolution**2) for epoch in epochs]


def _levels(values: Sequence[str], unit: str) -> str:
    """`270 images (1,078 from epoch 4)`."""
    begins = [i for i, value in enumerate(values) if i == 0 or values[i - 1] != value]
    later = ", ".join(f"{values[i]} from epoch {i + 1}" for i in begins[1:])
    return f"{values[0]}{unit}{f' ({later})' if later else ''}"


def _reduction(architecture: Architecture) -> int:
    """By what a network divides the side of an image."""
    import torch

    from seqconv.networks.build import build

    with torch.device("meta"):
        return build(architecture, classes=1).feature_info[-1].reduction
