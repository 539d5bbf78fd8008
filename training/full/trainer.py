"""One network in full training, in one process or in step with others; what it does depends on its state alone."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from training import device
from training.full import optimization, processes
from training.full.data import FullData
from training.full.evaluation import evaluate, with_measured_norms
from training.full.metrics import FullMetrics
from training.full.mixing import mixing
from training.full.model import ModelSpec
from training.full.recipe import Recipe
from training.trainer import CHECK_EVERY, Diverged


@dataclass(kw_only=True)
class Progress:
    """How far an epoch is, and the sums that its metrics come from: those of this process."""

    epoch: int
    """The epoch, from 1."""
    loss: Tensor
    """Sum over the images, on the device."""
    wrong: Tensor
    """How many of them were classified wrongly, on the device."""
    position: int = 0
    """Micro-batches done; between two optimizer steps a multiple of `recipe.accumulate`."""
    images: int = 0
    """Images that the sums are over."""
    seconds: float = 0.0
    """Time spent training."""
    waiting: float = 0.0
    """Part of it in which no images were there."""


class FullTrainer:
    """Trains and tests epoch by epoch. The order of all random numbers follows from seed, epoch, position and rank.

    Args:
        spec: what to train.
        data: what on.
        recipe: how.
        seed: of the initial weights, the order of the images, augmentation, mixing and dropout.
        place: the device that holds the network.
        rank: number of this process.
        world: number of processes.

    Raises:
        ValueError: a recipe that does not fit the data or the number of processes.
    """

    def __init__(
        self, spec: ModelSpec, data: FullData, recipe: Recipe, *, seed: int, place: torch.device, rank: int, world: int
    ) -> None:
        self.recipe, self.seed, self.place, self.rank, self.world = recipe, seed, place, rank, world
        self.autocast_type = device.autocast_type(recipe.precision, place)
        if place.type == "cuda":
            torch.backends.cudnn.benchmark = True
        with device.seeded(device.derive(seed, 0), place):
            self.model = spec.build(data.classes, recipe)
        self.model.to(place)
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.average = optimization.Average(self.model, recipe.ema) if recipe.ema else None
        self.optimizer = optimization.optimizer(self.model, recipe)
        self.parallel = self._parallel()
        self.forward: Callable[[Tensor], Tensor] = torch.compile(self.parallel) if recipe.compile else self.parallel
        self.mix = mixing(recipe, data.classes)
        self.batches = data.open(recipe, rank=rank, world=world, seed=seed, device=place)

    def begin(self, epoch: int) -> Progress:
        """Of an epoch in which nothing is done yet."""
        loss, wrong = torch.zeros(2, dtype=torch.float64, device=self.place).unbind()
        return Progress(epoch=epoch, loss=loss, wrong=wrong)

    def train(self, progress: Progress, between: Callable[[], None]) -> None:
        """Train to the end of the epoch from where `progress` is; `between` is called after each optimizer step.

        It changes the global random numbers.

        Raises:
            Diverged: naming epoch, step, loss and learning rate; in all processes after the same step.
        """
        self.model.train()
        batches, epoch_seed = self._batches(progress), device.derive(self.seed, progress.epoch)
        steps = self.batches.steps // self.recipe.accumulate
        for step in range(progress.position // self.recipe.accumulate, steps):
            began = time.perf_counter()
            rate = self._set_learning_rate(progress.epoch, step, steps)
            for part in range(self.recipe.accumulate):
                self._accumulate(progress, batches, epoch_seed, last=part + 1 == self.recipe.accumulate)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.average is not None:
                self.average.update((progress.epoch - 1) * steps + step)
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                self._check_loss(progress, f"step {step + 1} of {steps}", rate)
            progress.seconds += time.perf_counter() - began
            between()

    def test(self, progress: Progress, between: Callable[[], None]) -> tuple[FullMetrics, nn.Module]:
        """The metrics of an epoch that is trained, and the network to keep: the averaged one where there is one.

        Args:
            progress: of that epoch.
            between: called after each batch of test images.

        Raises:
            Diverged: the test loss is not finite.
        """
        began = time.perf_counter()
        network, test_loss, test_error = self._tested(self.model, progress.epoch, between)
        rate = self._last_learning_rate(progress.epoch)
        if not math.isfinite(test_loss):
            raise Diverged(
                f"test loss is {test_loss} after epoch {progress.epoch} at learning rate {rate:.3g}; "
                "lower recipe.learning_rate"
            )
        ema_error = None
        if self.average is not None:
            network, _, ema_error = self._tested(self.average.network(), progress.epoch, between)
        seconds = max(progress.seconds, 1e-9)
        measured = [progress.images, progress.images / seconds, progress.waiting, seconds, self.batches.skipped]
        mine = torch.cat([torch.stack([progress.loss, progress.wrong]), progress.loss.new_tensor(measured)])
        loss, wrong, images, speed, waiting, working, skipped = processes.total(mine, self.world).tolist()
        metrics = FullMetrics(
            epoch=progress.epoch,
            train_loss=loss / images,
            train_error=wrong / images,
            test_loss=test_loss,
            test_error=test_error,
            ema_error=ema_error,
            learning_rate=rate,
            seconds=processes.largest(progress.seconds + time.perf_counter() - began, self.place, self.world),
            images_per_second=speed,
            data_share=waiting / working,
            skipped=int(skipped),
        )
        return metrics, network

    def state(self, progress: Progress) -> dict[str, Any]:
        """All that changes while training."""
        return {
            "model": self.model.state_dict(),
            "ema": None if self.average is None else self.average.network().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": {field.name: getattr(progress, field.name) for field in fields(progress)},
        }

    def resume(self, state: dict[str, Any]) -> Progress:
        """Go back to what `state` returned in the first process."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.model.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        progress = Progress(**state["progress"])
        if self.rank == 0:
            return replace(progress, loss=progress.loss.to(self.place), wrong=progress.wrong.to(self.place))
        return replace(self.begin(progress.epoch), position=progress.position)

    def _parallel(self) -> nn.Module:
        """The network, or in several processes what also averages its gradients over them."""
        if self.world == 1:
            return self.model
        devices = None if self.place.type == "cpu" else [self.place]
        # Each step begins with the buffers of the first process, so that its checkpoint is the state of all.
        return DistributedDataParallel(self.model, device_ids=devices, gradient_as_bucket_view=True)

    def _batches(self, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
        """The rest of the epoch; the time that each micro-batch takes to come is waiting."""
        batches = iter(self.batches.train(progress.epoch, progress.position))
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            progress.waiting += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _accumulate(
        self, progress: Progress, batches: Iterator[tuple[Tensor, Tensor]], epoch_seed: int, *, last: bool
    ) -> None:
        """Add one micro-batch's share of the step's gradient; the last one brings it together over the processes."""
        images, labels = next(batches)
        _seed(device.derive(epoch_seed, progress.position * self.world + self.rank), self.place)
        if self.mix is not None:
            images, labels = self.mix(images, labels)
        with self._synchronised(last):
            with self._autocast():
                logits = self.forward(images)
                loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
            (loss / self.recipe.accumulate).backward()  # type: ignore[no-untyped-call]
        true = labels if self.mix is None else labels.argmax(1)
        progress.wrong.add_((logits.detach().argmax(1) != true).sum())
        progress.loss.add_(loss.detach(), alpha=len(images))
        progress.images += len(images)
        progress.position += 1

    def _check_loss(self, progress: Progress, where: str, rate: float) -> None:
        sums = torch.stack([progress.loss, progress.loss.new_tensor(progress.images)])
        loss_sum, images = processes.total(sums, self.world).tolist()
        if not math.isfinite(loss_sum):
            raise Diverged(
                f"training loss is {loss_sum / images} at {where} in epoch {progress.epoch} at learning rate "
                f"{rate:.3g}; lower recipe.learning_rate"
            )

    def _tested(self, model: nn.Module, epoch: int, between: Callable[[], None]) -> tuple[nn.Module, float, float]:
        """The network as it is tested, with shared or measured statistics; its loss and its error."""
        recipe = self.recipe
        if recipe.norm_batches:
            seen = itertools.islice(self.batches.train(epoch), recipe.norm_batches)
            model = with_measured_norms(model, seen, autocast=self._autocast, world=self.world)
        else:
            processes.share_buffers(model, self.world)
        resolution = recipe.resolution if recipe.evaluation_resolution is None else recipe.evaluation_resolution
        images = self.batches.test(resolution)
        loss, error = evaluate(
            model, images, autocast=self._autocast, place=self.place, world=self.world, between=between
        )
        return model, loss, error

    def _set_learning_rate(self, epoch: int, step: int, steps: int) -> float:
        every = steps * self.recipe.epochs
        rate = optimization.learning_rate(self.recipe, (epoch - 1) * steps + step, steps=every)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _last_learning_rate(self, epoch: int) -> float:
        steps = self.batches.steps // self.recipe.accumulate
        return optimization.learning_rate(self.recipe, epoch * steps - 1, steps=steps * self.recipe.epochs)

    def _synchronised(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        waits = isinstance(self.parallel, DistributedDataParallel) and not last
        return self.parallel.no_sync() if waits else contextlib.nullcontext()  # type: ignore[operator]

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.place.type, self.autocast_type, enabled=self.autocast_type is not None)


def _seed(seed: int, place: torch.device) -> None:
    """Seed the global random numbers that a step draws from; `torch.manual_seed` takes as long as a small network."""
    torch.default_generator.manual_seed(seed)
    if place.type == "cuda":
        with torch.cuda.device(place):
            torch.cuda.manual_seed(seed)
