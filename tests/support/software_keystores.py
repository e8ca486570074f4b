"""What the tests of the software keystore share: its day, its draws, a session of it, and a death at a chosen call."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime

from keywright.production.keystores.fresh_keys import fresh_entries
from keywright.production.keystores.keystore import Diversified, FactorySet
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import external_authenticate
from keywright.scp.scp03.host import request_challenge
from keywright.scp.session import HostSession
from support.cards import Terminal, element

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KDD = bytes(range(10))
UNIT = Diversified("issuer", "sp800-108", b"unit", 16)


def clock() -> float:
    """The day on which the keystores of these tests are made."""
    return NOW.timestamp()


def counting() -> Callable[[int], bytes]:
    """Different bytes at each call, the same in each run."""
    numbers = itertools.count(1)
    return lambda size: bytes((next(numbers) * 37 + i * 11) % 256 for i in range(size))


def master(name: str) -> bytes:
    """A master of the keystore that `counting` makes: create draws the unlock key and the id first."""
    rng = counting()
    rng(32)
    rng(16)
    return next(entry.secret for entry in fresh_entries(NOW, rng) if entry.name == name)


def session_of(keystore: SoftwareKeystore) -> HostSession:
    """A session that a keystore opened with the GlobalPlatform test keys."""
    terminal, challenge = Terminal(element()), bytes(8)
    answer = drive(request_challenge(challenge), terminal.exchange)
    opening = keystore.card_keys(FactorySet("gp-test", answer.kdd)).open(challenge, answer)
    return drive(external_authenticate(opening), terminal.exchange)


def die_at(name: str, nth: int) -> None:
    real = getattr(os, name)
    calls = itertools.count(1)

    def dying(*args: object, **kwargs: object) -> object:
        if next(calls) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(os, name, dying)
