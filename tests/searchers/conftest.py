"""What every test of a search runs under."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill of the process loses nothing that was written; only a crash of the machine would."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
