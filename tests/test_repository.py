"""What the set-up relies on: the lock holds what pyproject.toml asks for, and every test can be found."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
]
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^ ]+)(?: ; (?P<marker>.*?))? \\$", re.MULTILINE)


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_the_lock_holds_what_is_asked_for(line: str) -> None:
    requirement = Requirement(line)
    locked = [pin["version"] for pin in PIN.finditer((ROOT / "requirements.lock").read_text())
              if canonicalize_name(pin["name"]) == canonicalize_name(requirement.name)]  # fmt: skip
    assert locked, "run the command at the top of requirements.lock"
    assert all(requirement.specifier.contains(version) for version in locked)


def test_everything_locked_has_a_hash() -> None:
    entries = re.split(r"^(?=[\w.-]+==)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > len(REQUIREMENTS)
    assert [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []
