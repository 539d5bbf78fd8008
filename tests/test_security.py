"""What SECURITY.md says of keys and of what listens, tried with whole commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.search_process import Search, search

ROOT = Path(__file__).parents[1]
KEY, PASSWORD = "0123456789" * 4, "hunter2-hunter2"


def holding(folder: Path, *secrets: str) -> list[str]:
    """Files in which one of the secrets stands."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in found if any(s.encode() in path.read_bytes() for s in secrets)]


@pytest.mark.slow
def test_a_search_leaves_no_key_anywhere(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ("trials=1", "searcher=random", f"run={run}", "report=true", f"+hydra.job.env_set.PGPASSWORD={PASSWORD}")
    environment = {"WANDB_API_KEY": KEY, "HOME": str(tmp_path / "home"), "SEQCONV_NATIVE": "0"}
    with search(*settings, tracker="wandb", cwd=tmp_path, environment=environment) as running:
        code, stdout, stderr = running.end()
    assert code == 0, stderr
    assert "PGPASSWORD=***" in (run / "environment.yaml").read_text(encoding="utf-8")
    assert (run / "report.html").is_file() and list(run.glob("wandb/offline-run-*"))
    assert holding(tmp_path, KEY, PASSWORD) == []
    assert KEY not in stdout + stderr and PASSWORD not in stdout + stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (f"+tracker.api_key={KEY}", "error: no configuration key 'tracker.api_key'. See --help\n"),
        (f"tracker.api_key={KEY}", "error: no configuration key or group 'tracker.api_key'"),
        pytest.param(
            f"backend.address=redis://:{KEY}@host:6379",
            "error: backend.address=redis://:***@host:6379: no Ray can be",
            marks=pytest.mark.slow,
        ),
        (f"dataset.base_url=https://me:{KEY}@host/", "error: dataset.base_url must have no user or password in it\n"),
    ],
    ids=["unknown key, added", "unknown key", "address", "base_url"],
)
def test_a_key_among_the_settings_is_refused_and_not_repeated(setting: str, message: str, tmp_path: Path) -> None:
    dataset = "dataset=cifar10" if setting.startswith("dataset") else "dataset=digits"
    with Search([str(ROOT / "search.py"), "tracker=wandb", dataset, setting], cwd=tmp_path) as running:
        code, stdout, stderr = running.end()
    assert code == 2
    assert stderr.startswith(message)
    assert KEY not in stdout + stderr
    assert list(tmp_path.iterdir()) == []


def test_what_the_documents_start_listens_on_this_machine_alone() -> None:
    """optuna-dashboard and TensorBoard do unless they are told otherwise, see tests/searchers/test_dashboard.py."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("conf/**/*.yaml"), *ROOT.glob("searchers/**/*.py")]
    text = "\n".join(document.read_text(encoding="utf-8") for document in documents if document.name != "SECURITY.md")
    assert "optuna-dashboard" in text
    assert not re.search(r"--host|--bind_all|0\.0\.0\.0|--dashboard-host", text)


def test_every_test_that_security_md_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    for file, test in named:
        assert (ROOT / file).is_file(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"
