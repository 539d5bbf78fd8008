import re
import time

import pytest

from search_spaces import summary
from search_spaces.budget import Budget
from search_spaces.staged import StagedSpace
from search_spaces.summary import check_budget, check_space, summarize
from seqconv import measure
from tests.search_spaces.examples import DELIVERED, categorical, delivered, integer, one_stage, real

SPACE = one_stage(
    blocks=integer(1, 4),
    groups=categorical(2, 4),
    window=real(0.5, 2, step=0.5),
    form=categorical("plain", "bottleneck"),
)
CONTEXT = {"resolution": 8, "classes": 10}


def test_smallest_and_largest_are_the_ends_of_the_space() -> None:
    found = summarize(SPACE, **CONTEXT)
    low = {"stage1.blocks": 1, "stage1.groups": 4, "stage1.window": 0.5, "stage1.form": "bottleneck"}
    high = {"stage1.blocks": 4, "stage1.groups": 4, "stage1.window": 2.0, "stage1.form": "plain"}
    assert found.smallest[0].fingerprint() == SPACE.decode(low).fingerprint()
    assert found.largest[0].fingerprint() == SPACE.decode(high).fingerprint()
    assert found.smallest[1].params < found.middle[1].params < found.largest[1].params
    for architecture, cost in (found.smallest, found.middle, found.largest):
        assert cost == measure(architecture, **CONTEXT)
    assert found == summarize(SPACE, **CONTEXT)


def test_lines_give_the_size_and_three_architectures() -> None:
    found = summarize(SPACE, **CONTEXT)
    lines = found.lines()
    assert lines[0] == "one: 64 knob vectors"
    assert [line.split()[0] for line in lines[1:]] == ["smallest", "middle", "largest"]
    for line, (architecture, cost) in zip(lines[1:], (found.smallest, found.middle, found.largest), strict=True):
        for part in (f"{cost.params:,} params", f"{cost.macs:,} MACs", f"{cost.serial_depth} serial depth"):
            assert f" {part} " in line
        assert line.endswith(architecture.describe())


def test_one_architecture_is_told_once() -> None:
    lines = summarize(delivered("fixed"), resolution=32, classes=10).lines()
    assert lines[0] == "fixed: one architecture"
    assert len(lines) == 2
    assert "125,402 params" in lines[1]


def test_an_infinite_space_says_so() -> None:
    assert summarize(one_stage(window=real(0.5, 2)), **CONTEXT).lines()[0] == "one: infinitely many knob vectors"


@pytest.mark.parametrize("option", DELIVERED)
def test_delivered_spaces_pass_their_check_at_once(option: str) -> None:
    space = delivered(option)
    begin = time.process_time()
    check_space(space)
    assert time.process_time() - begin < 0.5


def test_a_value_that_decodes_beside_some_values_alone_passes() -> None:
    check_space(one_stage(form=categorical("plain", "bottleneck"), subgroups=categorical(1, 2)))


