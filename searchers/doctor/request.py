"""What `python doctor.py` was told, as configuration: it makes it from conf/doctor.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from searchers.config import folder_name
from seqconv import validation


@dataclass(frozen=True, kw_only=True)
class DoctorRequest:
    """Which run folder to look at, and whether to repair it.

    Raises:
        ValueError: a field of the wrong kind, naming it.
    """

    run: str
    """Folder of a search."""
    repair: bool = False
    """Whether to repair what can be; without it nothing is written."""

    def __post_init__(self) -> None:
        folder_name("run", self.run)
        validation.boolean("repair", self.repair)

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self.run).expanduser()
