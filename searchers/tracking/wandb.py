"""All that calls wandb. It runs in a process of its own, see `wandb_process`, or in the upload; never in a search.

A run is offline and whole, or online and gone on with. An offline one begins with every epoch that is known of its
trial and takes the place of an earlier one: `wandb sync` replaces what W&B has of a run, so there is one file for each
trial, and to send it twice changes nothing. An online one is told which epoch W&B has last, and adds those that follow.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import wandb

from searchers.record import FAILED
from searchers.tracking.ledger import Told
from searchers.tracking.tracker import ended
from searchers.tracking.wandb_folder import Known, WandbFolder
from seqconv.serialization import to_yaml

OPEN = 255
"""Exit code of a run whose trial may be gone on with."""
REQUEST = 10
"""Seconds that one request may take."""
_AT_A_TIME = 8
_SYNC_LOGS = "logs/debug-sync.*.log"
_FOREIGN = (
    "WANDB_RUN_ID", "WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "WANDB_RESUME", "WANDB_SWEEP_ID",
    "WANDB_SWEEP_PARAM_PATH", "WANDB_CONFIG_PATHS", "WANDB_SERVICE",
)  # fmt: skip
"""Variables, such as an agent of W&B sets, that would make the same run of every trial."""
_UPSERT_SWEEP = """
mutation UpsertSweep($config: String, $entity: String, $project: String) {
    upsertSweep(input: {config: $config, entityName: $entity, projectName: $project}) {
        sweep { name project { name entity { name } } }
    }
}
"""
_ATTACH = """
mutation UpsertBucket(
    $name: String, $project: String, $entity: String, $group: String, $displayName: String, $sweep: String
) {
    upsertBucket(input: {
        name: $name, modelName: $project, entityName: $entity, groupName: $group, displayName: $displayName,
        sweep: $sweep
    }) { bucket { id } }
}
"""


def prepare(folder: WandbFolder) -> None:
    """Settle what holds for all calls of this process, before the first one: all that W&B writes goes to the folder."""
    for name in _FOREIGN:
        os.environ.pop(name, None)
    os.environ["WANDB_DIR"] = str(folder.run)
    os.environ["WANDB_SILENT"] = "true"
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # these would wait for the server too, when the process ends
    wandb.setup(settings=wandb.Settings(silent=True, x_graphql_timeout_seconds=REQUEST, x_graphql_retry_max=3))


def sign_in(mode: str) -> Account | None:
    """The account; None where the mode is offline, or auto and nobody is logged in or W&B was told to be offline.

    Raises:
        wandb.errors.UsageError: the mode is online and nobody is logged in.
        wandb.errors.CommError: the server cannot be reached, or refuses the key.
    """
    if mode == "offline" or (mode == "auto" and os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun")):
        return None
    try:
        return Account()
    except wandb.errors.UsageError:
        if mode == "online":
            raise
        return None


class Account:
    """The account of whoever is logged in.

    Raises:
        wandb.errors.UsageError: nobody is.
        wandb.errors.CommError: the server cannot be reached, or refuses the key.
    """

    def __init__(self) -> None:
        self._api: Any = wandb.Api(timeout=REQUEST)

    def with_sweep(self, known: Known) -> Known:
        """The search with its sweep, which is made where there is none.

        Raises:
            Exception: whatever the server, or the way to it, has against it.
        """
        if known.sweep is None or known.sweep_id is not None:
            return known
        answer = self._send(_UPSERT_SWEEP, known, config=to_yaml(known.sweep))
        sweep, place = answer["upsertSweep"]["sweep"], answer["upsertSweep"]["sweep"]["project"]
        app = wandb.setup().settings.app_url.rstrip("/")
        url = f"{app}/{place['entity']['name']}/{place['name']}/sweeps/{sweep['name']}"
        return replace(known, sweep_id=sweep["name"], sweep_url=url)

    def attach(self, known: Known, numbers: Iterable[int]) -> None:
        """Make the trials' runs in the sweep, for `wandb sync` to fill: it attaches nothing itself.

        Raises:
            Exception: as above.
        """

        def one(number: int) -> None:
            names = {"name": known.run_id(number), "displayName": known.run_name(number), "group": known.group}
            self._send(_ATTACH, known, sweep=known.sweep_id, **names)

        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(one, numbers))

    def _send(self, mutation: str, known: Known, **variables: Any) -> Any:
        """W&B offers no call for a sweep without an agent, other than a command that prints and waits for minutes."""
        place = {"entity": known.entity or self._api.settings["entity"], "project": known.project}
        return self._api._service_api.execute_graphql(mutation, variables={**place, **variables})


class Runs:
    """The runs of a search.

    Args:
        folder: where W&B keeps its files.
        known: how the search is known to W&B.
        online: send everything at once.
        patience: seconds that the end of a run may take.
    """

    def __init__(self, folder: WandbFolder, known: Known, *, online: bool, patience: float) -> None:
        self._folder, self._known, self._online, self._patience = folder, known, online, patience
        self._runs: dict[int, Any] = {}
        self._last: dict[int, int] = {}

    def show(self, told: Told) -> None:
        """Bring the run of a trial up to what was told of it.

        Raises:
            Exception: whatever W&B has against it; the run is in no known state then.
        """
        if told.number not in self._runs:
            self._begin(told)
        run = self._runs[told.number]
        for epoch in sorted(told.rows):
            if epoch > self._last[told.number]:
                run.log(told.rows[epoch], step=epoch, commit=True)
                self._last[told.number] = epoch
        if told.summary is not None:
            self._end(told, self._runs.pop(told.number))

    def close(self) -> None:
        """Let go of the runs whose trials are still open."""
        for number in list(self._runs):
            self._runs.pop(number).finish(exit_code=OPEN)

    def _begin(self, told: Told) -> None:
        number, run_id = told.number, self._known.run_id(told.number)
        earlier = [path for path in self._folder.runs(run_id) if path.name.startswith("offline-")]
        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=min(2 * REQUEST, self._patience),
            finish_timeout=self._patience,
            finish_timeout_raises=True,
            sweep_id=self._known.sweep_id,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
        )
        run = wandb.init(
            reinit="create_new",
            project=self._known.project,
            entity=self._known.entity,
            group=self._known.group,
            name=self._known.run_name(number),
            id=run_id,
            resume="allow" if self._online else None,
            dir=str(self._folder.run),
            mode="online" if self._online else "offline",
            config={**self._known.config, **told.config, "trial": number},
            settings=settings,
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        self._runs[number], self._last[number] = run, run.starting_step - 1
        for path in earlier:
            shutil.rmtree(path, ignore_errors=True)

    def _end(self, told: Told, run: Any) -> None:
        assert told.summary is not None
        summary = ended(told.summary)
        errors = [row["validation_error"] for row in told.rows.values() if "validation_error" in row]
        run.summary.update({"best_error": min(errors), **summary} if errors else summary)
        run.finish(exit_code=1 if summary.get("outcome") == FAILED else 0)
        path = Path(run.dir).parent
        for refusal in _refusals([path / "logs" / "debug-internal.log"]):
            raise ConnectionError(refusal["msg"])
        self._folder.mark(path, sent=self._online)


def sync(folder: WandbFolder, runs: Sequence[Path]) -> None:
    """Send the runs in these folders, with what `wandb sync` prints; those that have arrived are marked."""
    before = set(folder.path.glob(_SYNC_LOGS))
    environment = {name: value for name, value in os.environ.items() if name not in ("WANDB_SILENT", "WANDB_MODE")}
    subprocess.run([sys.executable, "-m", "wandb", "sync", *map(str, runs)], env=environment, check=False)
    for refusal in _refusals(set(folder.path.glob(_SYNC_LOGS)) - before):
        Path(refusal["sync_path"]).with_suffix(".wandb.synced").unlink(missing_ok=True)


def _refusals(logs: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Where the server refused the data of a run, which ends well nevertheless as far as wandb is concerned."""
    for log in logs:
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        yield from (json.loads(line) for line in lines if "filestream: fatal error" in line)
