import json
import math
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.knobs import PROBES, Categorical, Float, Integer, Knob, active, from_plain, same


@st.composite
def stepped_floats(draw: st.DrawFn) -> Float:
    """Bounds and steps as a person writes them: few decimals."""
    decimals = draw(st.integers(0, 3))
    low, step, count = draw(st.integers(-50, 50)), draw(st.integers(1, 40)), draw(st.integers(1, 30))
    scaled = (round(n / 10**decimals, decimals) for n in (low, low + step * (count - 1), step))
    low_value, high_value, step_value = scaled
    return Float(name="x", low=low_value, high=high_value, step=step_value)


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    low, step, count = draw(st.integers(1, 50)), draw(st.integers(1, 7)), draw(st.integers(1, 400))
    log = step == 1 and draw(st.booleans())
    return Integer(name="x", low=low, high=low + step * (count - 1), step=step, log=log)


knobs = st.one_of(
    stepped_floats(),
    integers(),
    st.lists(st.one_of(st.integers(), st.text(max_size=3)), min_size=1, max_size=6, unique=True).map(
        lambda choices: Categorical(name="x", choices=tuple(choices))
    ),
    st.tuples(st.floats(0.001, 1), st.floats(1.001, 50), st.booleans()).map(
        lambda bounds: Float(name="x", low=bounds[0], high=bounds[1], log=bounds[2])
    ),
)


@given(knobs, st.integers())
def test_drawn_values_and_probes_are_in_the_domain(knob: Knob, seed: int) -> None:
    rng = random.Random(seed)
    for value in (*knob.probes(), *knob.ends(), *(knob.draw(rng) for _ in range(5))):
        assert knob.check(value) == value


@given(knobs)
def test_probes_are_all_values_or_an_even_spread_with_both_ends(knob: Knob) -> None:
    probes = knob.probes()
    if knob.count is not None and knob.count <= PROBES:
        assert len(set(probes)) == knob.count
    elif knob.count is not None:
        assert len(set(probes)) == PROBES
    if not isinstance(knob, Categorical):
        assert (min(probes), max(probes)) == (probes[0], probes[-1]) == (knob.low, knob.high)


@given(knobs)
def test_a_knob_survives_json_and_pickle(knob: Knob) -> None:
    plain = json.loads(json.dumps(knob.to_dict()))
    assert from_plain(plain.pop("name"), plain) == knob == pickle.loads(pickle.dumps(knob))
    assert hash(pickle.loads(pickle.dumps(knob))) == hash(knob)


@given(stepped_floats(), st.data())
def test_a_multiple_of_the_step_with_a_rounding_error_is_brought_back(knob: Float, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, knob.count - 1))
    assert knob.check(knob.low + index * knob.step) == knob.probes()[index]


def test_steps_are_decimal() -> None:
    assert Float(name="x", low=0.1, high=0.7, step=0.1).probes() == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def test_log_draws_reach_both_ends_and_favour_small_values() -> None:
    rng = random.Random(0)
    drawn = [Integer(name="x", low=1, high=64, log=True).draw(rng) for _ in range(2000)]
    assert (min(drawn), max(drawn)) == (1, 64)
    assert 0.4 < sum(value <= 8 for value in drawn) / 2000 < 0.65
    floats = [Float(name="x", low=0.01, high=1, log=True).draw(rng) for _ in range(2000)]
    assert 0.45 < sum(value <= 0.1 for value in floats) / 2000 < 0.55


def test_probes_of_a_float_without_step_are_the_ends_and_the_middle() -> None:
    assert Float(name="x", low=1, high=4).probes() == (1, 2.5, 4)
    assert Float(name="x", low=1, high=4, log=True).probes() == (1, 2, 4)
    assert Float(name="x", low=1, high=4).count is None
    assert Float(name="x", low=1, high=1).count == 1


def test_a_knob_is_active_where_every_condition_holds() -> None:
    knob = Categorical(name="x", choices=(1, 2), when={"a": (1, 2), "b": ("on",)})
    assert active(knob, {"a": 2, "b": "on"})
    assert not active(knob, {"a": 3, "b": "on"})
    assert not active(knob, {"a": 2, "b": "off"})
    assert not active(knob, {"b": "on"})


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [(0.3, 0.1 + 0.2, True), (1, 1.0, True), (1, True, False), (False, 0, False), ("1", 1, False), (True, True, True)],
)
def test_same(a: object, b: object, equal: bool) -> None:
    assert same(a, b) is same(b, a) is equal


