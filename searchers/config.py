"""The whole configuration of a search, as plain objects; `search.py` makes it from conf/."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from search_spaces.budget import Budget
from search_spaces.space import SearchSpace
from searchers import objectives
from searchers.population import PopulationBasedTraining
from searchers.prefilter import Prefilter
from searchers.schedulers import Scheduler, check_objectives
from searchers.searcher import Searcher
from searchers.stores import Journal, Store
from searchers.tracking.tracker import TrackerConfig
from searchers.warm_sources import check_sources
from searchers.watchdog import TrialLimits
from seqconv import validation
from training.trial import TrialConfig

if TYPE_CHECKING:
    from training.data import ImageData


AUTO = "auto"
"""Share of a GPU that is found, see `searchers.packing`."""
TrainTrial = Callable[..., Generator[Any, None, None]]
"""(number, architecture, device=, threads=, **shared) -> metrics, a dataclass per epoch. Runs in the workers."""


class Dataset(Protocol):
    """Where images come from."""

    def load(self) -> ImageData:
        """The images, in memory.

        Raises:
            ValueError: data that is missing, damaged or not to be had, with what to do.
        """


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial, or one process of full training, takes of the machine or cluster; fractions share a device.

    Raises:
        ValueError: a field out of range, naming it.
    """

    cpu: float = 1.0
    """CPU cores, also the threads of torch."""
    gpu: Any = None
    """GPUs; null is 1 where the cluster has any, else 0; auto, of searches, is what its largest network needs."""
    gpu_memory: float | None = None
    """GB of the smallest GPU, for auto; null asks the driver of this machine."""

    def __post_init__(self) -> None:
        validation.number("resources.cpu", self.cpu, low=0, open_low=True)
        if self.gpu_memory is not None:
            validation.number("resources.gpu_memory", self.gpu_memory, low=0, open_low=True)
            if self.gpu != AUTO:
                raise ValueError(f"resources.gpu_memory is for resources.gpu={AUTO}, got resources.gpu={self.gpu}")
        if isinstance(self.gpu, str) and self.gpu != AUTO:
            raise ValueError(f"resources.gpu must be a number, null or {AUTO}, got {self.gpu!r}")
        if self.gpu is not None and self.gpu != AUTO:
            validation.number("resources.gpu", self.gpu, low=0)
            if self.gpu > 1 and self.gpu != int(self.gpu):
                raise ValueError(f"resources.gpu must be a fraction up to 1 or a whole number, got {self.gpu}")


