"""The default: CIFAR-10 where it is there or can be had, else the digits that need neither data nor network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from training.data import ImageData
from training.datasets.cifar import OFFICIAL, Cifar10, MissingDataError
from training.datasets.digits import Digits
from training.datasets.root import root_path


@dataclass(frozen=True, kw_only=True)
class Auto:
    """CIFAR-10 as `Cifar10` finds it, else `Digits`; the data's source says which, and why.

    Raises:
        ValueError: a field of the wrong kind.
    """

    root: str = "data"
    """Folder that has or gets CIFAR-10."""
    verify: bool = True
    """Compare md5 sums with the official ones; false for a re-encoded copy."""
    download: bool = True
    """Download CIFAR-10 where it is not there."""
    base_url: str = OFFICIAL
    """Where CIFAR-10 is downloaded from."""
    patience: float = 5.0
    """Seconds until the server must have answered."""

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        self._cifar10()

    def load(self) -> ImageData:
        """The images of CIFAR-10 or of the digits, under the name of the one that it is.

        Raises:
            ValueError: CIFAR-10 that is there but damaged or incomplete: the digits stand in only for what is missing.
        """
        try:
            data = self._cifar10().load()
        except MissingDataError as error:
            data = Digits().load()
            return replace(data, source=f"{data.source}: CIFAR-10 is not under {root_path(self.root)} and {error.why}")
        return data

    def _cifar10(self) -> Cifar10:
        return Cifar10(
            root=self.root,
            verify=self.verify,
            download=self.download,
            base_url=self.base_url,
            patience=self.patience,
        )
