import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from hypothesis import HealthCheck, given, settings

import seqconv
from seqconv.aggregation import DENSE, Window
from seqconv.architecture import Architecture, Stage
from seqconv.networks.presets import PRESETS
from seqconv.serialization import read_model, read_yaml, to_yaml
from tests.seqconv.strategies import architectures

FROZEN = Path(__file__).parents[1] / "golden"
GOLDEN = FROZEN / "architecture_v1.yaml"
SMALL = Architecture(stages=(Stage(blocks=1, group_width=8, window=Window(groups=1), form="bottleneck"),), pyramid=(1,))
MODEL: dict[str, Any] = {
    "schema": "seqconv.model",
    "version": 2,
    "classes": 5,
    "weights": "model.safetensors",
    "note": "other keys may stand here",
}
VERSION_1 = {**MODEL, "version": 1, "weights": "model.pt"}


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


def exported(folder: Path, description: Mapping[str, Any], weights: Any = None) -> Path:
    seqconv.write_architecture(SMALL, folder / "architecture.yaml")
    (folder / "model.yaml").write_text(to_yaml(dict(description)))
    if weights is not None and description["weights"] == "model.pt":
        torch.save(weights, folder / "model.pt")
    elif weights is not None:
        safetensors.torch.save_file(weights, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_a_folder_of_each_version_gives_the_logits_that_it_ever_gave(version: int) -> None:
    """The same weights, exported by the first release that wrote each version; images are exact in binary."""
    model = seqconv.load(FROZEN / f"model_v{version}")
    images = (torch.arange(2 * 3 * 16 * 16) * 7919 % 251).reshape(2, 3, 16, 16) / 256
    logits = read_yaml(FROZEN / "model_logits.yaml")
    with torch.no_grad():
        torch.testing.assert_close(model(images), torch.tensor(logits), rtol=0, atol=1e-5)


@pytest.mark.parametrize("description", [MODEL, VERSION_1], ids=["safetensors", "pt"])
def test_load_gives_the_model_back(tmp_path: Path, description: dict[str, Any]) -> None:
    model = seqconv.build(SMALL, classes=5)
    images = torch.randn(4, 3, 16, 16)
    model(images)  # moves the running statistics, which are part of the weights
    loaded = seqconv.load(exported(tmp_path, description, model.state_dict()))
    assert not loaded.training
    torch.testing.assert_close(loaded(images), model.eval()(images), rtol=0, atol=0)


def test_load_without_weights_is_a_fresh_model(tmp_path: Path) -> None:
    loaded = seqconv.load(str(exported(tmp_path, {**MODEL, "weights": None})))
    assert not loaded.training
    assert loaded(torch.zeros(2, 3, 16, 16)).shape == (2, 5)


@pytest.mark.parametrize("missing", ["architecture.yaml", "model.yaml", "model.safetensors", "model.pt"])
def test_load_names_the_missing_file(tmp_path: Path, missing: str) -> None:
    description = VERSION_1 if missing == "model.pt" else MODEL
    folder = exported(tmp_path, description, seqconv.build(SMALL, classes=5).state_dict())
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


@pytest.mark.parametrize("file", ["model.pt", "model.safetensors"])
def test_load_runs_no_code_of_the_file(tmp_path: Path, file: str) -> None:
    folder = exported(tmp_path, VERSION_1 if file == "model.pt" else MODEL)
    torch.save(Trap(tmp_path / "trapped"), folder / file)
    with pytest.raises(ValueError, match=f"{file}: not the weights of "):
        seqconv.load(folder)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("description", "weights"), [(VERSION_1, {}), (VERSION_1, [1]), (MODEL, {})], ids=["empty", "a list", "tensors"]
)
def test_load_refuses_other_weights(tmp_path: Path, description: dict[str, Any], weights: Any) -> None:
    folder = exported(tmp_path, description, weights)
    file = folder / description["weights"]
    with pytest.raises(ValueError, match=f"^{file}: not the weights of {folder / 'architecture.yaml'}: "):
        seqconv.load(folder)


@pytest.mark.parametrize("description", [MODEL, VERSION_1], ids=["safetensors", "pt"])
def test_load_refuses_weights_of_another_number_of_classes(tmp_path: Path, description: dict[str, Any]) -> None:
    folder = exported(tmp_path, description, seqconv.build(SMALL, classes=6).state_dict())
    file = description["weights"]
    with pytest.raises(ValueError, match=rf"{file}: not the weights of .*classifier\.weight") as error:
        seqconv.load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("description", [MODEL, VERSION_1], ids=["safetensors", "pt"])
