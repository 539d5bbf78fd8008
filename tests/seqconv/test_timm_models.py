"""The conventions of timm's models, asked for through timm itself."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import group_parameters
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional as F

import seqconv.timm_models
from seqconv.networks.build import build
from seqconv.networks.presets import FAMILIES, PRESETS
from seqconv.timm_models import TimmNetwork
from tests.seqconv.networks.small import architecture

CIFAR, IMAGENET = "cifar_b_small", "seqresnext_small"


def image(size: int = 32, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


def create(name: str = CIFAR, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(name, **kwargs).eval()


def test_the_registry_has_every_preset() -> None:
    assert set(timm.list_models(module="timm_models")) == set(PRESETS)
    assert timm.list_pretrained("seqres*") == []
    assert set(PRESETS) < set(seqconv.timm_models.__all__)


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_is_made_for_its_data_set(name: str) -> None:
    model = timm.create_model(name, device="meta")
    family = FAMILIES[PRESETS[name].family]
    assert isinstance(model, TimmNetwork)
    assert model.num_classes == model.get_classifier().out_features == family.classes
    assert model.num_features == model.head_hidden_size == PRESETS[name].widths[-1]
    data = resolve_model_data_config(model)
    assert data["input_size"] == (3, family.resolution, family.resolution)
    assert data["mean"] == ((0.485, 0.456, 0.406) if family.resolution == 224 else (0.4914, 0.4822, 0.4465))
    reduction = model.feature_info[-1]["reduction"]
    assert model.pretrained_cfg["pool_size"] == (family.resolution // reduction,) * 2
    assert model.get_submodule(model.pretrained_cfg["first_conv"]).in_channels == 3
    assert model.pretrained_cfg["classifier"] == model.get_classifier(name_only=True)


@pytest.mark.parametrize("name", [CIFAR, IMAGENET])
def test_weights_move_both_ways(name: str) -> None:
    plain = build(PRESETS[name], classes=7).eval()
    model = create(name, num_classes=7)
    assert list(model.state_dict()) == list(plain.state_dict())
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model(image()), plain(image()))
    build(PRESETS[name], classes=7).load_state_dict(model.state_dict())


def test_a_file_of_weights_for_other_images_and_classes(tmp_path: Path) -> None:
    plain = build(PRESETS[CIFAR], classes=10)
    torch.save(plain.state_dict(), tmp_path / "weights.pt")
    overlay = {"file": str(tmp_path / "weights.pt")}
    model = create(pretrained=True, pretrained_cfg_overlay=overlay, num_classes=4, in_chans=1)
    assert model(image(channels=1)).shape == (2, 4)
    different = {name for name, value in model.state_dict().items() if not torch.equal(value, plain.state_dict()[name])}
    assert different == {"stem.conv.weight", "classifier.weight", "classifier.bias"}
    torch.testing.assert_close(model.stem.conv.weight, plain.stem.conv.weight.sum(1, keepdim=True))  # type: ignore[union-attr, operator]


def test_there_are_no_pretrained_weights() -> None:
    with pytest.raises(RuntimeError, match="No pretrained weights exist for cifar_b_small"):
        create(pretrained=True)


def test_no_classes_leave_the_pooled_features() -> None:
    model = create(num_classes=0)
    assert isinstance(model.get_classifier(), nn.Identity)
    features = model.forward_features(image())
    assert features.shape == (2, model.num_features, 8, 8)
    torch.testing.assert_close(model(image()), features.mean((2, 3)))


def test_the_head_in_two_steps() -> None:
    model = create()
    features = model.forward_features(image())
    before_logits = model.forward_head(features, pre_logits=True)
    assert before_logits.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(before_logits), model(image()))
    assert torch.equal(model.forward_head(features), model(image()))
    model.reset_classifier(0)
    assert torch.equal(model(image()), before_logits)


def test_another_classifier() -> None:
    model = create().double().train()
    model.reset_classifier(3)
    assert model.num_classes == 3
    assert model.get_classifier().weight.dtype == torch.float64
    assert model.get_classifier().training
    assert model(image().double()).shape == (2, 3)
    assert list(model.state_dict())[-2:] == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize(("global_pool", "width"), [("avg", 64), ("max", 64), ("avgmax", 64), ("catavgmax", 128)])
def test_other_poolings(global_pool: str, width: int) -> None:
    model = TimmNetwork(architecture(), num_classes=5, global_pool=global_pool).eval()
    assert (model.num_features, model.head_hidden_size) == (64, width)
    features = model.forward_features(image())
    average, largest = features.mean((2, 3)), features.amax((2, 3))
    expected = {
        "avg": average,
        "max": largest,
        "avgmax": (average + largest) / 2,
        "catavgmax": torch.cat([average, largest], dim=1),
    }[global_pool]
    torch.testing.assert_close(model.forward_head(features, pre_logits=True), expected)
    other = TimmNetwork(architecture(), num_classes=5)
    other.reset_classifier(5, global_pool)
    assert other(image()).shape == (2, 5)


def test_no_pooling_leaves_the_map() -> None:
    model = create(num_classes=0, global_pool="")
    assert torch.equal(model(image()), model.forward_features(image()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": -1}, "num_classes must be an integer at least 0, got -1"),
        ({"num_classes": 10, "global_pool": ""}, "num_classes above 0 needs a global_pool such as avg, got 10 and ''"),
    ],
)
def test_a_classifier_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    for make in (lambda: create(**fields), lambda: create().reset_classifier(**fields)):
        with pytest.raises(ValueError) as error:
            make()
        assert str(error.value) == message


def test_dropout_in_front_of_the_classifier_and_in_the_layers() -> None:
    torch.manual_seed(0)
    model = timm.create_model(CIFAR, drop_rate=0.5).train()
    ones = torch.ones(2, 64, 8, 8)
    assert set(model.forward_head(ones, pre_logits=True).unique().tolist()) == {0.0, 2.0}
    assert set(model.eval().forward_head(ones, pre_logits=True).unique().tolist()) == {1.0}


def test_channel_dropout_is_that_of_the_network() -> None:
    plain = build(PRESETS[CIFAR], classes=10, dropout=0.3)
    model = timm.create_model(CIFAR, channel_drop_rate=0.3)
    model.load_state_dict(plain.state_dict())
    outputs = []
    for network in (plain.train(), model.train()):
        torch.manual_seed(1)
        outputs.append(network(image()))
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize(
    ("name", "out_indices", "expected"),
    [
        (IMAGENET, None, [0, 1, 2, 3, 4]),
        (IMAGENET, (1, 2, 4), [1, 2, 4]),
        (IMAGENET, (0,), [0]),
        (IMAGENET, 2, [3, 4]),
        (CIFAR, None, [0, 1, 2, 3]),
        (CIFAR, (-2,), [2]),
    ],
)
def test_features_only(name: str, out_indices: Any, expected: list[int]) -> None:
    backbone = create(name, features_only=True, out_indices=out_indices)
    plain = build(PRESETS[name], classes=1).eval()
    plain.load_state_dict(backbone.model.state_dict(), strict=False)
    wanted = [plain.feature_info[i] for i in expected]
    tensors = plain.features(image(64))
    found = backbone(image(64))
    assert len(found) == len(wanted)
    for tensor, feature in zip(found, wanted, strict=True):
        torch.testing.assert_close(tensor, tensors[feature.name])
    assert backbone.feature_info.channels() == [feature.channels for feature in wanted]
    assert backbone.feature_info.reduction() == [feature.reduction for feature in wanted]
    assert backbone.feature_info.module_name() == [feature.part for feature in wanted]


def test_features_only_keeps_no_parameter_that_they_do_not_need() -> None:
    backbone = timm.create_model(CIFAR, features_only=True, out_indices=(0, 2)).train()
    sum(tensor.mean() for tensor in backbone(image())).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []
    assert {name.split(".")[1] for name, _ in backbone.named_parameters()} == {
        "stem", "head", "stage1_block1", "stage2_down", "stage2_block1"
    }  # fmt: skip


@pytest.mark.parametrize("indices", [None, 2, [0, 2], [-1, 1]])
@pytest.mark.parametrize("stop_early", [False, True])
def test_intermediates(indices: Any, stop_early: bool) -> None:
    model = create()
    names = [info["module"] for info in model.feature_info]
    taken = {None: names, 2: names[-2:]}.get(indices) if not isinstance(indices, list) else [names[i] for i in indices]
    seen: dict[str, Tensor] = {}
    for name in names:
        part = model.get_submodule(name)
        part.register_forward_hook(lambda _, inputs, output, name=name: seen.__setitem__(name, output.act))
    final, intermediates = model.forward_intermediates(image(), indices, stop_early=stop_early)
    for tensor, name in zip(intermediates, taken, strict=True):
        assert torch.equal(tensor, seen[name])
    assert torch.equal(final, seen[max(taken)] if stop_early else model.forward_features(image()))
    alone = model.forward_intermediates(image(), indices, intermediates_only=True)
    for one, other in zip(alone, intermediates, strict=True):
        assert torch.equal(one, other)


def test_intermediates_of_another_layout() -> None:
    with pytest.raises(ValueError, match=r"^output_fmt must be one of NCHW, got 'NLC'$"):
        create().forward_intermediates(image(), output_fmt="NLC")


def test_pruning_keeps_the_head_where_it_is_asked_to() -> None:
    model = create()
    before = model(image())
    assert model.prune_intermediate_layers([-1], prune_head=False) == [3]
    assert torch.equal(model(image()), before)
    features = model.forward_intermediates(image(), [1], intermediates_only=True)
    assert model.prune_intermediate_layers([1], prune_head=False) == [1]
    assert (model.num_features, model.num_classes) == (32, 0)
    assert torch.equal(model(image()), features[0])


def test_grad_checkpointing_changes_no_bit() -> None:
    models = [timm.create_model(CIFAR).train() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[1].set_grad_checkpointing()
    assert models[1].grad_checkpointing
    passes = []
    for model in models:
        ran: list[int] = []
        model.stage1_block1.layer_a.register_forward_hook(lambda *_, ran=ran: ran.append(1))
        F.cross_entropy(model(image()), torch.tensor([1, 2])).backward()
        passes.append(len(ran))
    assert passes == [1, 2]
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    for one, other in zip(models[0].buffers(), models[1].buffers(), strict=True):
        assert torch.equal(one, other)
    models[1].set_grad_checkpointing(False)
    assert not models[1].grad_checkpointing


def test_groups_of_parameters_follow_the_depth() -> None:
    model = timm.create_model("seqresnet_b22", device="meta")
    fine, coarse = (
        [sorted({name.split(".")[0] for name in group}) for group in group_parameters(model, matcher).values()]
        for matcher in (model.group_matcher(), model.group_matcher(coarse=True))
    )
    assert fine == [
        ["head", "stem", "stem2"],
        *([f"stage{stage}_{part}"] for stage in (1, 2) for part in ("down", "block1")),
        *([f"stage3_{part}"] for part in ("down", "block1", "block2")),
        *([f"stage4_{part}"] for part in ("down", "block1")),
        ["blender", "classifier"],
    ]
    assert [group[-1] for group in coarse] == [
        "stem2", "stage1_down", "stage2_down", "stage3_down", "stage4_down", "classifier"
    ]  # fmt: skip


def test_learning_rates_by_depth() -> None:
    model = timm.create_model(CIFAR)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.1, weight_decay=1e-4, layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    assert len(scale) == len(list(model.parameters()))
    assert scale[id(model.classifier.weight)] == 1
    assert scale[id(next(model.stage3_block1.parameters()))] == 0.5
    assert scale[id(model.stem.conv.weight)] == 0.5**6


def test_import_of_the_package_does_without_timm() -> None:
    program = "import sys, seqconv; seqconv.build; seqconv.measure; print('timm' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "False\n"), run.stderr
