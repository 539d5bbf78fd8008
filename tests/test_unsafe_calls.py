"""No call in the product can run code that stands in a file; read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("seqconv", "search_spaces", "training", "searchers", "promotion", "reporting")
RESTRICTED = "training/datasets/restricted_pickle.py"
COMPILED = "seqconv/native/library.py"
"""The one place that loads machine code, compiled from what stands beside it. The system's is loaded by name."""
MACHINE_CODE = {"CDLL", "PyDLL", "LoadLibrary", "load_library"}
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "cloudpickle.load", "cloudpickle.loads", "joblib.load", "dill.load", "dill.loads", "marshal.loads", "shelve.open",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "pandas.read_pickle", "pd.read_pickle", "tempfile.mktemp",
    "torch.hub.load", "torch.jit.load",
}  # fmt: skip
NEEDS = {
    "torch.load": ("weights_only", True),
    "extractall": ("filter", "data"),
    "extract": ("filter", "data"),
    "unpack_archive": ("filter", "data"),
}
"""Calls, and the keyword without which they trust the file."""


def calls(source: str) -> Iterator[tuple[int, str, ast.Call]]:
    """Line, name as it is written, and call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def unsafe(path: str, source: str) -> list[str]:
    """What stands in a file and must not."""
    found = []
    for line, name, call in calls(source):
        keywords = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
        needed = NEEDS.get(name) or NEEDS.get(name.rpartition(".")[2])
        if name in FORBIDDEN:
            found.append(f"{path}:{line}: {name} runs what a file says")
        by_name = bool(call.args) and isinstance(call.args[0], ast.Constant)
        if name.rpartition(".")[2] in MACHINE_CODE and not by_name and path != COMPILED:
            found.append(f"{path}:{line}: {name} runs machine code")
        if name == "yaml.load" and (len(call.args) < 2 or ast.unparse(call.args[1]) != "_Loader"):
            found.append(f"{path}:{line}: yaml.load takes _Loader")
        if needed and keywords.get(needed[0]) != needed[1]:
            found.append(f"{path}:{line}: {name} needs {needed[0]}={needed[1]!r}")
        if keywords.get("allow_pickle") or keywords.get("shell") or keywords.get("trust_remote_code"):
            found.append(f"{path}:{line}: {name} trusts too much")
    if path != RESTRICTED:
        found += [
            f"{path}: imports pickle" for module in imported(source) if module in ("pickle", "cloudpickle", "dill")
        ]
    return found


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_the_product_makes_none() -> None:
    files = [*ROOT.glob("*.py"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    found = [line for f in files for line in unsafe(f.relative_to(ROOT).as_posix(), f.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("torch.load(file)", "torch.load needs weights_only=True"),
        ("torch.load(file, weights_only=False)", "torch.load needs weights_only=True"),
        ("archive.extractall(folder)", "archive.extractall needs filter='data'"),
        ("yaml.load(text, yaml.Loader)", "yaml.load takes _Loader"),
        ("yaml.unsafe_load(text)", "yaml.unsafe_load runs what a file says"),
        ("np.load(file, allow_pickle=True)", "np.load trusts too much"),
        ("subprocess.run(line, shell=True)", "subprocess.run trusts too much"),
        ("import pickle", "imports pickle"),
        ("eval(text)", "eval runs what a file says"),
        ("ctypes.CDLL(file)", "ctypes.CDLL runs machine code"),
        ("torch.ops.load_library(file)", "torch.ops.load_library runs machine code"),
    ],
)
def test_a_call_that_must_not_be_is_found(source: str, reason: str) -> None:
    (found,) = unsafe("training/some.py", source)
    assert found.endswith(reason)


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "torch.load(f, weights_only=True)", "a.extractall(b, filter='data')", "ctypes.CDLL('libc.so.6')"],
)
def test_others_are_not(source: str) -> None:
    assert unsafe("training/some.py", source) == []
