"""The documented `optuna-dashboard runs/NAME/study.journal`: what its server makes of a search's own storage."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna_dashboard import wsgi
from optuna_dashboard._cli import main

from searchers.record import PRUNED, TrialRecord
from searchers.study import JOURNAL, TrialStore
from tests.searchers.fakes import space

VALUES = {"stage1.blocks": 1, "stage1.groups": 2, "stage1.window": 0.25, "stage1.form": "plain"}


def asked(folder: Path, path: str, query: str = "") -> Any:
    """The JSON that the dashboard answers with."""
    app = wsgi(JournalStorage(JournalFileBackend(str(folder / JOURNAL))))
    states: list[str] = []
    request = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
    }  # fmt: skip
    body = b"".join(app(request, lambda state, headers, *_: states.append(state)))
    assert states == ["200 OK"]
    return json.loads(body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A search for two objectives with a trial of each kind."""
    opened = TrialStore(tmp_path, space(), ("error", "params"))
    done = ended(opened, 0.5, 0.25)
    opened.duplicate(VALUES, {"fingerprint": "a", "params": 1000}, done)
    ended(opened, 0.75, outcome=PRUNED)
    opened.refuse(VALUES, {"fingerprint": "b", "params": 9000, "reason": "too many"}, {"params": 0.5})
    opened.begin(VALUES, {"fingerprint": "c", "params": 1000})
    return tmp_path


def ended(opened: TrialStore, *errors: float, outcome: str = "completed") -> TrialRecord:
    number = opened.begin(VALUES, {"fingerprint": "a", "params": 1000}).number
    for epoch, error in enumerate(errors, start=1):
        opened.report(number, epoch, error)
    return opened.finish(number, outcome)


def test_all_trials_with_constraints_and_facts_are_there(folder: Path) -> None:
    (summary,) = asked(folder, "/api/studies")["study_summaries"]
    study = asked(folder, f"/api/studies/{summary['study_id']}", "after=0")
    assert study["objective_names"] == ["error", "params"]
    trials = study["trials"]
    assert [trial["state"] for trial in trials] == ["Complete", "Complete", "Pruned", "Pruned", "Running"]
    assert [trial.get("values") for trial in trials[:2]] == [[0.25, 1000], [0.25, 1000]]
    assert trials[0]["intermediate_values"] == [{"step": 1, "value": 0.5}, {"step": 2, "value": 0.25}]
    assert [trial["constraints"] for trial in trials] == [[], [], [], [0.5], []]
    facts = {fact["key"]: fact["value"] for fact in trials[3]["user_attrs"]}
    assert (facts["fingerprint"], facts["params"]) == ("b", "9000")
    assert {param["name"] for param in trials[0]["params"]} == set(VALUES)


def test_it_listens_on_this_machine_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["optuna-dashboard", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert "127.0.0.1" in capsys.readouterr().out
