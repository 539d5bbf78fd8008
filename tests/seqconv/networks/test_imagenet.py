import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seqconv.aggregation import Window
from seqconv.architecture import Architecture, Stage
from seqconv.networks.build import build, plan
from seqconv.networks.modules import Convolution, Downsample
from seqconv.networks.presets import preset
from tests.seqconv.networks.small import FORMS, architecture
from tests.seqconv.networks.test_network import shapes


@pytest.mark.parametrize("form", FORMS)
def test_shapes(form: str) -> None:
    model = build(architecture(Window(ratio=0.5), family="imagenet", blocks=2, **FORMS[form]), classes=7).eval()
    assert shapes(model, torch.randn(2, 3, 64, 32)) == {
        "stem": (2, 32, 32, 16),
        "stem2": (2, 32, 32, 16),
        "head": (2, 64, 32, 16),
        "stage1_down": (2, 64, 16, 8),
        "stage1_block1": (2, 64, 16, 8),
        "stage1_block2": (2, 64, 16, 8),
        "stage2_down": (2, 128, 8, 4),
        "stage2_block1": (2, 128, 8, 4),
        "stage2_block2": (2, 128, 8, 4),
        "blender": (2, 128, 8, 4),
        "global_pool": (2, 128),
        "classifier": (2, 7),
    }


@pytest.mark.parametrize("name", ["seqresnet_b_small", "seqresnext_small"])
def test_small_presets_train(name: str) -> None:
    torch.manual_seed(0)
    model = build(preset(name), classes=1000).train()
    logits = model(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 1000)
    F.cross_entropy(logits, torch.tensor([3, 999])).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing


def test_shrinking_has_subgroups_of_the_new_stage() -> None:
    stages = tuple(Stage(blocks=1, group_width=k, form="bottleneck", subgroups=s) for k, s in [(16, 8), (32, 2)])
    architecture = Architecture(stages=stages, widening=1, pyramid=(1, 2), family="imagenet")
    model = build(architecture, classes=5)
    first, second = model.stage1_down, model.stage2_down
    assert isinstance(first, Convolution)
    assert isinstance(second, Downsample)
    assert (first.conv.in_channels, first.conv.groups, first.conv.stride) == (64, 64 // 16 * 8, (2, 2))
    assert (second.shrinking.out_channels, second.shrinking.groups) == (128, 128 // 32 * 2)


def test_no_dropout_unless_asked_for() -> None:
    parts = plan(preset("seqresnet_b22"), classes=1000)
    dropped = plan(preset("seqresnet_b22"), classes=1000, dropout=0.1)
    different = {name for name, part in parts.items() if dropped[name] != part}
    assert different == {name for name in parts if name.startswith("stage") or name == "blender"} - {"stage1_down"}


def test_the_stem_reads_as_many_channels_as_asked_for() -> None:
    model = build(architecture(family="imagenet"), classes=5, in_channels=4).eval()
    output: Tensor = model(torch.randn(1, 4, 32, 32))
    assert output.shape == (1, 5)