def test_a_conditional_value_is_tried_where_it_is_active() -> None:
    stage = {"blocks": integer(1, 200), "groups": 4, "form": "bottleneck"}
    check_space(one_stage(**stage, subgroups=categorical(2, when={"stage1.blocks": [117]})))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (one_stage(groups=categorical(2, 3, 4)),
         "search_space one: no architecture has stage1.groups = 3 (300 vectors tried): "
         "stage 1: groups must divide its width 32, got 3; allowed are 1, 2, 4, 8, 16, 32"),
        (one_stage(window=real(0.5, 2, step=0.5), allow_unread=False),
         "search_space one: no architecture has stage1.window = 0.5 (300 vectors tried): stage 1: a window of 2"),
        (one_stage(form="plain", subgroups=categorical(1, 2)),
         "search_space one: no architecture has stage1.subgroups = 2 (300 vectors tried): "
         "stage 1: subgroups above 1 need form bottleneck"),
        (one_stage(groups=3), "stage 1: groups must divide its width 32, got 3"),
        (one_stage(blocks=integer(1, 2), form=categorical("bottleneck", when={"stage1.blocks": [1]}),
                   subgroups=categorical(2, when={"stage1.blocks": [2], "stage1.form": ["bottleneck"]})),
         "search_space one: knob stage1.subgroups is never active: its conditions leave no value of stage1.blocks"),
        (StagedSpace(name="narrow", pyramid=[1, 2], widening=1, stage1={"blocks": 1, "groups": 4},
                     stage2={"blocks": 1, "group_width": categorical(8, 64)}),
         "search_space narrow: no architecture has stage2.group_width = 64 (300 vectors tried): "
         "stage 2: group_width must divide its width 32, got 64"),
    ],
)  # fmt: skip
def test_values_that_decode_nowhere(space: StagedSpace, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        check_space(space)


def test_a_budget_that_something_meets_passes() -> None:
    found = summarize(SPACE, **CONTEXT)
    check_budget(SPACE, Budget(), **CONTEXT)
    check_budget(SPACE, Budget(params=[None, found.middle[1].params]), **CONTEXT)
    for _, cost in (found.smallest, found.largest):
        check_budget(SPACE, Budget(params=[cost.params, cost.params], macs=[cost.macs, cost.macs]), **CONTEXT)


def test_a_narrow_budget_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "SAMPLE", 2)
    vector = {"stage1.blocks": 3, "stage1.groups": 2, "stage1.window": 1.0, "stage1.form": "plain"}
    cost = measure(SPACE.decode(vector), **CONTEXT)
    budget = Budget(params=[cost.params - 500, cost.params + 500], serial_depth=[None, cost.serial_depth])
    check_budget(SPACE, budget, **CONTEXT)


@pytest.mark.parametrize("quantity", ["params", "macs", "serial_depth"])
def test_a_budget_outside_of_the_space_names_its_ends(quantity: str) -> None:
    costs = [getattr(measure(SPACE.decode(vector), **CONTEXT), quantity) for vector in _everything()]
    verb = "goes" if quantity == "serial_depth" else "go"
    span = f"{quantity} {verb} from {min(costs):,} to {max(costs):,}"
    with pytest.raises(ValueError) as error:
        check_budget(SPACE, Budget(**{quantity: [1, min(costs) - 1]}), **CONTEXT)
    assert str(error.value) == f"budget.{quantity} [1, {min(costs) - 1:,}] is below everything in the space: {span}"
    with pytest.raises(ValueError) as error:
        check_budget(SPACE, Budget(**{quantity: [max(costs) + 1, None]}), **CONTEXT)
    assert str(error.value) == f"budget.{quantity} [{max(costs) + 1:,}, null] is above everything in the space: {span}"


def test_every_quantity_outside_is_named() -> None:
    with pytest.raises(ValueError, match=r"^budget\.params \[1, 2\] is below .*; budget\.macs \[null, 3\] is below "):
        check_budget(SPACE, Budget(params=[1, 2], macs=[None, 3]), **CONTEXT)


def test_bounds_that_nothing_meets_together() -> None:
    found = summarize(SPACE, **CONTEXT)
    (_, least), (_, most) = found.smallest, found.largest
    budget = Budget(params=[None, least.params], macs=[most.macs, None])
    with pytest.raises(ValueError) as error:
        check_budget(SPACE, budget, **CONTEXT)
    message = str(error.value)
    assert message.startswith(
        f"no architecture found within budget.params [null, {least.params:,}] and budget.macs [{most.macs:,}, null]: "
    )
    assert (
        f"params go from {least.params:,} to {most.params:,}, macs go from {least.macs:,} to {most.macs:,}" in message
    )
    assert re.search(r"at the nearest, (params|macs) [\d,]+ is (above its maximum|below its minimum) [\d,]+", message)


def _everything() -> list[dict]:
    knobs = SPACE.knobs
    vectors: list[dict] = [{}]
    for knob in knobs:
        vectors = [{**vector, knob.name: value} for vector in vectors for value in knob.probes()]
    return vectors
