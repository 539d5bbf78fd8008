import itertools
import json
import pickle
import random
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.knobs import Categorical, Float, Integer, Knob, active
from search_spaces.space import SearchSpace, check_knobs, checked_values, sample, size
from search_spaces.staged import StagedSpace
from tests.search_spaces.examples import DELIVERED, categorical, delivered, integer, one_stage, real

CONDITIONAL = one_stage(
    form=categorical("plain", "bottleneck"),
    subgroups=categorical(1, 2, when={"stage1.form": ["bottleneck"]}),
    window=real(0.5, 2, when={"stage1.form": ["plain"]}, otherwise="dense"),
)
SPACES = [*(pytest.param(delivered(option), id=option) for option in DELIVERED), pytest.param(CONDITIONAL, id="cond")]


@pytest.mark.parametrize("space", SPACES)
class TestEverySpace:
    """What every search space keeps."""

    def test_sampled_vectors_decode_to_the_same_architecture_each_time(self, space: SearchSpace) -> None:
        rng = random.Random(1)
        for _ in range(50):
            values = sample(space, rng)
            assert space.decode(values) == space.decode(dict(reversed(values.items())))

    def test_vectors_repeat_for_a_seed(self, space: SearchSpace) -> None:
        first, second = ([sample(space, random.Random(seed)) for seed in range(20)] for _ in range(2))
        assert first == second

    def test_vectors_hold_the_active_knobs(self, space: SearchSpace) -> None:
        rng = random.Random(2)
        for _ in range(50):
            values = sample(space, rng)
            assert list(values) == [knob.name for knob in space.knobs if active(knob, values)]
            assert checked_values(space.knobs, values) == values

    def test_an_architecture_outlives_its_plain_form(self, space: SearchSpace) -> None:
        architecture = space.decode(sample(space, random.Random(3)))
        assert type(architecture).from_dict(architecture.to_dict()) == architecture

    def test_the_plain_form_is_json_and_equal_for_equal_spaces(self, space: SearchSpace) -> None:
        again = pickle.loads(pickle.dumps(space))
        assert json.loads(json.dumps(space.to_dict())) == space.to_dict() == again.to_dict()
        assert again.knobs == space.knobs

    def test_unknown_and_missing_knobs_are_refused(self, space: SearchSpace) -> None:
        values = sample(space, random.Random(4))
        with pytest.raises(ValueError, match=r"unknown knob stage9\.window"):
            space.decode({**values, "stage9.window": 1})
        for name in values:
            with pytest.raises(ValueError, match=rf"knob {name} has no value"):
                space.decode({key: value for key, value in values.items() if key != name})

    def test_values_out_of_the_domain_are_refused(self, space: SearchSpace) -> None:
        values = sample(space, random.Random(5))
        for name in values:
            with pytest.raises(ValueError, match=rf"knob {name} must be .* got 'none of them'"):
                space.decode({**values, name: "none of them"})


def test_spaces_that_differ_have_another_plain_form() -> None:
    plain = [space.to_dict() for space in map(delivered, DELIVERED)]
    assert all(a != b for a, b in itertools.combinations(plain, 2))
    assert one_stage(window=real(0.5, 1)).to_dict() == one_stage(window=real(0.5, 1.0)).to_dict()
    assert one_stage(window=real(0.5, 1)).to_dict() != one_stage(window=real(0.5, 2)).to_dict()
    assert one_stage(window="0.5G").to_dict() == one_stage(window="0.50G").to_dict()


def test_sizes_of_the_delivered_spaces() -> None:
    assert {option: size(delivered(option)) for option in DELIVERED} == {
        "windowed": (2 * 3 * 8 * 2) ** 3,
        "patterns": (2 * 3 * 9 * 2) ** 3,
        "dense": (2 * 3 * 2) ** 3,
        "windowed_small": 6**3,
        "fixed": 1,
    }


def test_a_float_without_step_makes_a_space_infinite() -> None:
    assert size(CONDITIONAL) is None
    assert size(one_stage(window=real(0.5, 2, step=0.5))) == 4


