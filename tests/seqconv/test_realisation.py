"""What is kept and what is chosen, against the module that is built and against the rule written out as a search."""

import itertools
import math
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import seqconv
from search_spaces.space import sample
from seqconv import realisation
from seqconv.aggregation import Window
from seqconv.architecture import Architecture, Stage
from seqconv.networks.presets import PRESETS
from seqconv.realisation import imagenet_realisation, side_by_side
from tests.search_spaces.examples import delivered
from tests.seqconv.strategies import architectures

ROOT = Path(__file__).parents[2]
THREE_STAGES = ((1, 2, 4), (2, 4, 8), (1, 2, 3), (1, 3, 5))
searched = architectures(any_pattern=True, pyramids=THREE_STAGES)


def cifar(*groups: int, pyramid: Sequence[int] = (1, 2, 4), widening: float = 4, **fields: Any) -> Architecture:
    stages = (
        Stage(**{"blocks": 1, "group_width": int(16 * widening) * p // pyramid[0] // g, **fields})
        for p, g in zip(pyramid, groups, strict=True)
    )
    return Architecture(stages=tuple(stages), widening=widening, pyramid=tuple(pyramid))


def reads(architecture: Architecture) -> dict[str, list[Any]]:
    """By stage what each layer of its blocks reads, off the network that is built."""
    with torch.device("meta"):
        model = seqconv.build(architecture, classes=10)
    found: dict[str, list[Any]] = {}
    for name, block in model.named_children():
        if "block" in name:
            found.setdefault(name.partition("_")[0], []).extend(
                (layer.adjacency, layer.form, layer.groups) for layer in (block.layer_a, block.layer_b)
            )
    return found


@settings(max_examples=15, deadline=None)
@given(searched)
def test_genes_are_kept_and_the_third_stage_is_repeated(architecture: Architecture) -> None:
    realised = imagenet_realisation(architecture)
    assert realised.family == "imagenet"
    assert realised.groups == (*architecture.groups, architecture.groups[-1])
    kept = (*architecture.stages, architecture.stages[-1])
    for stage, of_cifar in zip(realised.stages, kept, strict=True):
        assert replace(stage, group_width=1, subgroups=1) == replace(of_cifar, group_width=1, subgroups=1)
        assert stage.subgroups == of_cifar.subgroups


@settings(max_examples=10, deadline=None)
@given(searched)
def test_every_layer_of_a_block_reads_what_it_read(architecture: Architecture) -> None:
    before, after = reads(architecture), reads(imagenet_realisation(architecture))
    assert after == {**before, "stage4": before["stage3"]}


def test_written_windows_stay_as_they_are_written() -> None:
    stages = tuple(Stage(blocks=1, group_width=8, window=Window.parse(w)) for w in ("0.5G", 3, "dense"))
    realised = imagenet_realisation(Architecture(stages=stages, widening=2))
    assert [stage.window.to_plain() for stage in realised.stages] == ["0.5G", 3, "dense", "dense"]


@settings(max_examples=10, deadline=None)
@given(searched)
def test_equal_inputs_have_equal_realisations(architecture: Architecture) -> None:
    realised = imagenet_realisation(architecture)
    realisation._part_params.cache_clear()
    copy = Architecture.from_dict(architecture.to_dict())
    assert imagenet_realisation(copy) == realised
    assert imagenet_realisation(copy).fingerprint() == realised.fingerprint()
    assert Architecture.from_dict(realised.to_dict()) == realised
    if realised.pyramid == (1, 2, 4, 8):
        assert imagenet_realisation(architecture.canonical()).fingerprint() == realised.fingerprint()


@settings(max_examples=5, deadline=None)
@given(searched, st.integers(1, 1000))
def test_parameters_are_those_of_the_network(architecture: Architecture, classes: int) -> None:
    for some in (architecture, imagenet_realisation(architecture, classes=classes)):
        counted = realisation._params(some, classes)
        assert counted == seqconv.measure(some, classes=classes, resolution=8).params == params(some, classes)


def test_architectures_of_the_windowed_space_come_within_five_percent() -> None:
    space = delivered("windowed")
    found = []
    for seed in range(40):
        realised = imagenet_realisation(space.decode(sample(space, random.Random(seed))))
        assert abs(params(realised) / 25.6e6 - 1) <= 0.05
        found.append(realised.pyramid == (1, 2, 4, 8))
    assert 0.75 < sum(found) / len(found) < 1


@cache
def params(architecture: Architecture, classes: int = 1000) -> int:
    """Of the built network."""
    with torch.device("meta"):
        return sum(p.numel() for p in seqconv.build(architecture, classes=classes).parameters())


def with_widths(architecture: Architecture, widths: Sequence[int]) -> Architecture | None:
    """The genes on four stages of these widths; None where those do not split into groups and subgroups."""
    stages = [*architecture.stages, architecture.stages[-1]]
    groups = [*architecture.groups, architecture.groups[-1]]
    if any(width % g for width, g in zip(widths, groups, strict=True)):
        return None
    try:
        return Architecture(
            family="imagenet",
            stages=tuple(replace(s, group_width=w // g) for s, w, g in zip(stages, widths, groups, strict=True)),
            widening=widths[0] / 64,
            pyramid=tuple(width // math.gcd(*widths) for width in widths),
        )
    except ValueError:
        return None


def by_the_rule(architecture: Architecture, target: float, tolerance: float, classes: int) -> Architecture:
    """The rule of the docstring, in which every network is built."""

    def miss(network: Architecture) -> float:
        return abs(params(network, classes) - target)

    every = (with_widths(architecture, [w, 2 * w, 4 * w, 8 * w]) for w in range(1, 400))
    doubling = [network for network in every if network is not None]
    below = [network for network in doubling if params(network, classes) <= target][-3:]
    above = [network for network in doubling if params(network, classes) > target][:3]
    assert len(above) == 3
    pure = min((*below, *above), key=miss)
    if miss(pure) <= tolerance * target:
        return pure
    changed = [
        (key, network)
        for wider, starts in ((True, below[::-1]), (False, above))
        for rank, start in enumerate(starts)
        for key, network in one_growth_changed(architecture, start, wider, rank)
    ]
    within = [pair for pair in changed if miss(pair[1]) <= tolerance * target]
    if within:
        return min(within, key=lambda pair: pair[0])[1]
    return min((pure, *(network for _, network in changed)), key=miss)


def one_growth_changed(
    architecture: Architecture, start: Architecture, wider: bool, rank: int
) -> Iterator[tuple[tuple[Any, ...], Architecture]]:
    for stage in (1, 2, 3):
        group_width, groups = start.stages[stage - 1].group_width, start.groups[stage - 1]
        for steps in range(2 * groups + 1, 4 * groups) if wider else range(groups + 1, 2 * groups):
            widths = [*start.widths[:stage], *(steps * group_width * 2**later for later in range(4 - stage))]
            network = with_widths(architecture, widths)
            if network is not None:
                factor = max(Fraction(steps, 2 * groups), Fraction(2 * groups, steps))
                yield (factor, -stage, not wider, rank), network


@pytest.mark.parametrize("target", [300_000, 520_000, 1_000_000])
@pytest.mark.parametrize(
    "architecture",
    [
        cifar(8, 4, 2),
        cifar(2, 4, 8, form="bottleneck", subgroups=2),
        cifar(16, 8, 4, window="0.5G"),
        cifar(4, 4, 4, window="group"),
        cifar(3, 6, 8, pyramid=(3, 6, 8), widening=3),
    ],
    ids=lambda architecture: str(architecture.groups),
)
def test_the_rule(architecture: Architecture, target: int) -> None:
    expected = by_the_rule(architecture, target, tolerance=0.03, classes=10)
    assert imagenet_realisation(architecture, target=target, tolerance=0.03, classes=10) == expected


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([cifar(2, 2, 2), cifar(8, 4, 2)]), st.floats(2e5, 1e7), st.floats(0, 0.2))
def test_a_tolerance_is_kept_or_nothing_near_is_within(architecture: Architecture, target: float, share: float) -> None:
    realised = imagenet_realisation(architecture, target=target, tolerance=share, classes=10)
    lines = side_by_side(architecture, realised, target=target, tolerance=share, classes=10, resolution=8)
    assert (abs(params(realised, 10) - target) <= share * target) == ("more than" not in lines[-1])


def test_multiply_adds_as_the_target() -> None:
    architecture = cifar(4, 8, 8)
    realised = imagenet_realisation(architecture, target=1e9, measure="macs", resolution=160, classes=100)
    assert abs(seqconv.measure(realised, resolution=160, classes=100).macs / 1e9 - 1) <= 0.05
    assert realised.widths != imagenet_realisation(architecture).widths


def test_four_stages_are_those_of_imagenet() -> None:
    architecture = cifar(2, 4, 4, 8, pyramid=(1, 2, 4, 8), window="log")
    realised = imagenet_realisation(architecture)
    assert realised.groups == (2, 4, 4, 8)
    assert abs(params(realised) / 25.6e6 - 1) <= 0.05


def test_sources_by_hand_that_are_too_few_for_a_longer_extension() -> None:
    """The same groups are read, but no stage that follows may be more than twice as wide."""
    rows = [[step - 1] for step in range(1, 9)]
    window, by_hand = (cifar(8, 8, 8, window=pattern) for pattern in (1, rows))
    assert window.fingerprint() == by_hand.fingerprint()
    wide, narrow = (
        imagenet_realisation(architecture, target=210_000, tolerance=0.02, classes=10)
        for architecture in (window, by_hand)
    )
    assert growths(wide) > [2, 2, 2] > growths(narrow)


def growths(architecture: Architecture) -> list[Fraction]:
    return [Fraction(wider, width) for width, wider in itertools.pairwise(architecture.widths)]


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        (
            PRESETS["seqresnet_b22"],
            {},
            "architecture must be of family cifar, got one of family imagenet",
        ),
        (
            cifar(2, 2, pyramid=(1, 2)),
            {},
            "architecture must have 4 stages, or 3 to repeat the last of, got 2",
        ),
        (
            cifar(2, 2, 2, 2, 2, pyramid=(1, 2, 4, 8, 16)),
            {},
            "architecture must have 4 stages, or 3 to repeat the last of, got 5",
        ),
        (cifar(2, 2, 2), {"target": 0}, "target must be a number at least 1 and at most 1e+12, got 0"),
        (cifar(2, 2, 2), {"target": "25M"}, "target must be a number at least 1 and at most 1e+12, got '25M'"),
        (
            cifar(2, 2, 2),
            {"measure": "mac"},
            "measure must be one of params, macs, got 'mac' (did you mean macs?)",
        ),
        (cifar(2, 2, 2), {"tolerance": 5}, "tolerance must be a number at least 0 and at most 1, got 5"),
        (cifar(2, 2, 2), {"classes": 0}, "classes must be an integer at least 1, got 0"),
        (cifar(2, 2, 2), {"resolution": 0.5}, "resolution must be an integer at least 1, got 0.5"),
    ],
)
def test_refuses(architecture: Architecture, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        imagenet_realisation(architecture, **options)
    assert str(error.value) == message
    if options:
        with pytest.raises(ValueError) as error:
            side_by_side(architecture, architecture, **options)
        assert str(error.value) == message


def test_side_by_side() -> None:
    architecture = PRESETS["cifar_b_small"]
    realised = imagenet_realisation(architecture)
    assert realised.widths == (236, 472, 944, 1888)
    lines = side_by_side(architecture, realised)
    assert [line.split() for line in lines[:6]] == [
        ["cifar", "imagenet"],
        ["stage", *["width", "groups", "k", "window", "form", "blocks"] * 2],
        ["1", "32", "4", "8", "1.0G", "B", "1", "236", "4", "59", "1.0G", "B", "1"],
        ["2", "64", "8", "8", "1.0G", "B", "1", "472", "8", "59", "1.0G", "B", "1"],
        ["3", "128", "16", "8", "1.0G", "B", "1", "944", "16", "59", "1.0G", "B", "1"],
        ["4", *["-"] * 6, "1888", "16", "118", "1.0G", "B", "1"],
    ]
    of_cifar, of_imagenet = seqconv.measure(architecture), seqconv.measure(realised)
    assert lines[7].split() == ["cifar", "imagenet"]
    assert re.fullmatch("images +32x32, 10 classes +224x224, 1,000 classes", lines[8])
    printed = {row[0]: row[-2:] for row in map(str.split, lines[9:-2])}
    names = ("params", "macs", "paper_flops", "serial_depth", "unread_groups")
    expected = {name: [f"{getattr(cost, name):,}" for cost in (of_cifar, of_imagenet)] for name in names}
    fingerprints = [architecture.fingerprint(), realised.fingerprint()]
    assert printed == {"widening": ["2", "3.6875"], **expected, "fingerprint": fingerprints}
    off = of_imagenet.params / 25.6e6 - 1
    assert lines[-1] == f"target 25,600,000 params: off by {off:+.2%}"


def test_side_by_side_says_by_how_much_the_target_is_missed() -> None:
    architecture = cifar(16, 16, 16, form="bottleneck")
    realised = imagenet_realisation(architecture, target=1000, classes=10)
    assert realised.widths == (16, 32, 64, 80)
    lines = side_by_side(architecture, realised, target=1000, classes=10, resolution=8)
    off = params(realised, 10) / 1000 - 1
    assert lines[-1] == f"target 1,000 params: off by {off:+.2%}, more than the 5.00% that were asked for"


def run(*arguments: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-m", "seqconv.realisation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    goal = {"target": 5e6, "tolerance": 0.1, "classes": 100, "resolution": 64}
    arguments = [part for name, value in goal.items() for part in (f"--{name}", str(value))]
    ended = run("cifar_b_small", *arguments, "--out", str(tmp_path / "imagenet.yaml"))
    expected = imagenet_realisation(PRESETS["cifar_b_small"], **goal)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == side_by_side(PRESETS["cifar_b_small"], expected, **goal)
    assert seqconv.read_architecture(tmp_path / "imagenet.yaml") == expected


def test_the_command_reads_a_file_and_counts_multiply_adds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    architecture = cifar(2, 2, 2)
    seqconv.write_architecture(architecture, tmp_path / "cifar.yaml")
    assert realisation.main([str(tmp_path / "cifar.yaml"), "--measure", "macs", "--target", "1e9"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("target 1,000,000,000 macs: off by ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar_c"], "cifar_c: no such preset or file (did you mean cifar_b"),
        (["seqresnet_b22"], "architecture must be of family cifar, got one of family imagenet"),
        (["cifar_b", "--target", "-1"], "target must be a number at least 1 and at most 1e+12, got -1.0"),
        (["cifar_b_small", "--out", "FOLDER/none/imagenet.yaml"], "[Errno 2] No such file or directory"),
    ],
)
def test_bad_input(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert realisation.main([argument.replace("FOLDER", str(tmp_path)) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {message}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["cifar_b_smal"], 2), (["cifar_b", "--wide"], 2)])
def test_help_and_errors_do_without_torch(arguments: list[str], code: int) -> None:
    ended = run(*arguments, options=["-X", "importtime"])
    assert ended.returncode == code
    assert "seqconv.architecture" in ended.stderr
    assert " torch" not in ended.stderr
