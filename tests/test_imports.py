"""Imports run one way, and each heavy library in one place. Read off the source, so that it also holds in functions."""

import ast
import importlib.metadata
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("seqconv", "search_spaces", "training", "searchers", "promotion", "reporting")
ENTRY = "the entry scripts and command_line.py"
RAY = (
    "searchers/ray_cluster.py",
    "searchers/ray_backend.py",
    "searchers/ray_schedulers.py",
    "searchers/ray_shared.py",
    "promotion/ray_train.py",
)
OPTUNA = (
    "searchers/study.py",
    "searchers/replay.py",
    *(f"searchers/{name}.py" for name in ("shared_study", "study_copy", "patience")),
    "searchers/distributions.py",
    *(f"searchers/algorithms/{name}.py" for name in ("optuna_mirror", "tpe", "gp", "nsga")),
    "reporting/importance.py",
)
MAY_IMPORT = {
    "seqconv": {"seqconv"},
    "search_spaces": {"search_spaces", "seqconv"},
    "training": {"training", "seqconv"},
    "searchers": {"searchers", "search_spaces", "training", "seqconv"},
    "promotion": {"promotion", "searchers", "search_spaces", "training", "seqconv"},
    "reporting": {"reporting", "promotion", "searchers", "search_spaces", "training", "seqconv"},
}
LIVES_IN = {
    "ray": RAY,
    "optuna": OPTUNA,
    "cmaes": ("searchers/algorithms/cma_es.py",),
    "wandb": ("searchers/tracking/wandb.py",),
    "onnxruntime": ("promotion/run_onnx.py",),
    "plotly": ("reporting/style.py", "reporting/page.py", "reporting/sections/weights.py"),
    "kaleido": ("reporting/images.py",),
    "jinja2": ("reporting/page.py",),
    "hydra": (ENTRY,),
    "omegaconf": (ENTRY,),
}
OPTIONAL = {
    "yaml": ("seqconv/serialization.py", BOUNDED := "seqconv/bounded_yaml.py"),
    "safetensors": ("seqconv/serialization.py",),
    "matplotlib": ("seqconv/utilisation.py",),
    "timm": ("seqconv/serialization.py", REGISTERS := "seqconv/timm_models.py"),
}
AT_THE_TOP = (BOUNDED, REGISTERS)
"""What modules of seqconv use beside torch; inside the functions that need it, but for two that are of no use without.
"""
NOT_SHIPPED = ("tests", "experiments", "benchmarks")


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is imported only when a function runs."""

    module: str
    line: int
    in_function: bool

    @property
    def root(self) -> str:
        return self.module.partition(".")[0]


def imports(source: str, package: str) -> Iterator[Import]:
    """Every import in the source of a module of `package`, relative ones made absolute."""

    def walk(node: ast.AST, in_function: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield Import(".".join([*base, *filter(None, [node.module])]), node.lineno, in_function)
        in_function |= isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.iter_child_nodes(node):
            yield from walk(child, in_function)

    return walk(ast.parse(source), False)


def violations(path: str, source: str) -> list[str]:
    """What a file, named from the root of the checkout, imports and must not."""
    *folders, _ = path.split("/")
    home = folders[0] if folders else None
    return [
        f"{path}:{found.line}: {reason}"
        for found in imports(source, ".".join(folders))
        if (reason := _refusal(path, home, found))
    ]


def _refusal(path: str, home: str | None, found: Import) -> str | None:
    root = found.root
    if root in NOT_SHIPPED and root != home and not (root == "benchmarks" and home == "tests"):
        return f"{root} is imported by nothing"
    if home in NOT_SHIPPED:
        return None
    if home is not None and (ROOT / root).with_suffix(".py").is_file():
        return f"{root}.py is an entry script"
    if root in PACKAGES and home in PACKAGES and root not in MAY_IMPORT[home]:
        return f"{home} must not import {root}"
    homes = LIVES_IN.get(root, (path,))
    if path not in homes and not (homes == (ENTRY,) and home is None):
        return f"{root} is imported in {' and '.join(homes)} alone"
    if home == "seqconv" and root not in {"seqconv", "torch", *sys.stdlib_module_names}:
        if path not in OPTIONAL.get(root, ()):
            return f"seqconv needs torch alone, not {root}"
        if not found.in_function and path not in AT_THE_TOP:
            return f"{root} is imported inside the functions that need it"
    return None


def sources() -> list[str]:
    folders = [ROOT / name for name in (*PACKAGES, *NOT_SHIPPED)]
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in folder.rglob("*.py"))]
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def test_the_checkout_keeps_the_directions() -> None:
    found = [line for path in sources() for line in violations(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_every_package_was_looked_at() -> None:
    looked_at = {path.partition("/")[0] for path in sources()}
    assert looked_at >= {*PACKAGES, "tests"}


@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        ("seqconv/architecture.py", "import numpy", "seqconv needs torch alone, not numpy"),
        ("seqconv/architecture.py", "def f():\n    import yaml", "seqconv needs torch alone, not yaml"),
        ("seqconv/serialization.py", "import yaml", "yaml is imported inside the functions that need it"),
        ("seqconv/utilisation.py", "import matplotlib", "matplotlib is imported inside the functions that need it"),
        ("seqconv/conversion.py", "import timm", "seqconv needs torch alone, not timm"),
        ("seqconv/layers/seqconv.py", "from training import loop", "seqconv must not import training"),
        ("seqconv/layers/seqconv.py", "from ...training import loop", "seqconv must not import training"),
        ("training/loop.py", "from search_spaces.space import SearchSpace", "training must not import search_spaces"),
        ("search_spaces/space.py", "import training.loop as t", "search_spaces must not import training"),
        ("search_spaces/space.py", "import searchers", "search_spaces must not import searchers"),
        ("training/loop.py", "if True:\n    import ray.tune", f"ray is imported in {' and '.join(RAY)} alone"),
        ("promotion/run.py", "import ray.train", f"ray is imported in {' and '.join(RAY)} alone"),
        ("promotion/export.py", "import onnxruntime", "onnxruntime is imported in promotion/run_onnx.py alone"),
        ("searchers/run.py", "from promotion import run", "searchers must not import promotion"),
        ("seqconv/serialization.py", "import timm", "timm is imported inside the functions that need it"),
        ("searchers/run.py", "import optuna", f"optuna is imported in {' and '.join(OPTUNA)} alone"),
        ("searchers/run.py", "def f():\n    import wandb", "wandb is imported in searchers/tracking/wandb.py alone"),
        ("searchers/run.py", "from hydra.utils import instantiate", f"hydra is imported in {ENTRY} alone"),
        ("search.py", "import optuna", f"optuna is imported in {' and '.join(OPTUNA)} alone"),
        ("searchers/run.py", "from experiments.first import study", "experiments is imported by nothing"),
        ("benchmarks/speed.py", "import experiments", "experiments is imported by nothing"),
        ("training/data.py", "from tests.real_data import root", "tests is imported by nothing"),
    ],
)
def test_a_wrong_import_is_found(path: str, source: str, reason: str) -> None:
    assert [line.partition(": ")[2] for line in violations(path, source)] == [reason]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("seqconv/serialization.py", "import json, torch\nfrom seqconv import validation\ndef f():\n    import yaml"),
        ("seqconv/networks/build.py", "from . import cifar\nfrom ..layers import seqconv"),
        ("searchers/ray_backend.py", "import ray.tune\nfrom training import loop\nfrom search_spaces import space"),
        ("seqconv/timm_models.py", "import timm"),
        ("promotion/run.py", "import searchers, search_spaces, training, seqconv"),
        ("promotion/ray_train.py", "import ray.train"),
        ("searchers/tracking/wandb.py", "import wandb"),
        ("command_line.py", "import hydra, omegaconf, searchers, seqconv"),
        ("tests/training/test_loop.py", "import optuna, hydra, search_spaces, tests.real_data"),
    ],
)
def test_what_is_allowed(path: str, source: str) -> None:
    assert violations(path, source) == []


def test_what_is_imported_is_declared() -> None:
    """The lock installs more than the project asks for, so a dependency that is missing would not show otherwise."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    declared = {re.match(r"[\w.-]+", line)[0].lower() for line in lines}  # type: ignore[index]
    distributions = importlib.metadata.packages_distributions()
    own = {*PACKAGES, *(path.removesuffix(".py") for path in sources() if "/" not in path)}
    missing = {
        f"{path} imports {found.root}"
        for path in sources()
        if not path.startswith(NOT_SHIPPED)
        for found in imports((ROOT / path).read_text(encoding="utf-8"), "")
        if found.root and found.root not in {*own, *sys.stdlib_module_names}
        and declared.isdisjoint(name.lower() for name in distributions.get(found.root, []))
    }  # fmt: skip
    assert not missing


