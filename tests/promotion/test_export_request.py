from typing import Any

import pytest

from promotion.export_request import ExportRequest

ONE = "pass one of run=runs/NAME, preset=NAME and architecture=FILE.yaml, got "
WHICH = "trial must be best, pareto, the number of a trial, or the name of a promotion's candidate, got "


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"run": None}, ONE + "none of them"),
        ({"preset": "cifar_b"}, ONE + "both run and preset"),
        ({"run": None, "preset": "cifar_b", "architecture": "a.yaml"}, ONE + "both preset and architecture"),
        ({"run": 2024}, "run must be the path of a folder, such as runs/NAME or ./2024, got 2024"),
        ({"run": ""}, "run must be the path of a folder, such as runs/NAME or ./2024, got ''"),
        ({"out": ""}, "out must be the path of a folder, such as runs/NAME or ./2024, got ''"),
        ({"out": 7}, "out must be the path of a folder, such as runs/NAME or ./2024, got 7"),
        ({"run": None, "architecture": ""}, "architecture must be the path of a YAML file, got ''"),
        ({"run": None, "architecture": 3}, "architecture must be the path of a YAML file, got 3"),
        ({"trial": -1}, WHICH + "-1"),
        ({"trial": True}, WHICH + "True"),
        ({"trial": 1.0}, WHICH + "1.0"),
        ({"trial": ""}, WHICH + "''"),
        ({"cost": "flops"}, "cost must be one of params, macs, serial_depth, activation_bytes, got 'flops'"),
        ({"onnx": "yes"}, "onnx must be true or false, got 'yes'"),
        ({"program": 1}, "program must be true or false, got 1"),
        ({"latency": None}, "latency must be true or false, got None"),
        ({"compiled": 0}, "compiled must be true or false, got 0"),
        ({"latency": False, "compiled": True}, "compiled=true measures latency: it needs latency=true"),
        ({"classes": 10}, "classes is what the data of the run has: leave it out with run="),
        ({"resolution": 32}, "resolution is what the data of the run has: leave it out with run="),
        ({"run": None, "preset": "cifar_b", "classes": 0}, "classes must be an integer at least 1, got 0"),
        ({"run": None, "preset": "cifar_b", "trial": 3}, "trial and stage choose from a run: they need run="),
        ({"run": None, "preset": "cifar_b", "stage": "cifar"}, "trial and stage choose from a run: they need run="),
    ],
)
def test_a_request_that_cannot_be_used(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        ExportRequest(**{"run": "runs/one", **fields})
    assert str(error.value) == message


@pytest.mark.parametrize(
    "fields",
    [
        {"run": "runs/one", "trial": 7},
        {"run": "runs/one", "trial": "pareto", "cost": "serial_depth"},
        {"run": "promotions/one", "trial": "trial-0007", "stage": "imagenet"},
        {"preset": "seqresnet_b22", "classes": 37, "resolution": 160, "latency": False},
        {"architecture": "a.yaml", "compiled": True},
    ],
)
def test_a_request_that_can_be_used(fields: dict[str, Any]) -> None:
    request = ExportRequest(**fields)
    assert {name: getattr(request, name) for name in fields} == fields
