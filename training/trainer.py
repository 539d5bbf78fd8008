"""One network in training: its optimizer, its learning rate, and the images on its device.

Shape suffixes: N batch, H height, W width, C channels.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqconv import measure
from seqconv.architecture import Architecture
from seqconv.narrowing import narrowed
from seqconv.networks.build import build
from training import augment, device, memory, schedule
from training.fidelity import Fidelity, fidelities
from training.parts import Parts
from training.resize import resized
from training.stopwatch import Stopwatch

if TYPE_CHECKING:
    from training.data import Split
    from training.trial import TrialConfig

EVALUATION_BATCH = {"cpu": 64, "cuda": 512}
"""Images of a validation step: what stays in a CPU's cache, or fills a GPU."""
CHECK_EVERY = 50
"""Training steps between two looks at the loss: each makes the host wait for the device."""


_OF_THE_RECIPE = ("initial_lr", "momentum", "nesterov", "weight_decay")
"""Settings of the optimizer; its learning rate follows from the first and the step."""


class Diverged(RuntimeError):
    """The loss became infinite or not a number."""


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """What one epoch came to.

    Its time is that of the host, which on a GPU runs ahead of the device: what the device still has to do counts where
    the host waits for it, which is in training, and not where it was asked for. Both have done all at the end of
    training and of evaluating.
    """

    epoch: int
    """Epochs done, from 1."""
    train_loss: float
    """Mean loss of the augmented training images, label smoothing included, while the weights changed."""
    train_error: float
    """Share of them that was classified wrongly, 0 to 1."""
    validation_loss: float
    """Mean cross entropy of the validation images after the epoch, without label smoothing."""
    validation_error: float
    """Share of them that is classified wrongly, 0 to 1."""
    learning_rate: float
    """Learning rate of the epoch's last step."""
    seconds: float
    """Wall time of the epoch, validation included, and in the first one after a start building the network too."""
    images_per_second: float
    """Training images a second, building and validation not counted."""
    build_seconds: float | None = None
    """Part of `seconds` before the first step after a start: network, optimizer, images to the device; in an epoch that
    has other images than the one before, these; else 0."""
    data_seconds: float | None = None
    """Part in which training waited for a batch: choosing, augmenting and normalising images."""
    train_seconds: float | None = None
    """Part in which it did anything else: forward, backward, optimizer."""
    evaluate_seconds: float | None = None
    """Part for batch norm's statistics and validation. None, like the other parts, where it was not measured."""
    parts: int = 1
    """Parts that a batch was computed in: more than one where the memory did not hold a whole one."""
    gpu_utilisation: float | None = None
    """Mean share of the epoch in which the GPU did anything, for any process, 0 to 1; None where nobody tells."""
    gpu_joules: float | None = None
    """Energy of the GPU in the epoch, for all processes; None where nobody counts."""


