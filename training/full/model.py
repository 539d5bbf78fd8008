"""What is trained: an architecture, or a model of timm's registry by name. Builds on demand, so that it is light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqconv import validation
from seqconv.architecture import Architecture

if TYPE_CHECKING:
    from torch import nn

    from training.full.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Exactly one of an architecture and a name of timm's.

    Raises:
        ValueError: both or none are given.
    """

    architecture: Architecture | None = None
    """A network of this project."""
    timm_name: str | None = None
    """A model of timm's, such as resnet50, trained from scratch."""

    def __post_init__(self) -> None:
        if (self.architecture is None) == (self.timm_name is None):
            given = "none" if self.architecture is None else "both"
            raise ValueError(f"a model is either an architecture or the name of a timm model, got {given}")

    def build(self, classes: int, recipe: Recipe) -> nn.Module:
        """A freshly initialised network with `classes` logits.

        Raises:
            ValueError: timm is not installed, or does not know the name.
        """
        if self.architecture is not None:
            from seqconv.networks.build import build

            return build(self.architecture, classes=classes, dropout=recipe.dropout, recompute=recipe.recompute)
        assert self.timm_name is not None
        return _timm_model(self.timm_name, classes, recipe)

    def identity(self) -> dict[str, Any]:
        """Flat plain values that are equal exactly where the same network is meant."""
        if self.architecture is not None:
            return {"architecture": self.architecture.fingerprint()}
        return {"architecture": f"timm:{self.timm_name}"}

    def describe(self) -> str:
        """One line."""
        if self.architecture is not None:
            return f"{self.architecture.family}: {self.architecture.describe()}"
        return f"timm: {self.timm_name}"


def _timm_model(name: str, classes: int, recipe: Recipe) -> nn.Module:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ValueError(
            f"model {name} needs timm ({error}): install it with pip install 'seqconv-nas[timm]'"
        ) from None
    if not timm.is_model(name):
        near = validation.did_you_mean(name, timm.list_models())
        raise ValueError(f"timm has no model {name!r}{near}; timm.list_models() lists them")
    model: nn.Module = timm.create_model(name, num_classes=classes, drop_rate=recipe.dropout)
    if recipe.recompute:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    return model
