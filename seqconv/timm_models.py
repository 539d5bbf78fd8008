"""The presets as models of timm's registry: import this module, then ask timm for them by name.

    import seqconv.timm_models
    model = timm.create_model("seqresnet_b22", num_classes=37)
    backbone = timm.create_model("seqresnet_b22", features_only=True, out_indices=(1, 2, 3, 4))

There are no pretrained weights. The state dict is that of `seqconv.build`, so that weights move both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.nn import functional as F

from seqconv import validation
from seqconv.architecture import Architecture
from seqconv.layers.streams import Streams
from seqconv.networks.build import build
from seqconv.networks.modules import Classifier
from seqconv.networks.network import run
from seqconv.networks.presets import FAMILIES, PRESETS

__all__ = ["TimmNetwork"]

_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_IMAGES: dict[str, dict[str, Any]] = {
    "cifar": {"mean": _CIFAR_MEAN, "std": _CIFAR_STD, "pool_size": (8, 8), "crop_pct": 1.0},
    "imagenet": {
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
    },
}
"""By family, what timm's data pipeline is to do with images."""


class TimmNetwork(nn.Module):
    """The network of an architecture with the methods that timm's models have.

    Args:
        architecture: what to build.
        num_classes: number of logits; 0 leaves the pooled features.
        in_chans: channels of the images.
        global_pool: timm's name of a pooling (avg, max, avgmax, catavgmax); "" leaves (N, C, H, W) features.
        drop_rate: dropout in front of the classifier.
        channel_drop_rate: probability of dropping a channel in front of each SeqConv step and the blender.
        device: where parameters are made.
        dtype: of the parameters.

    Raises:
        ValueError: a field out of range, or a classifier without pooling.
    """

    def __init__(
        self,
        architecture: Architecture,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        channel_drop_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_chans, self.drop_rate, self.grad_checkpointing = in_chans, drop_rate, False
        self.num_features = self.head_hidden_size = architecture.widths[-1]
        with nullcontext() if device is None else torch.device(device):
            network = build(architecture, classes=1, dropout=channel_drop_rate, in_channels=in_chans)
        for name, part in network.named_children():
            self.add_module(name, part.to(dtype=dtype))
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": feature.channels, "reduction": feature.reduction, "module": feature.part}
            for feature in network.feature_info
        ]
        self.reset_classifier(num_classes, global_pool)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """The features in front of the pooling, (N, C, H, W)."""
        flow: Any = x
        for _, part in self._trunk():
            flow = run(part, flow, recompute=self.grad_checkpointing)
        return _act(flow)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The logits, or with `pre_logits` what the classifier reads."""
        x = F.dropout(self.global_pool(x), self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The features, and those of the head and the stages that `indices` names; `norm` changes nothing here.

        Args:
            x: images.
            indices: which of `feature_info`: the last that many, all for None, or these.
            norm: taken because timm passes it; the features are normed as they are.
            stop_early: compute nothing behind the last one.
            output_fmt: NCHW.
            intermediates_only: return them alone.
        """
        validation.one_of("output_fmt", output_fmt, ("NCHW",))
        taken, _ = feature_take_indices(len(self.feature_info), indices)
        wanted = [self.feature_info[i]["module"] for i in taken]
        found: dict[str, Tensor] = {}
        flow: Any = x
        for name, part in self._trunk():
            flow = run(part, flow, recompute=self.grad_checkpointing)
            if name in wanted:
                found[name] = flow.act
            if len(found) == len(set(wanted)) and (stop_early or intermediates_only):
                break
        intermediates = [found[name] for name in wanted]
        return intermediates if intermediates_only else (_act(flow), intermediates)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Delete what the features that `indices` names do not need; the blender belongs to the head."""
        taken, last = feature_take_indices(len(self.feature_info), indices)
        if prune_head or last < len(self.feature_info) - 1:
            names = [name for name, _ in self._trunk()]
            for name in names[names.index(self.feature_info[last]["module"]) + 1 :]:
                delattr(self, name)
            self.num_features = self.feature_info[last]["num_chs"]
            self.reset_classifier(0, "")
        return list(taken)

    def get_classifier(self, name_only: bool = False) -> nn.Module | str:
        """The classifier, or the name of its module."""
        return "classifier" if name_only else self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier for that many classes, none for 0; with another pooling where one is given.

        Raises:
            ValueError: classes below 0, or a classifier without pooling.
        """
        self.num_classes = validation.integer("num_classes", num_classes, low=0)
        if global_pool is not None:
            self.global_pool: Any = SelectAdaptivePool2d(pool_type=global_pool, flatten=bool(global_pool))
        if num_classes and not self.global_pool.pool_type:
            raise ValueError(f"num_classes above 0 needs a global_pool such as avg, got {num_classes} and ''")
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        like = next(self.parameters())
        with torch.device(like.device):
            classifier = Classifier(self.head_hidden_size, num_classes) if num_classes else nn.Identity()
        self.classifier = classifier.to(dtype=like.dtype).train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether head, blocks and downsampling layers are computed a second time in backward to save memory."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that put parameters in groups from the image to the classifier, for learning rates by depth."""
        blocks = r"stage(\d+)_" if coarse else [(r"stage(\d+)_down", None), (r"stage(\d+)_block(\d+)", None)]
        return {"stem": r"stem|head", "blocks": blocks}

    def _trunk(self) -> Iterator[tuple[str, nn.Module]]:
        """The parts in front of the pooling."""
        for name, part in self.named_children():
            if name == "global_pool":
                return
            yield name, part


def _act(flow: Tensor | Streams) -> Tensor:
    return flow.act if isinstance(flow, Streams) else flow


def _pretrained_cfg(architecture: Architecture) -> dict[str, Any]:
    family = FAMILIES[architecture.family]
    return {
        "num_classes": family.classes,
        "input_size": (3, family.resolution, family.resolution),
        "first_conv": "stem.conv",
        "classifier": "classifier",
        **_IMAGES[architecture.family],
    }


def _entrypoint(name: str) -> Callable[..., nn.Module]:
    architecture = PRESETS[name]
    # FeatureListNet takes the first of a part's outputs, which is the raw stream.
    features = {"out_indices": tuple(range(len(architecture.stages) + 1)), "feature_cls": "getter"}

    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return build_model_with_cfg(
            TimmNetwork, name, pretrained, feature_cfg=dict(features), architecture=architecture, **kwargs
        )

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{architecture.family}: {architecture.describe()}"
    return register_model(create)


default_cfgs = generate_default_cfgs({name: _pretrained_cfg(preset) for name, preset in PRESETS.items()})
globals().update({name: _entrypoint(name) for name in PRESETS})