class Trainer:
    """Trains epoch by epoch; what an epoch does depends on the seed, its number and `state` alone.

    Args:
        architecture: what to train.
        split: images, labels and normalisation.
        config: the recipe and the fidelity.
        epochs: how many there will be, which sets the learning rates.
        classes: number of logits.
        seed: of the initial weights, the order of the images, augmentation and dropout.
        place: the device that holds the network and the images.
    """

    def __init__(
        self,
        architecture: Architecture,
        split: Split,
        config: TrialConfig,
        *,
        epochs: int,
        classes: int,
        seed: int,
        place: torch.device,
    ) -> None:
        self.config, self.epochs, self.seed, self.place = config, epochs, seed, place
        self.watch = Stopwatch("build", "data", "train", "evaluate")
        self.watch.switch("build")
        self.network, self.classes = narrowed(architecture, config.width), classes
        self.split, self.fidelities = split, fidelities(config, split, epochs=epochs)
        self.mean, self.std = (torch.tensor(v, device=place) * 255 for v in (split.mean, split.std))
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.autocast_type = device.autocast_type(config.precision, place)
        if place.type == "cuda":
            torch.backends.cudnn.benchmark = True
        with device.seeded(device.derive(seed, 0), place):
            self.model = build(self.network, classes=classes, dropout=config.dropout)
        self.model.to(place).to(memory_format=self.layout)
        self.norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)]
        self.parts, self.evaluation_parts = Parts(), Parts()
        self._hold(self.fidelities[0])
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=True,
        )
        steps = sum(self._steps(fidelity) for fidelity in self.fidelities)
        # A closure over plain values: with a method, trainer and scheduler would keep each other alive.
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: schedule.factor(config.schedule, step, steps=steps, warmup=config.warmup)
        )

    def epoch(self, epoch: int) -> EpochMetrics:
        """Train for one epoch and validate.

        Raises:
            Diverged: naming epoch, step, loss and learning rate.
        """
        if self.fidelities[epoch - 1] != self.fidelity:
            self.watch.switch("build")
            self._hold(self.fidelities[epoch - 1])
        self.watch.switch("train")
        with device.seeded(device.derive(self.seed, epoch), self.place):
            train_loss, train_error, learning_rate = self._train(epoch)
        self.watch.switch("evaluate")
        if self.norm_batches:
            self.parts.fit(self._measure_norms, self.batch_size)
        validation_loss, validation_error = self.evaluation_parts.fit(self._evaluate, EVALUATION_BATCH[self.place.type])
        if not math.isfinite(validation_loss):
            raise Diverged(
                f"validation loss is {validation_loss} after epoch {epoch} at learning rate {learning_rate:.3g}; "
                "lower trial.learning_rate"
            )
        build, data, train, evaluate = self.watch.stop().values()
        return EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            train_error=train_error,
            validation_loss=validation_loss,
            validation_error=validation_error,
            learning_rate=learning_rate,
            seconds=build + data + train + evaluate,
            images_per_second=self.steps * self.batch_size / (data + train),
            build_seconds=build,
            data_seconds=data,
            train_seconds=train,
            evaluate_seconds=evaluate,
            parts=self.parts.count,
        )

    def state(self) -> dict[str, Any]:
        """All that changes while training."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "parts": self.parts.count,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned, with this recipe: what it says of the optimizer is not taken from there."""
        self.model.load_state_dict(state["model"])
        own = [{name: group[name] for name in _OF_THE_RECIPE} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict({**state["scheduler"], "base_lrs": self.scheduler.base_lrs})
        factor = self.scheduler.lr_lambdas[0](self.scheduler.last_epoch)
        for group, settings in zip(self.optimizer.param_groups, own, strict=True):
            group.update(settings | {"lr": settings["initial_lr"] * factor})
        self.parts = Parts(state.get("parts", 1))  # older checkpoints have none

    def _hold(self, fidelity: Fidelity) -> None:
        """Have the images of a fidelity on the device, and those of them on which batch norm is measured chosen."""
        split, side, self.fidelity = self.split, fidelity.resolution, fidelity
        chosen: np.ndarray | slice = slice(None) if fidelity.share is None else split.subsets[fidelity.share]
        images = resized(split.train_images[chosen], side)
        self.images, self.labels = device.hold(images, split.train_labels[chosen], self.place)
        self.validation = device.hold(resized(split.validation_images, side), split.validation_labels, self.place)
        self.steps = self._steps(fidelity)
        self.batch_size = min(self.config.batch_size, fidelity.images)
        self.parts.count = max(self.parts.count, self._parts(side))
        generator = torch.Generator().manual_seed(device.derive(self.seed, 0))
        order = torch.randperm(fidelity.images, generator=generator).to(self.place)
        self.norm_batches = torch.split(order, self.batch_size)[: min(self.config.norm_batches, self.steps)]

    def _parts(self, side: int) -> int:
        """In how many parts a batch should fit, so that neighbours on a GPU do not take turns in finding out."""
        room = memory.available(self.place)
        if math.isinf(room):
            return 1
        cost = measure(self.network, resolution=side, classes=self.classes, dropout=self.config.dropout)
        size = 4 if self.autocast_type is None else 2
        return memory.fewest_parts(cost, batch=self.batch_size, bytes_per_value=size, available=room)

    def _steps(self, fidelity: Fidelity) -> int:
        """Training steps of an epoch."""
        return fidelity.images // min(self.config.batch_size, fidelity.images)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised, augmented images and their labels, in an order of the epoch's own.

        Whole batches only, unless there are too few images for one; those left over in this epoch come in another.
        """
        generator = torch.Generator().manual_seed(device.derive(self.seed, epoch))
        order = torch.randperm(len(self.images), generator=generator).to(self.place)
        padding = self.images.shape[1] // 8
        flip = self.config.augment == "crop_flip"
        draws = augment.draw(len(self.images), padding=padding, flip=flip, generator=generator).to(self.place)
        for start in range(0, self.steps * self.batch_size, self.batch_size):
            chosen = order[start : start + self.batch_size]
            images = self.images[chosen]
            if self.config.augment != "none":
                images = augment.crop_flip(images, draws[start : start + self.batch_size], padding=padding)
            yield self._normalised(images), self.labels[chosen]

    def _train(self, epoch: int) -> tuple[float, float, float]:
        """Mean loss, error and the last learning rate of one epoch."""
        self.model.train()
        loss_sum = torch.zeros((), device=self.place)
        wrong = torch.zeros((), device=self.place, dtype=torch.int64)
        for step, (images, labels) in enumerate(self._awaited(self.batches(epoch)), start=1):
            loss, missed = self.parts.fit(functools.partial(self._gradients, images, labels), len(images))
            self.optimizer.step()
            learning_rate = float(self.scheduler.get_last_lr()[0])
            self.scheduler.step()
            loss_sum += loss
            wrong += missed
            if (step % CHECK_EVERY == 0 or step == self.steps) and not math.isfinite(loss_sum.item()):
                raise Diverged(
                    f"training loss is {loss_sum.item()} at step {step} of {self.steps} in epoch {epoch} at learning "
                    f"rate {learning_rate:.3g}; lower trial.learning_rate"
                )
        return loss_sum.item() / self.steps, wrong.item() / (self.steps * self.batch_size), learning_rate

    def _gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Forward and backward; returns the mean loss of a batch and how many of it were classified wrongly."""
        self.optimizer.zero_grad()
        loss_sum = torch.zeros((), device=self.place)
        wrong = torch.zeros((), device=self.place, dtype=torch.int64)
        for some_images, some_labels in self.parts.of(images, labels):
            with self._autocast():
                logits = self.model(some_images)
                loss = F.cross_entropy(logits, some_labels, label_smoothing=self.config.label_smoothing)
                loss = loss * (len(some_images) / len(images))
            loss.backward()  # type: ignore[no-untyped-call]
            loss_sum += loss.detach()
            wrong += (logits.detach().argmax(1) != some_labels).sum()
        return loss_sum, wrong

    def _awaited(self, batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches; until each is there, the time counts as that of the data."""
        self.watch.switch("data")
        for batch in batches:
            self.watch.switch("train")
            yield batch
            self.watch.switch("data")
        self.watch.switch("train")

    @torch.no_grad()
    def _measure_norms(self) -> None:
        """Replace batch norm's running averages by means over some batches of the training images, as they are now.

        See Wu and Johnson, 2021, "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576). Training does not read them.
        """
        self.model.eval()
        momenta = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # torch's way to ask for the plain mean
        try:
            for batch in self.norm_batches:
                for (chosen,) in self.parts.of(batch):
                    with self._autocast():
                        self.model(self._normalised(self.images[chosen]))
        finally:
            for norm, momentum in zip(self.norms, momenta, strict=True):
                norm.momentum = momentum

    @torch.inference_mode()
    def _evaluate(self) -> tuple[float, float]:
        """Mean loss and error of the validation images."""
        self.model.eval()
        loss_sum = torch.zeros((), device=self.place)
        wrong = torch.zeros((), device=self.place, dtype=torch.int64)
        size = max(1, EVALUATION_BATCH[self.place.type] // self.evaluation_parts.count)
        for images, labels in zip(*(torch.split(part, size) for part in self.validation), strict=True):
            with self._autocast():
                logits = self.model(self._normalised(images))
                loss_sum += F.cross_entropy(logits, labels, reduction="sum")
            wrong += (logits.argmax(1) != labels).sum()
        count = len(self.validation[1])
        return loss_sum.item() / count, wrong.item() / count

    def _normalised(self, images_NHWC: Tensor) -> Tensor:
        """(N, C, H, W) float32 in the layout of the network."""
        normalised = images_NHWC.to(torch.float32).sub_(self.mean).div_(self.std)
        return normalised.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.place.type, self.autocast_type, enabled=self.autocast_type is not None)
