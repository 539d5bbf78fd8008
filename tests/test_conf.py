"""Every file under conf/ is composed and its object made, a new file without a change here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

import command_line
from promotion.config import PromoteConfig
from promotion.export_request import ExportRequest
from reporting.request import ReportRequest
from searchers.config import SearchConfig
from searchers.doctor.request import DoctorRequest

CONF = Path(__file__).parents[1] / "conf"
PRIMARY = {
    "search": SearchConfig,
    "report": ReportRequest,
    "doctor": DoctorRequest,
    "promote": PromoteConfig,
    "export/export": ExportRequest,
}
ARGUMENTS = {"export/export": ["preset=cifar_b"]}
"""Without which a command has nothing to do."""
FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))
OPTIONS = [name for name in FILES if name not in PRIMARY]


def composed(config: str, *overrides: str) -> DictConfig:
    """As the command line composes it, with something for every value that has to be given."""
    file = CONF / f"{config}.yaml"
    with initialize_config_dir(str(file.parent), version_base="1.3"):
        made = compose(file.stem, overrides=list(overrides))
    for key in OmegaConf.missing_keys(made):
        OmegaConf.update(made, key, "given")
    return made


def read(name: str) -> dict[str, Any]:
    content = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def groups(config: str) -> dict[str, str]:
    """Folder of each group of a command, by the key under which its option stands."""
    names = [key for entry in read(config).get("defaults", []) if isinstance(entry, dict) for key in entry]
    parts = [name.partition("@") for name in names if not name.startswith("override ")]
    return {key or folder: folder for folder, _, key in parts}


@pytest.mark.parametrize("config", PRIMARY)
def test_a_command_is_composed_and_instantiated(config: str) -> None:
    made = command_line.instantiate(composed(config, *ARGUMENTS.get(config, [])))
    assert type(made) is PRIMARY[config]


@pytest.mark.parametrize(
    ("config", "key", "option"),
    [
        (config, key, option)
        for config in PRIMARY
        for key, folder in groups(config).items()
        for option in OPTIONS
        if option.rpartition("/")[0] == folder
    ],
)
def test_an_option_is_composed_and_instantiated(config: str, key: str, option: str) -> None:
    group, _, name = option.rpartition("/")
    made = composed(config, f"{group}={name}" if key == group else f"{group}@{key}={name}")
    assert OmegaConf.select(made, key)._target_ == read(option)["_target_"]
    instantiated = command_line.instantiate(made)
    for part in key.split("."):
        instantiated = getattr(instantiated, part)
    assert type(instantiated) is get_class(read(option)["_target_"])


def test_every_file_belongs_to_a_group_of_a_command() -> None:
    assert {option.rpartition("/")[0] for option in OPTIONS} == {g for c in PRIMARY for g in groups(c).values()}
    assert set(PRIMARY) <= set(FILES)


def test_what_stands_in_a_group_is_taken_by_every_command_that_has_it() -> None:
    """A data set is one for a search and for full training, a backend one for both."""
    assert set(groups("promote").values()) - set(groups("search").values()) == {"recipe"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_in_its_first_line_what_it_is(name: str) -> None:
    first = (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"# \S.{10,}[^.]", first)
    assert len(first) <= 120


@pytest.mark.parametrize("config", PRIMARY)
def test_every_key_of_a_command_is_explained(config: str) -> None:
    text = (CONF / f"{config}.yaml").read_text(encoding="utf-8")
    of_groups = {key.partition(".")[0] for key in groups(config)}
    keys = [key for key in read(config) if key not in {"defaults", "hydra", "_target_", *of_groups}]
    assert [match[1] for match in re.finditer(r"^(\w+): *\S.*? +# \S.*$", text, re.MULTILINE)] == keys


def test_a_command_leaves_nothing_of_hydra_behind() -> None:
    for config in PRIMARY:
        settings = read(config)["hydra"]
        assert (settings["run"]["dir"], settings["output_subdir"]) == (".", None)
