"""What is missing of one trial in a journal, made again from what its other lines and other files say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from searchers import journal
from searchers.doctor.description import Description
from searchers.doctor.witness import OUTCOMES, Witness, Witnesses
from searchers.objectives import ERROR, MEASURED, OBJECTIVES
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED
from searchers.study import END

WRITER = "doctor"
"""Who wrote an entry, as Optuna notes it."""
_STATES = {COMPLETED: journal.COMPLETE, PRUNED: journal.PRUNED, FAILED: journal.FAIL, REFUSED: journal.PRUNED}
_CONSTRAINT = "constraints:"
"""How Optuna's names of constraints begin."""


@dataclass(kw_only=True)
class Mend:
    """What is to be added to the entries of a trial."""

    before: dict[str, Any] | None = None
    """The entry of the trial that they go before: the one that ends it. None adds them at the end of the journal."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    """What is added."""
    problems: list[str] = field(default_factory=list)
    """What is missing."""
    made: list[str] = field(default_factory=list)
    """What of it is made again."""
    lost: list[str] = field(default_factory=list)
    """What of it is not."""


def mend(
    number: int,
    own: Sequence[dict[str, Any]],
    description: Description,
    witnesses: Witnesses | None,
    damaged: bool,
) -> Mend:
    """Look for what is missing of a trial.

    Args:
        number: of the trial.
        own: its entries, the first of which begins it.
        description: of the search.
        witnesses: what other files say; None compares with none.
        damaged: whether the journal has lost lines; where it has not, an open trial was left by a kill.
    """
    trial = _Trial(number, own, description, Witness() if witnesses is None else witnesses.of(number))
    if trial.closing is own[0]:  # in one entry, which is there or not
        trial.name_end()
        return trial.found
    trial.find_end(damaged)
    trial.find_epochs()
    trial.find_measured()
    trial.find_violations()
    trial.close(damaged)
    return trial.found


class _Trial:
    """One trial, as its entries and what is added to them make it."""

    def __init__(self, number: int, own: Sequence[dict[str, Any]], description: Description, witness: Witness) -> None:
        begin = own[0]
        self._number, self._description, self._witness, self._begin = number, description, witness, begin
        errors = {int(epoch): error for epoch, error in begin["intermediate_values"].items()}
        self._errors = errors | {e["step"]: e["intermediate_value"] for e in own if e["op_code"] == journal.EPOCH}
        self._facts: dict[str, Any] = dict(begin["user_attrs"])
        self._system: dict[str, Any] = dict(begin["system_attrs"])
        for entry in own:
            self._facts |= entry["user_attr"] if entry["op_code"] == journal.FACT else {}
            self._system |= entry["system_attr"] if entry["op_code"] == journal.SYSTEM else {}
        ends = [entry for entry in own if entry["op_code"] == journal.STATE and entry["state"] != journal.RUNNING]
        self.closing = begin if begin["state"] != journal.RUNNING else next(iter(ends), None)
        self.found = Mend(before=self.closing)
        self._added_end = False

    @property
    def _end(self) -> Mapping[str, Any] | None:
        end = self._facts.get(END)
        return end if isinstance(end, dict) and end.get("outcome") in OUTCOMES else None

    @property
    def _outcome(self) -> str | None:
        """None of an open one; what is said of the end counts once the trial is closed."""
        return self._end["outcome"] if self._end and (self.closing is not None or self._added_end) else None

    def name_end(self) -> None:
        """Say how a closed trial ended, where that is missing."""
        if self._end is None:
            self._problem("how it ended is missing")
            self._begin["user_attrs"] = {**self._begin["user_attrs"], END: self._likely_end(self._begin["state"])}

    def find_end(self, damaged: bool) -> None:
        """What is said of the end; that of an open trial only where it is known elsewhere that it had ended."""
        if self.closing is not None and self._end is None:
            self._problem("how it ended is missing")
            self._add_end(self._likely_end(self.closing["state"]))
        elif self.closing is None and (self._witness.end or self._end or {}).get("outcome") != DUPLICATE:
            # An open duplicate is answered again by a search that goes on.
            if self._witness.end is not None:
                self._problem("its end is missing")
            if self._end is not None:
                self._added_end = damaged or self._witness.end is not None
            elif self._witness.end is not None:
                self._add_end(self._witness.end)

    def find_epochs(self) -> None:
        """Errors of epochs that were reported, and of all of a trial that was completed."""
        witness, outcome = self._witness, self._outcome
        begun = self._facts.get("begun", 0)  # of a member of a population, which goes on from another trial
        reached = max([*self._errors, *witness.errors], default=begun)
        if outcome == COMPLETED:
            reached = self._description.epochs or max([reached, *witness.metrics])
        elsewhere = {**witness.metrics, **witness.errors}
        missing = (
            [epoch for epoch in range(begun + 1, reached + 1) if epoch not in self._errors]
            if outcome != REFUSED
            else []
        )
        if not missing:
            return
        known = [epoch for epoch in missing if epoch in elsewhere]
        self._problem(f"{_epochs(missing)} {'is' if len(missing) == 1 else 'are'} missing")
        for epoch in known:
            self._errors[epoch] = elsewhere[epoch]
            self._add(journal.EPOCH, step=epoch, intermediate_value=elsewhere[epoch])
        if known:
            self.found.made.append(f"{_epochs(known)} of trial {self._number} from {' and '.join(witness.sources)}")
        if outcome is not None and len(known) < len(missing):
            gone = [epoch for epoch in missing if epoch not in elsewhere]
            self.found.lost.append(f"trial {self._number}: the error of {_epochs(gone)}")

    def find_measured(self) -> None:
        """What was measured before the training."""
        values = (self.closing or {}).get("values") or []
        objectives = self._description.objectives
        told = dict(zip(objectives, values, strict=True)) if len(values) == len(objectives) else {}
        for name in MEASURED:
            if name not in self._facts and (value := told.get(name, self._witness.measured.get(name))) is not None:
                self._problem(f"its {name} is missing")
                self.found.made.append(f"the {name} of trial {self._number}")
                self._note(name, value)

    def find_violations(self) -> None:
        """The limits that it broke."""
        if self._outcome not in (COMPLETED, PRUNED):
            return
        measures = self._measures()
        excess = {
            name: measures[name] / limit - 1 for name, limit in self._description.limits.items() if name in measures
        }
        for name, value in excess.items():
            if value > 0 and f"{_CONSTRAINT}{name}" not in self._system:
                self._problem(f"that it is beyond its limit of {name} is missing")
                self._add(journal.SYSTEM, system_attr={f"{_CONSTRAINT}{name}": value})

    def close(self, damaged: bool) -> None:
        """End the trial where it had ended."""
        if self.closing is not None or not self._added_end or self._end is None:
            return
        measures, objectives = self._measures(), self._description.objectives
        outcome = self._end["outcome"]
        has_values = outcome == COMPLETED or (outcome == PRUNED and len(objectives) == 1)
        values = [measures[name] for name in objectives if name in measures] if has_values else []
        if has_values and len(values) < len(objectives) and outcome == COMPLETED:
            self.found.lost.append(f"trial {self._number}: its result; it is trained again")
            return
        finished = self._witness.finished or datetime.now(UTC).isoformat()
        whole = values if len(values) == len(objectives) else None
        self._add(journal.STATE, state=_STATES[outcome], values=whole, datetime_complete=finished)
        self.found.made.append(f"the end of trial {self._number}")

    def _likely_end(self, state: int) -> Mapping[str, Any]:
        """From a file that says it, or else from Optuna's state, in which refused and pruned are one."""
        names = {journal.COMPLETE: COMPLETED, journal.FAIL: FAILED, journal.PRUNED: PRUNED if self._errors else REFUSED}
        self.found.made.append(f"how trial {self._number} ended")
        return self._witness.end or {"outcome": names[state], "reason": "" if state != journal.FAIL else "not known"}

    def _add_end(self, end: Mapping[str, Any]) -> None:
        self._note(END, dict(end))
        self._added_end = True

    def _note(self, name: str, value: Any) -> None:
        self._facts[name] = value
        self._add(journal.FACT, user_attr={name: value})

    def _add(self, operation: int, **fields: Any) -> None:
        entry = {"op_code": operation, "worker_id": WRITER, "trial_id": self._number, **fields}
        self.found.entries.append(entry)

    def _problem(self, what: str) -> None:
        self.found.problems.append(f"trial {self._number}: {what}")

    def _measures(self) -> dict[str, float]:
        error = self._errors[max(self._errors)] if self._errors else None
        known = {**self._facts, ERROR: error}
        measures = {name: known[name] for name in OBJECTIVES if isinstance(known.get(name), (int, float))}
        return {name: float(value) for name, value in measures.items() if math.isfinite(value)}


def _epochs(epochs: Sequence[int]) -> str:
    listed = ", ".join(map(str, epochs[:8])) + (f" and {len(epochs) - 8} more" if len(epochs) > 8 else "")
    return f"epoch {listed}" if len(epochs) == 1 else f"epochs {listed}"
