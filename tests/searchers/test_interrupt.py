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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_afterwards_handlers_are_those_of_before_whatever_ran_inside(number: int) -> None:
    before = signal.getsignal(number)
    with terminate_like_interrupt():
        signal.signal(number, lambda *_: None)  # as Ray Tune does
    assert signal.getsignal(number) is before


def test_inside_sigterm_has_a_handler_of_its_own() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with terminate_like_interrupt():
        assert signal.getsignal(signal.SIGTERM) is not before
