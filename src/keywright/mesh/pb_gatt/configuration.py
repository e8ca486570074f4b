"""Proxy Configuration messages and the filter that they set (MshPRT 6.4, 6.5), for both ends.

A message is an opcode and its parameters, integers big-endian; it travels as a control message to no address, sealed
under the NetKey with a nonce of its own. The filter says which network PDUs the proxy gives to its client.
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, final

from keywright.codec.record import U8, U16, Record
from keywright.errors import AuthenticationError, DecodeError
from keywright.mesh.network.keyring import Keyring
from keywright.mesh.network.keys import NetKey
from keywright.mesh.network.pdu import PROXY, UNASSIGNED, NetworkPdu, open_network, seal_network, sent_under

ACCEPT: Final = 0x00
"""Filter type: the addresses that pass. A new connection has such a filter, and it is empty."""
REJECT: Final = 0x01
"""Filter type: the addresses that do not pass."""
ROOM: Final = 256
"""Addresses that a filter has room for; the clause gives no number. More are not added, as the status shows."""


class SetFilterType(Record, frozen=True):
    """Set Filter Type, to the proxy (MshPRT 6.5.1)."""

    OPCODE: ClassVar[int] = 0x00
    filter_type: U8


class AddAddresses(Record, frozen=True):
    """Add Addresses To Filter, to the proxy (MshPRT 6.5.2)."""

    OPCODE: ClassVar[int] = 0x01
    addresses: tuple[U16, ...] = ()


class RemoveAddresses(Record, frozen=True):
    """Remove Addresses From Filter, to the proxy (MshPRT 6.5.3)."""

    OPCODE: ClassVar[int] = 0x02
    addresses: tuple[U16, ...] = ()


class FilterStatus(Record, frozen=True):
    """Filter Status, of the proxy (MshPRT 6.5.4)."""

    OPCODE: ClassVar[int] = 0x03
    filter_type: U8
    list_size: U16


Configuration: TypeAlias = SetFilterType | AddAddresses | RemoveAddresses | FilterStatus
_MESSAGES: Final[dict[int, type[Configuration]]] = {
    one.OPCODE: one for one in (SetFilterType, AddAddresses, RemoveAddresses, FilterStatus)
}


def seal_configuration(key: NetKey, iv_index: int, seq: int, src: int, message: Configuration) -> bytes:
    """A Proxy Configuration PDU. Raises ValueError for more than 5 addresses, which is what one PDU has room for."""
    transport = bytes((message.OPCODE,)) + message.build()
    if len(transport) > _LONGEST:
        raise ValueError(f"a Proxy Configuration message has at most {_LONGEST} octets, not {len(transport)}")
    pdu = NetworkPdu(ctl=True, ttl=0, seq=seq, src=src, dst=UNASSIGNED, transport=transport)
    return seal_network(key, iv_index, pdu, PROXY)


def open_configuration(keyring: Keyring, iv_index: int, data: bytes) -> tuple[NetKey, NetworkPdu, Configuration]:
    """A Proxy Configuration PDU: the key it came under, the PDU in clear, its message.

    Raises DecodeError for what is none and for an opcode that is not known, AuthenticationError for another network.
    """
    for _, key in keyring.net_keys(data[0] & 0x7F if data else 0):
        try:
            pdu = open_network(key, sent_under(data, iv_index), data, PROXY)
        except AuthenticationError:
            continue
        # Others may come to be; only these have control messages to no address (MshPRT 6.5).
        if not pdu.ctl or pdu.ttl or pdu.dst != UNASSIGNED or pdu.transport[0] not in _MESSAGES:
            raise DecodeError(f"no Proxy Configuration message that is known: opcode {pdu.transport[0]:02X}")
        return key, pdu, _MESSAGES[pdu.transport[0]].parse(pdu.transport[1:])
    raise AuthenticationError("Proxy Configuration PDU not accepted")


@final
class ProxyFilter:
    """The filter of one connection (MshPRT 6.4)."""

    def __init__(self) -> None:
        self.filter_type = ACCEPT
        self.addresses: set[int] = set()

    def passes(self, dst: int) -> bool:
        """Whether a PDU to this address is for the client."""
        return (dst in self.addresses) == (self.filter_type == ACCEPT)

    def heard(self, src: int) -> None:
        """The client sent a network PDU from this address: what is for it shall pass."""
        if self.filter_type == ACCEPT:
            self._add((src,))
        else:
            self.addresses.discard(src)

    def apply(self, message: Configuration) -> FilterStatus | None:
        """Do what a message says; the answer, None where there is none."""
        match message:
            case SetFilterType() if message.filter_type in {ACCEPT, REJECT}:
                self.filter_type, self.addresses = message.filter_type, set()
            case AddAddresses():
                self._add(message.addresses)
            case RemoveAddresses():
                self.addresses.difference_update(message.addresses)
            case _:
                return None
        return FilterStatus(self.filter_type, len(self.addresses))

    def _add(self, addresses: tuple[int, ...]) -> None:
        for address in addresses:
            if address != UNASSIGNED and (address in self.addresses or len(self.addresses) < ROOM):
                self.addresses.add(address)


_LONGEST: Final = 12
