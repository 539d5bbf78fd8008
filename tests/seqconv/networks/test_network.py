"""What networks of both families do as a whole: features, recomputation, gradients, initial weights."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqconv.aggregation import DENSE, Window
from seqconv.layers.seqconv import SeqConv2d
from seqconv.layers.streams import Streams
from seqconv.networks.build import build
from seqconv.networks.modules import Block, Downsample, Head
from seqconv.networks.network import Feature, Network
from tests.seqconv.networks.small import FAMILIES, FORMS, architecture


def shapes(model: Network, image: Tensor) -> dict[str, tuple[int, ...]]:
    """What each part hands to the next; raw and act have the same shape."""
    flow: Tensor | Streams = image
    found = {}
    for name, part in model.named_children():
        flow = part(flow)
        found[name] = tuple(flow.act.shape if isinstance(flow, Streams) else flow.shape)
        assert isinstance(flow, Tensor) or flow.raw.shape == flow.act.shape
    return found


def batch(family: str = "cifar", *, size: int | None = None, count: int = 4) -> tuple[Tensor, Tensor]:
    """Images that leave the last stage 4 pixels a side, or of `size` pixels."""
    size = size or {"cifar": 16, "imagenet": 32}[family]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, size, size, generator=generator), torch.arange(count) % 5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", ["dense", "1G", "1"])
def test_every_parameter_gets_a_gradient(family: str, form: str, window: str) -> None:
    """After one step: at the start the zeros of each block's last convolutions hide what lies before them."""
    torch.manual_seed(0)
    model = build(architecture(Window.parse(window), family=family, **FORMS[form]), classes=5).train()
    images, labels = batch(family)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", FORMS)
