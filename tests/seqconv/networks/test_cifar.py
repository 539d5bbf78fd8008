import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqconv.aggregation import DENSE, Window
from seqconv.architecture import Architecture, Stage
from seqconv.networks.build import build
from seqconv.networks.cifar import Blender, Block, Downsample, Head
from seqconv.networks.part import Streams

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"form": "plain"},
    "bottleneck": {"form": "bottleneck"},
    "subgroups": {"form": "bottleneck", "subgroups": 4},
}


def architecture(window: Window = DENSE, *, blocks: int = 1, **form: Any) -> Architecture:
    stages = tuple(Stage(blocks=blocks, group_width=k, window=window, **form) for k in (8, 8, 16))
    return Architecture(stages=stages, widening=1)


def streams(channels: int, size: int = 8) -> Streams:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(4, channels, size, size, generator=generator)
    return Streams(raw, torch.relu(raw))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", ["dense", "1G", "1"])
@pytest.mark.parametrize("training", [True, False])
def test_a_new_block_is_exactly_the_identity_on_raw(form: str, window: str, training: bool) -> None:
    stage = Stage(blocks=1, group_width=8, window=Window.parse(window), **FORMS[form])
    block = Block(32, stage, 0.2).train(training)
    before = streams(32)
    after = block(before)
    assert torch.equal(after.raw, before.raw)
    if not training:
        torch.testing.assert_close(after.act, before.act, rtol=1e-4, atol=1e-4)


def test_only_a_new_block_is_the_identity() -> None:
    block = Block(32, Stage(blocks=1, group_width=8), 0.0)
    with torch.no_grad():
        for step in block.layer_b.steps:
            nn.init.normal_(step.conv.weight)  # type: ignore[union-attr, arg-type]
    before = streams(32)
    assert not torch.equal(block(before).raw, before.raw)


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("form", FORMS)
def test_shapes(size: int, form: str) -> None:
    model = build(architecture(Window(ratio=0.5), blocks=2, **FORMS[form]), classes=7).eval()
    flow: Tensor | Streams = torch.randn(2, 3, size, size)
    shapes = {}
    for name, part in model.named_children():
        flow = part(flow)
        shapes[name] = tuple(flow.act.shape if isinstance(flow, Streams) else flow.shape)
        assert isinstance(flow, Tensor) or flow.raw.shape == flow.act.shape
    half, quarter = size // 2, size // 4
    assert shapes == {
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
        "blender": (2, 64),
        "classifier": (2, 7),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", ["dense", "1G", "2", "1"])
def test_every_parameter_gets_a_gradient(form: str, window: str) -> None:
    """After one step: at the start the zeros of each block's last convolutions hide what lies before them."""
    torch.manual_seed(0)
    model = build(architecture(Window.parse(window), **FORMS[form]), classes=5).train()
    images, labels = torch.randn(8, 3, 16, 16), torch.arange(8) % 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("form", FORMS)
def test_two_steps_of_training_reduce_the_loss(form: str) -> None:
    torch.manual_seed(0)
    model = build(architecture(Window(groups=2), **FORMS[form]), classes=5).train()
    images, labels = torch.randn(16, 3, 16, 16), torch.arange(16) % 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]


def test_initial_weights() -> None:
    torch.manual_seed(0)
    model = build(architecture(blocks=2, form="bottleneck"), classes=10)
    zero = {f"{name}.layer_b.steps.{i}.conv" for name, part in model.named_children() if isinstance(part, Block)
            for i in range(len(part.layer_b.steps))}  # fmt: skip
    assert len(zero) == 2 * (2 + 4 + 4)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            bound = math.sqrt(6 / (module.out_channels * math.prod(module.kernel_size)))
            largest = module.weight.abs().max().item()
            assert largest == 0 if name in zero else 0.9 * bound < largest <= bound, name
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()
        elif isinstance(module, nn.Linear):
            bound = math.sqrt(3 / 10)
            assert 0.9 * bound < module.weight.abs().max().item() <= bound
            assert module.bias.eq(0).all()


def test_dropout_acts_in_training_only_and_not_in_the_head() -> None:
    torch.manual_seed(0)
    model = build(architecture(Window(groups=2)), classes=5, dropout=0.3)
    images = torch.randn(2, 3, 16, 16)
    model.train()
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
    rates = {
        type(part).__name__: {m.dropout for m in part.modules() if type(m).__name__ == "SeqConv2d"}
        for part in model.children()
        if isinstance(part, (Head, Block, Downsample))
    }
    assert rates == {"Head": {0.0}, "Block": {0.3}, "Downsample": {0.3}}