def run(program: str, *arguments: object) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_seqconv_imports_nothing_heavy() -> None:
    program = "import sys, seqconv; print(sorted({'torch', 'yaml', 'numpy', 'ray', 'hydra'} & set(sys.modules)))"
    assert run(program) == "[]\n"


def test_what_prints_help_or_an_error_imports_nothing_heavy() -> None:
    """Torch and Ray cost seconds: knobs, configurations and the command line do without them until a search starts."""
    spaces = [path.removesuffix(".py").replace("/", ".") for path in sources() if path.startswith("search_spaces/")]
    light = [
        *spaces, "training.trial", "training.datasets", "training.full.recipe", "searchers.config", "promotion.config",
        "promotion.arguments", "promotion.export_request", "command_line",
    ]  # fmt: skip
    program = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    heavy = {"torch", "ray", "optuna", "wandb", "pandas", "sklearn"} & set(sys.modules)
    assert not heavy, f"{name} imports {sorted(heavy)}"
"""
    run(program, *light)


LOAD = """
import sys

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(name)

ABSENT = {"ray", "optuna", "hydra", "omegaconf", "wandb", "pandas", "onnx", "timm", "torchvision",
          "promotion", "searchers", "search_spaces", "training"}
sys.meta_path.insert(0, Absent)
import seqconv
assert not {"torch", "yaml", "safetensors"} & set(sys.modules)
model = seqconv.load(sys.argv[1])
assert not ABSENT & set(sys.modules)
import torch
print(tuple(model(torch.zeros(1, 3, 16, 16)).shape))
"""


@pytest.mark.parametrize("version", [1, 2])
def test_an_exported_model_loads_where_only_torch_yaml_and_safetensors_are(version: int) -> None:
    assert run(LOAD, ROOT / "tests" / "golden" / f"model_v{version}") == "(1, 3)\n"
