import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seqconv.aggregation import DENSE, Pattern, Window, parse_pattern
from seqconv.architecture import Architecture, Stage
from tests.seqconv.strategies import architectures, patterns

STAGE = Stage(blocks=1, group_width=8)
WIDENING = "widening must be a multiple of 1/16 above 0, as the base width of cifar is 16 channels"
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
            {"window": "lgo"},
            "window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, a list of each "
            "step's sources, or one of dense, log, harmonic, regular, group, split, dilated(window, dilation), "
            "shuffle(partitions), random(seed, p); got 'lgo' (did you mean log?)",
        ),
        ({"window": "random(1)"}, "window random(1): it must be written as random(seed, p)"),
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
        ({"widening": 0}, f"{WIDENING}, got 0"),
        ({"widening": -1.5}, f"{WIDENING}, got -1.5"),
        ({"widening": True}, f"{WIDENING}, got True"),
        ({"widening": "2"}, f"{WIDENING}, got '2'"),
        ({"widening": None}, f"{WIDENING}, got None"),
        ({"widening": math.nan}, f"{WIDENING}, got nan"),
        ({"widening": math.inf}, f"{WIDENING}, got inf"),
        ({"widening": 2.1}, f"{WIDENING}, got 2.1; next to it are 2.0625 and 2.125"),
        ({"widening": 0.01}, f"{WIDENING}, got 0.01; next to it is 0.0625"),
        (
            {"widening": 1 / 128, "family": "imagenet"},
            "widening must be a multiple of 1/64 above 0, as the base width of imagenet is 64 channels, got 0.0078125; "
            "next to it is 0.015625",
        ),
        (
            {"widening": 2.0625},
            "stage 1: group_width must divide its width 33, got 8; allowed are 1, 3, 11, 33",
        ),
        (
            {"family": "imagent"},
            "family must be one of cifar, imagenet, got 'imagent' (did you mean imagenet?)",
        ),
        ({"pyramid": ()}, "pyramid needs one entry a stage, got [1, 2, 4] for 2 stages"),
        (
            {"pyramid": (), "family": "imagenet"},
            "pyramid needs one entry a stage, got [1, 2, 4, 8] for 2 stages",
        ),
        (
            {"family": "imagenet", "stages": (STAGE, Stage(blocks=1, group_width=48))},
            "stage 2: group_width must divide its width 256, got 48; allowed are 1, 2, 4, 8, 16, 32, 64, 128, 256",
        ),
        (
            {"family": "imagenet", "pyramid": (4, 5), "stages": (Stage(blocks=1, group_width=64), STAGE)},
            "stage 1: group_width must divide the 32 channels by which stage 2 is wider, got 64; "
            "allowed are 1, 2, 4, 8, 16, 32",
        ),
        (
            {"stages": (STAGE, Stage(blocks=1, group_width=8, window="shuffle(3)"))},
            "stage 2: window shuffle(3) with G = 8 and g = 8: partitions must divide the 8 input groups, got 3",
        ),
        (
            {"stages": (Stage(blocks=1, group_width=8, window="dilated(2, 5)"), STAGE)},
            "stage 1: window dilated(2, 5) with G = 4 and g = 4: step 1 reads nothing: "
            "it needs at least one group before it",
        ),
        (
            {"pyramid": (1, 3), "stages": (Stage(blocks=1, group_width=8, window=[[0]] * 4), STAGE)},
            "stage 1: window explicit(steps=4, pairs=4) with G = 4 and g = 8: "
            "it needs a row for each of 8 steps, got 4",
        ),
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
    with pytest.raises(ValueError, match="channels of the last stage must be at most 16,384, got 16,000,000,000"):
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


def test_a_pattern_that_yaml_took_apart() -> None:
    stage = yaml.safe_load("{blocks: 1, group_width: 8, window: dilated(4, 2)}")
    with pytest.raises(
        ValueError, match=r"^stage 1: window must .* got 'dilated\(4'; inside \[\] or \{\} YAML needs it"
    ):
        Architecture.from_dict({**PLAIN_DATA, "stages": [stage]})


def test_what_may_be_left_out() -> None:
    read = Architecture.from_dict(PLAIN_DATA)
    assert read.stages[1] == Stage(blocks=1, group_width=16, window=Window(ratio=1.0), form="plain", subgroups=1)
    without_family = {key: value for key, value in PLAIN_DATA.items() if key != "family"}
    assert Architecture.from_dict(without_family) == read


