"""A search through the command line, from nothing to a model that is loaded without the search's code."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from searchers.record import COMPLETED, DUPLICATE, PRUNED, REFUSED, TrialRecord
from tests.search_process import ROOT, Search, clean_environment, metrics_files, records, search, timeless

pytestmark = pytest.mark.slow

TRIALS, EPOCHS = 8, 3
SETTINGS = (f"trial.epochs={EPOCHS}", "concurrency=1", "searcher=tpe", "searcher.startup_trials=3", "scheduler=asha")
OURS = re.compile(
    r"data: digits, .*"
    r"|windowed: [\d,]+ knob vectors|  (smallest|middle  |largest ) .* params .* MACs .* serial depth  W1 .*"
    r"|run: .* \(new\), 1 trials at a time on \d+ CPUs, \d+ GPUs|trial: 3 epochs of [\d,]+ images, validated on 100"
    r"|trial +\d+ (completed|pruned   ) error 0\.\d{4} after \d epochs [\d,]+ params  \[\d/8, \d pruned.*\]"
    r"|trial   error  epochs .*| +\d+  0\.\d{4} .* W1 .*|runs/windowed-digits-[\da-f-]+: .*"
    r"|how well the error after an early epoch ranks .*|  the others did not get there, .*"
    r"|  epoch \d: Kendall's tau .*, Spearman's rho .*, over .* trials"
    r"|W&B, offline: upload it with python -m searchers\.tracking\.upload run=runs/.*"
    r"|report: runs/.*/report\.html|next: python report\.py run=runs/.*|next: python promote\.py run=runs/.* top=3"
    r"|next: python export\.py run=runs/.* trial=best out=exported"
)
RECOMPUTE = """
import sys
import torch
import seqconv
folder, images, labels = sys.argv[1:]
model = seqconv.load(folder)
loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"searchers", "training", "search_spaces", "ray"})
with torch.inference_mode():
    wrong = (model(torch.load(images)).argmax(1) != torch.load(labels)).float().mean().item()
