"""What an epoch of full training came to. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FullMetrics:
    """One epoch over all processes: the same values in each of them."""

    epoch: int
    """Epochs done, from 1."""
    train_loss: float
    """Mean loss of the augmented training images, smoothed and mixed labels included, while the weights changed."""
    train_error: float
    """Share of them that was classified wrongly, 0 to 1; of a mixed image the larger label counts."""
    test_loss: float
    """Mean cross entropy of the test images after the epoch, without label smoothing."""
    test_error: float
    """Share of them that is classified wrongly, 0 to 1."""
    ema_error: float | None
    """The same with the averaged weights; None without `recipe.ema`."""
    learning_rate: float
    """Learning rate of the epoch's last step."""
    seconds: float
    """Wall time of the epoch, test included."""
    images_per_second: float
    """Training images a second over all processes, test not counted."""
    data_share: float
    """Share of the training time in which the loop waited for images, 0 to 1."""
    skipped: int
    """Unreadable images that were left out since this process started."""
