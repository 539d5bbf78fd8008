import pytest

from seqconv.networks.build import build, plan
from seqconv.networks.network import Network
from seqconv.networks.presets import preset


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": 0}, "classes must be an integer at least 1, got 0"),
        ({"classes": "10"}, "classes must be an integer at least 1, got '10'"),
        ({"classes": 10, "dropout": 1.0}, "dropout must be a number at least 0 and at most 0.99, got 1.0"),
        ({"classes": 10, "dropout": -0.1}, "dropout must be a number at least 0 and at most 0.99, got -0.1"),
        ({"classes": 10, "in_channels": 0}, "in_channels must be an integer at least 1, got 0"),
    ],
)
@pytest.mark.parametrize("make", [build, plan])
@pytest.mark.parametrize("name", ["cifar_b_small", "seqresnet_b_small"])
def test_what_cannot_be_built(make, name, fields, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError) as error:
        make(preset(name), **fields)
    assert str(error.value) == message


def test_recompute_is_true_or_false() -> None:
    with pytest.raises(ValueError, match=r"^recompute must be true or false, got 'blocks'$"):
        build(preset("cifar_b_small"), classes=10, recompute="blocks")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cifar_b_small", "seqresnext_small"])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_module_has_the_parts_of_the_plan_in_order(name: str, recompute: bool) -> None:
    parts = plan(preset(name), classes=10)
    model = build(preset(name), classes=10, recompute=recompute)
    assert isinstance(model, Network)
    assert model.recompute is recompute
    assert [name for name, _ in model.named_children()] == list(parts)
    assert [type(module) for module in model.children()] == [part.kind for part in parts.values()]


def test_recomputation_is_no_part_of_the_state() -> None:
    plain, recomputed = (build(preset("cifar_b_small"), classes=10, recompute=flag) for flag in (False, True))
    assert list(plain.state_dict()) == list(recomputed.state_dict())
    recomputed.load_state_dict(plain.state_dict())
