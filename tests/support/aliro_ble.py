"""Readers, devices and lines for the tests of Aliro over Bluetooth, and a peer that shares no code with either end.

`Foreign` frames and seals by its own hand, with HKDF and AES-GCM of the library below.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keywright.aliro.ble.door import Door
from keywright.aliro.ble.gatt import Negotiated, Offer, accept, publish, select
from keywright.aliro.ble.line import Alter, Line
from keywright.aliro.ble.reader import ReaderEnd
from keywright.aliro.ble.settings import ReaderSettings
from keywright.aliro.ble.user_device import DeviceSettings, UserDeviceEnd
from keywright.aliro.cache import PersistentKeys
from keywright.aliro.messages import ReaderStatus
from keywright.aliro.profile import Interface
from keywright.aliro.reader import Dialogue, Opened
from keywright.aliro.simulated import SimulatedUserDevice
from keywright.aliro.user_device import Settings, UserDevice
from keywright.store.memory import RamMemory
from support.aliro import MemoryRecords, key, reader, records, stream

SPSM = 0x0080


def grant(_: Opened) -> Dialogue[int]:
    """Whoever is authenticated may."""
    return ReaderStatus.UNSECURED
    yield


def deny(_: Opened) -> Dialogue[int]:
    """Nobody may."""
    return ReaderStatus.ACCESS_RIGHTS
    yield


def simulated(memory: MemoryRecords | None = None, seed: str = "device", **settings: Any) -> SimulatedUserDevice:
    """A device with the credential of `support.aliro.records`."""
    kept = RamMemory()
    kept.commit(dict((memory or records()).kept))
    chosen = Settings(interface=Interface.BLE, **settings)
    return SimulatedUserDevice(UserDevice(chosen, lambda name: key(name.decode()), stream(seed)), kept)


def door(
    decide: Callable[[Opened], Dialogue[int]] = grant,
    keys: PersistentKeys | None = None,
    seed: str = "door",
    **settings: Any,
) -> Door:
    """A door of the reader of `support.aliro.reader`."""
    return Door(ReaderSettings(reader(interface=Interface.BLE), **settings), stream(seed), decide, keys=keys)


def negotiated(reader_offer: Offer | None = None, device_offer: Offer | None = None) -> tuple[Negotiated, Negotiated]:
    """What the reader and what the device have of the GATT service."""
    published = publish(reader_offer or Offer(), SPSM)
    _, written, device = select(published, device_offer or Offer())
    return accept(published, written), device


class Session:
    """A door, one device, and a line between them."""

    def __init__(
        self,
        *,
        decide: Callable[[Opened], Dialogue[int]] = grant,
        is_rke: bool = False,
        alter: Alter | None = None,
        offers: tuple[Negotiated, Negotiated] | None = None,
        reader_settings: dict[str, Any] | None = None,
        device_settings: DeviceSettings | None = None,
        device: SimulatedUserDevice | None = None,
        at: Door | None = None,
        keys: PersistentKeys | None = None,
        seed: str = "1",
        now: float = 0.0,
        latency_s: float = 0.02,
    ) -> None:
        self.door = at or door(decide, keys, f"door {seed}", **(reader_settings or {}))
        self.simulated = device or simulated(seed=f"device {seed}")
        of_reader, of_device = offers or negotiated()
        self.reader: ReaderEnd = self.door.connect(of_reader, now)
        self.device = UserDeviceEnd(
            self.simulated,
            of_device,
            now,
            random=stream(f"setup {seed}"),
            is_rke=is_rke,
            settings=device_settings,
        )
        alter = alter or (lambda carried: (carried.octets,))
        self.line = Line(self.reader, self.device, now=now, latency_s=latency_s, alter=alter)
        self.told: list[object] = []
        """Events of the reader."""
        self.heard: list[object] = []
        """Events of the device."""

    def run(self, seconds: float = 3.0, stop: Callable[[], bool] = lambda: False) -> Session:
        """Let so much time pass, and take the events."""
        self.line.run(self.line.now + seconds, stop)
        self.take()
        return self

    def take(self) -> None:
        """Take the events."""
        self.told += self.reader.events()
        self.heard += self.device.events()

    def of_reader(self, kind: type[Any]) -> list[Any]:
        """The reader's events of one kind; of ranging setup, what is inside."""
        return _of(self.told, kind)

    def of_device(self, kind: type[Any]) -> list[Any]:
        """The device's events of one kind."""
        return _of(self.heard, kind)


def _of(events: Sequence[object], kind: type[Any]) -> list[Any]:
    inside = [getattr(event, "event", event) for event in events]
    return [event for event in inside if isinstance(event, kind)]


class Foreign:
    """Frames and seals as the layout says, for one end; counters begin at 1."""

    def __init__(self, *, is_reader: bool) -> None:
        self._mode = 0 if is_reader else 1
        self._seal: AESGCM | None = None
        self._open: AESGCM | None = None
        self._sent = self._received = 0

    def protect(self, ble: bytes, salt: bytes = bytes.fromhex("01000100")) -> None:
        """Seal and open from now on."""
        reader, device = (
            AESGCM(HKDF(SHA256(), 32, salt, info).derive(ble)) for info in (b"BleSKReader", b"BleSKDevice")
        )
        self._seal, self._open = (reader, device) if self._mode == 0 else (device, reader)

    def build(self, protocol: int, number: int, payload: bytes) -> bytes:
        """One message as it travels."""
        if self._seal is not None and protocol:
            self._sent += 1
            head = struct.pack(">BBH", protocol, number, len(payload))
            payload = self._seal.encrypt(struct.pack(">QI", self._mode, self._sent), payload, head)
        return struct.pack(">BBH", protocol, number, len(payload)) + payload

    def parse(self, message: bytes) -> tuple[int, int, bytes]:
        """Protocol, id and payload in clear."""
        protocol, number, size = struct.unpack(">BBH", message[:4])
        assert len(message) == 4 + size
        payload = message[4:]
        if self._open is not None and protocol:
            self._received += 1
            head = struct.pack(">BBH", protocol, number, size - 16)
            payload = self._open.decrypt(struct.pack(">QI", 1 - self._mode, self._received), payload, head)
        return protocol, number, payload
