"""How a network is trained in full, as plain data. No torch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from seqconv import validation
from training.full.data import micro_batch
from training.trial import PRECISIONS

SCHEDULES = ("step", "cosine", "one_cycle")
AUGMENTATIONS = ("auto", "crop_flip", "crop", "none", "resized_crop", "trivial", "randaugment")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD under a learning rate schedule, and all that is done to images, labels and weights meanwhile.

    The defaults are the paper's for CIFAR.

    Raises:
        ValueError: a field out of range, or fields that exclude each other, naming them as `recipe.<field>` and what is
            allowed.
    """

    epochs: int = 300
    """Passes over the training images."""
    batch_size: int = 64
    """Images of an optimizer step, over all processes and micro-batches."""
    accumulate: int = 1
    """Micro-batches of an optimizer step: as many times less memory, the same gradient."""
    learning_rate: float = 0.1
    """Peak learning rate."""
    momentum: float = 0.9
    """Of SGD; 0 is plain SGD."""
    nesterov: bool = True
    """Whether the momentum is Nesterov's."""
    weight_decay: float = 1e-4
    """L2 penalty."""
    decay_norms: bool = True
    """Whether the penalty is on all parameters; false leaves out biases and the weights of norms."""
    schedule: str = "step"
    """After the warm-up: step down at the milestones, cosine along half a cosine, one_cycle in a straight line."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Schedule step: shares of all epochs after which the learning rate is multiplied by gamma."""
    gamma: float = 0.1
    """Schedule step: factor at each milestone."""
    warmup_epochs: float = 0.0
    """Epochs in which the learning rate rises in a straight line from zero to its peak."""
    label_smoothing: float = 0.0
    """Probability mass spread over all classes in the training loss."""
    mixup: float = 0.0
    """Alpha of the Beta distribution by which two images are mixed; 0 is none. With cutmix, one of them each batch."""
    cutmix: float = 0.0
    """Alpha of the Beta distribution of the area cut out of another image; 0 is none."""
    augment: str = "auto"
    """What is done to each training image; auto: what the data set recommends."""
    colour_jitter: float = 0.0
    """Largest relative change of brightness, contrast and saturation; 0 is none."""
    lighting: float = 0.0
    """Standard deviation of noise along the principal components of colour; 0 is none."""
    random_erasing: float = 0.0
    """Probability that a rectangle of an image is erased."""
    dropout: float = 0.0
    """Probability that a channel is dropped in front of a convolution."""
    ema: float = 0.0
    """Decay in each step of the moving average of the weights; 0 is no average."""
    precision: str = "auto"
    """auto: bfloat16 autocast on a GPU that has it, float32 elsewhere."""
    channels_last: bool = True
    """Memory layout of the tensors: channels last is the faster one, on CPUs too."""
    recompute: bool = False
    """Save memory by computing parts of the network a second time in the backward pass."""
    compile: bool = False
    """Whether training goes through torch.compile."""
    resolution: int | None = None
    """Side in pixels of the training images; null: the data set's own. For images in files."""
    evaluation_resolution: int | None = None
    """Side in pixels of the test images; null: that of the training images. For images in files."""
    norm_batches: int = 0
    """Training batches on which batch norm's statistics are measured before a test; 0: the running averages."""
    checkpoint_every: float = 300.0
    """Seconds between two checkpoints within an epoch; the end of an epoch has one too."""

    def __post_init__(self) -> None:
        self._check_fields()
        micro_batch(self, world=1)
        if self.nesterov and not self.momentum:
            raise ValueError(
                "recipe.nesterov needs a momentum above 0, got recipe.momentum 0: raise it, or set recipe.nesterov to "
                "false"
            )
        if self.recompute and self.compile:
            raise ValueError(
                "recipe.recompute and recipe.compile exclude each other, because the compiler decides by itself: set "
                "one of them to false"
            )

    def tested_at(self, resolution: int) -> int:
        """Side in pixels of the test images, for which a network's cost is told, where the data set's own is this."""
        return self.evaluation_resolution or self.resolution or resolution

    def _check_fields(self) -> None:
        for name in ("epochs", "accumulate"):
            validation.integer(f"recipe.{name}", getattr(self, name))
        # Batch norm cannot normalise a single image whose last feature map is one pixel.
        validation.integer("recipe.batch_size", self.batch_size, low=2)
        validation.integer("recipe.norm_batches", self.norm_batches, low=0)
        for name in ("resolution", "evaluation_resolution"):
            if getattr(self, name) is not None:
                validation.integer(f"recipe.{name}", getattr(self, name), low=8)
        for name in ("learning_rate", "gamma", "checkpoint_every"):
            self._check_number(name, low=0, open_low=True)
        for name in ("weight_decay", "mixup", "cutmix", "lighting"):
            self._check_number(name, low=0)
        for name in ("colour_jitter", "random_erasing"):
            self._check_number(name, low=0, high=1)
        for name in ("label_smoothing", "dropout"):
            self._check_number(name, low=0, high=0.99)
        self._check_number("momentum", low=0, high=0.999)
        self._check_number("ema", low=0, high=0.999999)
        self._check_number("warmup_epochs", low=0, high=self.epochs)
        for name in ("nesterov", "decay_norms", "channels_last", "recompute", "compile"):
            validation.boolean(f"recipe.{name}", getattr(self, name))
        validation.one_of("recipe.schedule", self.schedule, SCHEDULES)
        validation.one_of("recipe.augment", self.augment, AUGMENTATIONS)
        validation.one_of("recipe.precision", self.precision, PRECISIONS)
        self._check_milestones()

    def _check_milestones(self) -> None:
        given: Any = self.milestones
        shares = given if isinstance(given, (tuple, list)) else (None,)  # a tuple read from YAML is a list
        numbers = all(isinstance(share, (int, float)) for share in shares)
        if not numbers or any(later <= share for share, later in itertools.pairwise((0, *shares, 1))):
            allowed = "increasing shares of the epochs, each above 0 and below 1"
            raise ValueError(f"recipe.milestones must be {allowed}, got {given!r}")
        object.__setattr__(self, "milestones", tuple(map(float, shares)))

    def _check_number(self, name: str, *, low: float, high: float = float("inf"), open_low: bool = False) -> None:
        checked = validation.number(f"recipe.{name}", getattr(self, name), low=low, high=high, open_low=open_low)
        object.__setattr__(self, name, checked)