def test_load_refuses_a_truncated_file(tmp_path: Path, description: dict[str, Any]) -> None:
    folder = exported(tmp_path, description, seqconv.build(SMALL, classes=5).state_dict())
    file = folder / description["weights"]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"^{file}: not the weights of "):
        seqconv.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "x"}, "model: schema must be 'seqconv.model', got 'x'"),
        ({"version": 3}, "model: version 3 is newer than 2, the newest this release reads: upgrade it"),
        ({"classes": 0}, "model: classes must be an integer from 1 to 1000000, got 0"),
        ({"weights": "../other.pt"}, "model: weights must be one of None, model.safetensors, got '../other.pt'"),
        ({"weights": "model.pt"}, "model: weights must be one of None, model.safetensors, got 'model.pt'"),
        ({"version": 1}, "model: weights must be one of None, model.pt, got 'model.safetensors'"),
        ({"timm": 18}, "model: timm must be the name of a model of timm's, got 18"),
    ],
)
def test_load_refuses_a_description(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = exported(tmp_path, {**MODEL, **change})
    with pytest.raises(ValueError) as error:
        seqconv.load(folder)
    assert str(error.value).startswith(f"{folder / 'model.yaml'}: {message}")


@pytest.mark.parametrize("missing", ["schema", "version", "classes", "weights"])
def test_load_names_the_missing_key(tmp_path: Path, missing: str) -> None:
    folder = exported(tmp_path, {key: value for key, value in MODEL.items() if key != missing})
    with pytest.raises(ValueError, match=f"model.yaml: model: missing key '{missing}'; required are "):
        seqconv.load(folder)


def test_load_refuses_an_architecture_of_a_newer_version(tmp_path: Path) -> None:
    folder = exported(tmp_path, {**MODEL, "weights": None})
    (folder / "architecture.yaml").write_text(to_yaml({**SMALL.to_dict(), "version": 2, "attention": True}))
    with pytest.raises(ValueError, match=f"^{folder / 'architecture.yaml'}: architecture: version 2 is newer than 1, "):
        seqconv.load(folder)


def of_timm(folder: Path, name: str = "resnet10t") -> Path:
    weights = None
    if name == "resnet10t":
        model = timm.create_model(name, num_classes=5)
        weights = "model.safetensors"
        safetensors.torch.save_file(model.state_dict(), folder / weights)
    (folder / "model.yaml").write_text(to_yaml({**MODEL, "timm": name, "weights": weights}))
    return folder


def test_a_model_of_timm_is_built_by_timm(tmp_path: Path) -> None:
    folder = of_timm(tmp_path)
    model = seqconv.load(folder)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    assert not model.training
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


def test_a_model_that_timm_does_not_know(tmp_path: Path) -> None:
    of_timm(tmp_path, "no_such_model")
    with pytest.raises(ValueError, match=f"^{tmp_path / 'model.yaml'}: timm .* has no model 'no_such_model'"):
        seqconv.load(tmp_path)


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("timm", "model.yaml: resnet10t is a model of timm's, which is needed: pip install timm"),
        ("safetensors.torch", "needs safetensors: pip install safetensors"),
    ],
)
def test_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, message: str
) -> None:
    folder = of_timm(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=message):
        seqconv.load(folder)


def test_what_model_yaml_says_is_read_by_itself(tmp_path: Path) -> None:
    assert read_model(exported(tmp_path, MODEL)) == MODEL


def test_yaml_keeps_the_order_of_the_keys(tmp_path: Path) -> None:
    data = {"b": [1, {"z": 1, "a": "dense"}], "a": "é"}
    (tmp_path / "plain.yaml").write_text(to_yaml(data), encoding="utf-8")
    assert json.dumps(read_yaml(tmp_path / "plain.yaml")) == json.dumps(data)


@pytest.mark.parametrize(
    "name", ["hf-hub:someone/model", "hf_hub:someone/model", "local-dir:/etc", "http://host/model"]
)
def test_a_model_that_timm_would_download(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("timm was asked for it"))
    of_timm(tmp_path, name)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'model.yaml'}: timm .* has no model '{name}'"):
        seqconv.load(tmp_path)


@pytest.mark.parametrize("with_weights", [False, True])
def test_a_network_that_no_memory_holds(tmp_path: Path, with_weights: bool) -> None:
    state = seqconv.build(SMALL, classes=5).state_dict() if with_weights else None
    folder = exported(tmp_path, {**MODEL, "weights": MODEL["weights"] if with_weights else None}, state)
    large = Architecture(stages=(Stage(blocks=500, group_width=8192),), widening=512, pyramid=(1,))
    (folder / "architecture.yaml").write_text(to_yaml(large.to_dict()))
    message = r"its network has [\d,]{14,} values, of which the folder holds [\d,]{1,6}; without them at most 268,435,"
    with pytest.raises(ValueError, match=f"^{folder / 'architecture.yaml'}: {message}"):
        seqconv.load(folder)


def test_more_classes_than_any_data_set_has(tmp_path: Path) -> None:
    folder = exported(tmp_path, {**MODEL, "classes": 10**18, "weights": None})
    with pytest.raises(ValueError, match=r"model: classes must be an integer from 1 to 1000000, got 10{18}"):
        seqconv.load(folder)
