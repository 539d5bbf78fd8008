from __future__ import annotations

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