@pytest.mark.parametrize(
    ("family", "pyramid", "widths"),
    [("cifar", (1, 2, 4), (32, 64, 128)), ("imagenet", (1, 2, 4, 8), (128, 256, 512, 1024))],
)
def test_a_family_has_a_pyramid_and_a_width(family: str, pyramid: tuple[int, ...], widths: tuple[int, ...]) -> None:
    given_none = Architecture(stages=(STAGE,) * len(pyramid), widening=2, family=family)
    assert (given_none.pyramid, given_none.widths) == (pyramid, widths)
    plain = given_none.to_dict()
    assert plain["pyramid"] == list(pyramid)
    assert Architecture.from_dict({key: value for key, value in plain.items() if key != "pyramid"}) == given_none


@given(st.integers(1, 1 << 13), st.sampled_from(["cifar", "imagenet"]))
def test_every_whole_first_width_has_a_widening(width: int, family: str) -> None:
    base = 16 if family == "cifar" else 64
    stage = Stage(blocks=1, group_width=width)
    architecture = Architecture(stages=(stage, stage), widening=width / base, pyramid=(1, 2), family=family)
    assert (architecture.widths, architecture.groups) == ((width, 2 * width), (1, 2))
    assert isinstance(architecture.widening, float if width % base else int)
    assert Architecture.from_dict(yaml.safe_load(yaml.safe_dump(architecture.to_dict()))) == architecture


@given(architectures(any_pattern=True))
def test_a_widening_is_written_as_an_integer_where_it_is_one(architecture: Architecture) -> None:
    as_float = replace(architecture, widening=float(architecture.widening))
    assert json.dumps(as_float.to_dict()) == json.dumps(architecture.to_dict())
    assert as_float.fingerprint() == architecture.fingerprint()
    assert as_float.describe() == architecture.describe()


def test_families_differ() -> None:
    cifar, imagenet = (Architecture(stages=(STAGE,), pyramid=(1,), family=f) for f in ("cifar", "imagenet"))
    assert cifar.fingerprint() != imagenet.fingerprint()


@given(architectures(any_pattern=True))
def test_plain_data_reads_back(architecture: Architecture) -> None:
    plain = json.loads(json.dumps(architecture.to_dict()))
    assert Architecture.from_dict(plain) == architecture
    assert hash(Architecture.from_dict(plain)) == hash(architecture)


@given(architectures(any_pattern=True))
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


@pytest.mark.parametrize(
    ("window", "fingerprint"),
    [
        (3, "84c36a3b8c956a0f"),
        ("0.5G", "a3788c35e6c54558"),
        ("1G", "03b0d7ceacee2cf8"),
        ("dense", "be354ba8e14490b2"),
        ("dilated(2, 2)", "db8ec11c07a1aafc"),
        ("log", "771a10f3e1c8259f"),
        ("random(seed=1, p=0.5)", "fafa1fde81a0c435"),
    ],
)
def test_fingerprints_stay(window: Any, fingerprint: str) -> None:
    """A search that is continued knows its trials by them."""
    stages = (Stage(blocks=1, group_width=8, window=window),) * 3
    assert Architecture(stages=stages, widening=4).fingerprint() == fingerprint


def test_the_fingerprint_of_a_fractional_widening_stays() -> None:
    architecture = Architecture(stages=(Stage(blocks=1, group_width=17),) * 3, widening=2.125)
    assert architecture.fingerprint() == "bf6f70b2c54dd585"
    assert architecture.describe().startswith("W2.125 1x2g17 w=1.0G plain | 1x4g17")


def test_a_pattern_that_is_the_same_in_the_blocks_alone_is_another() -> None:
    """The first stage grows by 8 groups, where a grouped convolution has other sources than the offset 4."""
    group, dilated = (
        Architecture(stages=(Stage(blocks=1, group_width=8, window=window), STAGE), widening=2, pyramid=(1, 3))
        for window in ("group", "dilated(1, 4)")
    )
    assert layer_reads(group.stages[0].window, 4, 4) == layer_reads(dilated.stages[0].window, 4, 4)
    assert group.fingerprint() != dilated.fingerprint()
    alone = [Architecture(stages=(a.stages[0],), widening=2, pyramid=(1,)).fingerprint() for a in (group, dilated)]
    assert alone[0] == alone[1]


