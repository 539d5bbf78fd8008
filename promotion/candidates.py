"""What is to be trained in full: trials of a search, presets, files, and models of timm."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from searchers.population import schedule
from searchers.record import COMPLETED, DUPLICATE, PRUNED, TrialRecord, best_first
from searchers.run_folder import RUN_FILE, read_run, reading
from seqconv import Architecture, read_architecture, validation
from seqconv.networks.presets import PRESETS
from seqconv.serialization import ARCHITECTURE_FILE

WAYS = "top=3, pareto=[params] or trials=[7] with run=runs/NAME; presets=[cifar_b_demo], files=[FILE], timm=[resnet18]"
"""How to choose, for messages."""
_LONGEST = 100


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One architecture, or one model of timm, to be trained in full.

    Raises:
        ValueError: a name that is no file name, or not exactly one of architecture and timm_name.
    """

    name: str
    """Names its folder; unlike every other candidate's, also where capitals do not count."""
    architecture: Architecture | None = None
    """What to build."""
    timm_name: str | None = None
    """Name of the model in timm, where it is one."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from, plain data: run, dataset, trial, proxy_error and epochs; or preset, file or timm. Under
    `equal_to` the names of others that were chosen and are the same network."""
    proxy_error: float | None = None
    """Validation error, a fraction, by which the search ranked it."""
    proxy_errors: Mapping[int, float] = field(default_factory=dict)
    """Validation error by epoch of the search's training."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name, re.ASCII):
            raise ValueError(
                f"name of a candidate must be letters, digits, and _ . - after the first; got {self.name!r}"
            )
        if (self.architecture is None) == (self.timm_name is None):
            raise ValueError(f"candidate {self.name} must have either an architecture or a timm_name")

    @property
    def network(self) -> str:
        """Fingerprint of the architecture, or the model's name in timm: equal networks share it."""
        if self.architecture is not None:
            return self.architecture.fingerprint()
        assert self.timm_name is not None
        return self.timm_name


def choose(
    *,
    run: str | None = None,
    top: int | None = None,
    pareto: Sequence[str] | None = None,
    trials: Sequence[int] | None = None,
    presets: Sequence[str] = (),
    files: Sequence[str] = (),
    timm: Sequence[str] = (),
) -> list[Candidate]:
    """All that is asked for, in the order of the arguments; what computes the same is there once, by its first name.

    Args:
        run: folder of a finished or running search, which `top`, `pareto` and `trials` choose from.
        top: so many of its trials, or all where there are fewer: trained furthest first, then lowest error first.
        pareto: cost columns, see `pareto_front`.
        trials: numbers of trials; a duplicate stands for the trial that it repeats.
        presets: names.
        files: architecture YAML files, or folders such as an exported one that hold an architecture.yaml.
        timm: names of timm's models, without a tag of pretrained weights.

    Raises:
        ValueError: nothing chosen, or a choice that is not to be had, naming it and what there is instead.
    """
    _texts("pareto", pareto or ())
    chosen = [
        *(_from_run(run, top, pareto, trials)),
        *(_preset(name) for name in _texts("presets", presets)),
        *(_file(path) for path in _texts("files", files)),
        *_timm(_texts("timm", timm)),
    ]
    if not chosen:
        raise ValueError(f"nothing chosen to train: pass {WAYS}")
    return _once(chosen)


def pareto_front(records: Sequence[TrialRecord], costs: Sequence[str]) -> list[TrialRecord]:
    """The trials that no other beats in validation error without a higher cost; lowest error first.

    Only those within the limits of the search and trained for as many epochs as any are compared: errors after fewer
    epochs are of another kind.

    Args:
        records: trials of one search.
        costs: columns such as params, macs or serial_depth; less is better.

    Raises:
        ValueError: no costs, or one that those trials do not have.
    """
    ranked = [record for record in best_first(records) if record.feasible]
    furthest = [r for r in ranked if r.epochs == ranked[0].epochs]
    known = [name for name in (furthest[0].facts if furthest else ()) if all(_number(r, name) for r in furthest)]
    if not costs:
        raise ValueError(f"pareto must name a cost or several; there are {', '.join(known) or 'none'}")
    for name in costs if furthest else ():
        validation.one_of("pareto", name, known)
    front: list[tuple[tuple[Any, ...], TrialRecord]] = []
    points = [((r.error, *(r.facts[name] for name in costs)), r) for r in furthest]
    # In this order what beats a trial comes before it.
    for mine, record in sorted(points, key=lambda point: (*point[0], point[1].number)):
        if not any(other != mine and all(map(operator.le, other, mine)) for other, _ in front):
            front.append((mine, record))
    return [record for _, record in front]