@dataclass(frozen=True, kw_only=True)
class RayBackend:
    """Ray runs the trials of a search, or the trainings of a promotion.

    Raises:
        ValueError: a field out of range, or the size of a local Ray for another one.
    """

    address: str = "local"
    """local: a Ray of its own on this machine; auto or host:port: a running cluster."""
    cpus: int | None = None
    """CPU cores the local Ray may use; null is all."""
    gpus: int | None = None
    """GPUs the local Ray may use; null is all."""
    retries: int = 2
    """How often a trial or training is started again, from its checkpoint, after a process of it died."""
    wait: float = 0.0
    """Seconds to wait for a running cluster to answer and to have room for one trial or training."""

    def __post_init__(self) -> None:
        _text("backend.address", self.address, "local, auto or host:port")
        for name in ("cpus", "gpus"):
            if getattr(self, name) is not None:
                validation.integer(f"backend.{name}", getattr(self, name), low=0 if name == "gpus" else 1)
                if self.address != "local":
                    raise ValueError(f"backend.{name} sizes a local Ray; backend.address is {self.address}")
        validation.integer("backend.retries", self.retries, low=0)
        validation.number("backend.wait", self.wait, low=0)
        if self.wait and self.address == "local":
            raise ValueError("backend.wait waits for a running cluster; backend.address is local")


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Everything that `python search.py` was told.

    Raises:
        ValueError: a field of the wrong kind or out of range, naming it.
    """

    search_space: SearchSpace
    searcher: Searcher
    scheduler: Scheduler
    prefilter: Prefilter
    dataset: Dataset
    trial: TrialConfig
    budget: Budget
    resources: Resources
    backend: RayBackend
    tracker: TrackerConfig
    objective: Any
    """What is minimised: error, or a list of it and others, see `searchers.objectives`."""
    limits: Mapping[str, float]
    """The most that a trial may measure, by name of an objective; known only once it was measured."""
    trial_limits: Any
    """What the process of a trial may take before it is ended: `searchers.watchdog.TrialLimits`, or its fields."""
    warm_start: Any
    """What to begin with: a run folder, an architecture file, a folder that holds one, a preset, or a list of these."""
    warm_start_top: int | None
    """How many of the best trials of each run folder in warm_start; null is all that have a result."""
    trials: int
    """Trials to train in all; duplicates are answered from the store and do not count."""
    seed: int
    """Of proposals and of training."""
    run: str | None
    """Run folder; null is a new one under runs/."""
    resume: bool | None
    """true: go on with run=, or with the newest run of this command; false: never; null: where run= exists."""
    concurrency: int | None
    """Trials at a time; null is as many as the resources hold."""
    max_failures: int
    """Failed trials in a row after which the search stops."""
    keep_weights: int
    """How many of the best trials keep their weights."""
    report: bool
    """Whether report.html is written at the end."""
    store: Store = field(default_factory=Journal)
    plain: Mapping[str, Any] = field(default_factory=dict)
    """The same configuration as plain data, for config.yaml."""

    def __post_init__(self) -> None:
        self._check_groups()
        object.__setattr__(self, "objective", objectives.check(self.objective))
        object.__setattr__(self, "limits", objectives.check_limits(self.limits))
        check_objectives(self.scheduler, self.objective)
        if isinstance(self.scheduler, PopulationBasedTraining) and not isinstance(self.store, Journal):
            raise ValueError("scheduler=pbt compares members of one search; with a study of several take store=journal")
        if not isinstance(self.trial_limits, TrialLimits):
            fields = validation.exact_keys("trial_limits", self.trial_limits, (), ("timeout", "memory"))
            object.__setattr__(self, "trial_limits", TrialLimits(**fields))
        object.__setattr__(self, "warm_start", check_sources(self.warm_start))
        if self.warm_start_top is not None:
            validation.integer("warm_start_top", self.warm_start_top)
        validation.integer("trials", self.trials)
        validation.integer("seed", self.seed, low=0, high=2**32 - 1)
        if self.run is not None:
            folder_name("run", self.run)
        if self.resume is not None:
            validation.boolean("resume", self.resume)
        if self.concurrency is not None:
            validation.integer("concurrency", self.concurrency)
        validation.integer("max_failures", self.max_failures)
        validation.integer("keep_weights", self.keep_weights, low=0)
        validation.boolean("report", self.report)

    def _check_groups(self) -> None:
        """Hydra makes of an entry whatever its `_target_` says, and leaves a mapping where that is removed."""
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            fits = hasattr(value, kind) if isinstance(kind, str) else isinstance(value, kind)
            if not fits:
                raise ValueError(f"{name} must be an option of its group, see --help; got {value!r}")


def folder_name(name: str, value: Any) -> str:
    """A path as the user writes it; a number, as the command line reads one, has to be told from it.

    Raises:
        ValueError: naming the field.
    """
    return _text(name, value, "the path of a folder, such as runs/NAME or ./2024")


def _text(name: str, value: Any, allowed: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return value


_KINDS: Mapping[str, Any] = {
    "search_space": "decode",
    "searcher": "bind",
    "scheduler": Scheduler,
    "prefilter": Prefilter,
    "dataset": "load",
    "trial": TrialConfig,
    "budget": Budget,
    "resources": Resources,
    "backend": RayBackend,
    "tracker": "open",
    "store": "check",
}
"""The class of each group's object, or a method of those that anyone may write."""