def test_the_blender_drops_whole_channels() -> None:
    torch.manual_seed(0)
    blender = Blender(32, 0.5)
    seen: list[Tensor] = []
    blender.conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ones = torch.ones(2, 32, 4, 4)
    assert blender(Streams(ones, ones)).shape == (2, 32)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[0], seen[0][:, :, :1, :1].expand_as(ones))
    blender.eval()(Streams(ones, ones))
    assert torch.equal(seen[1], ones)


def test_downsampling_reads_the_input_and_its_extension() -> None:
    """The shrinking convolution gets [act; extension]; the extension has the old stage's steps."""
    down = Downsample(32, 64, Stage(blocks=1, group_width=8, window=Window(groups=1)), 4, 0.0).eval()
    before = streams(32)
    seen: list[Tensor] = []
    down.shrinking.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    after = down(before)
    _, extension = down.extension(before.act)
    assert torch.equal(seen[0], torch.cat([before.act, extension], dim=1))
    assert down.shrinking.groups == 4
    assert (down.extension.group_width, down.extension.out_groups, down.extension.width) == (8, 4, 1)
    assert torch.equal(after.raw, down.shrinking(seen[0]))


def test_downsampling_has_the_groups_of_the_new_stage() -> None:
    stages = tuple(Stage(blocks=1, group_width=k) for k in (16, 8, 4))
    model = build(Architecture(stages=stages, widening=2), classes=5)
    shrinking = [part.shrinking for part in model.children() if isinstance(part, Downsample)]
    assert [(conv.out_channels, conv.groups, conv.stride) for conv in shrinking] == [(64, 8, (2, 2)), (128, 32, (2, 2))]


def test_the_head_is_dense_whatever_the_window() -> None:
    head = Head(16, 64, Stage(blocks=1, group_width=8, window=Window(groups=1)))
    assert head.layer.width is None
    assert head.unread_groups == 0


def test_each_layer_has_its_own_stage_window() -> None:
    stages = tuple(Stage(blocks=1, group_width=8, window=Window.parse(window)) for window in (1, "0.5G", "dense"))
    model = build(Architecture(stages=stages, widening=2), classes=5)
    widths = {
        name: [m.width for m in part.modules() if type(m).__name__ == "SeqConv2d"]
        for name, part in model.named_children()
    }
    assert widths["stage1_block1"] == [1, 1]
    assert widths["stage2_down"] == [1]
    assert widths["stage2_block1"] == [4, 4]
    assert widths["stage3_down"] == [4]
    assert widths["stage3_block1"] == [None, None]


def test_group_widths_and_forms_of_each_stage() -> None:
    stages = tuple(
        Stage(blocks=1, group_width=k, form=form, subgroups=s)
        for k, form, s in [(8, "plain", 1), (16, "bottleneck", 1), (32, "bottleneck", 8)]
    )
    model = build(Architecture(stages=stages, widening=2), classes=5)
    convolutions = {
        name: [c for c in part.modules() if isinstance(c, nn.Conv2d) and c.stride == (1, 1)]
        for name, part in model.named_children()
    }
    assert {c.out_channels for c in convolutions["stage1_block1"]} == {8}
    assert {c.kernel_size for c in convolutions["stage1_block1"]} == {(3, 3)}
    assert {c.kernel_size for c in convolutions["stage2_down"]} == {(3, 3)}
    assert {c.kernel_size for c in convolutions["stage2_block1"]} == {(1, 1), (3, 3)}
    assert {c.out_channels for c in convolutions["stage3_block1"]} == {32}
    assert {(c.kernel_size, c.groups) for c in convolutions["stage3_block1"]} == {((1, 1), 1), ((3, 3), 8)}


def test_the_classes_are_no_part_of_the_features() -> None:
    ten, hundred = (build(architecture(), classes=classes).state_dict() for classes in (10, 100))
    different = {name for name in ten if ten[name].shape != hundred[name].shape}
    assert different == {"classifier.weight", "classifier.bias"}


def test_parts_are_hashable_and_equal_where_the_layers_are() -> None:
    from seqconv.networks.build import plan

    parts = plan(architecture(blocks=3), classes=10)
    assert parts["stage1_block1"] == parts["stage1_block3"]
    for one, other in itertools.combinations(set(parts.values()), 2):
        assert one != other