def _from_run(
    run: str | None, top: int | None, pareto: Sequence[str] | None, trials: Sequence[int] | None
) -> list[Candidate]:
    if top is None and pareto is None and not trials:
        if run is not None:
            raise ValueError(f"run={run}: say which of its trials: top=3, pareto=[params] or trials=[7]")
        return []
    if trials is not None and not isinstance(trials, (list, tuple)):
        raise ValueError(f"trials must be a list such as [3,7], got {trials!r}")
    if run is None:
        raise ValueError("top, pareto and trials choose from a search: pass run=runs/NAME too")
    path = Path(run).expanduser()
    if not (path / RUN_FILE).is_file():
        raise ValueError(f"run={run}: no search there ({RUN_FILE} is missing); run= takes a folder such as runs/NAME")
    from searchers.study import read_records

    dataset = validation.has_keys(f"{path / RUN_FILE}: dataset", read_run(path)["dataset"], ("name",))
    about = {"run": path.resolve().name, "dataset": dataset["name"]}
    with reading(f"run={run}"):
        records = read_records(path)
        ranked = best_first(records)
        if not ranked:
            raise ValueError(f"run={run}: no trial has finished yet, so there is nothing to choose from")
        found = ranked[: validation.integer("top", top)] if top is not None else []
        if pareto is not None:
            if not any(record.feasible for record in ranked):
                beyond = "no trial is within the limits of the search, so there is no front"
                raise ValueError(f"run={run}: {beyond}; top=1 takes the best of the others")
            found += pareto_front(records, pareto)
        found += [_pick(records, validation.integer("trials", number, low=0), run) for number in trials or ()]
        return [_trial(record, records, about) for record in found]


def _trial(record: TrialRecord, records: Sequence[TrialRecord], about: Mapping[str, Any]) -> Candidate:
    recipe = {} if record.recipe is None else {"recipe": schedule(records, record.number)}
    about = {**about, "where": record.where} if record.where else about
    return Candidate(
        name=f"trial-{record.number:04d}",
        architecture=Architecture.from_dict(record.facts["architecture"]),
        origin={**about, "trial": record.number, "proxy_error": record.error, "epochs": record.epochs, **recipe},
        proxy_error=record.error,
        proxy_errors=dict(record.errors),
    )


def _pick(records: Sequence[TrialRecord], number: int, run: str) -> TrialRecord:
    record = next((r for r in records if r.number == number), None)
    if record is not None and record.outcome == DUPLICATE:
        record = next((r for r in records if r.number == record.facts.get("duplicate_of")), record)
    if record is not None and record.outcome in (COMPLETED, PRUNED):
        return record
    finished = [r.number for r in best_first(list(records))]
    nearest = ", ".join(map(str, sorted(finished, key=lambda other: abs(other - number))[:8]))
    problem = f"there is no trial {number}" if record is None else f"trial {record.number} is {record.outcome}"
    raise ValueError(f"run={run}: {problem}; the nearest finished ones are {nearest}")


def _number(record: TrialRecord, name: str) -> bool:
    value = record.facts.get(name)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _preset(name: str) -> Candidate:
    architecture = PRESETS[validation.one_of("presets", name, PRESETS)]
    return Candidate(name=f"preset-{name}", architecture=architecture, origin={"preset": name})


def _file(name: str) -> Candidate:
    path = Path(name).expanduser().resolve()  # a relative one could be the name of a preset
    file = path / ARCHITECTURE_FILE if path.is_dir() else path
    if not file.is_file():
        what = f"the folder holds no {ARCHITECTURE_FILE}" if path.is_dir() else "no such file"
        raise ValueError(f"files: {name}: {what}; pass an architecture YAML file or an exported folder")
    stem = path.name if path.is_dir() else file.parent.name if file.name == ARCHITECTURE_FILE else file.stem
    safe = re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII)[:_LONGEST]
    return Candidate(name=f"file-{safe}", architecture=read_architecture(file), origin={"file": name})


def _timm(names: Sequence[str]) -> Iterator[Candidate]:
    if not names:
        return
    try:
        import timm
    except ImportError:
        raise ValueError(f"timm={list(names)}: timm is not installed; pip install 'seqconv-nas[timm]'") from None
    known = set(timm.list_models()) - set(PRESETS)  # which `seqconv.timm_models` may have registered
    for name in names:
        if name not in known:
            near = " (it is one of presets)" if name in PRESETS else validation.did_you_mean(name, known)
            raise ValueError(f"timm has no model {name!r}{near}; timm.list_models() has their names")
        yield Candidate(name=f"timm-{name}", timm_name=name, origin={"timm": name})


def _once(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Equal networks once, and unequal ones of one name told apart by a number."""
    kept: dict[str, Candidate] = {}
    for candidate in candidates:
        key = candidate.network
        first = kept.get(key)
        if first is None:
            kept[key] = replace(candidate, name=_free(candidate.name, [c.name for c in kept.values()]))
        elif first.origin != candidate.origin:
            names = [*first.origin.get("equal_to", ()), candidate.name]
            kept[key] = replace(first, origin={**first.origin, "equal_to": list(dict.fromkeys(names))})
    return list(kept.values())


def _free(name: str, taken: Sequence[str]) -> str:
    lower = {other.lower() for other in taken}
    numbered = (name if number == 1 else f"{name}-{number}" for number in range(1, len(lower) + 2))
    return next(free for free in numbered if free.lower() not in lower)


def _texts(name: str, values: Any) -> Sequence[str]:
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) and value for value in values):
        raise ValueError(f"{name} must be a list such as [a,b], got {values!r}")
    return values
