import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

from seqconv.aggregation import DENSE, Window
from seqconv.architecture import Architecture, Stage
from tests.seqconv.strategies import architectures

STAGE = Stage(blocks=1, group_width=8)
PLAIN_DATA: dict[str, Any] = {
    "schema": "seqconv.architecture",
    "version": 1,
    "family": "cifar",
    "widening": 2,
    "pyramid": [1, 2],
    "stages": [{"blocks": 1, "group_width": 8, "window": "0.5G"}, {"blocks": 1, "group_width": 16}],
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": 0}, "blocks must be an integer at least 1, got 0"),
        ({"group_width": 8.0}, "group_width must be an integer at least 1, got 8.0"),
        ({"form": "plane"}, "form must be one of plain, bottleneck, got 'plane' (did you mean plain?)"),
        ({"subgroups": True}, "subgroups must be an integer at least 1, got True"),
        ({"form": "bottleneck", "subgroups": 3}, "subgroups must divide group_width 8, got 3"),
        ({"subgroups": 2}, "subgroups above 1 need form bottleneck, got 2 in form plain"),
        (
            {"window": ""},
            "window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, or dense; got ''",
        ),
    ],
)
def test_stage_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Stage(**{"blocks": 1, "group_width": 8, **fields})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stages": ()}, "pyramid needs one entry a stage, got [1, 2] for 0 stages"),
        ({"pyramid": (1, 2, 4)}, "pyramid needs one entry a stage, got [1, 2, 4] for 2 stages"),
        ({"pyramid": (1, 1)}, "pyramid must increase strictly, got [1, 1]"),
        ({"pyramid": (1, "2")}, "pyramid entry must be an integer at least 1, got '2'"),
        ({"pyramid": (0, 1)}, "pyramid entry must be an integer at least 1, got 0"),
        ({"pyramid": (3, 4)}, "width 32 * 4 / 3 is no integer: change widening or pyramid"),
        ({"widening": 0}, "widening must be an integer at least 1, got 0"),
        ({"family": "imagenet"}, "family must be one of cifar, got 'imagenet'"),
        (
            {"stages": (Stage(blocks=1, group_width=24), STAGE)},
            "stage 1: group_width must divide its width 32, got 24; allowed are 1, 2, 4, 8, 16, 32",
        ),
        (
            {"stages": (STAGE, Stage(blocks=1, group_width=7))},
            "stage 2: group_width must divide its width 64, got 7; allowed are 1, 2, 4, 8, 16, 32, 64",
        ),
        (
            {"widening": 1, "pyramid": (2, 3), "stages": (Stage(blocks=1, group_width=16), STAGE)},
            "stage 1: group_width must divide the 8 channels by which stage 2 is wider, got 16; allowed are 1, 2, 4, 8",
        ),
    ],
)
def test_architecture_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Architecture(**{"stages": (STAGE, STAGE), "widening": 2, "pyramid": (1, 2), **fields})
    assert str(error.value) == message


def test_widths_that_are_refused_name_only_group_widths_that_work() -> None:
    with pytest.raises(ValueError, match=r"its width 80, got 3; allowed are 1, 2, 4, 8, 16$"):
        Architecture(stages=(Stage(blocks=1, group_width=3), STAGE), widening=5, pyramid=(5, 6))
    for group_width in (1, 2, 4, 8, 16):
        Architecture(stages=(Stage(blocks=1, group_width=group_width), STAGE), widening=5, pyramid=(5, 6))


def test_an_enormous_width_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="stage 1: group_width must divide its width 16000000000, got 7"):
        Architecture(stages=(Stage(blocks=1, group_width=7),), widening=10**9, pyramid=(1,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "seqconv.model"}, "architecture: schema must be 'seqconv.architecture', got 'seqconv.model'"),
        (
            {"version": 2, "a key of version 2": 1},
            "architecture: version 2 is newer than 1, the newest this release reads: upgrade it",
        ),
        ({"version": "1"}, "architecture: version must be an integer at least 1, got '1'"),
        ({"version": 0}, "architecture: version must be an integer at least 1, got 0"),
        (
            {"widning": 2},
            "architecture: unknown key 'widning' (did you mean widening?); "
            "allowed are schema, version, widening, stages, family, pyramid",
        ),
        ({"stages": {"blocks": 1}}, "architecture: stages must be a list, got {'blocks': 1}"),
        ({"pyramid": 3}, "architecture: pyramid must be a list, got 3"),
        ({"stages": [{"blocks": 1, "group_width": 8}, 3]}, "stage 2 must be a mapping, got 3"),
        (
            {"stages": [{"blocks": 1}, {"blocks": 1, "group_width": 8}]},
            "stage 1: missing key 'group_width'; required are blocks, group_width",
        ),
        (
            {"stages": [{"blocks": 1, "group_width": 8}, {"blocks": 1, "group_width": 8, "windows": 3}]},
            "stage 2: unknown key 'windows' (did you mean window?); "
            "allowed are blocks, group_width, window, form, subgroups",
        ),
        (
            {"stages": [{"blocks": 1, "group_width": 8}, {"blocks": -1, "group_width": 8}]},
            "stage 2: blocks must be an integer at least 1, got -1",
        ),
    ],
)
def test_from_dict_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Architecture.from_dict({**PLAIN_DATA, **change})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("missing", "required"),
    [
        ("schema", "schema, version"),
        ("version", "schema, version"),
        ("widening", "schema, version, widening, stages"),
        ("stages", "schema, version, widening, stages"),
    ],
)
def test_from_dict_names_what_is_missing(missing: str, required: str) -> None:
    data = {key: value for key, value in PLAIN_DATA.items() if key != missing}
    with pytest.raises(ValueError, match=f"^architecture: missing key '{missing}'; required are {required}$"):
        Architecture.from_dict(data)


