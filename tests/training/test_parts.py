"""Training where the memory does not hold a whole batch. A device without memory is played: here there is no GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.training.test_trainer import make
from tests.training.tiny import split
from training.parts import Parts
from training.trainer import Trainer


def holding(trainer: Trainer, images: int) -> list[int]:
    """From here on the network takes so many images at a time; returns the list of those that it was given."""
    asked: list[int] = []

    def refuse(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        asked.append(len(inputs[0]))
        if len(inputs[0]) > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has 1 GiB")

    trainer.model.register_forward_pre_hook(refuse)
    return asked


class TestTrainer:
    def test_a_batch_that_does_not_fit_is_computed_in_parts(self) -> None:
        trainer = make(split(64))
        asked = holding(trainer, 4)
        metrics = trainer.epoch(1)
        assert (metrics.parts, trainer.parts.count) == (4, 4)
        assert asked[:3] == [16, 8, 4]
        assert asked[-1] <= 4, "validation is computed in smaller batches too"
        assert trainer.epoch(2).parts == 4

    def test_the_gradients_of_the_parts_are_those_of_the_batch(self) -> None:
        """With the statistics of batch norm fixed, which else are those of a part, and without dropout."""
        gradients = []
        for parts in (1, 4):
            trainer = make(split(64))
            trainer.model.eval()
            trainer.parts.count = parts
            loss, wrong = trainer._gradients(*next(iter(trainer.batches(1))))
            gradients.append(([p.grad for p in trainer.model.parameters()], loss, wrong))
        (whole, loss, wrong), (summed, their_loss, their_wrong) = gradients
        assert their_loss == pytest.approx(float(loss)) and int(their_wrong) == int(wrong)
        pairs = [(a, b) for a, b in zip(whole, summed, strict=True) if a is not None and b is not None]
        assert len(pairs) > 5 and all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in pairs)

    def test_what_fits_is_not_touched(self) -> None:
        trainer = make(split(64))
        asked = holding(trainer, 64)
        assert trainer.epoch(1).parts == 1
        assert asked[:4] == [16] * 4

    def test_a_resumed_trial_goes_on_in_parts(self) -> None:
        trainer = make(split(64))
        holding(trainer, 8)
        trainer.epoch(1)
        resumed = make(split(64))
        resumed.load_state(trainer.state())
        assert resumed.parts.count == 2
        old = {name: value for name, value in trainer.state().items() if name != "parts"}
        resumed.load_state(old)
        assert resumed.parts.count == 1

    def test_batch_norm_goes_on_as_ever_where_measuring_it_ran_out_of_memory(self) -> None:
        trainer = make(split(64))
        momenta = [norm.momentum for norm in trainer.norms]
        asked = holding(trainer, 4)
        trainer.parts.fit(trainer._measure_norms, 16)
        assert asked == [16, 8, *[4] * 16]
        assert [norm.momentum for norm in trainer.norms] == momenta

    def test_not_even_the_smallest_parts_fit(self) -> None:
        trainer = make(split(64))
        holding(trainer, 1)
        with pytest.raises(torch.OutOfMemoryError) as error:
            trainer.epoch(1)
        assert str(error.value) == (
            "CUDA out of memory. Tried to allocate 2 GiB. "
            "(not even batches in 8 parts fit: give the trial more of the GPU, see resources.gpu)"
        )


class TestParts:
    def test_parts_belong_together(self) -> None:
        images, labels = torch.arange(12).reshape(6, 2), torch.arange(6)
        found = list(Parts(3).of(images, labels))
        assert [(a[:, 0] // 2).tolist() for a, _ in found] == [b.tolist() for _, b in found] == [[0, 1], [2, 3], [4, 5]]

    def test_other_errors_are_not_tried_again(self) -> None:
        calls = list[int]()

        def fails() -> None:
            calls.append(1)
            raise RuntimeError("no kernel")

        with pytest.raises(RuntimeError, match="no kernel"):
            Parts().fit(fails, 64)
        assert calls == [1]
