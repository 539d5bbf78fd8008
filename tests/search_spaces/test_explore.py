import itertools

import pytest

from search_spaces.explore import MeasuredSpace, descend
from search_spaces.space import SearchSpace
from tests.search_spaces.examples import categorical, integer, one_stage, real

SPACE = one_stage(
    blocks=integer(1, 2),
    groups=categorical(2, 4),
    form=categorical("plain", "bottleneck"),
    window=real(0.5, 1, step=0.5),
    subgroups=categorical(1, 2, when={"stage1.form": ["bottleneck"]}),
)


def measured(space: SearchSpace) -> MeasuredSpace:
    return MeasuredSpace(space, resolution=8, classes=10)


def everything(space: SearchSpace) -> list[dict]:
    vectors = []
    for values in itertools.product(*(knob.probes() for knob in space.knobs)):
        vector = dict(zip([knob.name for knob in space.knobs], values, strict=True))
        if vector["stage1.form"] == "plain":
            vector.pop("stage1.subgroups")
        vectors.append(vector)
    return vectors


@pytest.mark.parametrize("quantity", ["params", "macs", "serial_depth"])
@pytest.mark.parametrize("seed", [0, 1])
def test_extremes_are_those_of_the_whole_space(quantity: str, seed: int) -> None:
    space = measured(SPACE)
    costs = [getattr(space.cost(vector)[1], quantity) for vector in everything(SPACE)]
    sampled = space.sample(5, seed)
    assert getattr(space.extreme(sampled, quantity, most=False)[1], quantity) == min(costs)
    assert getattr(space.extreme(sampled, quantity, most=True)[1], quantity) == max(costs)


def test_the_canonical_form_costs_the_same() -> None:
    from seqconv import measure

    for vector in everything(SPACE)[:8]:
        architecture, cost = measured(SPACE).cost(vector)
        assert cost == measure(architecture, resolution=8, classes=10)


def test_a_sample_repeats_for_its_seed_and_ends_where_it_is_told_to() -> None:
    space = measured(SPACE)
    sampled = space.sample(20, 0)
    assert sampled == space.sample(20, 0) != space.sample(20, 1)
    assert len(sampled) == 20
    ended = space.sample(20, 0, until=lambda vector: vector["stage1.blocks"] == sampled[3]["stage1.blocks"])
    assert ended == sampled[: len(ended)]
    assert ended[-1]["stage1.blocks"] == sampled[3]["stage1.blocks"]


def test_vectors_that_do_not_decode_are_left_out_of_a_sample() -> None:
    sampled = measured(one_stage(groups=integer(1, 20))).sample(30, 0)
    assert {vector["stage1.groups"] for vector in sampled} <= {1, 2, 4, 8, 16}


def test_a_space_in_which_nothing_decodes() -> None:
    with pytest.raises(
        ValueError, match="search_space one: none of 300 knob vectors decodes: stage 1: groups must divide"
    ):
        measured(one_stage(groups=categorical(3, 5))).sample(3, 0)


def test_a_knob_that_becomes_active_on_the_way_is_searched_too() -> None:
    start = {"stage1.blocks": 1, "stage1.groups": 2, "stage1.form": "plain", "stage1.window": 0.5}

    def key(vector: dict) -> float:
        return -2 * ("stage1.subgroups" in vector) - (vector.get("stage1.subgroups", 0) == 2)

    assert descend(SPACE, start, key, lambda knob: knob.ends())["stage1.subgroups"] == 2
