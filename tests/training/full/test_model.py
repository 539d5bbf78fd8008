from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

import seqconv
from seqconv import Stage
from tests.training.tiny import TINY
from training.full.model import ModelSpec
from training.full.recipe import Recipe

ARCHITECTURE, RESNET = ModelSpec(architecture=TINY), ModelSpec(timm_name="resnet18")


@pytest.mark.parametrize(("given", "spec"), [("none", {}), ("both", {"architecture": TINY, "timm_name": "resnet18"})])
def test_a_model_is_one_of_both(given: str, spec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"a model is either an architecture or the name of a timm model, got {given}"):
        ModelSpec(**spec)


def test_an_architecture_is_built_as_the_recipe_says() -> None:
    built = ARCHITECTURE.build(7, Recipe(dropout=0.25, recompute=True))
    expected = seqconv.build(TINY, classes=7, dropout=0.25, recompute=True)
    assert str(built) == str(expected)
    assert built.recompute
    assert not ARCHITECTURE.build(7, Recipe()).recompute


def test_a_model_of_timm_is_built_as_the_recipe_says() -> None:
    with torch.device("meta"):
        model = RESNET.build(7, Recipe(dropout=0.25, recompute=True))
        plain = RESNET.build(7, Recipe())
    assert (model.num_classes, model.drop_rate, model.grad_checkpointing) == (7, 0.25, True)
    assert (plain.drop_rate, plain.grad_checkpointing) == (0.0, False)


def test_a_model_that_timm_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        ModelSpec(timm_name="resnet19").build(7, Recipe())
    message = str(error.value)
    assert message.startswith("timm has no model 'resnet19' (did you mean resnet")
    assert message.endswith("; timm.list_models() lists them")


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ValueError, match=r"model resnet18 needs timm \(.+\): install it with pip install 'seqconv-nas\["
    ):
        RESNET.build(7, Recipe())


def test_the_same_network_has_the_same_identity() -> None:
    same = replace(TINY, pyramid=(3,))
    other = replace(TINY, stages=(Stage(blocks=2, group_width=8),))
    assert ModelSpec(architecture=same).identity() == ARCHITECTURE.identity() == {"architecture": TINY.fingerprint()}
    assert ModelSpec(architecture=other).identity() != ARCHITECTURE.identity()
    assert RESNET.identity() == {"architecture": "timm:resnet18"}


def test_it_describes_itself_in_a_line() -> None:
    assert ARCHITECTURE.describe() == f"cifar: {TINY.describe()}"
    assert RESNET.describe() == "timm: resnet18"


@pytest.mark.parametrize("spec", [ARCHITECTURE, RESNET])
def test_it_goes_between_processes(spec: ModelSpec) -> None:
    assert pickle.loads(pickle.dumps(spec)) == spec
