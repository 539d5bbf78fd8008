from dataclasses import replace

import pytest

import seqconv
from promotion.exportable import Exportable, Result

ONE = Result(part="validation", errors={5: 0.125}, seed=5, epochs=4, recipe={"epochs": 4})
THREE = Result(part="test", errors={0: 0.1, 1: 0.3, 4: 0.2}, seed=0, epochs=30, recipe={})


def test_the_result_of_one_seed() -> None:
    assert ONE.describe() == "validation error 12.50 % after 4 epochs (one seed)"
    assert replace(ONE, epochs=1).describe() == "validation error 12.50 % after 1 epoch (one seed)"
    assert ONE.to_dict() == {
        "part": "validation", "mean": 0.125, "std": None, "epochs": 4, "errors": {5: 0.125}, "seed": 5
    }  # fmt: skip


def test_the_result_of_several_seeds_is_their_mean_and_sample_standard_deviation() -> None:
    assert THREE.mean == pytest.approx(0.2)
    assert THREE.std == pytest.approx(0.1)
    assert THREE.describe() == "test error 20.00 ± 10.00 % over 3 seeds after 30 epochs"


def test_what_a_model_is_in_one_line() -> None:
    architecture = seqconv.read_architecture("cifar_b")
    own = Exportable(name="a", architecture=architecture, classes=10, resolution=32)
    assert own.describe() == architecture.describe()
    assert Exportable(name="a", timm_name="resnet18", classes=10, resolution=32).describe() == "timm: resnet18"
