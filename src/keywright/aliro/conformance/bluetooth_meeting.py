"""A session over Bluetooth in memory: our two ends, a line, an owner who opens, and somebody on the line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, final

from keywright.aliro.ble.approach import Approached, Distance
from keywright.aliro.ble.channel import MessageChannel, Versions
from keywright.aliro.ble.door import Door
from keywright.aliro.ble.ends import Closed
from keywright.aliro.ble.gatt import Offer, accept, publish, select
from keywright.aliro.ble.line import Carried, Line
from keywright.aliro.ble.messages import Envelope, RkeAction
from keywright.aliro.ble.reader import ReaderEnd
from keywright.aliro.ble.settings import ReaderSettings, RkeRequested
from keywright.aliro.ble.user_device import UserDeviceEnd
from keywright.aliro.conformance import own
from keywright.aliro.keys import DerivationKey
from keywright.aliro.messages import ReaderStatus
from keywright.aliro.profile import Interface
from keywright.aliro.reader import Dialogue, Opened
from keywright.aliro.user_device import Settings

SPSM: Final = 0x0080
NOW: Final = 1_800_000_000
"""When the documents of the device were signed; no clock is read."""
PUBLISHED: Final = publish(Offer(), SPSM)
"""What the reader's GATT service says."""
_PATIENCE_S: Final = 60.0
"""Longer than any end waits for anything."""
_NEAR: Final = (0.5, 0.5, 0.5)
"""Metres, of three rounds."""
_ENDS: Final = 2

Change: TypeAlias = "Callable[[Meeting, Carried], Sequence[bytes]]"
"""What becomes of one message: the octets that arrive in its place."""


@final
class Meeting:
    """A door, one device, and a line between them; its owner opens for whoever is near, or asks from afar."""

    def __init__(
        self,
        seed: str,
        *,
        at: int = -1,
        change: Change | None = None,
        rke: bool = False,
        published: bytes = PUBLISHED,
        insider: bool = False,
    ) -> None:
        """at: the message that is changed, counted from 0. change: how, None if nothing is.

        published: what the device reads of the reader's GATT service. insider: sealed messages are opened before they
        are changed, and sealed anew: the work of a peer that has the keys.
        """
        self.rke = rke
        self.unlocked = 0
        self.whys: dict[str, str] = {}
        """Why each end has ended."""
        self.arrived: list[tuple[str, bytes]] = []
        """What came to the ends, and from whom it said it was."""
        self._at, self._change = at, change
        device = own.device(_stream(f"{seed} device"), NOW, Settings(interface=Interface.BLE))
        _, written, of_device = select(published, Offer())
        of_reader = accept(PUBLISHED, written)
        self._insider = _Insider(of_reader.versions) if insider else None
        door = Door(ReaderSettings(own.bench(Interface.BLE).reader), _stream(f"{seed} door"), _everybody)
        self.reader: ReaderEnd = door.connect(of_reader, 0.0)
        self.device = UserDeviceEnd(device, of_device, 0.0, random=_stream(f"{seed} setup"), is_rke=rke)
        self.line = Line(self.reader, self.device, alter=self._carry)

    def run(self) -> None:
        """Let the session go on until nothing more can come of it."""
        self.line.run(2.0)
        self._act()
        self.line.run(_PATIENCE_S)
        self._look()

    def send_back(self, carried: Carried) -> Sequence[bytes]:
        """Give a message to the end that it is from, and to no other."""
        (self.reader if carried.from_reader else self.device).receive(carried.octets, self.line.now)
        return ()

    def _carry(self, carried: Carried) -> Sequence[bytes]:
        number = len(self.line.carried) - 1
        if self._insider is not None and self.reader.opened is not None and self.reader.opened.ble is not None:
            octets = self._insider.carry(self.reader.opened.ble, carried, lambda one: self._changed(number, one))
            carried = carried._replace(octets=octets)
            self.arrived.append(("reader" if carried.from_reader else "device", octets))
            return (octets,)
        arriving = (carried.octets,) if self._change is None or number != self._at else self._change(self, carried)
        self.arrived += [("reader" if carried.from_reader else "device", octets) for octets in arriving]
        return arriving

    def _changed(self, number: int, octets: bytes) -> bytes:
        """A message in clear with what an insider does to it."""
        if self._change is None or number != self._at:
            return octets
        return b"".join(self._change(self, Carried(0.0, False, octets)))

    def _act(self) -> None:
        """What an owner does: measure where both ends range, ask where the device is open."""
        setups = [end.setup for end in (self.reader, self.device) if end.setup and end.setup.state == "ranging"]
        if len(setups) == _ENDS and self.reader.ursk == self.device.ursk:
            for number, metres in enumerate(_NEAR):
                self.reader.measured(Distance(metres), self.line.now + number / 10)
        if self.rke and self.device.phase == "open":
            self.device.request_rke(RkeAction.UNSECURE, self.line.now)

    def _look(self) -> None:
        for name, end in (("reader", self.reader), ("device", self.device)):
            for event in end.events():
                if isinstance(event, Closed):
                    self.whys[name] = event.why
                elif isinstance(event, Approached | RkeRequested):
                    self.unlocked += 1


@final
class _Insider:
    """Opens and seals as both ends do, with the keys that they agreed on."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._channels: dict[bool, tuple[MessageChannel, MessageChannel]] = {}

    def carry(self, ble: DerivationKey, carried: Carried, change: Callable[[bytes], bytes]) -> bytes:
        """The message as it travels on."""
        if not self._channels:
            for from_reader in (True, False):
                pair = MessageChannel(is_reader=not from_reader), MessageChannel(is_reader=from_reader)
                for channel in pair:
                    channel.protect(ble, self._versions)
                self._channels[from_reader] = pair
        receiver, sender = self._channels[carried.from_reader]
        clear = receiver.open(Envelope.parse(carried.octets))
        return sender.seal(Envelope.parse(change(clear.build())))


def _everybody(_: Opened) -> Dialogue[int]:
    return ReaderStatus.UNSECURED
    yield


def _stream(seed: str) -> Callable[[int], bytes]:
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"keywright bluetooth {seed} {count}".encode()).digest(size)

    return draw
