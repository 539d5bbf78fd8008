from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promotion.candidates import Candidate
from promotion.entrants import Entrant, enter
from seqconv import measure, read_architecture
from seqconv.realisation import imagenet_realisation
from tests.promotion.fakes import RECIPE, architecture, candidate
from training.datasets import Digits
from training.full.in_memory import InMemory

DATA = InMemory(data=Digits().load())
GOAL: dict[str, Any] = {"target": 300_000, "measure_of": "params"}


def entered(chosen: Candidate, stage: str, **goal: Any) -> Entrant:
    return enter(chosen, stage, DATA, RECIPE, **{**GOAL, **goal})


def refusal(chosen: Candidate, stage: str) -> str:
    with pytest.raises(ValueError) as error:
        entered(chosen, stage)
    return str(error.value)


def test_the_cifar_stage_trains_an_architecture_as_it_is() -> None:
    found = entered(candidate(), "cifar")
    assert found.spec.architecture == architecture()
    assert found.cost == measure(architecture(), resolution=16, classes=10)
    assert found.name == "trial-0001"


@pytest.mark.parametrize(("target", "measure_of"), [(300_000, "params"), (4e6, "macs")])
def test_the_imagenet_stage_trains_what_it_stands_for(target: float, measure_of: str) -> None:
    """With the classes and at the resolution of the data that it is trained on."""
    found = entered(candidate(), "imagenet", target=target, measure_of=measure_of)
    size = {"classes": 10, "resolution": 16}
    assert found.spec.architecture == imagenet_realisation(architecture(), target=target, measure=measure_of, **size)
    assert getattr(found.cost, measure_of) == pytest.approx(target, rel=0.05)


def test_the_resolution_is_that_of_the_recipe_where_it_has_one() -> None:
    recipe = replace(RECIPE, resolution=32)
    found = enter(candidate(), "cifar", DATA, recipe, **GOAL)
    assert found.cost == measure(architecture(), resolution=32, classes=10)


def test_an_imagenet_architecture_is_trained_as_it_is() -> None:
    preset = read_architecture("seqresnet_b_small")
    chosen = Candidate(name="preset-seqresnet_b_small", architecture=preset)
    assert entered(chosen, "imagenet").spec.architecture == preset


def test_an_imagenet_architecture_is_none_for_cifar() -> None:
    chosen = Candidate(name="preset-a", architecture=read_architecture("seqresnet_b_small"))
    assert refusal(chosen, "cifar") == (
        "candidate preset-a, stage cifar: an architecture of family imagenet is trained by stages=[imagenet] alone"
    )


@pytest.mark.parametrize("stage", ["cifar", "imagenet"])
def test_a_model_of_timm_is_trained_as_it_is(stage: str) -> None:
    found = entered(Candidate(name="timm-resnet10t", timm_name="resnet10t"), stage)
    assert (found.spec.timm_name, found.spec.architecture) == ("resnet10t", None)
    assert found.cost.params == pytest.approx(4.9e6, rel=0.02)


def test_a_model_of_timm_for_another_resolution() -> None:
    chosen = Candidate(name="timm-vit", timm_name="vit_tiny_patch16_224")
    message = "candidate timm-vit, stage cifar: images of 16 pixels: Input height (16) doesn't match model (224)."
    assert refusal(chosen, "cifar") == message


def test_a_model_that_timm_does_not_know() -> None:
    message = "candidate timm-a, stage cifar: timm has no model 'resnet18x'"
    assert refusal(Candidate(name="timm-a", timm_name="resnet18x"), "cifar").startswith(message)
