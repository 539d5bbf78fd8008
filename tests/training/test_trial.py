from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields
from pathlib import Path
from typing import Any

import pytest

from seqconv.serialization import read_yaml
from training.data import Proxy
from training.trial import TrialConfig

CONF = Path(__file__).parents[2] / "conf" / "trial"
PROXY = Proxy(epochs=4, share=0.05, validation_limit=1000)
EXPECTED = {
    "epochs": [(0, "an integer at least 1"), (2.0, "an integer at least 1"), (True, "an integer at least 1")],
    "share": [(0, "a number above 0 and at most 1"), (1.5, "a number above 0 and at most 1")],
    "resolution": [(0, "an integer at least 1"), (16.0, "an integer at least 1"), ("16", "an integer at least 1")],
    "width": [(0, "a number above 0 and at most 1"), (1.5, "a number above 0 and at most 1")],
    "validation_limit": [(0, "an integer at least 1")],
    "batch_size": [(1, "an integer at least 2")],
    "learning_rate": [(0, "a number above 0"), (float("nan"), "a number above 0"), ("1e-3", "a number above 0")],
    "momentum": [(1, "a number at least 0 and at most 0.99")],
    "weight_decay": [(-1e-4, "a number at least 0")],
    "label_smoothing": [(1, "a number at least 0 and at most 0.99")],
    "schedule": [("one-cycle", "one of one_cycle, cosine")],
    "warmup": [(1.1, "a number at least 0 and at most 1")],
    "dropout": [(1, "a number at least 0 and at most 0.99")],
    "augment": [("flip", "one of auto, crop_flip, crop, none")],
    "precision": [("float16", "one of auto, float32, bfloat16")],
    "channels_last": [("on", "true or false"), (1, "true or false")],
    "norm_batches": [(-1, "an integer at least 0")],
    "checkpoint_every": [(0, "an integer at least 1")],
}


@pytest.mark.parametrize(("name", "value", "allowed"), [(n, v, a) for n, cases in EXPECTED.items() for v, a in cases])
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError) as error:
        TrialConfig(**{name: value})
    assert f"trial.{name} must be {allowed}" in str(error.value)
    assert f"got {value!r}" in str(error.value)


def test_every_field_is_checked() -> None:
    assert set(EXPECTED) == {field.name for field in fields(TrialConfig)}


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(ValueError, match=r"\(did you mean one_cycle\?\)"):
        TrialConfig(schedule="onecycle")


def test_integers_are_read_as_numbers() -> None:
    assert repr(TrialConfig(learning_rate=1)) == repr(TrialConfig(learning_rate=1.0))


def test_share_and_resolution_may_grow() -> None:
    growing = TrialConfig(epochs=7, share={1: 0.25, 4: 1}, resolution={"1": 16, "4": 24, "7": 32})  # type: ignore[dict-item]
    assert repr(growing.share) == "{1: 0.25, 4: 1.0}"
    assert growing.resolution == {1: 16, 4: 24, 7: 32}
    assert TrialConfig(**json.loads(json.dumps(asdict(growing)))) == growing
    assert growing.resolved(PROXY, flip=True).share == {1: 0.25, 4: 1}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"share": {2: 0.5}}, "trial.share must say what holds from epoch 1 on, got {2: 0.5}: begin with 1"),
        ({"share": {1: 0.5, 2: 1.5}}, "trial.share from epoch 2 on must be a number above 0 and at most 1, got 1.5"),
        ({"resolution": {1: 9, 2: 8}}, "trial.resolution: values must rise from level to level, got {1: 9, 2: 8}"),
        ({"epochs": 3, "share": {1: 0.5, 4: 1}}, "trial.share has a level from epoch 4 on, and a trial has 3 epochs"),
    ],
)
def test_a_setting_that_does_not_grow_is_named(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError) as error:
        TrialConfig(**settings)
    assert str(error.value) == problem


def test_a_level_beyond_the_epochs_of_the_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trial\.share has a level from epoch 5 on, and a trial has 4 epochs"):
        TrialConfig(share={1: 0.5, 5: 1}).resolved(PROXY, flip=True)


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        TrialConfig().epochs = 3  # type: ignore[misc]


def test_open_fields_are_taken_from_the_data_set() -> None:
    resolved = TrialConfig().resolved(PROXY, flip=True)
    assert (resolved.epochs, resolved.share, resolved.validation_limit) == (4, 0.05, 1000)
    assert resolved.augment == "crop_flip"
    assert TrialConfig().resolved(PROXY, flip=False).augment == "crop"


def test_given_fields_stay() -> None:
    given = TrialConfig(epochs=9, share=1.0, validation_limit=7, augment="none", learning_rate=0.3)
    assert given.resolved(PROXY, flip=True) == given


def test_the_proxy_option_is_the_default() -> None:
    assert _option("proxy") == TrialConfig()


def test_the_gpu_option_trains_on_all_images() -> None:
    option = _option("gpu").resolved(PROXY, flip=True)
    assert (option.epochs, option.share, option.batch_size) == (20, 1.0, 256)
    assert option.validation_limit is not None
    assert option.validation_limit > 50_000


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_option_says_what_it_is_and_lists_every_field(path: Path) -> None:
    assert path.read_text().startswith("# ")
    assert list(read_yaml(path)) == ["_target_", *asdict(TrialConfig())]


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, training.trial; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CONF.parents[1], check=False).returncode == 0


def _option(name: str) -> TrialConfig:
    data = read_yaml(CONF / f"{name}.yaml")
    assert data.pop("_target_") == "training.trial.TrialConfig"
    return TrialConfig(**data)