def test_two_steps_of_training_reduce_the_loss(family: str, form: str) -> None:
    torch.manual_seed(0)
    model = build(architecture(Window(groups=2), family=family, **FORMS[form]), classes=5).train()
    images, labels = batch(family, count=16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_autocast(family: str, form: str) -> None:
    torch.manual_seed(0)
    model = build(architecture(Window(groups=2), family=family, **FORMS[form]), classes=5).eval()
    images, _ = batch(family)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = model(images)
    assert found.dtype == torch.bfloat16
    expected = model(images)
    assert (found - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_initial_weights(family: str) -> None:
    torch.manual_seed(0)
    model = build(architecture(family=family, blocks=2, form="bottleneck"), classes=10)
    zero = {name.rpartition(".layer_b.")[0] for name, p in model.named_parameters() if p.dim() == 4 and not p.any()}
    assert zero == {name for name, part in model.named_children() if isinstance(part, Block)}
    outside = [m for part in model.children() for m in part.children() if not isinstance(m, SeqConv2d)]
    for module in [*outside, model.classifier]:
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            bound = math.sqrt(6 / (module.out_channels * math.prod(module.kernel_size)))
            assert 0.9 * bound < module.weight.abs().max().item() <= bound
        elif isinstance(module, nn.Linear):
            bound = math.sqrt(3 / 10)
            assert 0.9 * bound < module.weight.abs().max().item() <= bound
            assert module.bias.eq(0).all()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()


def test_dropout_acts_in_training_only_and_not_in_the_head() -> None:
    torch.manual_seed(0)
    model = build(architecture(Window(groups=2)), classes=5, dropout=0.3)
    images, _ = batch()
    model.train()
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
    rates = {
        type(part): {m.dropout for m in part.modules() if isinstance(m, SeqConv2d)}
        for part in model.children()
        if isinstance(part, (Head, Block, Downsample))
    }
    assert rates == {Head: {0.0}, Block: {0.3}, Downsample: {0.3}}


def test_features_of_a_cifar_network() -> None:
    model = build(architecture(blocks=2), classes=5)
    assert model.feature_info == (
        Feature(name="head", part="head", channels=16, reduction=1),
        Feature(name="stage1", part="stage1_block2", channels=16, reduction=1),
        Feature(name="stage2", part="stage2_block2", channels=32, reduction=2),
        Feature(name="stage3", part="stage3_block2", channels=64, reduction=4),
    )


def test_features_of_an_imagenet_network() -> None:
    model = build(architecture(family="imagenet", blocks=2), classes=5)
    assert model.feature_info == (
        Feature(name="head", part="head", channels=64, reduction=2),
        Feature(name="stage1", part="stage1_block2", channels=64, reduction=4),
        Feature(name="stage2", part="stage2_block2", channels=128, reduction=8),
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recompute", [False, True])
def test_features_are_the_act_streams_that_were_described(family: str, recompute: bool) -> None:
    model = build(architecture(family=family, blocks=2), classes=5, recompute=recompute).eval()
    images, _ = batch(size=32)
    features = model.features(images)
    assert list(features) == [feature.name for feature in model.feature_info]
    seen: dict[str, Streams] = {}
    for name, part in model.named_children():
        part.register_forward_hook(lambda _, inputs, output, name=name: seen.__setitem__(name, output))
    model(images)
    for feature in model.feature_info:
        tensor, side = features[feature.name], 32 // feature.reduction
        assert tensor.shape == (4, feature.channels, side, side)
        assert torch.equal(tensor, seen[feature.part].act)


def test_nothing_behind_the_features_is_computed() -> None:
    model = build(architecture(), classes=5)
    reached: list[str] = []
    for name, part in model.named_children():
        part.register_forward_hook(lambda _, inputs, output, name=name: reached.append(name))
    model.features(batch()[0])
    assert reached[-1] == "stage3_block1"


def test_a_slice_of_a_network_describes_its_own_features() -> None:
    model = build(architecture(), classes=5)
    assert [feature.name for feature in model[:5].feature_info] == ["head", "stage1", "stage2"]


def trained(model: Network, family: str, *, steps: int = 3) -> dict[str, Tensor]:
    """Losses and the last gradients of a few steps of training, and the state after them."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    found = {}
    for step in range(steps):
        images, labels = batch(family)
        loss = F.cross_entropy(model(images + step), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found[f"loss {step}"] = loss.detach()
    gradients = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**found, **gradients, **model.state_dict()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputation_changes_no_bit(family: str, form: str, dropout: float) -> None:
    """Losses, gradients, weights, and running statistics, which a second pass would move twice."""
    torch.manual_seed(0)
    plain = build(architecture(Window(ratio=0.5), family=family, **FORMS[form]), classes=5, dropout=dropout)
    recomputed = copy.deepcopy(plain)
    recomputed.recompute = True
    expected, found = trained(plain, family), trained(recomputed, family)
    assert list(found) == list(expected)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    counts = [value.item() for name, value in found.items() if name.endswith("num_batches_tracked")]
    assert counts
    assert set(counts) == {3}


def test_recomputation_of_features_that_are_trained_on() -> None:
    models = [build(architecture(), classes=5, recompute=recompute) for recompute in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    images, _ = batch()
    for model in models:
        features = model.features(images)
        torch.stack([tensor.square().mean() for tensor in features.values()]).sum().backward()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("first", [False, True])
def test_recomputation_of_two_passes_before_backward(first: bool) -> None:
    """The first one recomputed or not: what it saved must not have changed under it."""
    models = [build(architecture(), classes=5) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    images, labels = batch()
    for model, flags in zip(models, [(False, False), (first, True)], strict=True):
        losses = []
        for model.recompute, shift in zip(flags, (0, 1), strict=True):
            losses.append(F.cross_entropy(model(images + shift), labels))
        sum(losses).backward()  # type: ignore[union-attr]
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]
    for one, other in zip(models[0].buffers(), models[1].buffers(), strict=True):
        assert torch.equal(one, other)


def test_recomputation_under_autocast_in_evaluation_and_without_gradients() -> None:
    torch.manual_seed(0)
    plain = build(architecture(), classes=5).eval()
    recomputed = copy.deepcopy(plain)
    recomputed.recompute = True
    images, labels = batch()
    with torch.no_grad():
        assert torch.equal(recomputed(images), plain(images))
    for model in (plain, recomputed):
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(images).float(), labels)
        loss.backward()
    for one, other in zip(plain.parameters(), recomputed.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


@contextmanager
def saved_bytes() -> Iterator[list[int]]:
    """The bytes of distinct storages that are kept for backward, parameters among them."""
    storages: dict[int, tuple[Tensor, int]] = {}
    total: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = (tensor, storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total
    total.append(sum(size for _, size in storages.values()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", FORMS)
def test_recomputation_saves_memory(family: str, form: str) -> None:
    """At most the inputs of the parts are kept: raw and act of a block, act alone of a head or a downsampling layer."""
    model = build(architecture(Window(ratio=1.0), family=family, blocks=3, **FORMS[form]), classes=5).train()
    for layer in model.modules():
        if isinstance(layer, SeqConv2d):
            layer.plan = "blocked"
    images, _ = batch(size=32)
    kept = {}
    for recompute in (False, True):
        model.recompute = recompute
        with saved_bytes() as total:
            loss = model(images).sum()
        kept[recompute] = total[0]
        del loss
    assert kept[True] < 0.45 * kept[False]


def test_recomputation_keeps_the_inputs_of_each_part_alone() -> None:
    model = build(architecture(DENSE, blocks=2), classes=5, recompute=True).train()
    images, _ = batch(size=32)
    with saved_bytes() as total:
        loss = model(images).sum()
    pixels = [4 * 4 * c * s * s for c, s in [(16, 32), (32, 16), (64, 8)]]
    stem_and_head = images.nbytes + 2 * pixels[0]
    blocks = 2 * 2 * sum(pixels)
    downs = pixels[0] + pixels[1]
    behind = 3 * pixels[2] + 4 * 4 * 64
    weights = sum(
        p.nbytes for name, p in model.named_parameters() if name.startswith(("stem", "blender", "classifier"))
    )
    expected = stem_and_head + blocks + downs + behind + weights
    assert expected <= total[0] < expected + 10_000, loss
