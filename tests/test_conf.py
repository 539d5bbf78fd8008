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
from searchers.config import SearchConfig
from searchers.export import ExportRequest

CONF = Path(__file__).parents[1] / "conf"
PRIMARY = {"search": SearchConfig, "export/export": ExportRequest}
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


def groups() -> list[str]:
    names = [key for entry in read("search")["defaults"] if isinstance(entry, dict) for key in entry]
    return [name for name in names if not name.startswith("override ")]


@pytest.mark.parametrize("config", PRIMARY)
def test_a_command_is_composed_and_instantiated(config: str) -> None:
    made = command_line.instantiate(composed(config))
    assert type(made) is PRIMARY[config]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_composed_and_instantiated(option: str) -> None:
    group, _, name = option.rpartition("/")
    config = composed("search", f"{group}={name}")
    assert config[group]._target_ == read(option)["_target_"]
    made = getattr(command_line.instantiate(config), group)
    assert type(made) is get_class(config[group]._target_)


def test_every_file_belongs_to_a_group_of_the_search() -> None:
    assert {option.rpartition("/")[0] for option in OPTIONS} == set(groups())
    assert set(PRIMARY) <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_in_its_first_line_what_it_is(name: str) -> None:
    first = (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"# \S.{10,}[^.]", first)
    assert len(first) <= 120


@pytest.mark.parametrize("config", PRIMARY)
def test_every_key_of_a_command_is_explained(config: str) -> None:
    text = (CONF / f"{config}.yaml").read_text(encoding="utf-8")
    keys = [key for key in read(config) if key not in ("defaults", "hydra", "_target_")]
    assert [match[1] for match in re.finditer(r"^(\w+): *\S+ +# \S.*$", text, re.MULTILINE)] == keys


def test_a_command_leaves_nothing_of_hydra_behind() -> None:
    for config in PRIMARY:
        settings = read(config)["hydra"]
        assert (settings["run"]["dir"], settings["output_subdir"]) == (".", None)
