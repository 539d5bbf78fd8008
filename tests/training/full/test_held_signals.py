from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from training.full.held_signals import HeldSignals

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def arrived() -> Iterator[list[int]]:
    """The signals that came to the handlers outside, which return."""
    numbers: list[int] = []
    before = [signal.signal(number, lambda number, frame: numbers.append(number)) for number in NUMBERS]
    yield numbers
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_until_it_is_delivered(number: int, arrived: list[int]) -> None:
    with HeldSignals() as signals:
        signal.raise_signal(number)
        assert (signals.pending, arrived) == (number, [])
        signals.deliver()
        assert (signals.pending, arrived) == (None, [number])


def test_a_signal_that_nobody_delivers_acts_at_the_end(arrived: list[int]) -> None:
    with HeldSignals():
        signal.raise_signal(signal.SIGTERM)
        assert arrived == []
    assert arrived == [signal.SIGTERM]


def test_an_error_goes_before_a_signal_that_waits(arrived: list[int]) -> None:
    with pytest.raises(OSError), HeldSignals():
        signal.raise_signal(signal.SIGTERM)
        raise OSError
    assert arrived == []


def test_an_interrupt_is_a_keyboard_interrupt_when_delivered() -> None:
    with HeldSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signals.deliver()


def test_the_next_signal_is_held_again_where_the_handler_returned(arrived: list[int]) -> None:
    with HeldSignals() as signals:
        for count in (1, 2, 3):
            signal.raise_signal(signal.SIGTERM)
            assert len(arrived) == count - 1
            signals.deliver()
            assert len(arrived) == count


def test_a_second_signal_acts_at_once(arrived: list[int]) -> None:
    with HeldSignals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert arrived == [signal.SIGINT]


def test_a_second_interrupt_does_not_wait() -> None:
    with HeldSignals():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(KeyboardInterrupt), HeldSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        signals.deliver()
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_without_a_signal_nothing_is_delivered(arrived: list[int]) -> None:
    with HeldSignals() as signals:
        signals.deliver()
    assert arrived == []


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with HeldSignals() as signals:
            signal.raise_signal(signal.SIGTERM)
            assert signals.pending is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_holds_nothing() -> None:
    found: list[bool] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with HeldSignals() as signals:
            found.append(signal.getsignal(signal.SIGINT) is before)
            signals.deliver()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
