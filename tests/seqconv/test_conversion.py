"""Conversion of whole networks, of single convolutions, and what is left alone."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from seqconv.conversion import convert
from seqconv.conversion_report import Conversion
from seqconv.layers.seqconv import SeqConv2d


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 32, 5, padding=2, groups=8),
        nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(32, 32, 3, padding="same")),
        nn.Conv2d(32, 8, 1),
    )


def images(size: int, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


def alone(conv: nn.Module, **arguments: Any) -> Any:
    """What a convolution becomes."""
    return convert(conv, **arguments).model


def reason(conv: nn.Module, **arguments: Any) -> str | None:
    """Why a convolution is left alone inside a network in which another one is replaced."""
    network = nn.ModuleList([conv, nn.Conv2d(16, 16, 3, padding=1)])
    conversion = convert(network, **arguments)
    assert conversion.rows[0].name == "0"
    assert (network[0] is conv) == (conversion.rows[0].reason is not None)
    return conversion.rows[0].reason


def train_step(model: nn.Module, x: Tensor) -> None:
    """A step of SGD gives every parameter a gradient and lowers the loss of its batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def loss() -> Tensor:
        torch.manual_seed(0)
        return F.cross_entropy(model(x), torch.tensor([1, 2]))

    before = loss()
    before.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    optimizer.step()
    with torch.no_grad():
        assert loss() < before


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, dict[str | None, int]]] = {
    # how to make it, the side of an image, and its convolutions by reason (None is replaced)
    "torchvision resnet18": (torchvision.models.resnet18, 64, {None: 16, "1x1": 3, "stem": 1}),
    "torchvision resnet50": (torchvision.models.resnet50, 64, {None: 16, "1x1": 36, "stem": 1}),
    "torchvision resnext50": (torchvision.models.resnext50_32x4d, 64, {None: 16, "1x1": 36, "stem": 1}),
    "torchvision densenet121": (torchvision.models.densenet121, 64, {None: 58, "1x1": 61, "stem": 1}),
    "torchvision regnet_x_400mf": (torchvision.models.regnet_x_400mf, 64, {None: 22, "1x1": 48, "stem": 1}),
    "torchvision convnext_tiny": (torchvision.models.convnext_tiny, 32, {None: 18, "even": 4}),
    "timm resnet18": (lambda: timm.create_model("resnet18"), 64, {None: 16, "1x1": 3, "stem": 1}),
    "timm resnet50": (lambda: timm.create_model("resnet50"), 64, {None: 16, "1x1": 36, "stem": 1}),
    "timm resnext50": (lambda: timm.create_model("resnext50_32x4d"), 64, {None: 16, "1x1": 36, "stem": 1}),
    "timm densenet121": (lambda: timm.create_model("densenet121"), 64, {None: 58, "1x1": 61, "stem": 1}),
    "timm regnetx_002": (lambda: timm.create_model("regnetx_002"), 64, {None: 13, "1x1": 30, "stem": 1}),
    "timm convnext_atto": (lambda: timm.create_model("convnext_atto"), 64, {None: 12, "1x1": 24, "even": 4}),
}
REASONS = {
    "stem": "channels make no two groups of 4 or more",
    "even": "even kernel: outputs do not line up with inputs",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_keeps_its_shapes_and_trains(name: str) -> None:
    torch.manual_seed(0)
    make, size, expected = NETWORKS[name]
    network = make().train()
    shape = network(images(size)).shape
    conversion = convert(network)
    assert conversion.model is network
    found = [row.reason for row in conversion.rows]
    assert {row: found.count(row) for row in found} == {REASONS.get(str(row), row): n for row, n in expected.items()}
    layers = {name for name, module in network.named_modules() if isinstance(module, SeqConv2d)}
    assert layers == {row.name for row in conversion.replaced}
    assert network(images(size)).shape == shape
    train_step(network, images(size))


def test_weights_move_to_a_network_converted_alike() -> None:
    networks = [convert(torchvision.models.resnext50_32x4d()).model.eval() for _ in range(2)]
    before = [network(images(64)) for network in networks]
    assert not torch.allclose(*before)
    networks[1].load_state_dict(networks[0].state_dict())
    assert torch.equal(networks[1](images(64)), before[0])


TABLE = """\
name  convolution              replaced by                                           params  after
0     3 -> 16, 3x3             left alone: channels make no two groups of 4 or more     432    432
3     16 -> 32, 3x3, stride 2  0.5G, plain, k 4, G 4, g 4, then shrinking, 2 unread   4,640  2,384
5     32 -> 32, 5x5, groups 8  0.5G, bottleneck, k 4, G 8, g 8, 4 unread              3,232  3,872
6.1   32 -> 32, 3x3            0.5G, plain, k 4, G 8, g 8, 4 unread                   9,248  4,704
7     32 -> 8, 1x1             left alone: 1x1                                          264    264
3 of 5 convolutions replaced, params 17,816 -> 11,656"""


def test_the_table() -> None:
    conversion = convert(small(), pattern="0.5G")
    assert str(conversion) == TABLE
    assert [row.name for row in conversion.replaced] == ["3", "5", "6.1"]
    assert [row.name for row in conversion.left] == ["0", "7"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        conversion.rows = ()  # type: ignore[misc]


def test_the_table_counts_the_network() -> None:
    network = small()
    before = sum(p.numel() for p in network.parameters())
    conversion = convert(network)
    others = sum(p.numel() for p in network[1].parameters())
    assert sum(row.params_before for row in conversion.rows) == before - others
    assert sum(row.params_after for row in conversion.rows) == sum(p.numel() for p in network.parameters()) - others


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("channels", "width"), [(16, 4), (32, 4), (64, 16)])
def test_a_window_as_wide_as_the_input_costs_a_norm(channels: int, width: int, bias: bool) -> None:
    (row,) = convert(nn.Conv2d(channels, channels, 3, padding=1, bias=bias), group_width=width).rows
    assert row.params_before == 9 * channels**2 + bias * channels
    assert row.params_after == row.params_before + 2 * channels


def test_what_leaves_is_not_normalised_and_what_later_steps_read_is() -> None:
    layer = alone(nn.Conv2d(8, 8, 3, padding=1), group_width=4).double()
    nn.init.normal_(layer.bias)
    x = images(6, channels=8).double()
    kernels, biases = layer.weight.split(8, dim=1), layer.bias.split(4)
    first = F.conv2d(x, kernels[0], biases[0], padding=1)
    read = F.batch_norm(first, None, None, training=True).relu()
    second = F.conv2d(torch.cat([x[:, 4:], read], dim=1), kernels[1], biases[1], padding=1)
    torch.testing.assert_close(layer(x), torch.cat([first, second], dim=1))


@pytest.mark.parametrize(
    ("conv", "pattern"),
    [
        (nn.Conv2d(64, 64, 3, padding=1), "1G"),
        (nn.Conv2d(64, 64, 3, padding=1), "0.25G"),
        (nn.Conv2d(64, 128, 3, padding=1), "dense"),
        (nn.Conv2d(64, 128, 3, padding=1, stride=2), "1G"),
        (nn.Conv2d(64, 64, 3, padding=1, stride=2), "1G"),
        (nn.Conv2d(64, 64, 3, padding=1, groups=8), "1G"),
        (nn.Conv2d(64, 64, 7, padding=3, groups=64, bias=False), "0.5G"),
        (nn.Conv2d(64, 128, 3, padding=1, stride=2), "regular"),
    ],
)
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_outputs_keep_their_scale(conv: nn.Conv2d, pattern: str, scale: float) -> None:
    torch.manual_seed(0)
    nn.init.normal_(conv.weight, std=scale)
    expected = conv(images(16, channels=64)).std()
    layer = alone(conv, pattern=pattern)
    assert layer.weight is not conv.weight
    assert 0.5 < layer(images(16, channels=64)).std() / expected < 2


def test_a_convolution_that_starts_at_zero_still_does() -> None:
    conv = nn.Conv2d(16, 16, 3, padding=1)
    nn.init.zeros_(conv.weight)
    assert not alone(conv)(images(8, channels=16)).any()


@pytest.mark.parametrize(("channels", "groups", "width"), [(32, 4, 8), (32, 8, 8), (32, 32, 8), (48, 16, 12)])
def test_a_bottleneck_keeps_the_groups(channels: int, groups: int, width: int) -> None:
    conv = nn.Conv2d(channels, channels, 5, padding=2, groups=groups)
    layer = alone(conv, group_width=width)
    assert (layer.form, layer.groups * layer.out_groups) == ("bottleneck", groups)
    assert layer.weight.shape == conv.weight.shape
    assert layer.reduce_weight.shape[2:] == (1, 1)


def test_form_bottleneck_where_there_were_no_groups() -> None:
    layer = alone(nn.Conv2d(16, 16, 3, padding=1), group_width=4, form="bottleneck")
    assert (layer.form, layer.groups, tuple(layer.weight.shape)) == ("bottleneck", 1, (16, 4, 3, 3))


@pytest.mark.parametrize("plan", ["reference", "blocked"])
def test_arguments_reach_the_layer(plan: str) -> None:
    layer = alone(nn.Conv2d(16, 32, (3, 5), padding=(2, 4), dilation=2), pattern="dilated(2, 2)", plan=plan)
    assert (str(layer.pattern), layer.plan, layer.group_width) == ("dilated(2, 2)", plan, 4)
    assert (layer.kernel_size, layer.dilation) == ((3, 5), (2, 2))


@pytest.mark.parametrize("pattern", ["regular", "group", "1G"])
@pytest.mark.parametrize(("channels", "groups"), [(32, 1), (16, 1), (16, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_parameter_learns(pattern: str, channels: int, groups: int, stride: int) -> None:
    layer = alone(nn.Conv2d(16, channels, 3, stride, 1, groups=groups), group_width=4, pattern=pattern)
    layer(images(8, channels=16)).square().sum().backward()
    assert [name for name, p in layer.named_parameters() if p.grad is None] == []
    assert not [name for name, p in layer.named_parameters() if not p.grad.any() and "bias" not in name]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("groups", [1, 32])
def test_a_layer_is_made_like_the_convolution(
    training: bool, dtype: torch.dtype, memory_format: torch.memory_format, groups: int
) -> None:
    conv = nn.Conv2d(32, 32, 3, padding=1, groups=groups).to(dtype=dtype, memory_format=memory_format).train(training)
    layer = alone(conv, group_width=8)
    assert {module.training for module in layer.modules()} == {training}
    assert {p.dtype for p in layer.parameters()} == {dtype}
    assert (layer.weight.stride(1) == 1) == (memory_format is torch.channels_last)


def test_a_layer_is_made_on_the_device_of_the_convolution() -> None:
    network = convert(torchvision.models.resnet50().to("meta")).model
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


def test_what_was_frozen_stays_frozen() -> None:
    network = small()
    network[3].weight.requires_grad_(False)
    network[5].bias.requires_grad_(False)
    convert(network)
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == {
        "3.weight", "3.norm.weight", "3.norm.bias", "3.shrinking.conv.weight", "3.shrinking.conv.bias", "5.bias",
    }  # fmt: skip


class Standardised(nn.Conv2d):
    pass


def padded(**arguments: Any) -> nn.Conv2d:
    return nn.Conv2d(16, 16, **{"kernel_size": 3, "padding": 1, **arguments})


@pytest.mark.parametrize(
    ("conv", "arguments", "expected"),
    [
        (padded(kernel_size=1, padding=0), {}, "1x1"),
        (padded(kernel_size=4, padding="same"), {}, "even kernel: outputs do not line up with inputs"),
        (padded(kernel_size=(3, 2), padding="same"), {}, "even kernel: outputs do not line up with inputs"),
        (padded(padding=0), {}, "padding is not 'same'"),
        (padded(padding="valid"), {}, "padding is not 'same'"),
        (padded(dilation=2), {}, "padding is not 'same'"),
        (padded(padding_mode="reflect"), {}, "padding with reflect, not zeros"),
        (padded(dtype=torch.complex64), {}, "complex weights"),
        (nn.Conv2d(3, 64, 3, padding=1), {}, "channels make no two groups of 4 or more"),
        (nn.Conv2d(16, 4, 3, padding=1), {}, "channels make no two groups of 4 or more"),
        (nn.Conv2d(3, 64, 3, padding=1), {"group_width": 4}, "channels are not whole groups of 4"),
        (nn.Conv2d(16, 20, 3, padding=1), {"group_width": 8}, "channels are not whole groups of 8"),
        (nn.Conv2d(16, 8, 3, padding=1), {"group_width": 8}, "one output group of 8: nothing to aggregate"),
        (padded(), {"group_width": {"1": 4}}, "no group width for it"),
        (padded(groups=4), {"form": "plain"}, "form plain has no groups within a step"),
        (padded(groups=2), {"group_width": 4}, "group width 4 does not hold whole groups of 8"),
        (nn.Conv2d(16, 32, 3, padding=1, groups=4), {}, "in groups, with another number of output channels"),
        (
            nn.Conv2d(24, 24, 3, padding=1),
            {"group_width": 8, "pattern": "shuffle(2)"},
            "shuffle(2) with G = 3 and g = 3: partitions must divide the 3 input groups, got 2",
        ),
        (padded(), {"where": "1"}, "not selected"),
        (nn.ConvTranspose2d(16, 16, 3, padding=1), {}, "a ConvTranspose2d, not nn.Conv2d itself"),
        (nn.Conv1d(16, 16, 3, padding=1), {}, "a Conv1d, not nn.Conv2d itself"),
        (Standardised(16, 16, 3, padding=1), {}, "a Standardised, not nn.Conv2d itself"),
        (nn.LazyConv2d(16, 3, padding=1), {}, "no shape yet: run the network once"),
        (nn.utils.parametrizations.weight_norm(padded()), {}, "a ParametrizedConv2d, not nn.Conv2d itself"),
        (nn.utils.spectral_norm(padded()), {}, "has hooks, as weight norm and pruning do"),
    ],
)
def test_what_is_left_alone(conv: nn.Module, arguments: dict[str, Any], expected: str) -> None:
    assert reason(conv, **arguments) == expected


def test_what_timm_derives_from_convolutions_is_left_alone() -> None:
    reasons = {row.reason for row in convert(timm.create_model("nf_resnet26")).rows}
    assert reasons == {"a ScaledStdConv2d, not nn.Conv2d itself"}
    reasons = {row.reason for row in convert(timm.create_model("tf_efficientnet_b0")).left}
    assert "a Conv2dSame, not nn.Conv2d itself" in reasons


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
def test_hooks_of_every_kind(kind: str) -> None:
    conv = padded()
    getattr(conv, f"register_{kind}_hook")(lambda *_: None)
    assert reason(conv) == "has hooks, as weight norm and pruning do"


def test_tied_weights_stay_tied() -> None:
    network = nn.Sequential(padded(), padded(), padded())
    network[1].weight = network[0].weight
    conversion = convert(network)
    assert [row.reason for row in conversion.rows] == ["shares its weight", "shares its weight", None]
    assert network[0].weight is network[1].weight


def test_one_convolution_under_several_names() -> None:
    conv = padded()
    block = nn.Sequential(conv, nn.ReLU(), conv)
    network = nn.ModuleDict({"first": block, "second": block, "third": nn.Sequential(conv, padded())})
    conversion = convert(network, where="second.2", group_width={"third.0": 4})
    assert [(row.name, row.reason) for row in conversion.rows] == [("first.0", None), ("third.1", "not selected")]
    layer = block[0]
    assert isinstance(layer, SeqConv2d)
    assert all(place is layer for place in (block[2], network["third"][0]))  # type: ignore[index]
    assert conversion.rows[0].params_after == sum(p.numel() for p in layer.parameters())


def test_a_second_time() -> None:
    network = small()
    first = convert(network, where="3")
    layer = network[3]
    second = convert(network)
    assert network[3] is layer
    assert [row.reason for row in second.rows if row.name == "3"] == ["a SeqConv2d already"]
    assert [row.name for row in second.rows] == [row.name for row in first.rows]
    assert [row.reason for row in convert(layer).rows] == ["a SeqConv2d already"]


def test_a_network_of_another_kind_is_left_as_it_is() -> None:
    network = nn.Sequential(nn.Linear(3, 4))
    conversion = convert(network)
    assert conversion == Conversion(model=network, rows=())
    assert str(conversion).splitlines()[-1] == "0 of 0 convolutions replaced, params 0 -> 0"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning", "ignore:torch.quantize_per_tensor:UserWarning")
def test_scripted_and_quantised_convolutions_are_left_alone() -> None:
    scripted = torch.jit.script(nn.Sequential(padded()))
    quantised = torch.ao.nn.quantized.Conv2d(16, 16, 3, padding=1)
    conversion = convert(nn.ModuleDict({"scripted": scripted, "quantised": quantised, "other": padded()}))
    assert [(row.name, row.reason) for row in conversion.rows] == [
        ("scripted.0", "a RecursiveScriptModule, not nn.Conv2d itself"),
        ("quantised", "a torch.ao.nn.quantized.modules.conv.Conv2d, not nn.Conv2d itself"),
        ("other", None),
    ]


def test_a_traced_graph() -> None:
    network = torch.fx.symbolic_trace(small())
    shape = network(images(16)).shape
    assert len(convert(network).replaced) == 3
    assert network(images(16)).shape == shape


def test_in_place_activations_may_follow() -> None:
    train_step(nn.Sequential(convert(small()).model, nn.Flatten(), nn.Linear(512, 4)), images(16))


def test_globs_choose() -> None:
    network = torchvision.models.resnet18()
    conversion = convert(network, where=["layer1.*", "layer3.?.conv2"], group_width={"layer1.0.*": 16, "layer*": 32})
    assert [(row.name, row.replacement) for row in conversion.replaced] == [
        ("layer1.0.conv1", "1.0G, plain, k 16, G 4, g 4"),
        ("layer1.0.conv2", "1.0G, plain, k 16, G 4, g 4"),
        ("layer1.1.conv1", "1.0G, plain, k 32, G 2, g 2"),
        ("layer1.1.conv2", "1.0G, plain, k 32, G 2, g 2"),
        ("layer3.0.conv2", "1.0G, plain, k 32, G 8, g 8"),
        ("layer3.1.conv2", "1.0G, plain, k 32, G 8, g 8"),
    ]
    assert {row.reason for row in conversion.left} == {"not selected"}


def test_functions_choose() -> None:
    conversion = convert(
        torchvision.models.resnet18(),
        where=lambda name, conv: name.startswith("layer") and conv.stride == (1, 1),
        group_width=lambda name, conv: conv.out_channels // 4 if conv.in_channels < 512 else None,
    )
    reasons = [row.reason for row in conversion.rows]
    assert {reason: reasons.count(reason) for reason in reasons} == {
        None: 10,
        "not selected": 7,
        "no group width for it": 3,
    }
    assert {row.replacement for row in conversion.replaced} == {f"1.0G, plain, k {k}, G 4, g 4" for k in (16, 32, 64)}


@given(st.integers(1, 256), st.integers(1, 256))
def test_the_default_group_width(in_channels: int, out_channels: int) -> None:
    conversion = convert(nn.Conv2d(in_channels, out_channels, 3, padding=1, device="meta"))
    allowed = [
        k for k in range(4, 129) if in_channels % k == out_channels % k == 0 and min(in_channels, out_channels) > k
    ]
    roomy = [k for k in allowed if min(in_channels, out_channels) >= 8 * k]
    expected = max(roomy) if roomy else min(allowed) if allowed else None
    assert getattr(conversion.model, "group_width", None) == expected


@pytest.mark.parametrize(
    ("channels", "groups", "expected"),
    [(128, 32, 16), (256, 32, 32), (32, 2, 16), (400, 25, 16), (40, 40, 5), (96, 96, 12), (16, 16, 4), (16, 2, 8)],
)
def test_the_default_group_width_holds_whole_groups(channels: int, groups: int, expected: int) -> None:
    assert alone(nn.Conv2d(channels, channels, 3, padding=1, groups=groups)).group_width == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_width": 0}, "group_width must be an integer at least 1, got 0"),
        ({"group_width": 8.0}, "group_width must be an integer at least 1, got 8.0"),
        ({"group_width": {"3": "8"}}, "group_width of 3 must be an integer at least 1, got '8'"),
        ({"group_width": {3: 8}}, "group_width must name modules, as in 'layer3.*', or be a function; got [3]"),
        ({"group_width": {"6.0": 8}}, "group_width names '6.0', a ReLU: a converted module must be an nn.Conv2d"),
        ({"group_width": lambda name, conv: 2.5}, "group_width of 0 must be an integer at least 1, got 2.5"),
        ({"where": 3}, "where must name modules, as in 'layer3.*', or be a function; got 3"),
        ({"where": "6.2"}, "where names no module: '6.2' (did you mean 6.1?)"),
        ({"where": ["3", "stage9.*"]}, "where names no module: 'stage9.*'"),
        ({"where": "1"}, "where names '1', a BatchNorm2d: a converted module must be an nn.Conv2d"),
        ({"where": "6"}, "where names '6', a Sequential: a converted module must be an nn.Conv2d"),
        ({"form": "dense"}, "form must be one of auto, plain, bottleneck, got 'dense'"),
        ({"plan": "fast"}, "plan must be one of auto, reference, blocked, native, got 'fast'"),
        ({"where": "7"}, "nothing was replaced: 1 x 1x1"),
        ({"where": []}, "nothing was replaced: where selects none of 5 convolutions"),
        ({"where": lambda name, conv: False}, "nothing was replaced: where selects none of 5 convolutions"),
        ({"group_width": {}}, "nothing was replaced: 4 x no group width for it; 1 x 1x1"),
        ({"group_width": 7}, "nothing was replaced: 4 x channels are not whole groups of 7; 1 x 1x1"),
    ],
)
def test_arguments_that_are_not_allowed(arguments: dict[str, Any], message: str) -> None:
    network = small()
    with pytest.raises(ValueError) as error:
        convert(network, **arguments)
    assert str(error.value) == message
    assert not any(isinstance(module, SeqConv2d) for module in network.modules())


def test_an_unknown_pattern() -> None:
    with pytest.raises(ValueError, match=r"got 'windowed'"):
        convert(small(), pattern="windowed")


@pytest.mark.parametrize("model", ["resnet18", nn.Conv2d, [nn.Conv2d(16, 16, 3)], None])
def test_only_a_network_can_be_converted(model: Any) -> None:
    with pytest.raises(ValueError, match=r"^model must be a torch\.nn\.Module, got "):
        convert(model)


def test_features_can_be_taken_from_inside_a_converted_network() -> None:
    """`torch.fx` sees a layer as one node, as it does a convolution."""
    network = convert(torchvision.models.resnet18()).model.eval()
    features = create_feature_extractor(network, {"layer2.0.conv1": "inside", "layer3": "outside"})
    x = torch.rand(1, 3, 64, 64)
    found = features(x)
    expected = nn.Sequential(*list(network.children())[:7])(x)
    torch.testing.assert_close(found["outside"], expected)
    assert found["inside"].shape == (1, 128, 8, 8)


def test_a_transposed_convolution_that_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^where names '0', a ConvTranspose2d: a converted module must be an nn.Conv2d$"
    ):
        convert(nn.Sequential(nn.ConvTranspose2d(16, 16, 3), padded()), where="0")


def test_nothing_is_replaced_before_all_is_checked() -> None:
    network = small()
    with pytest.raises(ValueError, match="group_width of 5 must be an integer"):
        convert(network, group_width=lambda name, conv: 4 if name in "03" else -4)
    assert not any(isinstance(module, SeqConv2d) for module in network.modules())


def test_import_does_without_the_model_libraries() -> None:
    program = "import sys, seqconv.conversion; print(sorted({'timm', 'torchvision'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "[]\n"), run.stderr