print(wrong, loaded)
"""


@pytest.fixture(scope="module")
def shorter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Search, Path]]:
    """The first five trials of the same search, run beside it."""
    run = tmp_path_factory.mktemp("shorter") / "run"
    with search(*SETTINGS, "trials=5", f"run={run}") as running:
        yield running, run


@dataclass(frozen=True)
class Ended:
    """A search that was let run to its end, in a folder of its own."""

    folder: Path
    run: Path
    stdout: str
    leftovers: list[str]

    def records(self) -> list[TrialRecord]:
        return records(self.run)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, shorter: tuple[Search, Path]) -> Ended:
    """Everything as by default, the name of the run and the tracker too, but for the size."""
    folder = tmp_path_factory.mktemp("search")
    offline = {"WANDB_MODE": "offline"}
    settings = (*SETTINGS, f"trials={TRIALS}", "report=true")
    with search(*settings, tracker="wandb", cwd=folder, environment=offline) as running:
        stdout = running.succeed()
        leftovers = running.leftovers()
    (run,) = (folder / "runs").iterdir()
    return Ended(folder=folder, run=run, stdout=stdout, leftovers=leftovers)


@pytest.fixture(scope="module")
def exported(ended: Ended) -> Path:
    """The folder that the printed command wrote."""
    command = ended.stdout.splitlines()[-1].removeprefix("next: python export.py ").split()
    with Search([str(ROOT / "export.py"), *command], cwd=ended.folder) as running:
        stdout = running.succeed()
    assert "written to exported, with weights" in stdout
    return ended.folder / "exported"


def test_nothing_is_said_but_what_we_say(ended: Ended) -> None:
    assert [line for line in ended.stdout.splitlines() if not OURS.fullmatch(line.rstrip())] == []


def test_the_end_shows_the_best_and_the_next_command(ended: Ended) -> None:
    lines = ended.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("trial   error"))
    best = yaml.safe_load((ended.run / "best" / "result.yaml").read_text())
    assert lines[start + 1].split()[:3] == [str(best["trial"]), f"{best['error']:.4f}", str(best["epochs"])]
    assert lines[-3:] == [
        f"next: python report.py run=runs/{ended.run.name}",
        f"next: python promote.py run=runs/{ended.run.name} top=3",
        f"next: python export.py run=runs/{ended.run.name} trial=best out=exported",
    ]


def test_nothing_is_left_running_or_lying_about(ended: Ended) -> None:
    assert ended.leftovers == []


def test_every_file_of_the_run_is_there(ended: Ended) -> None:
    files = ["config.yaml", "environment.yaml", "run.yaml", "study.journal", "trials.csv", "trials.parquet"]
    best = ["best/architecture.yaml", "best/result.yaml", "report.html"]
    trained = [r.number for r in ended.records() if r.outcome in (COMPLETED, PRUNED)]
    each = ("architecture.yaml", "metrics.csv", "log.txt")
    wanted = [*files, *best, *(f"trials/{number:04d}/{name}" for number in trained for name in each)]
    assert [name for name in wanted if not (ended.run / name).is_file()] == []
    assert len(trained) == TRIALS
    assert not list(ended.run.rglob("*.part"))


def test_each_trial_has_its_own_epochs_in_its_files(ended: Ended) -> None:
    for record in ended.records():
        if record.outcome not in (COMPLETED, PRUNED):
            continue
        folder = ended.run / "trials" / f"{record.number:04d}"
        with (folder / "metrics.csv").open() as file:
            errors = {int(row["epoch"]): float(row["validation_error"]) for row in csv.DictReader(file)}
        logged = re.findall(r"INFO epoch (\d+): validation error ([\d.]+)", (folder / "log.txt").read_text())
        # A worker may be one epoch ahead of the scheduler that stops its trial.
        assert dict(record.errors).items() <= errors.items() and len(errors) <= record.epochs + 1
        assert [(int(epoch), error) for epoch, error in logged] == [(k, f"{v:.4f}") for k, v in errors.items()]


def test_both_tables_say_what_the_store_says(ended: Ended) -> None:
    found = ended.records()
    parquet = pd.read_parquet(ended.run / "trials.parquet")
    for frame in (parquet, pd.read_csv(ended.run / "trials.csv")):
        assert list(frame["trial"]) == [record.number for record in found]
        assert list(frame["outcome"]) == [record.outcome for record in found]
        assert list(frame["epochs"]) == [record.epochs for record in found]
        assert [None if e != e else e for e in frame["error"]] == pytest.approx([record.error for record in found])
        assert list(frame["fingerprint"]) == [record.fingerprint for record in found]
        assert [json.loads(text) for text in frame["errors"]] == [
            {str(epoch): error for epoch, error in record.errors.items()} for record in found
        ]
        for name in found[0].values:
            assert list(frame[f"knob.{name}"]) == [record.values[name] for record in found]


def test_asha_stops_some_and_their_epochs_are_kept(ended: Ended) -> None:
    pruned = [record for record in ended.records() if record.outcome == PRUNED]
    assert pruned
    assert all(0 < record.epochs < EPOCHS and len(record.errors) == record.epochs for record in pruned)


def test_the_tracker_has_a_run_for_each_trial(ended: Ended) -> None:
    tracked = [record for record in ended.records() if record.outcome != REFUSED]
    assert len(list((ended.run / "wandb").glob("offline-run-*"))) == len(tracked)


def test_the_model_is_loaded_by_seqconv_alone_and_errs_as_recorded(ended: Ended, exported: Path) -> None:
    import torch

    from training.data import split
    from training.datasets import Digits

    model = yaml.safe_load((exported / "model.yaml").read_text())
    recipe = model["recipe"]
    data = Digits().load()
    part = split(
        data, validation=data.proxy.validation, share=recipe["share"], validation_limit=recipe["validation_limit"]
    )
    mean, std = (torch.tensor(model[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    torch.save((torch.tensor(part.validation_images) / 255 - mean) / std, ended.folder / "images.pt")
    torch.save(torch.tensor(part.validation_labels), ended.folder / "labels.pt")
    command = [sys.executable, "-c", RECOMPUTE, "exported", "images.pt", "labels.pt"]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        command, cwd=ended.folder, env=environment, check=True, capture_output=True, text=True, timeout=120
    )
    error, _, loaded = said.stdout.strip().partition(" ")
    best = yaml.safe_load((ended.run / "best" / "result.yaml").read_text())
    assert float(error) == pytest.approx(best["error"], abs=1e-6)
    assert best["error"] == model["result"]["mean"] == ended.records()[best["trial"]].error
    assert loaded == "[]"


def test_the_same_seed_gives_the_same_trials_and_a_search_can_be_extended(
    ended: Ended, shorter: tuple[Search, Path]
) -> None:
    """Five trials and then three more are what eight at once are: knobs, fingerprints and the error of every epoch."""
    running, run = shorter
    running.succeed()
    first, files = records(run), metrics_files(run, records(run))
    alike = ended.records()
    assert [timeless(record) for record in first] == [timeless(record) for record in alike[: len(first)]]
    with search(*SETTINGS, f"trials={TRIALS}", f"run={run}", "resume=true") as running:
        assert f"run: {run} (going on)" in running.succeed()
    now = records(run)
    assert now[: len(first)] == first
    assert {number: metrics_files(run, now)[number] for number in files} == files
    assert [timeless(record) for record in now] == [timeless(record) for record in alike]


def test_a_finished_search_is_not_run_again(ended: Ended, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ended.run, run)
    before, files = records(run), metrics_files(run, records(run))
    with search(*SETTINGS, f"trials={TRIALS}", f"run={run}", "resume=true") as running:
        stdout = running.succeed()
    assert records(run) == before
    assert metrics_files(run, before) == files
    assert not re.search(r"^trial +\d+ (completed|pruned)", stdout, re.MULTILINE)


def test_equal_architectures_are_trained_once(ended: Ended) -> None:
    trained = [record.fingerprint for record in ended.records() if record.outcome not in (DUPLICATE, REFUSED)]
    assert len(set(trained)) == len(trained) == TRIALS


def test_a_learning_rate_that_diverges_stops_the_search_with_the_reason(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ("trial.epochs=1", "trial.learning_rate=1e9", "trials=9", "max_failures=2", "concurrency=1")
    with search(*settings, f"run={run}") as running:
        code, stdout, stderr = running.end()
    assert code == 1
    assert re.fullmatch(
        r"error: stopped: 2 trials failed in a row; the last one: .*Diverged: (training|validation) loss is (nan|inf) "
        r".*; lower trial\.learning_rate\n",
        stderr,
    )
    assert [record.outcome for record in records(run)] == ["failed", "failed"]
    assert all("Traceback" in record.facts["reason"] for record in records(run))
    assert "Diverged" in (run / "trials" / "0000" / "log.txt").read_text()
    assert f"{run}: 2 failed" in stdout


def test_what_is_not_there_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    there = r"is more than there is: \d+ {}s at backend\.address=local"
    refusals = {
        "resources.gpu=64": rf"resources\.gpu=64 {there.format('GPU')}",
        "resources.cpu=4096": rf"resources\.cpu=4096 {there.format('CPU')}",
        "backend.address=auto": r"backend\.address=auto: no Ray can be used there: none was started .*",
    }
    run = tmp_path / "run"
    with contextlib.ExitStack() as stack:
        searches = {setting: stack.enter_context(search(setting, f"run={run}")) for setting in refusals}
        ends = {setting: running.end() for setting, running in searches.items()}
    for setting, (code, _, stderr) in ends.items():
        assert code == 2 and re.fullmatch(f"error: {refusals[setting]}\n", stderr), stderr
    assert not run.exists()
