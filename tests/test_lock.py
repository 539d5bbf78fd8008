"""What can be said of requirements.lock without the network: exact, hashed, from the index alone, nothing to spare.

What is known of holes since is looked up by `pip-audit -r requirements.lock`, which needs the network.
"""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED = [
    *map(Requirement, PROJECT["dependencies"]),
    *(Requirement(line) for extra in PROJECT["optional-dependencies"].values() for line in extra),
]
ENTRY = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]*)(?P<extras>\[[\w,.-]+\])?==(?P<version>[\w.!+]+)(?: ; (?P<marker>[^\\]+))? \\"
)
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
ORIGIN = re.compile(
    r"    # +(?:via(?: (?P<first>\S+))?|(?P<further>[\w.\[\],-]+)(?: \(pyproject\.toml\))?)(?: \(pyproject\.toml\))?"
)

MENDED = {
    "filelock": ("3.20.1", "CVE-2025-68146: a lock file that is a link truncates what it leads to"),
    "jinja2": ("3.1.6", "CVE-2025-27516: a template gets out of its sandbox"),
    "onnx": ("1.16.0", "CVE-2024-27318: external data from outside the folder of a model"),
    "pillow": ("11.3.0", "CVE-2025-48379: an image writes beyond a buffer"),
    "pyarrow": ("14.0.1", "CVE-2023-47248: code out of a Parquet file"),
    "pyyaml": ("5.4", "CVE-2020-14343: code out of a YAML file"),
    "ray": ("2.52.0", "CVE-2025-62593: code from a web page that a developer looks at"),
    "torch": ("2.6.0", "CVE-2025-32434: code out of a checkpoint read with weights_only"),
}
"""Of what reads files of others or listens: the release that mended a grave hole, and what that was."""
LICENCES = re.compile(r"Apache|MIT\b|0?BSD|BSL-1|PSF|Python Software Foundation|MPL|Mozilla|ISC$|[Zz]lib|CC0|AFL")
"""What the packages may be under: nothing that a network which was found would have to be under too."""
NVIDIA = re.compile(r"(LicenseRef-)?NVIDIA[- ]Proprietary.*")
"""CUDA's own, which comes with torch."""


@dataclass(frozen=True)
class Pin:
    """One package of the lock."""

    name: str
    version: Version
    marker: Marker | None
    hashes: int
    needed_by: tuple[str, ...]

    @property
    def here(self) -> bool:
        """Whether it is for this platform and Python."""
        return self.marker is None or self.marker.evaluate()


def pins() -> list[Pin]:
    """Every package; a line of another form than ours fails here, such as a URL, a path, an option or an index."""
    found: list[Pin] = []
    blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).rstrip("\n"))
    for block in blocks:
        head, *rest = block.split("\n")
        entry = ENTRY.fullmatch(head)
        assert entry, f"not a pinned package: {head}"
        hashes = [line for line in rest if HASH.fullmatch(line)]
        origins = [match for line in rest[len(hashes) :] if (match := ORIGIN.fullmatch(line))]
        assert len(hashes) + len(origins) == len(rest), block
        named = [name for match in origins if (name := match["first"] or match["further"])]
        found.append(
            Pin(
                name=canonicalize_name(entry["name"]),
                version=Version(entry["version"]),
                marker=Marker(entry["marker"]) if entry["marker"] else None,
                hashes=len(hashes),
                needed_by=tuple(canonicalize_name(name.partition("[")[0]) for name in named),
            )
        )
    return found


PINS = pins()
NAMES = {pin.name for pin in PINS}
HERE = {pin.name: pin for pin in PINS if pin.here}


def test_every_package_is_pinned_with_its_hashes() -> None:
    assert len(PINS) > len(ASKED)
    assert [pin.name for pin in PINS if not pin.hashes] == []


def test_nothing_comes_from_elsewhere_than_the_index() -> None:
    assert not re.search(r"://|git\+|file:|--[a-z-]*(?:index|url|find-links|host)", LOCK)
    assert [str(requirement) for requirement in ASKED if requirement.url] == []


@pytest.mark.parametrize("requirement", ASKED, ids=str)
def test_the_lock_holds_what_is_asked_for(requirement: Requirement) -> None:
    locked = [pin.version for pin in PINS if pin.name == canonicalize_name(requirement.name)]
    assert locked, "run the command at the top of requirements.lock"
    assert all(requirement.specifier.contains(version) for version in locked)


def test_every_package_is_asked_for_or_needed_by_one_that_is() -> None:
    used = {canonicalize_name(requirement.name) for requirement in ASKED}
    while more := {pin.name for pin in PINS if used & set(pin.needed_by)} - used:
        used |= more
    assert used >= NAMES
    assert {name for pin in PINS for name in pin.needed_by} <= NAMES | {canonicalize_name(PROJECT["name"])}


def test_what_is_installed_is_what_is_locked_and_fits_together() -> None:
    """As `pip check`, for the packages of the lock alone: an environment may hold others."""
    wrong = []
    for name, pin in HERE.items():
        installed = importlib.metadata.distribution(name)
        if Version(installed.version) != pin.version:
            wrong.append(f"{name} is {installed.version}, locked {pin.version}")
        for requirement in map(Requirement, installed.requires or ()):
            needed = HERE.get(canonicalize_name(requirement.name))
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if needed is None or not requirement.specifier.contains(needed.version, prereleases=True):
                wrong.append(f"{name} needs {requirement}, locked is {needed and needed.version}")
    assert wrong == []


@pytest.mark.parametrize("name", MENDED)
def test_nothing_is_older_than_the_release_that_mended_a_hole(name: str) -> None:
    """Neither what is locked nor what an installation without the lock may come to."""
    mended, hole = Version(MENDED[name][0]), MENDED[name][1]
    assert all(pin.version >= mended for pin in PINS if pin.name == name), hole
    bounds = [part for asked in ASKED if canonicalize_name(asked.name) == name for part in asked.specifier]
    lowest = [Version(part.version.removesuffix(".*")) for part in bounds if part.operator in (">=", "==")]
    assert max(lowest, default=Version("0")) >= mended, f"pyproject.toml must ask for {name}>={mended}: {hole}"


LIBRARIES = {("psycopg", "LGPL-3.0-only"), ("psycopg-binary", "LGPL-3.0-only")}
"""Used as a library, unchanged, by those who install the extra; cuda-toolkit names other packages and has no files."""


def licences(name: str) -> list[str]:
    """What a package says that it is under: in an expression, or else by classifiers, or else in words."""
    about = importlib.metadata.metadata(name)
    classified = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License")]
    named = [about["License-Expression"]] if "License-Expression" in about else classified
    words = (about.get("License") or "").partition("\n")[0]
    return [part for text in named or [words] for part in re.split(" AND | OR ", text)]


def test_the_licences_are_permissive() -> None:
    others = {
        (name, licence)
        for name in HERE
        for licence in licences(name)
        if not LICENCES.search(licence) and not (name.startswith("nvidia-") and NVIDIA.fullmatch(licence))
    }
    assert others <= {("cuda-toolkit", ""), *LIBRARIES}
