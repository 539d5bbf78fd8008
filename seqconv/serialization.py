"""Architectures and trained models as files: YAML that a person can read, weights without pickled code.

A model folder holds `architecture.yaml`, `model.yaml` (classes, normalisation, where it comes from) and, where it was
trained, the state_dict in `model.safetensors`. Folders of version 1, which have it in `model.pt`, are read too. A model
of timm's has its name in `model.yaml` in place of an architecture. Besides torch this needs PyYAML, safetensors to read
weights of version 2, and timm for a model of timm's.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seqconv import validation
from seqconv.architecture import Architecture, check_schema
from seqconv.files import write_atomically
from seqconv.networks.presets import PRESETS

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
MODEL_SCHEMA = "seqconv.model"
MODEL_VERSION = 2
ARCHITECTURE_FILE, MODEL_FILE, WEIGHTS_FILE = "architecture.yaml", "model.yaml", "model.safetensors"
_WEIGHTS_FILES = {1: "model.pt", 2: WEIGHTS_FILE}
"""By version of the model folder."""
MOST_CLASSES, MOST_VALUES = 1_000_000, 1 << 28
"""Logits of a model that is loaded, and parameters of one that has none with it."""


def read_architecture(preset_or_file: str | Path) -> Architecture:
    """The preset of that name, or the architecture in that YAML (or JSON) file.

    Raises:
        ValueError: neither a preset nor a file, or a file whose content is no architecture, naming the file.
    """
    if str(preset_or_file) in PRESETS:
        return PRESETS[str(preset_or_file)]
    path = Path(preset_or_file)
    if not path.is_file():
        near = validation.did_you_mean(preset_or_file, PRESETS)
        raise ValueError(f"{preset_or_file}: no such preset or file{near}; presets are {', '.join(PRESETS)}")
    return _parsed(path, Architecture.from_dict)


def write_architecture(architecture: Architecture, path: str | Path) -> None:
    """Write the YAML file that `read_architecture` reads back to an equal architecture."""
    write_atomically(Path(path), to_yaml(architecture.to_dict()))


def load(folder: str | Path) -> nn.Module:
    """The model in an exported folder, on the CPU in evaluation mode; with its weights where it was trained.

    Raises:
        ValueError: a file that is missing, of another schema or of a newer version, weights of another architecture, or
            a package that is needed to read the folder and not installed.
    """
    folder = Path(folder)
    description = read_model(folder)
    own = description.get("timm") is None
    described_by = _existing(folder / ARCHITECTURE_FILE) if own else folder / MODEL_FILE
    architecture = _parsed(described_by, Architecture.from_dict) if own else None
    weights = None if description["weights"] is None else _existing(folder / description["weights"])
    try:
        state = None if weights is None else read_weights(weights)
        held = sum(value.numel() for value in (state or {}).values())
    except Exception as error:  # what is raised depends on what the file holds instead
        raise _other_weights(weights, described_by, error) from error
    if architecture is None:
        model = _timm_model(described_by, description["timm"], description["classes"])
    else:
        model = _built(described_by, architecture, description["classes"], held)
    try:
        if state is not None:
            model.load_state_dict(state)
    except Exception as error:
        raise _other_weights(weights, described_by, error) from error
    return model.eval()


def read_model(folder: str | Path) -> Mapping[str, Any]:
    """What `model.yaml` in an exported folder says.

    Raises:
        ValueError: no such file, another schema, or a newer version.
    """
    return _parsed(_existing(Path(folder) / MODEL_FILE), check_model)


def check_model(data: Any) -> Mapping[str, Any]:
    """The content of a `model.yaml`, checked as far as `load` relies on it.

    Raises:
        ValueError: a missing key, another schema or a newer version.
    """
    check_schema("model", data, MODEL_SCHEMA, MODEL_VERSION)
    model = validation.has_keys("model", data, ("classes", "weights"))
    validation.integer("model: classes", model["classes"], high=MOST_CLASSES)
    validation.one_of("model: weights", model["weights"], (None, _WEIGHTS_FILES[model["version"]]))
    if not isinstance(model.get("timm", ""), str):
        raise ValueError(f"model: timm must be the name of a model of timm's, got {model['timm']!r}")
    return model


def to_yaml(data: Any) -> str:
    """YAML with the keys in the order given; innermost mappings on one line each."""
    import yaml

    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def read_yaml(path: str | Path) -> Any:
    """The plain data in a YAML file: no tags, no objects, and no more of it than `seqconv.bounded_yaml` reads.

    Raises:
        ValueError: text that is no YAML, or more than any file of ours holds, naming the file and the line.
    """
    from seqconv.bounded_yaml import load

    path = Path(path)
    try:
        return load(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from None


def _parsed(path: Path, parse: Callable[[Any], T]) -> T:
    try:
        return parse(read_yaml(path))
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(str(path)) else f"{path}: {message}") from None


def read_weights(path: Path) -> Any:
    """The state_dict in a safetensors file, or what torch saved in one of another name; no code of the file runs.

    Raises:
        ValueError: safetensors is needed and not installed, or torch did not save the file.
    """
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise ValueError("reading it needs safetensors: pip install safetensors") from None
        return load_file(path)
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # what torch raises depends on what the file holds instead
        raise ValueError(f"no tensors that torch saved: {error}") from error


def _built(described_by: Path, architecture: Architecture, classes: int, held: int) -> nn.Module:
    """The network, unless it takes memory for values by the thousand million of which the folder holds none."""
    import torch

    from seqconv.networks.build import build

    with torch.device("meta"):
        needed = sum(value.numel() for value in build(architecture, classes=classes).state_dict().values())
    if needed > max(held, MOST_VALUES):
        raise ValueError(
            f"{described_by}: its network has {needed:,} values, of which the folder holds {held:,}; without them at "
            f"most {MOST_VALUES:,} are made"
        )
    return build(architecture, classes=classes)


def _other_weights(weights: Path | None, described_by: Path, error: Exception) -> ValueError:
    return ValueError(f"{weights}: not the weights of {described_by}: {textwrap.shorten(str(error), width=300)}")


def _timm_model(described_by: Path, name: str, classes: int) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ValueError(f"{described_by}: {name} is a model of timm's, which is needed: pip install timm") from None
    if not timm.is_model(name):  # others it would get from the network, or from anywhere on this machine
        raise ValueError(f"{described_by}: timm {timm.__version__} has no model {name!r}")
    try:
        return timm.create_model(name, num_classes=classes)
    except RuntimeError as error:
        raise ValueError(f"{described_by}: timm {timm.__version__} cannot make {name}: {error}") from None


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; an exported model folder has {ARCHITECTURE_FILE} and {MODEL_FILE}")
    return path
