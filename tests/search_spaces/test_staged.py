import dataclasses
import random
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.space import sample
from search_spaces.staged import StagedSpace
from seqconv import Window
from seqconv.aggregation import Dilated, Explicit, parse_pattern
from seqconv.architecture import Architecture, Stage
from tests.search_spaces.examples import categorical, delivered, integer, one_stage, real, settings

WINDOWED = delivered("windowed")


def test_decode_puts_every_knob_in_its_place() -> None:
    values = {
        "stage1.blocks": 2, "stage1.groups": 4, "stage1.window": 0.5, "stage1.form": "plain",
        "stage2.blocks": 1, "stage2.groups": 8, "stage2.window": 2.0, "stage2.form": "bottleneck",
        "stage3.blocks": 2, "stage3.groups": 2, "stage3.window": 1.25, "stage3.form": "plain",
    }  # fmt: skip
    assert WINDOWED.decode(values) == Architecture(
        widening=2,
        stages=(
            Stage(blocks=2, group_width=8, window=Window(ratio=0.5), form="plain"),
            Stage(blocks=1, group_width=8, window=Window(ratio=2), form="bottleneck"),
            Stage(blocks=2, group_width=64, window=Window(ratio=1.25), form="plain"),
        ),
    )


@given(st.integers())
def test_every_vector_of_the_default_space_decodes(seed: int) -> None:
    WINDOWED.decode(sample(WINDOWED, random.Random(seed)))


def test_dense_reads_everything() -> None:
    space = delivered("dense")
    architecture = space.decode(sample(space, random.Random(0)))
    assert {stage.window.to_plain() for stage in architecture.stages} == {"dense"}


def test_windows_that_read_everything_are_one_architecture() -> None:
    space = one_stage(groups=4, window=real(0.25, 2, step=0.25))
    prints = {ratio: space.decode({"stage1.window": ratio}).fingerprint() for ratio in space.knobs[0].probes()}
    assert prints[1.75] == prints[2.0] == one_stage(groups=4, window="dense").decode({}).fingerprint()
    assert len(set(prints.values())) == 7


def test_a_rounding_error_in_a_ratio_changes_nothing() -> None:
    space = one_stage(groups=4, window=real(0.1, 2, step=0.1))
    error = 0.1 + 0.2
    assert error != 0.3
    assert space.decode({"stage1.window": error}) == space.decode({"stage1.window": 0.3})


def test_widening_may_be_a_knob() -> None:
    space = one_stage(widening=categorical(1, 4))
    assert [knob.name for knob in space.knobs] == ["widening"]
    assert [space.decode({"widening": widening}).widths for widening in (1, 4)] == [(16,), (64,)]


def test_group_width_in_place_of_groups() -> None:
    space = one_stage(group_width=integer(4, 8, step=4))
    assert space.decode({"stage1.group_width": 4}).stages[0].group_width == 4


def test_one_value_is_overridden_without_touching_the_rest() -> None:
    changed = settings("windowed")
    changed.pop("_target_")
    changed["stage1"]["window"]["high"] = 1
    changed["stage2"]["form"] = "plain"
    changed["widening"] = 4
    space = StagedSpace(**changed)
    assert {k.name for k in WINDOWED.knobs} - {k.name for k in space.knobs} == {"stage2.form"}
    assert next(knob for knob in space.knobs if knob.name == "stage1.window").probes() == (0.25, 0.5, 0.75, 1.0)
    architecture = space.decode(sample(space, random.Random(0)))
    assert (architecture.widening, architecture.stages[1].form) == (4, "plain")