def test_from_dict_refuses_what_is_no_mapping() -> None:
    with pytest.raises(ValueError, match=r"^architecture must be a mapping, got None$"):
        Architecture.from_dict(None)


def test_what_may_be_left_out() -> None:
    read = Architecture.from_dict(PLAIN_DATA)
    assert read.stages[1] == Stage(blocks=1, group_width=16, window=Window(ratio=1.0), form="plain", subgroups=1)
    without_family = {key: value for key, value in PLAIN_DATA.items() if key != "family"}
    assert Architecture.from_dict(without_family) == read


@given(architectures())
def test_plain_data_reads_back(architecture: Architecture) -> None:
    plain = json.loads(json.dumps(architecture.to_dict()))
    assert Architecture.from_dict(plain) == architecture
    assert hash(Architecture.from_dict(plain)) == hash(architecture)


@given(architectures())
def test_canonical_is_idempotent_and_the_same_network(architecture: Architecture) -> None:
    canonical = architecture.canonical()
    assert canonical.canonical() == canonical
    assert reads(canonical) == reads(architecture)
    assert canonical.fingerprint() == architecture.fingerprint()


def test_canonical_spells_windows_in_groups() -> None:
    stages = tuple(Stage(blocks=1, group_width=8, window=Window.parse(w)) for w in ("0.5G", "2G", 24))
    canonical = Architecture(stages=stages, widening=2, pyramid=(2, 4, 8)).canonical()
    assert [stage.window for stage in canonical.stages] == [Window(groups=2), DENSE, Window(groups=24)]
    assert canonical.pyramid == (1, 2, 4)


def test_equal_adjacency_is_equal_fingerprint() -> None:
    """Both ways, over every small architecture: as many fingerprints as different networks, one for each."""
    written = list(small_architectures())
    pairs = {(reads(a), a.fingerprint()) for a in written}
    networks, fingerprints = zip(*pairs, strict=True)
    assert len(set(networks)) == len(pairs) == len(set(fingerprints))
    assert len(written) > 3 * len(pairs) > 900


def small_architectures() -> Iterator[Architecture]:
    """Two stages of width 16 and 24, 32 or 48, written in every way that makes a difference and many that do not."""
    windows = [Window.parse(w) for w in (1, 2, 3, 4, 5, "0.25G", "0.5G", "1G", "1.5G", "2G", "dense")]
    for pyramid, widths, pair in itertools.product(
        [(1, 2), (2, 3), (2, 4), (1, 3)], [(8, 8), (8, 16), (16, 8), (4, 16)], itertools.product(windows, repeat=2)
    ):
        stages = [Stage(blocks=1, group_width=k, window=w) for k, w in zip(widths, pair, strict=True)]
        try:
            architecture = Architecture(stages=tuple(stages), pyramid=pyramid)
        except ValueError:
            continue
        yield architecture
        if pair[1] == DENSE:
            deeper = Stage(blocks=2, group_width=widths[1], window=DENSE)
            bottleneck = Stage(blocks=1, group_width=widths[1], window=DENSE, form="bottleneck")
            subgroups = Stage(blocks=1, group_width=widths[1], window=DENSE, form="bottleneck", subgroups=2)
            for second in (deeper, bottleneck, subgroups):
                yield Architecture(stages=(stages[0], second), pyramid=pyramid)


def reads(architecture: Architecture) -> tuple[object, ...]:
    """Every layer of the network as the set of sources of each of its steps, written out from the definition."""
    widths = [16 * architecture.widening * p // architecture.pyramid[0] for p in architecture.pyramid]
    layers: list[object] = [("dense head", widths[0], architecture.stages[0].group_width, step_kind(architecture, 0))]
    for s, (stage, width) in enumerate(zip(architecture.stages, widths, strict=True)):
        groups = width // stage.group_width
        blocks = (layer_reads(stage.window, groups, groups),) * 2 * stage.blocks
        layers.append((width, stage.group_width, step_kind(architecture, s), blocks))
        if s + 1 < len(widths):
            growth = (widths[s + 1] - width) // stage.group_width
            layers.append(("extension", layer_reads(stage.window, groups, growth)))
    return tuple(layers)


def step_kind(architecture: Architecture, stage: int) -> tuple[str, int]:
    return architecture.stages[stage].form, architecture.stages[stage].subgroups


def layer_reads(window: Window, in_groups: int, out_groups: int) -> tuple[tuple[int, ...], ...]:
    if window.ratio is not None:
        reach = max(1, int(window.ratio * in_groups + 0.5))
    else:
        reach = in_groups + out_groups if window.groups is None else window.groups
    return tuple(tuple(j for j in range(1 - in_groups, i) if j >= i - reach) for i in range(1, out_groups + 1))


def test_describe() -> None:
    stages = (
        Stage(blocks=2, group_width=8, window=Window(groups=3)),
        Stage(blocks=1, group_width=16, window=DENSE, form="bottleneck"),
        Stage(blocks=1, group_width=16, form="bottleneck", subgroups=4),
    )
    described = Architecture(stages=stages, widening=2).describe()
    assert described == "W2 2x4g8 w=3 plain | 1x4g16 w=dense B | 1x8g16 w=1.0G B/4"
