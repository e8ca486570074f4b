"""A fob walks up to a door: what the door measures, and whom it opens for."""

from __future__ import annotations

import hashlib

import pytest

from keywright.aliro.access import Situation
from keywright.aliro.credential import GroupRecord
from keywright.aliro.documents.verification import Trust
from keywright.aliro.lock import Lock
from keywright.aliro.messages import EXPEDITED_AID, STEP_UP_AID
from keywright.aliro.profile import Interface
from keywright.crypto.ec import EcPublicKey
from keywright.element import SecureElement
from keywright.fob.aliro import host
from keywright.fob.aliro.applet import AliroApplet, Wiring
from keywright.fob.aliro.messages import Credential, Dgi
from keywright.fob.approach import Arrivals, RadioFob, Relay, approach
from keywright.globalplatform.host import Dialogue, secured
from keywright.iso7816.layers import complete
from keywright.sansio.dialogue import drive, through
from keywright.store import RamMemory
from support.aliro import GROUP, key, reader, stream
from support.cards import Terminal, element

NOW = Situation(now=1_790_000_000)


class Door:
    """A lock that knows one fob, and that fob."""

    def __init__(self) -> None:
        self.wiring = Wiring()
        applets = [AliroApplet(aid, stream(aid.hex()), wiring=self.wiring) for aid in (EXPEDITED_AID, STEP_UP_AID)]
        self.here = Terminal(element(applets=applets))
        point = self.line(host.generate_key_pair(0))
        assert isinstance(point, bytes)
        credential = Credential(0, (GroupRecord(GROUP, key("reader").public.point),), b"")
        self.line(host.store(0, {Dgi.CREDENTIAL: credential.build()}, size=200))
        self.memory = RamMemory()
        self.names = {EcPublicKey.from_point("P-256", point): "Ada"}

    def line(self, dialogue: Dialogue[object]) -> object:
        self.here.select(EXPEDITED_AID)
        session = self.here.authenticate()
        return drive(through(secured(session.host, dialogue), complete), self.here.exchange)

    def lock(self) -> Lock:
        return Lock(reader(interface=Interface.BLE), self.memory, Trust.of(()), registered=self.names)

    def meet(self, distance_m: float, relay: Relay | None = None, seed: str = "meet") -> Arrivals:
        fob: SecureElement = self.here.card
        return approach(self.lock(), RadioFob(fob, self.wiring), NOW, stream(seed), distance_m=distance_m, relay=relay)


def test_a_fob_that_is_near_opens_the_door_and_the_next_time_fast() -> None:
    door = Door()
    first, second = door.meet(1.2), door.meet(1.2, seed="again")
    for came in (first, second):
        assert came.opened
        assert came.decision is not None
        assert came.distances == pytest.approx((1.2, 1.2, 1.2), abs=0.02)
    assert first.decision is not None
    assert second.decision is not None
    assert (first.decision.is_fast, second.decision.is_fast) == (False, True)


@pytest.mark.parametrize("distance_m", [2.5, 10.0, 40.0])
def test_a_fob_that_is_farther_is_known_and_measured_and_stays_out(distance_m: float) -> None:
    came = Door().meet(distance_m)
    assert not came.opened
    assert came.decision is not None
    assert came.decision.granted
    assert len(came.distances) > 3
    assert came.distances == pytest.approx([distance_m] * len(came.distances), abs=0.02)


@pytest.mark.parametrize("delay_s", [0.0, 5e-9, 200e-9])
def test_a_relay_adds_to_the_distance_and_never_takes_from_it(delay_s: float) -> None:
    came = Door().meet(40.0, Relay(delay_s))
    assert not came.opened
    assert min(came.distances) == pytest.approx(40.0 + delay_s * 299_792_458, abs=0.02)
    assert "too far" in came.reason


def test_a_fob_that_is_not_registered_is_refused_before_any_pulse() -> None:
    door = Door()
    door.names.clear()
    came = door.meet(1.2)
    assert (came.opened, came.distances) == (False, ())
    assert came.decision is not None
    assert "not registered" in came.reason


def test_a_fob_for_another_reader_ends_in_a_reason() -> None:
    door = Door()
    other = Credential(0, (GroupRecord(hashlib.sha256(b"x").digest()[:16], key("reader").public.point),), b"")
    door.line(host.store(0, {Dgi.CREDENTIAL: other.build()}, size=200))
    came = door.meet(1.2)
    assert (came.opened, came.decision) == (False, None)
    assert came.reason


def test_over_nfc_the_same_fob_has_other_keys() -> None:
    door = Door()
    door.meet(1.2)
    assert door.wiring.interface is Interface.NFC
    kept = door.memory.load("kept")
    assert kept
