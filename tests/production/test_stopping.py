"""SIGTERM and SIGHUP end long work as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from keywright.production.stopping import ToldToStop, stoppable


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_raised_and_another_waits_for_the_end(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    ended = []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            ended.append(number)

    with pytest.raises(ToldToStop) as told, stoppable():
        work()
    assert ended == [told.value.number] == [number]
    assert isinstance(told.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_changes_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with stoppable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
