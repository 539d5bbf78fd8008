from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.full.recipe import Recipe

CONF = Path(__file__).parents[3] / "conf" / "recipe"


def read(name: str) -> Recipe:
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    assert values.pop("_target_") == "training.full.recipe.Recipe"
    assert list(values) == [field.name for field in fields(Recipe)]
    return Recipe(**values)


def test_the_default_is_the_papers_for_cifar() -> None:
    assert read("cifar") == Recipe()
    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (300, 64, 0.1)
    assert (recipe.momentum, recipe.nesterov, recipe.weight_decay, recipe.decay_norms) == (0.9, True, 1e-4, True)
    assert (recipe.schedule, recipe.milestones, recipe.gamma) == ("step", (0.5, 0.75), 0.1)


def test_the_papers_for_imagenet() -> None:
    changed = {
        "epochs": 100,
        "batch_size": 256,
        "milestones": (0.3, 0.6, 0.9),
        "augment": "resized_crop",
        "colour_jitter": 0.4,
        "lighting": 0.1,
        "resolution": 224,
    }
    assert read("imagenet") == Recipe(**changed)


def test_the_modern_one_for_imagenet_tests_at_a_higher_resolution() -> None:
    recipe = read("imagenet_modern")
    assert recipe.resolution is not None and recipe.evaluation_resolution is not None
    assert recipe.resolution < recipe.evaluation_resolution
    assert recipe.schedule == "cosine" and recipe.warmup_epochs > 0
    assert recipe.label_smoothing and recipe.mixup and recipe.cutmix and recipe.ema and not recipe.decay_norms


def test_the_fast_one_for_cifar() -> None:
    recipe = read("cifar_fast")
    assert recipe.epochs <= 30
    assert recipe.schedule == "one_cycle" and recipe.warmup_epochs > 0
    assert recipe.label_smoothing and recipe.ema and recipe.norm_batches and not recipe.decay_norms


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "recipe.epochs must be an integer at least 1, got 0"),
        ({"accumulate": 0}, "recipe.accumulate must be an integer at least 1, got 0"),
        ({"batch_size": 1}, "recipe.batch_size must be an integer at least 2, got 1"),
        ({"batch_size": 64.0}, "recipe.batch_size must be an integer at least 2, got 64.0"),
        ({"norm_batches": -1}, "recipe.norm_batches must be an integer at least 0, got -1"),
        ({"resolution": 7}, "recipe.resolution must be an integer at least 8, got 7"),
        ({"evaluation_resolution": "big"}, "recipe.evaluation_resolution must be an integer at least 8, got 'big'"),
        ({"learning_rate": 0}, "recipe.learning_rate must be a number above 0, got 0"),
        ({"gamma": -0.1}, "recipe.gamma must be a number above 0, got -0.1"),
        ({"checkpoint_every": 0}, "recipe.checkpoint_every must be a number above 0, got 0"),
        ({"weight_decay": -1}, "recipe.weight_decay must be a number at least 0, got -1"),
        ({"mixup": "yes"}, "recipe.mixup must be a number at least 0, got 'yes'"),
        ({"cutmix": -1}, "recipe.cutmix must be a number at least 0, got -1"),
        ({"lighting": -1}, "recipe.lighting must be a number at least 0, got -1"),
        ({"colour_jitter": 2}, "recipe.colour_jitter must be a number at least 0 and at most 1, got 2"),
        ({"random_erasing": 2}, "recipe.random_erasing must be a number at least 0 and at most 1, got 2"),
        ({"label_smoothing": 1}, "recipe.label_smoothing must be a number at least 0 and at most 0.99, got 1"),
        ({"dropout": 1}, "recipe.dropout must be a number at least 0 and at most 0.99, got 1"),
        ({"momentum": 1}, "recipe.momentum must be a number at least 0 and at most 0.999, got 1"),
        ({"ema": 1}, "recipe.ema must be a number at least 0 and at most 0.999999, got 1"),
        ({"warmup_epochs": 301}, "recipe.warmup_epochs must be a number at least 0 and at most 300, got 301"),
        ({"nesterov": 1}, "recipe.nesterov must be true or false, got 1"),
        ({"decay_norms": None}, "recipe.decay_norms must be true or false, got None"),
        ({"channels_last": "no"}, "recipe.channels_last must be true or false, got 'no'"),
        ({"recompute": 0}, "recipe.recompute must be true or false, got 0"),
        ({"compile": "off"}, "recipe.compile must be true or false, got 'off'"),
        (
            {"schedule": "cosin"},
            "recipe.schedule must be one of step, cosine, one_cycle, got 'cosin' (did you mean cosine?)",
        ),
        (
            {"augment": "flip"},
            "recipe.augment must be one of auto, crop_flip, crop, none, resized_crop, trivial, randaugment, got 'flip' "
            "(did you mean crop_flip?)",
        ),
        ({"precision": "fp16"}, "recipe.precision must be one of auto, float32, bfloat16, got 'fp16'"),
        (
            {"batch_size": 64, "accumulate": 3},
            "recipe.batch_size must be a multiple of 3 (1 processes x 3 micro-batches) with at least two images each, "
            "got 64",
        ),
        (
            {"momentum": 0},
            "recipe.nesterov needs a momentum above 0, got recipe.momentum 0: raise it, or set recipe.nesterov to "
            "false",
        ),
        (
            {"recompute": True, "compile": True},
            "recipe.recompute and recipe.compile exclude each other, because the compiler decides by itself: set one "
            "of them to false",
        ),
        *[
            (
                {"milestones": milestones},
                f"recipe.milestones must be increasing shares of the epochs, each above 0 and below 1, "
                f"got {milestones!r}",
            )
            for milestones in ((0.75, 0.5), (0.5, 0.5), (0.0, 0.5), (0.5, 1), ("half",), 0.5, "0.5", None)
        ],
    ],
)
def test_a_bad_value_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Recipe(**changes)
    assert str(error.value) == message


def test_what_is_allowed_at_the_edges() -> None:
    Recipe(milestones=(), momentum=0.0, nesterov=False, warmup_epochs=300, batch_size=4, accumulate=2, resolution=8)


def test_values_of_yaml_become_plain_data() -> None:
    recipe = Recipe(milestones=[0.5, 0.9], learning_rate=1, mixup=1)  # type: ignore[arg-type]
    assert recipe.milestones == (0.5, 0.9)
    assert (type(recipe.learning_rate), type(recipe.mixup)) == (float, float)
    assert hash(recipe) == hash(pickle.loads(pickle.dumps(recipe)))
    assert Recipe(**asdict(recipe)) == recipe


def test_a_recipe_needs_no_heavy_import() -> None:
    program = (
        "import sys, training.full.recipe, training.full.data, training.full.metrics, training.full.model\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'pandas'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=CONF.parents[1]).stdout == "[]\n"
