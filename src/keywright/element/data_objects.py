"""GET DATA and STORE DATA of a security domain (GPCS 11.3, 11.11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from keywright.codec.tlv import item, items
from keywright.element.card import Card
from keywright.element.channel import BlockChain, Channel
from keywright.element.state import Transaction, data_name
from keywright.errors import DecodeError
from keywright.globalplatform.messages import (
    KeyComponent,
    KeyEntry,
    KeyInformation,
    StoreData,
    Tag,
    card_data,
    parse_dgi,
)
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp03.messages import SCP03, I

MANAGER_URL = 0x5F50
_PROPRIETARY = range(0xDF01, 0xDF80)
_ALL_KEY_SIZES = 0x07
_MAX_STORED = 0x8000
"""Bytes that one sequence of STORE DATA blocks may hold."""


def get_data(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """GET DATA: the whole object for a GlobalPlatform class, its value alone for an ISO class (GPCS 11.3.3.1)."""
    del change
    number = command.p1 << 8 | command.p2
    made = _MADE.get(number)
    value = made(card, channel) if made else channel.domain.data(number)
    if value is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if command.data:
        raise Refusal(SW.INCORRECT_DATA)
    return Response(item(number, value) if is_gp(command.cla) else value)


def store_data(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """STORE DATA: collect blocks, and with the last one write all their objects in one commit (GPCS 11.11).

    Block 00 begins a sequence and drops an unfinished one. Takes TLV objects or data groups with the same numbers: IIN
    (42), CIN (45), manager URL (5F50) and proprietary objects DF01-DF7F, an empty value deleting the object. Refuses
    with 6A86 (encryption or format we do not take), 6985 (block out of sequence), 6A84 (too long), 6A80 (other data).
    """
    del card
    kind = command.p1 & ~(StoreData.LAST | StoreData.CASE_4)
    if kind not in (0, StoreData.DGI, StoreData.BER_TLV):
        raise Refusal(SW.INCORRECT_P1P2)
    blocks = channel.blocks if command.p2 else BlockChain(kind)
    channel.blocks = None
    if blocks is None or blocks.expected != command.p2 or blocks.kind != kind:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    if len(blocks.data) + len(command.data) > _MAX_STORED:
        raise Refusal(SW.NOT_ENOUGH_MEMORY)
    blocks.data += command.data
    blocks.expected += 1
    if not command.p1 & StoreData.LAST:
        channel.blocks = blocks
        return Response(b"")
    for number, value in _objects(kind, bytes(blocks.data)):
        if number not in (Tag.IIN, Tag.CIN, MANAGER_URL) and number not in _PROPRIETARY:
            raise Refusal(SW.INCORRECT_DATA)
        change.write(channel.domain.name(data_name(number)), value or None)
    return Response(b"")


def _objects(kind: int, data: bytes) -> Iterable[tuple[int, bytes]]:
    try:
        return parse_dgi(data) if kind == StoreData.DGI else items(data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None


def _card_data(card: Card, channel: Channel) -> bytes:
    del card
    return card_data(tuple(channel.domain.offers().items())).build()


def _capabilities(card: Card, channel: Channel) -> bytes:
    """Secure channels: protocol, options, and for SCP03 key sizes (GPCS H.4)."""
    del card
    return b"".join([item(0xA0, _channel_options(scp, i)) for scp, i in channel.domain.offers().items()])


def _channel_options(scp: int, i: int) -> bytes:
    sizes = item(0x82, bytes((_ALL_KEY_SIZES,))) if scp == SCP03 else b""
    return item(0x80, bytes((scp,))) + item(0x81, i.to_bytes(2 if i > 0xFF else 1)) + sizes


def _sequence_counter(card: Card, channel: Channel) -> bytes | None:
    """Sequence counter of the default key set, as last used; absent when challenges are random."""
    del card
    domain = channel.domain
    kvn = domain.default_kvn()
    if kvn is None or not (domain.i_of(SCP03) or 0) & I.PSEUDO_RANDOM:
        return None
    return domain.counter(kvn).sequence.to_bytes(3)


def _kdd(card: Card, channel: Channel) -> bytes:
    del channel
    return card.identity.kdd


def _security_level(card: Card, channel: Channel) -> bytes | None:
    """Level of the running session with who the host is; absent without one."""
    del card
    session = channel.session
    return None if session is None else bytes((session.authentication | (session.level or 0),))


def _key_information(card: Card, channel: Channel) -> bytes:
    del card
    entries = []
    for kvn in channel.domain.kvns():
        keys = channel.domain.keys(kvn)
        entries += [KeyEntry(key.kid, kvn, (KeyComponent(key.type, len(key.value)),)) for key in keys]
    return KeyInformation(tuple(entries)).build()


_MADE: dict[int, Callable[[Card, Channel], bytes | None]] = {
    Tag.CARD_DATA: _card_data,
    Tag.CAPABILITIES: _capabilities,
    Tag.SEQUENCE_COUNTER: _sequence_counter,
    Tag.KDD: _kdd,
    Tag.SECURITY_LEVEL: _security_level,
    Tag.KEY_INFORMATION: _key_information,
}
"""Objects made when asked for; every other one is a record of its own."""
