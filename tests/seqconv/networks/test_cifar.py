import itertools

import pytest
import torch

from seqconv.aggregation import Window
from seqconv.architecture import Architecture, Stage
from seqconv.layers.seqconv import SeqConv2d
from seqconv.networks.build import build, plan
from seqconv.networks.modules import Downsample
from tests.seqconv.networks.small import FORMS, architecture
from tests.seqconv.networks.test_network import shapes


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("form", FORMS)
def test_shapes(size: int, form: str) -> None:
    model = build(architecture(Window(ratio=0.5), blocks=2, **FORMS[form]), classes=7).eval()
    half, quarter = size // 2, size // 4
    assert shapes(model, torch.randn(2, 3, size, size)) == {
        "stem": (2, 16, size, size),
        "head": (2, 16, size, size),
        "stage1_block1": (2, 16, size, size),
        "stage1_block2": (2, 16, size, size),
        "stage2_down": (2, 32, half, half),
        "stage2_block1": (2, 32, half, half),
        "stage2_block2": (2, 32, half, half),
        "stage3_down": (2, 64, quarter, quarter),
        "stage3_block1": (2, 64, quarter, quarter),
        "stage3_block2": (2, 64, quarter, quarter),
        "blender": (2, 64, quarter, quarter),
        "global_pool": (2, 64),
        "classifier": (2, 7),
    }


def test_downsampling_has_the_groups_of_the_new_stage_whatever_its_subgroups() -> None:
    stages = tuple(Stage(blocks=1, group_width=k, form="bottleneck", subgroups=4) for k in (16, 8, 4))
    model = build(Architecture(stages=stages, widening=2), classes=5)
    shrinking = [part.shrinking for part in model.children() if isinstance(part, Downsample)]
    assert [(conv.out_channels, conv.groups, conv.stride) for conv in shrinking] == [(64, 8, (2, 2)), (128, 32, (2, 2))]
    assert model.stem.conv.stride == (1, 1)  # type: ignore[union-attr]


def test_each_layer_has_its_own_stage_window() -> None:
    stages = tuple(Stage(blocks=1, group_width=8, window=Window.parse(window)) for window in (1, "0.5G", "dense"))
    model = build(Architecture(stages=stages, widening=2), classes=5)
    unread = {
        name: [(m.in_groups, m.unread_groups) for m in part.modules() if isinstance(m, SeqConv2d)]
        for name, part in model.named_children()
    }
    assert {name: layers for name, layers in unread.items() if layers} == {
        "head": [(2, 0)],
        "stage1_block1": [(4, 3), (4, 3)],
        "stage2_down": [(4, 3)],
        "stage2_block1": [(8, 4), (8, 4)],
        "stage3_down": [(8, 4)],
        "stage3_block1": [(16, 0), (16, 0)],
    }


def test_group_widths_and_forms_of_each_stage() -> None:
    stages = tuple(
        Stage(blocks=1, group_width=k, form=form, subgroups=s)
        for k, form, s in [(8, "plain", 1), (16, "bottleneck", 1), (32, "bottleneck", 8)]
    )
    model = build(Architecture(stages=stages, widening=2), classes=5)
    groups = {
        name: {m.group_width for m in part.modules() if isinstance(m, SeqConv2d)}
        for name, part in model.named_children()
    }
    assert [groups[f"stage{i}_block1"] for i in (1, 2, 3)] == [{8}, {16}, {32}]
    assert (groups["head"], groups["stage2_down"], groups["stage3_down"]) == ({8}, {8}, {16})
    params = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert params["stage1_block1"] == 2 * (9 * 32 * 32 + 2 * 32)
    assert params["stage2_block1"] == 2 * (64 * 64 + 9 * 16 * 64 + 4 * 64)
    assert params["stage3_block1"] == 2 * (128 * 128 + 9 * 32 * 128 // 8 + 4 * 128)


def test_parts_are_hashable_and_equal_where_the_layers_are() -> None:
    parts = plan(architecture(blocks=3), classes=10)
    assert parts["stage1_block1"] == parts["stage1_block3"]
    for one, other in itertools.combinations(set(parts.values()), 2):
        assert one != other


def test_the_classes_are_no_part_of_the_features() -> None:
    ten, hundred = (build(architecture(), classes=classes).state_dict() for classes in (10, 100))
    different = {name for name in ten if ten[name].shape != hundred[name].shape}
    assert different == {"classifier.weight", "classifier.bias"}
