"""The line gives back every key object that it was handed: in a token each of them is an object that takes room."""

from __future__ import annotations

from typing import Any, cast

import pytest

from keywright.errors import LinkError
from keywright.production.engine import Engine
from keywright.production.keystores.keystore import Keystore, KeystoreBusyError, KeystoreLostError
from support.bench import Bench, Tamper, untouched
from support.engine import EXCHANGES, SESSIONS, LedgerBrake, Time, at, states
from support.ledger import FOB, Ledger, keystore

SERIAL = "K-000001"
OPENINGS = SESSIONS
"""Card cryptograms checked for an undisturbed unit."""


class Room:
    """What is open now, and what happens at which opening."""

    def __init__(self, failures: dict[int, LinkError] | None = None) -> None:
        self.open: list[str] = []
        self.openings = 0
        self.most = 0
        self.failures = failures or {}

    def enter(self, what: str) -> None:
        self.open.append(what)
        self.most = max(self.most, len(self.open))


class Counted:
    """A keystore, keys, an opening or a session: stands in the room until it is closed."""

    def __init__(self, real: Any, what: str, room: Room) -> None:
        self.real = real
        self._what = what
        self._room = room
        room.enter(what)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def close(self) -> None:
        self.real.close()
        if self._what in self._room.open:
            self._room.open.remove(self._what)

    def card_keys(self, *args: Any, **more: Any) -> Counted:
        return Counted(self.real.card_keys(*args, **more), "keys", self._room)

    def open(self, *args: Any, **more: Any) -> Counted:
        self._room.openings += 1
        if self._room.openings in self._room.failures:
            raise self._room.failures[self._room.openings]
        return Counted(self.real.open(*args, **more), "opening", self._room)

    def wrap_for(self, session: Any, **more: Any) -> Any:
        return self.real.wrap_for(session.real, **more)

    def authenticate(self, *args: Any, **more: Any) -> tuple[Counted, Any]:
        session, command = self.real.authenticate(*args, **more)
        self._room.open.remove("opening")
        return Counted(session, "session", self._room), command


def worked(room: Room, tamper: Tamper = untouched) -> tuple[Ledger, Bench]:
    """One unit, run by the engine with a keystore whose objects are counted."""
    ledger, bench, time = Ledger.of(FOB, SERIAL), Bench(tamper=tamper), Time()
    held = cast("Keystore", Counted(keystore(), "keystore", room))
    brake = LedgerBrake(ledger)
    engine = Engine(ledger.as_store(), bench, iter([ledger.job(keys=held)]), brake=brake, clock=time, sleep=time.sleep)
    engine.run()
    engine.close()
    return ledger, bench


def test_nothing_stays_open_after_a_unit_and_there_is_one_session_at_a_time() -> None:
    room = Room()
    ledger, _ = worked(room)
    assert states(ledger) == {SERIAL: "sealed"}
    assert room.open == ["keystore"]
    assert room.most == 4, "the keystore, factory and own keys, and one opening or session"


@pytest.mark.parametrize("number", range(1, EXCHANGES + 1))
def test_nothing_stays_open_after_a_lost_answer(number: int) -> None:
    room = Room()
    worked(room, at(number, LinkError("the answer was lost", None)))
    assert room.open == ["keystore"]
    assert room.most <= 4


@pytest.mark.parametrize("error", [KeystoreLostError, KeystoreBusyError])
@pytest.mark.parametrize("opening", range(1, OPENINGS + 1))
def test_a_keystore_that_goes_away_at_any_opening_costs_no_unit(opening: int, error: type[LinkError]) -> None:
    room = Room({opening: error("the client has ended", False)})
    ledger, bench = worked(room)
    assert states(ledger) == {SERIAL: "sealed"}
    assert sum(command[1] == 0xD8 for command in bench.sent[SERIAL]) == 1
    assert room.open == ["keystore"]
    assert room.openings > OPENINGS
