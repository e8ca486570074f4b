"""A lock with its memory, met over Bluetooth: documents, kept keys shared with NFC, revocation, power cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from keywright.aliro.access import Situation
from keywright.aliro.ble.door import Door
from keywright.aliro.ble.line import Carried
from keywright.aliro.ble.messages import NAMES
from keywright.aliro.ble.settings import Authenticated, ReaderSettings, Refused
from keywright.aliro.ble.user_device import Completed, ReaderRefused
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import Validity
from keywright.aliro.documents.revocation_data import APPEND, RevocationData, RevocationEntry, key_hash
from keywright.aliro.documents.verification import Trust
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.lock import Lock, Settings
from keywright.aliro.messages import ReaderStatus, Signaling
from keywright.aliro.profile import Interface
from keywright.aliro.reader import Dialogue, Opened
from keywright.aliro.simulated import SimulatedUserDevice
from keywright.aliro.user_device import Settings as DeviceSettings
from keywright.aliro.user_device import UserDevice
from keywright.iso7816.layers import transmit
from keywright.sansio.dialogue import drive
from keywright.store.memory import RamMemory
from support.aliro import fresh, key, reader, records, stream
from support.aliro_ble import Session

NOW = 1_790_000_000
ISSUER = CredentialIssuer(key("credential issuer"), stream("issuer"))
DOCUMENT = ISSUER.access_document(
    key("credential").public,
    {"door": AccessData(id=b"fob", rules=(AccessRule(Capability.UNSECURE),))},
    Validity(NOW - 60, NOW - 60, NOW + 3600),
)


class Field:
    """A link to a device in the field of a reader."""

    extended = False

    def __init__(self, device: SimulatedUserDevice) -> None:
        self.exchange = device.handle


class House:
    """A lock that is met over both interfaces, and a fob that has both."""

    def __init__(self, signaling: int = 0) -> None:
        self.now: int | None = NOW
        self.memory = RamMemory()
        self.kept = RamMemory()
        self.kept.commit({**records(signaling=signaling).kept, "access/0": DOCUMENT.build()})
        self.start()

    def start(self) -> None:
        """The lock begins anew with its memory."""
        trust = Trust.of((key("credential issuer").public,))
        self.lock = Lock(reader(), self.memory, trust, Settings(elements=("door",)))
        settings = ReaderSettings(reader(interface=Interface.BLE))
        self.door = Door(settings, stream("house"), self._decide, keys=self.lock.keys)

    def _decide(self, opened: Opened) -> Dialogue[int]:
        outcome = yield from self.lock.decide(opened, Situation(now=self.now))
        return outcome.status

    def device(self, interface: Interface) -> SimulatedUserDevice:
        """The fob, as that interface shows it."""
        one = UserDevice(DeviceSettings(interface=interface), lambda name: key(name.decode()), stream(f"{interface}"))
        return SimulatedUserDevice(one, self.kept)

    def by_bluetooth(self, seed: str, **how: Any) -> Session:
        """One session."""
        device = self.device(Interface.BLE)
        return Session(at=self.door, device=device, seed=seed, **how).run()

    def by_nfc(self, seed: str) -> bool:
        """Whether one transaction over NFC was enough by the fast phase."""
        field = Field(self.device(Interface.NFC))
        outcome = drive(self.lock.unlock(fresh(seed), Situation(now=self.now)), transmit(field))
        assert outcome.granted
        return outcome.is_fast


@pytest.mark.parametrize("signaling", [0, Signaling.SELECT_STEP_UP])
def test_an_access_document_is_shown_over_bluetooth_too(signaling: int) -> None:
    house = House(signaling)
    session = house.by_bluetooth("1")
    (authenticated,) = session.of_reader(Authenticated)
    assert authenticated.opened.credential == key("credential").public
    assert session.of_device(Completed)
    assert session.reader.ursk == session.device.ursk is not None
    again = house.by_bluetooth("2")
    assert again.of_reader(Authenticated)[0].opened.is_fast


def test_what_was_kept_over_one_interface_is_good_over_the_other_and_after_a_power_cut() -> None:
    house = House()
    assert not house.by_nfc("1")
    house.start()
    assert house.by_bluetooth("2").of_reader(Authenticated)[0].opened.is_fast
    house = House()
    assert not house.by_bluetooth("1").of_reader(Authenticated)[0].opened.is_fast
    house.start()
    assert house.by_nfc("2")


def test_a_document_that_has_expired_is_no_longer_enough() -> None:
    house = House()
    assert house.by_bluetooth("1").of_device(Completed)
    house.now = NOW + 7200
    session = house.by_bluetooth("2")
    assert session.of_reader(Refused) == [Refused(ReaderStatus.PUBLIC_KEY_EXPIRED)]
    assert session.of_device(ReaderRefused) == [ReaderRefused(ReaderStatus.PUBLIC_KEY_EXPIRED)]
    assert session.device.is_closed


def test_a_revoked_fob_is_refused_and_its_live_session_ended() -> None:
    house = House()
    session = house.by_bluetooth("1")
    entry = RevocationEntry(key_hash(key("credential").public))
    data = {"door": RevocationData(mode=APPEND, entries=(entry,))}
    killed = house.lock.take_revocations(
        ISSUER.revocation_document(data, Validity(NOW - 60, NOW - 60, NOW + 3600)), Situation(now=NOW)
    )
    assert killed == [key("credential").public]
    for credential in killed:
        house.door.end_sessions(credential)
    session.run(1.0)
    assert session.device.is_closed
    assert house.by_bluetooth("2").of_reader(Refused) == [Refused(ReaderStatus.PUBLIC_KEY_NOT_TRUSTED)]


@pytest.mark.parametrize("at", range(10))
def test_a_lock_that_loses_power_at_any_message_admits_the_fob_the_next_time(at: int) -> None:
    house = House()
    count = iter(range(1000))

    def alter(carried: Carried) -> Sequence[bytes]:
        assert (carried.octets[0], carried.octets[1]) in NAMES
        return (carried.octets,) if next(count) < at else ()

    house.by_bluetooth("1", alter=alter)
    house.start()
    assert house.by_bluetooth("2").of_device(Completed)


def test_the_interface_is_part_of_the_keys() -> None:
    house = House()
    session = Session(at=house.door, device=house.device(Interface.NFC)).run()
    assert session.reader.is_over
    assert not session.of_reader(Authenticated)
