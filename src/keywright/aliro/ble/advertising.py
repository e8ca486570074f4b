"""How a reader is found: service data with a dynamic tag that only holders of its group see through (11.3, 11.4).

Clock values are seconds since 1970, UTC; an address is the six octets of AdvA in printed order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple, final

from keywright.codec.record import U8, U32, Record, raw
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.errors import DecodeError

SERVICE_DATA: Final = bytes.fromhex("16F2FF")
"""AD type and service UUID FFF2 (little-endian), as they begin the AD structure."""
NO_CLOCK: Final = 0xFFFFFFFF
"""Expiry of a reader that does not know the time."""
VALIDITY_S: Final = 900
TAG_BYTES: Final = 7
ADDRESS_BYTES: Final = 6
GROUP_BYTES: Final = 8
"""Octets of the reader group identifier that are advertised; of the sub-identifier two."""


class Flag:
    """Bits of the first octet; b5 and b4 are a notification or error, b3 to b1 the version."""

    RANGING_FLOW: Final = 0x80
    """Bluetooth with UWB."""
    BLE_FLOW: Final = 0x40
    """Bluetooth alone: remote keyless entry."""
    VERSION: Final = 0x07


class ServiceData(Record, frozen=True):
    """What a reader advertises, 24 octets."""

    flags: U8
    tx_power: U8
    """dBm in two's complement; `power_dbm`."""
    group: Annotated[bytes, raw(GROUP_BYTES)]
    """The first octets of reader_group_identifier."""
    sub_group: Annotated[bytes, raw(2)]
    """The first octets of reader_group_sub_identifier."""
    expiry: U32
    """Until when the tag is good; `NO_CLOCK`."""
    reserved: U8
    tag: Annotated[bytes, raw(TAG_BYTES)]

    @property
    def power_dbm(self) -> int:
        """Transmit power, signed."""
        return (self.tx_power ^ 0x80) - 0x80

    @property
    def version(self) -> int:
        """Version of the advertisement."""
        return self.flags & Flag.VERSION


def dynamic_tag(resolving_key: AesKey, address: bytes, expiry: int) -> bytes:
    """The tag of an address until an expiry, 7 octets. Raises ValueError for an address of another size."""
    if len(address) != ADDRESS_BYTES:
        raise ValueError(f"an address has {ADDRESS_BYTES} octets, not {len(address)}")
    return resolving_key.encrypt_blocks(bytes(6) + address + expiry.to_bytes(4))[:TAG_BYTES]


def address_bytes(text: str) -> bytes:
    """The octets of an address as Bluetooth tools print it, C4:BB:86:C3:27:10 or with /P behind. Raises DecodeError."""
    try:
        octets = bytes.fromhex(text.partition("/")[0].replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != ADDRESS_BYTES:
        raise DecodeError(f"{text!r} is not a Bluetooth address", hint="write it as C4:BB:86:C3:27:10")
    return octets


@final
class Advertiser:
    """What one reader advertises, and until when. A new tag is made at half of the old one's validity."""

    def __init__(
        self,
        reader_identifier: bytes,
        resolving_key: AesKey,
        *,
        flags: int = Flag.RANGING_FLOW | Flag.BLE_FLOW,
        tx_power_dbm: int = 0,
        validity_s: int = VALIDITY_S,
    ) -> None:
        """reader_identifier: 32 octets. Raises ValueError for another size, and for what cannot be advertised."""
        if len(reader_identifier) != 32:
            raise ValueError(f"a reader identifier has 32 octets, not {len(reader_identifier)}")
        if validity_s < 2 or not -128 <= tx_power_dbm <= 127:
            raise ValueError(f"a tag good for {validity_s} s at {tx_power_dbm} dBm: 2 s or more, -128 to 127 dBm")
        self._group, self._sub_group = reader_identifier[:GROUP_BYTES], reader_identifier[16:18]
        self._key = resolving_key
        self._flags = flags
        self._power = tx_power_dbm & 0xFF
        self._validity_s = validity_s
        self._address = b""
        self._expiry = 0
        self._data: ServiceData | None = None

    def data(self, address: bytes, clock: float | None) -> ServiceData:
        """What to advertise now. clock: None where the time is not known; whatever it jumps by, the tag is good."""
        fresh = self._data
        if fresh is None or address != self._address or not self._is_good(clock):
            self._address, self._expiry = address, NO_CLOCK
            if clock is not None:
                self._expiry = min(int(clock) + self._validity_s, NO_CLOCK - 1)
            tag = dynamic_tag(self._key, address, self._expiry)
            fresh = ServiceData(self._flags, self._power, self._group, self._sub_group, self._expiry, 0, tag)
            self._data = fresh
        return fresh

    def refresh(self) -> int | None:
        """Clock value at which `data` is due again; None: not before address or clock change."""
        if self._data is None or self._expiry == NO_CLOCK:
            return None
        return self._expiry - self._validity_s // 2

    def _is_good(self, clock: float | None) -> bool:
        if clock is None or self._expiry == NO_CLOCK:
            return clock is None and self._expiry == NO_CLOCK
        # A clock that was put back would leave a tag good for longer than it may be.
        return self._validity_s // 2 < self._expiry - clock <= self._validity_s + 1


def ad_structure(data: ServiceData) -> bytes:
    """The AD structure, 28 octets: with the three of the flags, an advertisement is full."""
    body = SERVICE_DATA + data.build()
    return bytes((len(body),)) + body


class Group(NamedTuple):
    """A reader group that a device has a credential for."""

    identifier: bytes
    """reader_group_identifier, 16 octets."""
    resolving_key: AesKey


def parse_advertisement(ad_structures: bytes) -> ServiceData | None:
    """The service data of a reader in an advertisement, None if there is none that can be read. Total."""
    at = 0
    while at < len(ad_structures):
        size = ad_structures[at]
        body = ad_structures[at + 1 : at + 1 + size]
        if len(body) == size and body.startswith(SERVICE_DATA):
            try:
                return ServiceData.parse(body[len(SERVICE_DATA) :])
            except DecodeError:
                return None
        at += 1 + size
    return None


def resolve(
    data: ServiceData,
    address: bytes,
    groups: Iterable[Group],
    clock: float | None,
    *,
    accepts_no_clock: bool = True,
) -> Group | None:
    """Which of the groups the reader at this address belongs to, None if to none.

    clock: None where the time is not known. A tag that has expired is nobody's: it may have been recorded.
    accepts_no_clock: whether a reader without a clock is looked at; its tag can be replayed for ever.
    """
    if data.expiry == NO_CLOCK:
        if not accepts_no_clock:
            return None
    elif clock is not None and data.expiry < clock:
        return None
    for group in groups:
        if group.identifier[:GROUP_BYTES] == data.group and equal(
            dynamic_tag(group.resolving_key, address, data.expiry), data.tag
        ):
            return group
    return None
