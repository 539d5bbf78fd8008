"""Architectures and trained models as files: YAML that a person can read, weights without pickled code.

A model folder holds `architecture.yaml`, `model.yaml` (classes, normalisation, where it comes from) and, where the
weights were kept, `model.pt` (a state_dict, read with `weights_only=True`). YAML needs PyYAML; nothing else but torch.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seqconv import validation
from seqconv.architecture import Architecture, check_schema
from seqconv.networks.presets import PRESETS

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
MODEL_SCHEMA = "seqconv.model"
MODEL_VERSION = 1
ARCHITECTURE_FILE, MODEL_FILE, WEIGHTS_FILE = "architecture.yaml", "model.yaml", "model.pt"


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
    Path(path).write_text(to_yaml(architecture.to_dict()), encoding="utf-8")


def load(folder: str | Path) -> nn.Sequential:
    """The model in an exported folder, on the CPU in evaluation mode; with its weights where they were kept.

    Raises:
        ValueError: a file that is missing, of another schema or of a newer version, or weights of another architecture.
    """
    import torch

    from seqconv.networks.build import build

    folder = Path(folder)
    architecture = _parsed(_existing(folder / ARCHITECTURE_FILE), Architecture.from_dict)
    description = _parsed(_existing(folder / MODEL_FILE), check_model)
    model = build(architecture, classes=description["classes"])
    if description["weights"] is not None:
        weights = _existing(folder / WEIGHTS_FILE)
        try:
            model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except Exception as error:
            reason = textwrap.shorten(str(error), width=300)
            raise ValueError(f"{weights}: not the weights of {folder / ARCHITECTURE_FILE}: {reason}") from error
    return model.eval()


def check_model(data: Any) -> Mapping[str, Any]:
    """The content of a `model.yaml`, checked as far as `load` relies on it.

    Raises:
        ValueError: a missing key, another schema or a newer version.
    """
    check_schema("model", data, MODEL_SCHEMA, MODEL_VERSION)
    model = validation.has_keys("model", data, ("classes", "weights"))
    validation.integer("model: classes", model["classes"])
    validation.one_of("model: weights", model["weights"], (None, WEIGHTS_FILE))
    return model


def to_yaml(data: Any) -> str:
    """YAML with the keys in the order given; innermost mappings on one line each."""
    import yaml

    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def read_yaml(path: str | Path) -> Any:
    """The plain data in a YAML file: no tags, no objects.

    Raises:
        ValueError: text that is no YAML, naming the file and the line.
    """
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from None


def _parsed(path: Path, parse: Callable[[Any], T]) -> T:
    try:
        return parse(read_yaml(path))
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(str(path)) else f"{path}: {message}") from None


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; an exported model folder has {ARCHITECTURE_FILE} and {MODEL_FILE}")
    return path
