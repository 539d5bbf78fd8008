"""How one trial is trained: the recipe and the fidelity, as plain data. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from seqconv import validation
from training import levels

if TYPE_CHECKING:
    from training.data import Proxy

SCHEDULES = ("one_cycle", "cosine")
AUGMENTATIONS = ("auto", "crop_flip", "crop", "none")
PRECISIONS = ("auto", "float32", "bfloat16")
RECIPE = ("learning_rate", "momentum", "weight_decay", "label_smoothing", "dropout")
"""Numbers that may change from one epoch to the next, while weights and the state of the optimizer stay."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """SGD with Nesterov momentum under a learning rate schedule, and how much data and time a trial gets.

    Raises:
        ValueError: a field out of range, naming it as `trial.<field>` and what is allowed.
    """

    epochs: int | None = None
    """Passes over the training images; null: what the data set recommends for a proxy."""
    share: float | Mapping[int, float] | None = None
    """Share of the training images that is used, in (0, 1]; null: what the data set recommends.

    It may grow, like the resolution: {1: 0.25, 4: 1.0} is a quarter of them, and from epoch 4 on all.
    """
    resolution: int | Mapping[int, int] | None = None
    """Side in pixels of the images that are trained and validated on; null: as the data is."""
    width: float | None = None
    """Share of each stage's channels that the trained network has, in (0, 1], see `seqconv.narrowing`; null: all."""
    validation_limit: int | None = None
    """Validation images at most; null: what the data set recommends."""
    batch_size: int = 64
    """Images of a training step."""
    learning_rate: float = 0.1
    """Peak learning rate."""
    momentum: float = 0.9
    """Nesterov momentum; 0 is plain SGD."""
    weight_decay: float = 1e-4
    """L2 penalty on all parameters, as in the paper."""
    label_smoothing: float = 0.0
    """Probability mass spread over all classes in the training loss."""
    schedule: str = "one_cycle"
    """After the warmup to zero: one_cycle in a straight line, cosine along half a cosine."""
    warmup: float = 0.2
    """Share of the steps in which the learning rate rises from zero to its peak."""
    dropout: float = 0.0
    """Probability that a channel is dropped in front of a convolution."""
    norm_batches: int = 4
    """Training batches on which batch norm's statistics are measured before validation; 0: the running averages.

    In an epoch of few steps the running averages lag so far behind the weights that they hide what was learned.
    """
    augment: str = "auto"
    """Random crop and horizontal flip; auto: crop_flip, or crop where a mirrored image means something else."""
    precision: str = "auto"
    """auto: bfloat16 autocast on a GPU that has it, float32 elsewhere."""
    channels_last: bool = True
    """Memory layout of the tensors: channels last is the faster one, on CPUs too."""
    checkpoint_every: int = 1
    """Epochs between two checkpoints."""

    def __post_init__(self) -> None:
        for name in ("epochs", "validation_limit"):
            if getattr(self, name) is not None:
                validation.integer(f"trial.{name}", getattr(self, name))
        for name, check in (("share", _share), ("resolution", validation.integer)):
            if getattr(self, name) is not None:
                setting = levels.checked(f"trial.{name}", getattr(self, name), check, self.epochs)
                object.__setattr__(self, name, setting)
        if self.width is not None:
            self._check_number("width", low=0, high=1, open_low=True)
        # Batch norm cannot normalise a single image whose last feature map is one pixel.
        validation.integer("trial.batch_size", self.batch_size, low=2)
        validation.integer("trial.norm_batches", self.norm_batches, low=0)
        validation.integer("trial.checkpoint_every", self.checkpoint_every)
        self._check_number("learning_rate", low=0, open_low=True)
        self._check_number("weight_decay", low=0)
        for name in ("momentum", "label_smoothing", "dropout"):
            self._check_number(name, low=0, high=0.99)
        self._check_number("warmup", low=0, high=1)
        validation.one_of("trial.schedule", self.schedule, SCHEDULES)
        validation.one_of("trial.augment", self.augment, AUGMENTATIONS)
        validation.one_of("trial.precision", self.precision, PRECISIONS)
        validation.boolean("trial.channels_last", self.channels_last)

    def resolved(self, proxy: Proxy, *, flip: bool) -> TrialConfig:
        """This configuration with nothing left to the data set.

        Args:
            proxy: the data set's recommended fidelity, taken where a field is None.
            flip: whether a mirrored image of the data set keeps its meaning.
        """
        return replace(
            self,
            epochs=proxy.epochs if self.epochs is None else self.epochs,
            share=proxy.share if self.share is None else self.share,
            validation_limit=proxy.validation_limit if self.validation_limit is None else self.validation_limit,
            augment=("crop_flip" if flip else "crop") if self.augment == "auto" else self.augment,
        )

    def _check_number(self, name: str, *, low: float, high: float = float("inf"), open_low: bool = False) -> None:
        checked = validation.number(f"trial.{name}", getattr(self, name), low=low, high=high, open_low=open_low)
        object.__setattr__(self, name, checked)


def _share(name: str, value: Any) -> float:
    return validation.number(name, value, low=0, high=1, open_low=True)