@given(st.data(), st.integers(1, 4), st.sampled_from([4, 8, 16]))
def test_one_stage_of_any_two_patterns(data: st.DataObject, widening: int, group_width: int) -> None:
    """Equal adjacency is equal fingerprint, and equal fingerprint is equal adjacency."""
    groups = 16 * widening // group_width
    drawn = [data.draw(patterns(groups, groups)) for _ in range(2)]
    stages = [Stage(blocks=1, group_width=group_width, window=pattern) for pattern in drawn]
    one, other = (Architecture(stages=(stage,), widening=widening, pyramid=(1,)).fingerprint() for stage in stages)
    assert (layer_reads(drawn[0], groups, groups) == layer_reads(drawn[1], groups, groups)) == (one == other)


def test_equal_adjacency_is_equal_fingerprint() -> None:
    """Both ways, over every small architecture: as many fingerprints as different networks, one for each."""
    written = list(small_architectures())
    pairs = {(reads(a), a.fingerprint()) for a in written}
    networks, fingerprints = zip(*pairs, strict=True)
    assert len(set(networks)) == len(pairs) == len(set(fingerprints))
    assert len(written) > 3 * len(pairs) > 900


def small_architectures() -> Iterator[Architecture]:
    """Two stages of width 16 and 24, 32 or 48, written in every way that makes a difference and many that do not."""
    written = [1, 2, 3, 4, 5, "0.25G", "0.5G", "1G", "1.5G", "2G", "dense", "log", "harmonic", "regular", "group",
               "split", "dilated(2, 1)", "dilated(1, 2)", "dilated(dense, 2)", "shuffle(1)", "shuffle(2)",
               "random(seed=0, p=0)", "random(seed=1, p=0.5)", "random(seed=2, p=0.5)",
               [[0], [0, 1], [1, 2], [2, 3]]]  # fmt: skip
    windows = [parse_pattern(w) for w in written]
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
    widths = [int(16 * architecture.widening) * p // architecture.pyramid[0] for p in architecture.pyramid]
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


def layer_reads(pattern: Pattern, in_groups: int, out_groups: int) -> tuple[tuple[int, ...], ...]:
    if not isinstance(pattern, Window):
        return pattern.adjacency(in_groups, out_groups).sources
    if pattern.ratio is not None:
        reach = max(1, int(pattern.ratio * in_groups + 0.5))
    else:
        reach = in_groups + out_groups if pattern.groups is None else pattern.groups
    return tuple(tuple(j for j in range(1 - in_groups, i) if j >= i - reach) for i in range(1, out_groups + 1))


def test_describe() -> None:
    stages = (
        Stage(blocks=2, group_width=8, window=Window(groups=3)),
        Stage(blocks=1, group_width=16, window=DENSE, form="bottleneck"),
        Stage(blocks=1, group_width=16, form="bottleneck", subgroups=4),
    )
    described = Architecture(stages=stages, widening=2).describe()
    assert described == "W2 2x4g8 w=3 plain | 1x4g16 w=dense B | 1x8g16 w=1.0G B/4"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widening": 2000}, "channels of the last stage must be at most 16,384, got 64,000"),
        ({"widening": 10**400}, "channels of the last stage must be at most 16,384, got 320,000"),
        ({"pyramid": (1, 10**99)}, "channels of the last stage must be at most 16,384, got 16,000,000"),
        ({"blocks": 513}, "blocks in all stages must be at most 1,024, got 1,026"),
        ({"blocks": 10**18}, "blocks in all stages must be at most 1,024, got 2,000,000,000,000,000,000"),
        ({"widening": 64, "group_width": 1, "pyramid": (1, 2)}, "groups of stage 1 must be at most 512, got 1,024"),
        (
            {"widening": 32, "group_width": 1, "blocks": 17, "pyramid": (1,)},
            "steps in all blocks must be at most 16,384, got 17,408",
        ),
        ({"pyramid": tuple(range(1, 10))}, "stages must be at most 8, got 9"),
    ],
)
def test_more_than_any_network_has(fields: dict[str, Any], message: str) -> None:
    data = {"widening": 1, "pyramid": (1, 2), "blocks": 1, "group_width": 8, **fields}
    stages = tuple(Stage(blocks=data["blocks"], group_width=data["group_width"]) for _ in data["pyramid"])
    with pytest.raises(ValueError) as error:
        Architecture(stages=stages, widening=data["widening"], pyramid=data["pyramid"])
    assert str(error.value).startswith(message)
