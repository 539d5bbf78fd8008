from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from search_spaces.budget import Budget
from searchers.algorithms.random import RandomSearch
from searchers.config import RayBackend, Resources, SearchConfig
from searchers.population import PopulationBasedTraining
from searchers.prefilter import Prefilter
from searchers.schedulers import Asha, Hyperband, Median, NoScheduler
from searchers.stores import Postgresql
from searchers.tracking.tracker import NoTracker
from tests.searchers.fakes import space
from training.datasets import Digits
from training.trial import TrialConfig

VALID = SearchConfig(
    search_space=space(),
    searcher=RandomSearch(),
    scheduler=NoScheduler(),
    prefilter=Prefilter(),
    dataset=Digits(),
    trial=TrialConfig(),
    budget=Budget(),
    resources=Resources(),
    backend=RayBackend(),
    tracker=NoTracker(),
    objective="error",
    limits={},
    warm_start=None,
    warm_start_top=8,
    trial_limits={},
    trials=1,
    seed=0,
    run=None,
    resume=None,
    concurrency=None,
    max_failures=1,
    keep_weights=0,
    report=False,
)
GROUPS = (
    "search_space",
    "searcher",
    "scheduler",
    "prefilter",
    "dataset",
    "trial",
    "budget",
    "resources",
    "backend",
    "tracker",
    "store",
)
A_FOLDER = "the path of a folder, such as runs/NAME or ./2024"


def refusal(make: Any, **fields: Any) -> str:
    with pytest.raises(ValueError) as error:
        make(**fields)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("trials", 0, "an integer at least 1"),
        ("trials", 2.5, "an integer at least 1"),
        ("trials", None, "an integer at least 1"),
        ("seed", -1, "an integer from 0 to 4294967295"),
        ("seed", 2**32, "an integer from 0 to 4294967295"),
        ("run", "", A_FOLDER),
        ("run", 2024, A_FOLDER),
        ("resume", "yes", "true or false"),
        ("concurrency", 0, "an integer at least 1"),
        ("max_failures", 0, "an integer at least 1"),
        ("keep_weights", -1, "an integer at least 0"),
    ],
)
def test_a_bad_value_of_a_search(name: str, value: Any, allowed: str) -> None:
    assert refusal(partial(replace, VALID), **{name: value}) == f"{name} must be {allowed}, got {value!r}"


@pytest.mark.parametrize(
    ("given", "names"),
    [("error", ("error",)), (["error", "macs"], ("error", "macs")), (("latency", "error"), ("latency", "error"))],
)
def test_the_objectives_are_a_tuple(given: Any, names: tuple[str, ...]) -> None:
    assert replace(VALID, objective=given).objective == names


def test_limits_are_numbers_by_objective() -> None:
    assert replace(VALID, limits={"latency": 5, "error": 0.4}).limits == {"latency": 5.0, "error": 0.4}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "macs"}, "objective must contain error, because trials are trained for it; got macs"),
        ({"objective": None}, "objective must be error or a list such as [error, macs], got None"),
        ({"limits": {"latency": 0}}, "limits.latency must be a number above 0, got 0"),
        ({"limits": 5}, "limits must map objectives to their largest value, such as {latency: 5}, got 5"),
        ({"trial_limits": {"hours": 5}}, "trial_limits: unknown key 'hours'; allowed are timeout, memory"),
        ({"trial_limits": {"timeout": 0}}, "trial_limits.timeout must be a number above 0, got 0"),
        ({"trial_limits": None}, "trial_limits must be a mapping, got None"),
    ],
)
def test_bad_objectives_and_limits(fields: dict[str, Any], message: str) -> None:
    assert refusal(partial(replace, VALID), **fields) == message


def test_a_population_is_of_one_driver() -> None:
    recipe = {"dropout": {"type": "float", "low": 0.0, "high": 0.5}}
    population = PopulationBasedTraining(recipe=recipe)
    assert replace(VALID, scheduler=population).scheduler == population
    with pytest.raises(ValueError) as error:
        replace(VALID, scheduler=population, store=Postgresql(study="tiny", url="postgresql://search@db/nas"))
    assert str(error.value) == (
        "scheduler=pbt compares members of one search; with a study of several take store=journal"
    )


@pytest.mark.parametrize("scheduler", [Hyperband(), Median()], ids=lambda scheduler: scheduler.name)
def test_a_scheduler_that_does_not_fit_the_objectives(scheduler: Any) -> None:
    assert refusal(partial(replace, VALID), scheduler=scheduler, objective=["error", "macs"]) == (
        f"scheduler={scheduler.name} compares errors alone; with objective=['error', 'macs'] take asha or none"
    )
    assert replace(VALID, scheduler=scheduler).scheduler == scheduler
    assert replace(VALID, scheduler=Asha(), objective=["error", "macs"]).scheduler == Asha()


@pytest.mark.parametrize("value", [None, {"root": "data"}, "digits"], ids=str)
@pytest.mark.parametrize("name", GROUPS)
def test_a_group_that_holds_something_else(name: str, value: Any) -> None:
    assert refusal(partial(replace, VALID), **{name: value}) == (
        f"{name} must be an option of its group, see --help; got {value!r}"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cpu": 0}, "resources.cpu must be a number above 0, got 0"),
        ({"cpu": "all"}, "resources.cpu must be a number above 0, got 'all'"),
        ({"gpu": -0.5}, "resources.gpu must be a number at least 0, got -0.5"),
        ({"gpu": 1.5}, "resources.gpu must be a fraction up to 1 or a whole number, got 1.5"),
        ({"gpu": "all"}, "resources.gpu must be a number, null or auto, got 'all'"),
        ({"gpu": "auto", "gpu_memory": 0}, "resources.gpu_memory must be a number above 0, got 0"),
        ({"gpu": 0.5, "gpu_memory": 80}, "resources.gpu_memory is for resources.gpu=auto, got resources.gpu=0.5"),
    ],
)
def test_a_bad_value_of_the_resources(fields: dict[str, Any], message: str) -> None:
    assert refusal(Resources, **fields) == message


@pytest.mark.parametrize("gpu", [None, 0, 0.25, 1, 2, 2.0, "auto"])
def test_gpus_are_shared_or_whole(gpu: float | str | None) -> None:
    assert Resources(gpu=gpu).gpu == gpu


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"address": ""}, "backend.address must be local, auto or host:port, got ''"),
        ({"address": 6379}, "backend.address must be local, auto or host:port, got 6379"),
        ({"cpus": 0}, "backend.cpus must be an integer at least 1, got 0"),
        ({"gpus": -1}, "backend.gpus must be an integer at least 0, got -1"),
        ({"cpus": 2, "address": "auto"}, "backend.cpus sizes a local Ray; backend.address is auto"),
        ({"gpus": 0, "address": "auto"}, "backend.gpus sizes a local Ray; backend.address is auto"),
        ({"retries": -1}, "backend.retries must be an integer at least 0, got -1"),
        ({"wait": -1, "address": "auto"}, "backend.wait must be a number at least 0, got -1"),
        ({"wait": 1}, "backend.wait waits for a running cluster; backend.address is local"),
    ],
)
def test_a_bad_value_of_the_backend(fields: dict[str, Any], message: str) -> None:
    assert refusal(RayBackend, **fields) == message


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, searchers.config; print({'torch', 'ray', 'optuna', 'wandb', 'pandas', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
