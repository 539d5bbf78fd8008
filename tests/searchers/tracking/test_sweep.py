from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from wandb.sdk.sweeps.scheduler.optuna import sweep_parameter_to_distribution

from search_spaces.knobs import Categorical, Float, Integer, Knob
from searchers.distributions import distribution
from searchers.tracking.sweep import sweep_config
from tests.searchers.fakes import SUBGROUPS, choices, space

KNOBS: dict[str, tuple[Knob, dict[str, Any]]] = {
    "texts": (Categorical(name="k", choices=("a", "b")), {"values": ["a", "b"]}),
    "one choice": (Categorical(name="k", choices=(2,)), {"values": [2]}),
    "truth": (Categorical(name="k", choices=(True, False)), {"values": [True, False]}),
    "integers": (Integer(name="k", low=1, high=4), {"distribution": "int_uniform", "min": 1, "max": 4}),
    "one integer": (Integer(name="k", low=3, high=3), {"value": 3}),
    "even integers": (
        Integer(name="k", low=2, high=8, step=2), {"distribution": "q_uniform", "q": 2, "min": 2, "max": 8}
    ),
    "odd integers": (Integer(name="k", low=1, high=7, step=2), {"values": [1, 3, 5, 7]}),
    "integers in the logarithm": (
        Integer(name="k", low=1, high=64, log=True),
        {"distribution": "q_log_uniform_values", "q": 1, "min": 1, "max": 64},
    ),
    "numbers": (Float(name="k", low=0, high=1), {"distribution": "uniform", "min": 0.0, "max": 1.0}),
    "one number": (Float(name="k", low=0.5, high=0.5), {"value": 0.5}),
    "numbers in the logarithm": (
        Float(name="k", low=1e-5, high=1, log=True), {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0}
    ),
    "tenths": (
        Float(name="k", low=0.1, high=0.7, step=0.1), {"distribution": "q_uniform", "q": 0.1, "min": 0.1, "max": 0.7}
    ),
    "between tenths": (Float(name="k", low=0.25, high=0.45, step=0.1), {"values": [0.25, 0.35, 0.45]}),
}  # fmt: skip


@pytest.mark.parametrize(("knob", "parameter"), KNOBS.values(), ids=KNOBS)
def test_a_knob_in_the_words_of_a_sweep(knob: Knob, parameter: dict[str, Any]) -> None:
    assert _config(knob)["parameters"] == {"k": parameter}


@pytest.mark.parametrize("knob", [knob for knob, _ in KNOBS.values()], ids=KNOBS)
def test_wandb_reads_the_values_of_the_knob_out_of_it(knob: Knob) -> None:
    read = sweep_parameter_to_distribution(_config(knob)["parameters"]["k"])
    if isinstance(read, CategoricalDistribution):
        assert list(read.choices) == list(knob.probes())
    else:
        assert read == distribution(knob)


def test_a_sweep_has_every_knob_of_a_space_also_conditional_ones() -> None:
    of = space(subgroups=SUBGROUPS)
    config = sweep_config(of, name="tiny", objectives=("error", "macs"))
    assert config is not None
    assert list(config["parameters"]) == [knob.name for knob in of.knobs]
    assert config["parameters"]["stage1.subgroups"] == {"values": [1, 2]}
    assert (config["name"], config["method"]) == ("tiny", "random")
    assert config["metric"] == {"name": "error", "goal": "minimize"}
    assert "minimise error and macs" in config["description"]


def test_a_space_without_knobs_has_no_sweep() -> None:
    assert sweep_config(choices(), name="one") is None


class _Space:
    """A space of one knob."""

    name = "one"

    def __init__(self, knob: Knob) -> None:
        self.knobs = (knob,)

    def decode(self, values: Any) -> Any: ...

    def to_dict(self) -> dict[str, Any]:
        return {}


def _config(knob: Knob) -> dict[str, Any]:
    config = sweep_config(_Space(knob), name="one")
    assert config is not None
    return config