@st.composite
def conditional_knobs(draw: st.DrawFn) -> list[Knob]:
    """Up to five knobs, whose conditions form any graph that goes forward."""
    knobs: list[Knob] = []
    for i in range(draw(st.integers(1, 5))):
        when = {
            parent.name: tuple(draw(st.lists(st.sampled_from(parent.probes()), min_size=1, unique=True)))
            for parent in draw(st.lists(st.sampled_from(knobs), unique=True, max_size=3) if knobs else st.just([]))
        }
        name = f"k{i}"
        knobs.append(
            draw(
                st.sampled_from(
                    [
                        Categorical(name=name, choices=("a", "b", "c"), when=when),
                        Integer(name=name, low=1, high=5, step=2, when=when),
                        Float(name=name, low=0.1, high=0.4, step=0.3, when=when),
                        Categorical(name=name, choices=(True,), when=when),
                    ]
                )
            )
        )
    return knobs


@given(conditional_knobs())
def test_size_is_the_number_of_vectors(knobs: list[Knob]) -> None:
    space = SimpleNamespace(knobs=tuple(knobs))
    vectors = set()
    for values in itertools.product(*(knob.probes() for knob in knobs)):
        vector: dict[str, object] = {}
        for knob, value in zip(knobs, values, strict=True):
            if active(knob, vector):
                vector[knob.name] = value
        vectors.add(tuple(vector.items()))
    check_knobs(knobs)
    assert size(space) == len(vectors)
    assert tuple(sample(space, random.Random(0)).items()) in vectors


def test_size_of_many_conditions_takes_no_enumeration() -> None:
    fields = {
        stage: {
            "blocks": integer(1, 4),
            "groups": categorical(2, 4),
            "form": categorical("plain", "bottleneck"),
            "subgroups": categorical(1, 2, when={f"{stage}.form": ["bottleneck"]}),
            "window": real(0.5, 1, step=0.125, when={f"{stage}.blocks": [2, 3]}),
        }
        for stage in ("stage1", "stage2", "stage3", "stage4")
    }
    space = StagedSpace(name="large", pyramid=(1, 2, 4, 8), **fields)
    assert size(space) == ((2 + 2 * 5) * 2 * (1 + 2)) ** 4


def test_sampling_within_given_values() -> None:
    space, rng = delivered("windowed"), random.Random(0)
    for _ in range(20):
        values = sample(space, rng, {"stage2.window": (0.5, 1.0), "stage1.form": ("plain",)})
        assert values["stage2.window"] in (0.5, 1.0)
        assert values["stage1.form"] == "plain"


def test_an_inactive_knob_takes_no_value() -> None:
    values = {"stage1.form": "bottleneck", "stage1.subgroups": 2}
    assert CONDITIONAL.decode(values).stages[0].subgroups == 2
    with pytest.raises(
        ValueError, match=r"knob stage1\.window has a value but is active only with stage1\.form in plain"
    ):
        CONDITIONAL.decode({**values, "stage1.window": 1.0})


A = Categorical(name="a", choices=(1, 2))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ([A, A], "a: two knobs have this name"),
        ([Integer(name="b", low=1, high=2, when={"a": (1,)}), A],
         "b: its condition refers to a, which is written after it or is itself; knobs written before it are none"),
        ([Categorical(name="a", choices=(1,), when={"a": (1,)})],
         "a: its condition refers to a, which is written after it or is itself; knobs written before it are none"),
        ([Categorical(name="alpha", choices=(1,)), Integer(name="b", low=1, high=2, when={"alhpa": (1,)})],
         "b: its condition refers to an unknown knob alhpa (did you mean alpha?); knobs written before it are alpha"),
        ([A, Integer(name="b", low=1, high=2, when={"a": (1, 3)})],
         "b: a condition that never holds: knob a must be one of 1, 2, got 3"),
        ([Float(name="f", low=0, high=1), Integer(name="b", low=1, high=2, when={"f": (0.5,)})],
         "b: a condition needs a knob with countable values; f has no step"),
        ([Integer(name="n", low=0, high=1000), Integer(name="b", low=1, high=2, when={"n": (5,)})],
         "b: n has 1,001 values, too many for a condition"),
    ],
)  # fmt: skip
def test_knobs_that_make_no_space(knobs: list[Knob], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_knobs(knobs)
