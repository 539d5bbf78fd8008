from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from seqconv import build, measure
from tests.training.zero_cost.examples import CLASSES, TINY, WIDE, batch
from training.zero_cost import scoring
from training.zero_cost.names import PROXIES
from training.zero_cost.scoring import Batch, score

DRAWN = [name for name in PROXIES if name not in ("params", "macs")]


def scored(name: str, network: Any = TINY, *, data: Batch | None = None, seed: int = 0) -> float:
    return score(name, network, batch() if data is None else data, classes=CLASSES, seed=seed)


def test_every_name_has_a_measure_and_no_measure_lacks_a_name() -> None:
    assert {*scoring._MEASURES, *scoring._COSTS} == set(PROXIES)


@pytest.mark.parametrize("name", PROXIES)
def test_it_is_finite_and_a_function_of_the_seed(name: str) -> None:
    first = scored(name)
    assert math.isfinite(first)
    assert scored(name) == first
    assert (scored(name, seed=1) == first) == (name not in DRAWN)


@pytest.mark.parametrize("name", PROXIES)
def test_networks_are_told_apart(name: str) -> None:
    assert scored(name, WIDE) != scored(name)


@pytest.mark.parametrize("name", PROXIES)
def test_global_random_numbers_stay_as_they_were(name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    scored(name)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", PROXIES)
def test_what_makes_a_model_is_scored_as_the_architecture_is(name: str) -> None:
    assert scored(name, lambda: build(TINY, classes=CLASSES)) == pytest.approx(scored(name), rel=1e-6)


@pytest.mark.parametrize("name", PROXIES)
def test_a_model_of_other_layers_is_scored(name: str) -> None:
    def made() -> nn.Module:
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, CLASSES)]
        return nn.Sequential(*layers)

    assert math.isfinite(scored(name, made))


@pytest.mark.parametrize("name", PROXIES)
def test_only_those_that_need_labels_look_at_them(name: str) -> None:
    images, labels = batch()
    look = {"snip", "grasp", "fisher", "grad_norm", "zico"}
    assert (scored(name, data=Batch(images, labels.roll(1))) != scored(name)) == (name in look)


@pytest.mark.parametrize("name", PROXIES)
def test_only_those_that_need_pixels_look_at_them(name: str) -> None:
    other = Batch(batch(seed=1).images_NCHW, batch().labels)
    look = set(PROXIES) - {"synflow", "zen", "params", "macs"}
    assert (scored(name, data=other) != scored(name)) == (name in look)


def test_params_and_macs_are_those_of_the_network() -> None:
    cost = measure(TINY, resolution=8, classes=CLASSES)
    assert (scored("params"), scored("macs")) == (cost.params, cost.macs)


def test_it_works_where_gradients_are_off() -> None:
    expected = scored("snip")
    with torch.no_grad():
        assert scored("snip") == expected


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_not_finite_ranks_last(name: str) -> None:
    data = batch()
    if name in ("synflow", "zen"):
        assert scored(name, lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES), Infinite())) == -math.inf
    else:
        assert scored(name, data=Batch(data.images_NCHW * math.nan, data.labels)) == -math.inf


class Infinite(nn.Module):
    """Overflows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * math.inf


IMAGES, LABELS = batch()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "naswott"}, f"proxy must be one of {', '.join(PROXIES)}, got 'naswott' (did you mean naswot?)"),
        ({"classes": 0}, "classes must be an integer at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer at least 0, got -1"),
        (
            {"images": IMAGES[0]},
            "images must be square, (N, C, H, H) and floating point, got float32 (3, 8, 8)",
        ),
        (
            {"images": IMAGES[..., 1:]},
            "images must be square, (N, C, H, H) and floating point, got float32 (6, 3, 8, 7)",
        ),
        (
            {"images": IMAGES.to(torch.uint8)},
            "images must be square, (N, C, H, H) and floating point, got uint8 (6, 3, 8, 8)",
        ),
        ({"images": IMAGES[:3], "labels": LABELS[:3]}, "a batch must have at least 4 images, got 3"),
        ({"labels": LABELS[:5]}, "labels must be int64, one for each of 6 images, got int64 (5,)"),
        ({"labels": LABELS.float()}, "labels must be int64, one for each of 6 images, got float32 (6,)"),
        ({"classes": 2}, "labels must be from 0 to 1 for 2 classes, got 0 to 2"),
        ({"labels": LABELS - 1}, "labels must be from 0 to 2 for 3 classes, got -1 to 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(changes: dict[str, Any], message: str) -> None:
    given = {"name": "snip", "images": IMAGES, "labels": LABELS, "classes": CLASSES, "seed": 0} | changes
    data = Batch(given.pop("images"), given.pop("labels"))
    with pytest.raises(ValueError) as error:
        score(given.pop("name"), TINY, data, **given)
    assert str(error.value) == message
