"""Proxy PDUs, and the GATT services that carry them (MshPRT 6.3, 7.1, 7.2).

A Proxy PDU is the value of one write to Data In or of one notification of Data Out. Its first octet says which part of
a message it is (`sar`, the high two bits) and of what kind the message is (`kind`, the other six).
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from keywright.codec.record import U8, Record, Rest

COMPLETE: Final = 0b00
FIRST: Final = 0b01
CONTINUATION: Final = 0b10
LAST: Final = 0b11

NETWORK_PDU: Final = 0x00
MESH_BEACON: Final = 0x01
PROXY_CONFIGURATION: Final = 0x02
PROVISIONING_PDU: Final = 0x03
KINDS: Final = ("Network PDU", "Mesh Beacon", "Proxy Configuration", "Provisioning PDU")
"""What each kind of message is called."""

LEAST_MTU: Final = 23
"""ATT_MTU of every connection before it is exchanged (Bluetooth Core 6.0, Vol 3 Part F 3.2.8)."""
GOOD_MTU: Final = 69
"""ATT_MTU that carries a Public Key PDU in one piece; a server should have it (MshPRT 7.1.2)."""
_ATT_OVERHEAD: Final = 3
"""Opcode and handle of a write or a notification."""
_KIND_BITS: Final = 6


class Service(NamedTuple):
    """A GATT service of one characteristic in and one out, by their 16-bit UUIDs in hex."""

    uuid: str
    data_in: str
    data_out: str


PROVISIONING_SERVICE: Final = Service("1827", "2ADB", "2ADC")
"""Mesh Provisioning Service, of a device (MshPRT 7.1)."""
PROXY_SERVICE: Final = Service("1828", "2ADD", "2ADE")
"""Mesh Proxy Service, of a node; never beside the other (MshPRT 7.2)."""


class ProxyPdu(Record, frozen=True):
    """One Proxy PDU (MshPRT 6.3.1)."""

    header: U8
    data: Annotated[bytes, Rest()]

    @property
    def sar(self) -> int:
        """COMPLETE, FIRST, CONTINUATION or LAST."""
        return self.header >> _KIND_BITS

    @property
    def kind(self) -> int:
        """Kind of message, 0 to 63; 4 and above are reserved."""
        return self.header & (1 << _KIND_BITS) - 1


def proxy_pdus(kind: int, message: bytes, mtu: int) -> list[bytes]:
    """The Proxy PDUs that carry a message over a connection with this ATT_MTU, all but the last one full.

    Raises ValueError for an ATT_MTU below 23, which no connection has, and for a message without octets.
    """
    if mtu < LEAST_MTU:
        raise ValueError(f"ATT_MTU is {LEAST_MTU} or more, not {mtu}")
    if not message:
        raise ValueError("a message has at least one octet")
    room = mtu - _ATT_OVERHEAD - 1
    parts = [message[at : at + room] for at in range(0, len(message), room)]
    if len(parts) == 1:
        return [ProxyPdu(COMPLETE << _KIND_BITS | kind, message).build()]
    places = [FIRST, *[CONTINUATION] * (len(parts) - 2), LAST]
    return [ProxyPdu(sar << _KIND_BITS | kind, part).build() for sar, part in zip(places, parts, strict=True)]
