from __future__ import annotations

import os
import signal

import pytest

from searchers.interrupt import terminate_like_interrupt


def test_sigterm_does_what_ctrl_c_does() -> None:
    with pytest.raises(KeyboardInterrupt), terminate_like_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not reached")


def test_sigterm_ends_a_job_in_the_background_too() -> None:
    """A shell has it ignore Ctrl-C, as nohup and scripts do."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), terminate_like_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("not reached")
    finally:
        signal.signal(signal.SIGINT, before)


def test_afterwards_it_does_what_it_did_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with terminate_like_interrupt():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