def test_check_returns_the_declared_choice() -> None:
    assert isinstance(Categorical(name="x", choices=(1, 2)).check(1.0), int)


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        (Categorical(name="s.form", choices=("plain", "bottleneck")), "plian",
         "knob s.form must be one of plain, bottleneck, got 'plian' (did you mean plain?)"),
        (Categorical(name="x", choices=(0, 1)), True, "knob x must be one of 0, 1, got True"),
        (Integer(name="x", low=1, high=9, step=2), 2, "knob x must be an integer from 1 to 9 in steps of 2, got 2"),
        (Integer(name="x", low=1, high=9), 10, "knob x must be an integer from 1 to 9, got 10"),
        (Integer(name="x", low=1, high=9), 2.0, "knob x must be an integer from 1 to 9, got 2.0"),
        (Integer(name="x", low=0, high=9), False, "knob x must be an integer from 0 to 9, got False"),
        (Float(name="x", low=0.25, high=2, step=0.25), 0.3,
         "knob x must be a number from 0.25 to 2 in steps of 0.25, got 0.3"),
        (Float(name="x", low=0.25, high=2, step=0.25), 2.25,
         "knob x must be a number from 0.25 to 2 in steps of 0.25, got 2.25"),
        (Float(name="x", low=0, high=2), math.nan, "knob x must be a number from 0 to 2, got nan"),
        (Float(name="x", low=0, high=2), 1e308, "knob x must be a number from 0 to 2, got 1e+308"),
        (Float(name="x", low=0, high=2), True, "knob x must be a number from 0 to 2, got True"),
        (Float(name="x", low=0, high=2), "1", "knob x must be a number from 0 to 2, got '1'"),
    ],
)  # fmt: skip
def test_values_out_of_the_domain(knob: Knob, value: object, message: str) -> None:
    with pytest.raises(ValueError) as error:
        knob.check(value)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"choices": [1]}, "k: a knob needs a type, one of categorical, integer, float; got {'choices': [1]}"),
        ({"type": "categorial", "choices": [1]},
         "k: type must be one of categorical, integer, float, got 'categorial' (did you mean categorical?)"),
        ({"type": "categorical"}, "k: missing key 'choices'; required are choices"),
        ({"type": "categorical", "choices": [1], "step": 1}, "k: unknown key 'step'; allowed are choices, when"),
        ({"type": "integer", "low": 1, "hgh": 2},
         "k: unknown key 'hgh' (did you mean high?); allowed are low, high, step, log, when"),
        ({"type": "categorical", "choices": []}, "k: choices must be a list with at least one value, got []"),
        ({"type": "categorical", "choices": "plain"}, "k: choices must be a list with at least one value, got 'plain'"),
        ({"type": "categorical", "choices": [1, 2, 1]}, "k: choices has 1 twice"),
        ({"type": "categorical", "choices": [[1]]}, "k: choices must be texts, finite numbers, true or false, got [1]"),
        ({"type": "categorical", "choices": [math.inf]},
         "k: choices must be texts, finite numbers, true or false, got inf"),
        ({"type": "integer", "low": 3, "high": 1}, "k: low 3 is above high 1"),
        ({"type": "integer", "low": 0.5, "high": 1}, "k: low must be an integer, got 0.5"),
        ({"type": "integer", "low": 1, "high": True}, "k: high must be an integer, got True"),
        ({"type": "integer", "low": 1, "high": 4, "step": 0}, "k: step must be above 0, got 0"),
        ({"type": "integer", "low": 1, "high": 6, "step": 2},
         "k: steps of 2 from low 1 do not reach high 6; the nearest are 5 and 7"),
        ({"type": "integer", "low": 0, "high": 6, "log": True}, "k: log needs low above 0, got 0"),
        ({"type": "integer", "low": 2, "high": 6, "log": True, "step": 2}, "k: log takes no step, got step 2"),
        ({"type": "integer", "low": 2, "high": 6, "log": "yes"}, "k: log must be true or false, got 'yes'"),
        ({"type": "integer", "low": 1, "high": 10**16},
         "k: high must be from -1e+15 to 1e+15, got 10000000000000000"),
        ({"type": "float", "low": 0, "high": 1e300, "step": 1e-300},
         "k: steps of 1e-300 from low 0.0 to high 1E+300 are more than 1e+15"),
        ({"type": "float", "low": "1e-3", "high": 1}, "k: low must be a finite number, got '1e-3'"),
        ({"type": "float", "low": 0, "high": math.inf}, "k: high must be a finite number, got inf"),
        ({"type": "float", "low": 2, "high": 1}, "k: low 2.0 is above high 1.0"),
        ({"type": "float", "low": 0.25, "high": 2.1, "step": 0.25},
         "k: steps of 0.25 from low 0.25 do not reach high 2.1; the nearest are 2.00 and 2.25"),
        ({"type": "float", "low": 1, "high": 2, "step": 0.5, "log": True}, "k: log takes no step, got step 0.5"),
        ({"type": "float", "low": 1, "high": 2, "when": ["a"]},
         "k: when must map knob names to lists of values, got ['a']"),
        ({"type": "float", "low": 1, "high": 2, "when": {"a": "b"}},
         "k: when.a must be a list with at least one value, got 'b'"),
    ],
)  # fmt: skip
def test_descriptions_that_make_no_knob(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        from_plain("k", data)
    assert str(error.value) == message


def test_a_knob_needs_a_name() -> None:
    with pytest.raises(ValueError, match="a knob's name must be a text that is not empty, got ''"):
        Integer(name="", low=1, high=2)
