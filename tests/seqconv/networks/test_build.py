import pytest

from seqconv.networks.build import build, plan
from seqconv.networks.presets import PRESETS, preset


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": 0}, "classes must be an integer at least 1, got 0"),
        ({"classes": "10"}, "classes must be an integer at least 1, got '10'"),
        ({"classes": 10, "dropout": 1.0}, "dropout must be a number at least 0 and at most 0.99, got 1.0"),
        ({"classes": 10, "dropout": -0.1}, "dropout must be a number at least 0 and at most 0.99, got -0.1"),
    ],
)
@pytest.mark.parametrize("make", [build, plan])
def test_what_cannot_be_built(make, fields, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError) as error:
        make(preset("cifar_b_small"), **fields)
    assert str(error.value) == message


def test_the_module_has_the_parts_of_the_plan_in_order() -> None:
    architecture = preset("cifar_b_small")
    parts = plan(architecture, classes=10)
    model = build(architecture, classes=10)
    assert [name for name, _ in model.named_children()] == list(parts)
    assert [type(module) for module in model.children()] == [part.kind for part in parts.values()]


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"^preset must be one of cifar_plain, .*, got 'cifar_d' \(did you mean cifar_b\b"
    ):
        preset("cifar_d")


def test_presets_differ() -> None:
    assert len({architecture.fingerprint() for architecture in PRESETS.values()}) == len(PRESETS)
