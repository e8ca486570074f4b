"""The GATT service of a reader: where its L2CAP channel is, and which version both ends speak (Aliro 1.0 11.5).

No pairing; whoever is near may read and write it. What was negotiated goes into the keys that seal the messages.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keywright.aliro.ble.channel import Versions
from keywright.codec.record import U16, Record, prefixed
from keywright.errors import DecodeError, PolicyError

SERVICE: Final = "FFF2"
SPSM_CHARACTERISTIC: Final = "D3B5A130-9E23-4B3A-8BE4-6B1EE5F980A3"
"""To be read: `ReaderChannel`."""
VERSION_CHARACTERISTIC: Final = "BD4B9502-3F54-11EC-B919-0242AC120005"
"""To be written before the channel is opened: `SelectedVersion`."""
LEAST_SPSM: Final = 0x0080
LAST_SPSM: Final = 0x00FF
"""PSMs for L2CAP channels that a device gives out itself (Bluetooth Core, Vol 3 Part A 4.22)."""
V1_0: Final = 0x0100


class Feature:
    """Bits of the supported features, in the last octet."""

    TIME_SYNC_0: Final = 0x01
    """Time sync procedure 0."""
    TIME_SYNC_1: Final = 0x02
    CODED_PHY: Final = 0x04


class ReaderChannel(Record, frozen=True):
    """Value of the SPSM characteristic."""

    spsm: U16
    versions: Annotated[tuple[U16, ...], prefixed(1)]
    """The reader's versions of the Bluetooth and UWB protocol."""
    features: Annotated[bytes, prefixed(1)]
    """Bits of `Feature`, the last octet the lowest."""

    def published(self) -> bytes:
        """The versions as they lie in the value; they go into the keys."""
        return b"".join(version.to_bytes(2) for version in self.versions)


class SelectedVersion(Record, frozen=True):
    """Value of the version characteristic."""

    version: U16
    features: Annotated[bytes, prefixed(1)]
    """What both ends have."""


class Offer(msgspec.Struct, frozen=True):
    """What an end speaks."""

    versions: tuple[int, ...] = (V1_0,)
    """The best first."""
    features: int = Feature.TIME_SYNC_0 | Feature.TIME_SYNC_1


class Negotiated(msgspec.Struct, frozen=True):
    """What both ends go on with."""

    versions: Versions
    features: int
    """Bits of `Feature` that both have."""


def publish(offer: Offer, spsm: int) -> bytes:
    """Value of the SPSM characteristic. Raises ValueError for a PSM that is none for this."""
    if not LEAST_SPSM <= spsm <= LAST_SPSM:
        raise ValueError(f"SPSM {spsm:04X} is not one of {LEAST_SPSM:04X} to {LAST_SPSM:04X}")
    return ReaderChannel(spsm, offer.versions, bytes((offer.features,))).build()


def select(published: bytes, offer: Offer) -> tuple[int, bytes, Negotiated]:
    """The device's side: the SPSM, the value to write, and what follows.

    Raises DecodeError for a value that is none, PolicyError without a common version.
    """
    reader = ReaderChannel.parse(published)
    if not LEAST_SPSM <= reader.spsm <= LAST_SPSM:
        raise DecodeError(f"SPSM {reader.spsm:04X} is not one of {LEAST_SPSM:04X} to {LAST_SPSM:04X}")
    version = next((one for one in offer.versions if one in reader.versions), None)
    if version is None:
        raise PolicyError(
            f"no common version for Bluetooth: the reader has {_listed(reader.versions)}, "
            f"the device {_listed(offer.versions)}",
            hint="update the end with the older version",
        )
    features = int.from_bytes(reader.features) & offer.features
    value = SelectedVersion(version, bytes((features,))).build()
    return reader.spsm, value, Negotiated(Versions(reader.published(), version), features)


def accept(published: bytes, written: bytes) -> Negotiated:
    """The reader's side: what the device wrote to the version characteristic.

    Raises DecodeError for a value that is none, PolicyError for a version that was not offered.
    """
    reader, device = ReaderChannel.parse(published), SelectedVersion.parse(written)
    if device.version not in reader.versions:
        raise PolicyError(
            f"the device chose version {device.version:04X}; offered were {_listed(reader.versions)}",
            hint="the device must choose one of the versions that the SPSM characteristic lists",
        )
    features = int.from_bytes(reader.features) & int.from_bytes(device.features)
    return Negotiated(Versions(reader.published(), device.version), features)


def _listed(versions: tuple[int, ...]) -> str:
    return ", ".join(f"{version:04X}" for version in versions) or "none"
