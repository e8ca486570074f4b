"""A fob walks up to a door: Aliro over Bluetooth, then ranging by UWB, in virtual time.

Both ends are those that real radios would carry (`aliro.ble`, `uwb.ranging`); here a line in memory carries the
messages and a virtual air the pulses, with the speed of light. A relay is somebody with two radios who carries both
from the fob to the door: it changes no message, and adds the way and its own delay to every packet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import msgspec

from keywright.aliro.access import Situation
from keywright.aliro.ble.approach import Approached, Distance
from keywright.aliro.ble.door import Door
from keywright.aliro.ble.ends import Closed, Ranging
from keywright.aliro.ble.gatt import Negotiated, Offer, accept, publish, select
from keywright.aliro.ble.line import Line
from keywright.aliro.ble.messages import Source, State
from keywright.aliro.ble.reader import ReaderEnd
from keywright.aliro.ble.settings import ReaderSettings, Refused
from keywright.aliro.ble.user_device import Responding, UserDeviceEnd
from keywright.aliro.lock import Lock, Outcome
from keywright.aliro.profile import Interface
from keywright.aliro.reader import Dialogue, Opened
from keywright.aliro.session import Session
from keywright.crypto.aes import AesKey
from keywright.errors import LinkError
from keywright.fob.aliro.applet import Wiring
from keywright.sansio.responder import Device
from keywright.uwb.air import Arrival, Clock, Station, UwbAir
from keywright.uwb.ranging.events import Measured
from keywright.uwb.ranging.initiator import Initiator
from keywright.uwb.ranging.radio import Transmission
from keywright.uwb.ranging.responder import Responder
from keywright.uwb.setup.ends import Agreed
from keywright.uwb.setup.terms import Terms
from keywright.uwb.twr import LIGHT_M_PER_S

_SPSM: Final = 0x0080
_ACCESS_S: Final = 8.0
"""Virtual seconds for access protocol and setup."""
_RANGING_S: Final = 1.5


class Relay(msgspec.Struct, frozen=True):
    """Somebody between fob and door."""

    delay_s: float = 200e-9
    """That its radios need for every packet, besides the way."""


class Arrivals(msgspec.Struct, frozen=True):
    """How an approach ended."""

    opened: bool
    reason: str
    """In words."""
    distances: tuple[float, ...] = ()
    """Metres, round by round, as the door measured them."""
    decision: Outcome | None = None
    """Of the access protocol; None if it was not completed."""


@final
class RadioFob:
    """The fob as its radio sees it: APDUs go to the element, keys come over the wiring."""

    def __init__(self, element: Device, wiring: Wiring) -> None:
        self._element = element
        self._wiring = wiring

    @property
    def session(self) -> Session:
        """The transaction under way."""
        return self._wiring.session

    def handle(self, request: bytes, /) -> bytes:
        """The element's answer to an APDU that came over Bluetooth."""
        self._wiring.interface = Interface.BLE
        try:
            return self._element.handle(request)
        finally:
            self._wiring.interface = Interface.NFC

    def reset(self) -> None:
        """The transaction is over."""
        self._element.reset()


def approach(
    lock: Lock,
    fob: Responding,
    situation: Situation,
    random: Callable[[int], bytes],
    *,
    distance_m: float,
    relay: Relay | None = None,
) -> Arrivals:
    """Bring a fob to `distance_m` before the door and see what the door does. Raises StoreError, LinkError.

    lock: its reader's interface is Bluetooth. random: so many bytes.
    """
    decided: list[Outcome] = []

    def decide(opened: Opened) -> Dialogue[int]:
        outcome = yield from lock.decide(opened, situation)
        decided.append(outcome)
        return outcome.status

    door = Door(ReaderSettings(lock.reader), random, decide, keys=lock.keys)
    of_reader, of_fob = _negotiated()
    reader = door.connect(of_reader, 0.0)
    device = UserDeviceEnd(fob, of_fob, 0.0, random=random)
    line = Line(reader, device)
    told: list[object] = []
    heard: list[object] = []

    def is_agreed() -> bool:
        told.extend(reader.events())
        heard.extend(device.events())
        return _terms(told) is not None and _terms(heard) is not None

    line.run(_ACCESS_S, is_agreed)
    is_agreed()
    decision = decided[-1] if decided else None
    terms = _terms(told)
    if terms is None or decision is None or decision.ursk is None:
        return Arrivals(opened=False, reason=_why(told, decision), decision=decision)
    ursk = AesKey(decision.ursk.reveal(), "URSK")
    survivors = fob.session.survivors
    if survivors is None:
        raise LinkError("the fob's element has no key for ranging", delivered=True)
    distances = _range(terms, ursk, AesKey(survivors.ursk.reveal(), "URSK"), distance_m, relay)
    return _judge(door, reader, line.now, decision, distances)


def _judge(door: Door, reader: ReaderEnd, now: float, decision: Outcome, distances: Sequence[float]) -> Arrivals:
    """Give the distances to the door's end, which says when the device is near."""
    for number, metres in enumerate(distances):
        reader.measured(Distance(metres), now + number * 0.1)
        if any(isinstance(event, Approached) for event in reader.events()):
            door.set_state(State.UNSECURED, Source.THIS_DEVICE_RANGING, by=reader)
            near = tuple(distances[: number + 1])
            return Arrivals(opened=True, reason=f"near: {metres:.2f} m", distances=near, decision=decision)
    if not distances:
        return Arrivals(opened=False, reason="no distance was measured", decision=decision)
    nearest = min(distances)
    return Arrivals(
        opened=False, reason=f"too far: {nearest:.2f} m at the nearest", distances=tuple(distances), decision=decision
    )


def _range(terms: Terms, door_key: AesKey, fob_key: AesKey, distance_m: float, relay: Relay | None) -> list[float]:
    """Distances that the door measures; the fob's clock is 8 ppm fast, the door's 5 ppm slow."""

    def medium(sender: Station, receiver: Station, packet: Transmission, _: float) -> Sequence[Arrival]:
        del sender, receiver
        delay = distance_m / LIGHT_M_PER_S + (relay.delay_s if relay else 0.0)
        return (Arrival(delay, packet.octets),)

    air = UwbAir(lambda: 0.5, medium=medium)
    air.join(Initiator(fob_key, terms), (distance_m, 0.0, 0.0), Clock(8_000))
    responder = Responder(door_key, terms, 0)
    air.join(responder, (0.0, 0.0, 0.0), Clock(-5_000))
    air.run(terms.uwb_time0 / 1e6 + _RANGING_S)
    return [event.distance_m for event in responder.events() if isinstance(event, Measured)]


def _negotiated() -> tuple[Negotiated, Negotiated]:
    published = publish(Offer(), _SPSM)
    _, written, of_fob = select(published, Offer())
    return accept(published, written), of_fob


def _terms(events: Sequence[object]) -> Terms | None:
    inside = [event.event for event in events if isinstance(event, Ranging)]
    return next((event.terms for event in inside if isinstance(event, Agreed)), None)


def _why(events: Sequence[object], decision: Outcome | None) -> str:
    if decision is not None and not decision.granted:
        return decision.reason
    for event in events:
        if isinstance(event, Refused):
            return f"refused with {event.status:04X}"
        if isinstance(event, Closed):
            return event.why
    return "ranging was not agreed on in time"
