import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings

import seqconv
from seqconv.aggregation import DENSE, Window
from seqconv.architecture import Architecture, Stage
from seqconv.networks.presets import PRESETS
from seqconv.serialization import read_yaml, to_yaml
from tests.seqconv.strategies import architectures

GOLDEN = Path(__file__).parents[1] / "golden" / "architecture_v1.yaml"
SMALL = Architecture(stages=(Stage(blocks=1, group_width=8, window=Window(groups=1), form="bottleneck"),), pyramid=(1,))
MODEL = {
    "schema": "seqconv.model",
    "version": 1,
    "classes": 5,
    "weights": "model.pt",
    "note": "other keys may stand here",
}


def test_a_file_of_version_1_reads_as_ever() -> None:
    read = seqconv.read_architecture(GOLDEN)
    assert read == Architecture(
        stages=(
            Stage(blocks=1, group_width=8, window=Window(groups=3), form="plain"),
            Stage(blocks=2, group_width=16, window=Window(ratio=0.5), form="bottleneck", subgroups=4),
            Stage(blocks=1, group_width=32, window=DENSE, form="bottleneck"),
        ),
        widening=2,
        pyramid=(1, 2, 4),
        family="cifar",
    )
    assert read.fingerprint() == "6bf553581ec62074"


def test_what_is_written_is_the_golden_file(tmp_path: Path) -> None:
    seqconv.write_architecture(seqconv.read_architecture(GOLDEN), tmp_path / "written.yaml")
    assert (tmp_path / "written.yaml").read_text() == GOLDEN.read_text()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(architecture=architectures())
def test_yaml_and_json_read_back(tmp_path: Path, architecture: Architecture) -> None:
    seqconv.write_architecture(architecture, tmp_path / "architecture.yaml")
    assert seqconv.read_architecture(tmp_path / "architecture.yaml") == architecture
    (tmp_path / "architecture.json").write_text(json.dumps(architecture.to_dict()))
    assert seqconv.read_architecture(str(tmp_path / "architecture.json")) == architecture


def test_a_preset_is_read_by_name() -> None:
    assert seqconv.read_architecture("cifar_b") is PRESETS["cifar_b"]


def test_neither_preset_nor_file() -> None:
    with pytest.raises(
        ValueError, match=r"^cifar_c: no such preset or file \(did you mean cifar_b.*; presets are cifar_plain"
    ):
        seqconv.read_architecture("cifar_c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"stages: [", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"stages: !!python/object/apply:os.getcwd []", "not valid YAML"),
        (b"", "architecture must be a mapping, got None"),
        (b"- 1", r"architecture must be a mapping, got \[1\]"),
    ],
)
def test_a_file_that_is_no_architecture(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "architecture.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        seqconv.read_architecture(path)


def exported(folder: Path, description: dict[str, Any], weights: Any = None) -> Path:
    seqconv.write_architecture(SMALL, folder / "architecture.yaml")
    (folder / "model.yaml").write_text(to_yaml(description))
    if weights is not None:
        torch.save(weights, folder / "model.pt")
    return folder


def test_load_gives_the_model_back(tmp_path: Path) -> None:
    model = seqconv.build(SMALL, classes=5)
    images = torch.randn(4, 3, 16, 16)
    model(images)  # moves the running statistics, which are part of the weights
    loaded = seqconv.load(exported(tmp_path, MODEL, model.state_dict()))
    assert not loaded.training
    torch.testing.assert_close(loaded(images), model.eval()(images), rtol=0, atol=0)


def test_load_without_weights_is_a_fresh_model(tmp_path: Path) -> None:
    loaded = seqconv.load(str(exported(tmp_path, {**MODEL, "weights": None})))
    assert not loaded.training
    assert loaded(torch.zeros(2, 3, 16, 16)).shape == (2, 5)


@pytest.mark.parametrize("missing", ["architecture.yaml", "model.yaml", "model.pt"])
def test_load_names_the_missing_file(tmp_path: Path, missing: str) -> None:
    folder = exported(tmp_path, MODEL, seqconv.build(SMALL, classes=5).state_dict())
    (folder / missing).unlink()
    with pytest.raises(
        ValueError, match=f"^{folder / missing}: no such file; an exported model folder has architecture.yaml"
    ):
        seqconv.load(folder)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_load_runs_no_code_of_the_file(tmp_path: Path) -> None:
    folder = exported(tmp_path, MODEL, Trap(tmp_path / "trapped"))
    with pytest.raises(ValueError, match=r"model\.pt: not the weights of "):
        seqconv.load(folder)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("weights", [{}, [1]], ids=["empty", "a list"])
def test_load_refuses_other_weights(tmp_path: Path, weights: Any) -> None:
    folder = exported(tmp_path, MODEL, weights)
    with pytest.raises(
        ValueError, match=f"^{folder / 'model.pt'}: not the weights of {folder / 'architecture.yaml'}: "
    ):
        seqconv.load(folder)


def test_load_refuses_weights_of_another_number_of_classes(tmp_path: Path) -> None:
    folder = exported(tmp_path, MODEL, seqconv.build(SMALL, classes=6).state_dict())
    with pytest.raises(ValueError, match=r"model\.pt: not the weights of .*classifier\.weight") as error:
        seqconv.load(folder)
    assert "\n" not in str(error.value)


def test_load_refuses_a_truncated_file(tmp_path: Path) -> None:
    folder = exported(tmp_path, MODEL, seqconv.build(SMALL, classes=5).state_dict())
    whole = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.pt: not the weights of "):
        seqconv.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "x"}, "model: schema must be 'seqconv.model', got 'x'"),
        ({"version": 2}, "model: version 2 is newer than 1, the newest this release reads: upgrade it"),
        ({"classes": 0}, "model: classes must be an integer at least 1, got 0"),
        ({"weights": "../other.pt"}, "model: weights must be one of None, model.pt, got '../other.pt'"),
    ],
)
def test_load_refuses_a_description(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = exported(tmp_path, {**MODEL, **change})
    with pytest.raises(ValueError) as error:
        seqconv.load(folder)
    assert str(error.value) == f"{folder / 'model.yaml'}: {message}"


@pytest.mark.parametrize("missing", ["schema", "version", "classes", "weights"])
def test_load_names_the_missing_key(tmp_path: Path, missing: str) -> None:
    folder = exported(tmp_path, {key: value for key, value in MODEL.items() if key != missing})
    with pytest.raises(ValueError, match=f"model.yaml: model: missing key '{missing}'; required are "):
        seqconv.load(folder)


def test_yaml_keeps_the_order_of_the_keys(tmp_path: Path) -> None:
    data = {"b": [1, {"z": 1, "a": "dense"}], "a": "é"}
    (tmp_path / "plain.yaml").write_text(to_yaml(data), encoding="utf-8")
    assert json.dumps(read_yaml(tmp_path / "plain.yaml")) == json.dumps(data)