def test_unread_groups_are_refused_where_they_are_not_allowed() -> None:
    window = real(0.5, 2, step=0.25)
    assert one_stage(window=window).decode({"stage1.window": 0.5}).stages[0].window == Window(ratio=0.5)
    strict = one_stage(window=window, allow_unread=False)
    for ratio in (1.0, 2.0):
        strict.decode({"stage1.window": ratio})
    message = (
        "stage 1: a window of 2 leaves the oldest 2 of 4 input groups unread, which allow_unread=false forbids; "
        "allowed is 4 or more"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        strict.decode({"stage1.window": 0.5})


PATTERNS = ("log", "harmonic", "regular", "group", "split", "dilated(4, 2)", "shuffle(2)", "random(1, 0.5)", "dense", 2)


def test_any_pattern_may_be_a_choice() -> None:
    space = one_stage(groups=8, window=categorical(*PATTERNS))
    stages = [space.decode({"stage1.window": written}).stages[0] for written in PATTERNS]
    assert [stage.window for stage in stages] == [parse_pattern(written) for written in PATTERNS]
    assert len({stage.window for stage in stages}) == len(PATTERNS)


def test_any_pattern_may_be_the_constant() -> None:
    space = one_stage(groups=2, window=[[0], [-1, 1]])
    assert space.decode({}).stages[0].window == Explicit(((0,), (-1, 1)))
    assert space.to_dict()["genes"]["stage1.window"] == [[0], [-1, 1]]


def test_a_pattern_that_a_size_does_not_allow() -> None:
    space = one_stage(groups=integer(4, 8, step=4), window="dilated(1, 6)")
    assert space.decode({"stage1.groups": 8}).stages[0].window == Dilated(Window(groups=1), 6)
    with pytest.raises(ValueError, match=r"^stage 1: window dilated\(1, 6\) with G = 4 and g = 4: "):
        space.decode({"stage1.groups": 4})


def two_stages(window: str, *pyramid: int) -> StagedSpace:
    """Groups of 8, of which the first stage has four; `window` there, and nothing may be left unread."""
    first = {"blocks": 1, "group_width": 8, "window": window}
    second = {"blocks": 1, "group_width": 8}
    return StagedSpace(name="two", pyramid=pyramid, stage1=first, stage2=second, allow_unread=False)


@pytest.mark.parametrize("window", ["dense", "regular", "log", "group", "split"])
def test_patterns_that_read_everything_are_allowed(window: str) -> None:
    assert two_stages(window, 1, 2).decode({}).stages[0].window == parse_pattern(window)


@pytest.mark.parametrize(
    ("window", "pyramid", "problem"),
    [
        ("dilated(1, 2)", (1, 2), "dilated(1, 2) leaves 2 of 4 input groups unread in a layer with g = 4"),
        ("log", (4, 5), "log leaves 1 of 4 input groups unread in a layer with g = 1"),
    ],
)
def test_patterns_that_leave_groups_unread_are_refused(window: str, pyramid: tuple[int, ...], problem: str) -> None:
    with pytest.raises(ValueError) as error:
        two_stages(window, *pyramid).decode({})
    assert str(error.value) == f"stage 1: window {problem}, which allow_unread=false forbids"


@pytest.mark.parametrize(
    ("fields", "values", "message"),
    [
        ({"groups": integer(2, 4)}, {"stage1.groups": 3},
         "stage 1: groups must divide its width 32, got 3; allowed are 1, 2, 4, 8, 16, 32"),
        ({"group_width": integer(4, 5)}, {"stage1.group_width": 5},
         "stage 1: group_width must divide its width 32, got 5; allowed are 1, 2, 4, 8, 16, 32"),
        ({"subgroups": categorical(1, 2), "form": "plain"}, {"stage1.subgroups": 2},
         "stage 1: subgroups above 1 need form bottleneck, got 2"),
        ({"subgroups": categorical(1, 3), "form": "bottleneck"}, {"stage1.subgroups": 3},
         "stage 1: subgroups must divide group_width 8, got 3"),
    ],
)  # fmt: skip
def test_vectors_that_make_no_architecture(fields: dict, values: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        one_stage(**fields).decode(values)
    assert str(error.value).startswith(message)


def test_a_pyramid_that_gives_no_whole_width() -> None:
    space = StagedSpace(
        name="bad", pyramid=[3, 4], stage1={"blocks": 1, "groups": 2}, stage2={"blocks": 1, "groups": 2}
    )
    with pytest.raises(ValueError, match=r"a width of 128 / 3 is no integer: change widening or pyramid"):
        space.decode({})


STAGE = {"blocks": 1, "groups": 4}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "search_space.name must be a text that is not empty, got ''"),
        ({"family": "imagent"},
         "search_space.family must be one of cifar, imagenet, got 'imagent' (did you mean imagenet?)"),
        ({"allow_unread": "no"}, "search_space.allow_unread must be true or false, got 'no'"),
        ({"pyramid": 1}, "search_space.pyramid must be a list such as [1, 2, 4], got 1"),
        ({"pyramid": [0]}, "search_space.pyramid entry must be an integer at least 1, got 0"),
        ({"pyramid": [1, 2]}, "search_space.pyramid [1, 2] needs one stage an entry: stage1, stage2; got stage1"),
        ({"stage2": STAGE},
         "search_space.pyramid [1] needs one stage an entry: stage1; got stage1, stage2; "
         "~search_space.stage2 removes one"),
        ({"stage1": None}, "search_space.pyramid [1] needs one stage an entry: stage1; got none"),
        ({"stage1": 3}, "search_space.stage1 must be a mapping, got 3"),
        ({"stage1": {**STAGE, "windw": 1}},
         "search_space.stage1: unknown key 'windw' (did you mean window?); "
         "allowed are blocks, groups, group_width, window, form, subgroups"),
        ({"stage1": {"groups": 4}}, "search_space.stage1: missing key 'blocks'; required are blocks"),
        ({"stage1": {"blocks": 1}}, "search_space.stage1: give either groups or group_width, got blocks"),
        ({"stage1": {**STAGE, "group_width": 8}},
         "search_space.stage1: give either groups or group_width, got blocks, groups, group_width"),
        ({"stage1": {**STAGE, "window": categorical()}},
         "search_space.stage1.window: choices must be a list with at least one value, got []"),
        ({"stage1": {**STAGE, "window": real(2, 1)}}, "search_space.stage1.window: low 2.0 is above high 1.0"),
        ({"stage1": {"window": real(1, 2, when={"stage1.blocks": [1]}), "blocks": integer(1, 2), "groups": 4}},
         "search_space.stage1.window: its condition refers to stage1.blocks, which is written after it or is itself; "
         "knobs written before it are none"),
        ({"stage1": {**STAGE, "window": real(1, 2, when={"stage1.form": ["plain"]})}},
         "search_space.stage1.window: its condition refers to an unknown knob stage1.form; "
         "knobs written before it are none"),
        ({"widening": 0}, "search_space.widening: widening must be an integer at least 1, got 0"),
    ],
)  # fmt: skip
def test_fields_that_make_no_space(fields: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        StagedSpace(**{"name": "bad", "pyramid": [1], "stage1": STAGE, **fields})
    assert str(error.value) == message


def test_a_space_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        one_stage().widening = 3


def test_spaces_are_made_without_torch() -> None:
    code = "import search_spaces.summary, search_spaces.fixed, search_spaces.staged, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_width_beyond_any_network() -> None:
    space = StagedSpace(name="wide", pyramid=[1], widening=10**18, stage1={"blocks": 1, "groups": 7})
    with pytest.raises(ValueError, match=r"^a width must be at most 16,384 channels, got 16,000,000,000,000,000,000$"):
        space.decode({})
