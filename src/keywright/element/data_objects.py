"""GET DATA and STORE DATA of a security domain (GPCS 11.3, 11.11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keywright.codec.tlv import item, items
from keywright.element import issuer_objects, scp10, scp11_objects, scp81_parameters
from keywright.element.card import Card
from keywright.element.channel import BlockChain, Channel
from keywright.element.domain import Domain
from keywright.element.key_material import components
from keywright.element.memory_quota import resources
from keywright.element.put_key import store_keys
from keywright.element.scp11_objects import StoredObjects
from keywright.element.state import CONFIRMATION, KeyRecord, Kind, Transaction, data_name
from keywright.errors import DecodeError
from keywright.globalplatform.card_objects import ApplicationList, ListedApplication
from keywright.globalplatform.key_data import CURVE_REFERENCES, KEY_LOAD_GROUP, ComponentType, Padding
from keywright.globalplatform.key_information import KeyDescription, build_keys
from keywright.globalplatform.messages import StoreData, Tag, card_data, parse_dgi
from keywright.globalplatform.names import HASHES
from keywright.globalplatform.privileges import ALL, NEEDS_DOMAIN, Privilege, build_privileges
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.padding import unpad80
from keywright.scp.scp02.keys import KeySet as DesKeySet
from keywright.scp.scp03.messages import SCP03, I
from keywright.scp.scp10 import certificates as scp10_certificates
from keywright.scp.scp11 import data as scp11_data
from keywright.scp.scp11.card_channel import CardChannel as Scp11Channel
from keywright.scp.scp11.messages import CRT
from keywright.scp.scp81.parameters import SCP81
from keywright.scp.session import CardSession

_ALL_TAGS = bytes.fromhex("5C00")
_OBJECT_DIRECTORY = 0x5031
_STORED: Final = frozenset(
    (Tag.IIN, Tag.CIN, Tag.MANAGER_URL, scp10.PROVIDER, scp10_certificates.CERTIFICATE, _OBJECT_DIRECTORY)
)
"""What STORE DATA may set besides proprietary objects: the last three are those of SCP10 (GPCS F.4)."""
_PROPRIETARY = range(0xDF01, 0xDF80)
_ALL_KEY_SIZES = 0x07
_WIDEST = 0xFF
_MAX_STORED = 0x8000
"""Bytes that one sequence of STORE DATA blocks may hold."""


def get_data(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """GET DATA: the whole object for a GlobalPlatform class, its value alone for an ISO class (GPCS 11.3.3.1).

    Refuses with 6A88 (no such object), 6A80 (a data field that the object does not take).
    """
    del change
    number = command.p1 << 8 | command.p2
    gp_class = is_gp(command.cla) or not card.profile.iso_class_returns_value
    if number in scp11_data.OBJECTS and (command.data or number in scp11_data.SIDES):
        store = StoredObjects(channel.domain)
        return Response(scp11_data.get_data(store, number, command.data, gp_class=gp_class))
    if number == Tag.APPLICATION_LIST:
        return Response(_application_list(card, channel, command.data))
    value = _value(card, channel, number, command.data)
    if value is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    return Response(item(number, value) if gp_class else value)


def _value(card: Card, channel: Channel, number: int, asked: bytes) -> bytes | None:
    """Value of an object, None if there is none; only stored parameters of SCP81 take a data field."""
    if number in scp81_parameters.SETS:
        return scp81_parameters.read(channel.domain, number, asked)
    made = _MADE.get(number)
    value = made(card, channel) if made else channel.domain.data(number)
    if value is not None and asked:
        raise Refusal(SW.INCORRECT_DATA)
    return value


def store_data(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """STORE DATA: collect blocks, and with the last one write all their objects in one commit (GPCS 11.11).

    Block 00 begins a sequence and drops an unfinished one. Takes TLV objects or data groups with the same numbers,
    those of `_STORED`, an empty value deleting the object; those of `issuer_objects` and `scp81_parameters`; what
    belongs to SCP11, under A6; and keys, by the groups 00B9 and 8113. With both encryption bits every value is
    encrypted under the data encryption key and padded with 80. Refuses with 6A86 (encryption or format we do not take),
    6985 (block out of sequence), 6A84 (too long), 6A80 (other data), 6982 (keys in a session of SCP11c).
    """
    blocks = _collected(channel, command)
    if blocks is None:
        return Response(b"")
    session, domain = channel.session, channel.domain
    assert session is not None, "the table lets STORE DATA through in a session only"
    data = bytes(blocks.data)
    if not blocks.kind & (StoreData.DGI | StoreData.ENCRYPTED) and data[:1] == bytes((CRT,)):
        scp11_objects.store(domain, data, change)
        return Response(b"")
    objects = _objects(blocks.kind & StoreData.STRUCTURE, data)
    if blocks.kind & StoreData.ENCRYPTION:
        padding = card.profile.encrypted_value_padding
        objects = [(number, _decrypted(session, value, padding)) for number, value in objects]
    if objects and objects[0][0] == KEY_LOAD_GROUP and blocks.kind & StoreData.DGI:
        if isinstance(session, Scp11Channel) and not session.may_change_keys:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        store_keys(card, domain, session, change, objects)
        return Response(b"")
    for number, value in objects:
        _store_object(card, domain, number, value, change)
    issuer_objects.settle(card, channel, change)
    return Response(b"")


def _store_object(card: Card, domain: Domain, number: int, value: bytes, change: Transaction) -> None:
    if issuer_objects.takes(card, domain, number):
        issuer_objects.store(card, domain, number, value, change)
    elif number == scp81_parameters.OPTIONS_GROUP:
        scp81_parameters.change_options(domain, value, change)
    elif number in scp81_parameters.SETS and domain.i_of(SCP81) is not None:
        scp81_parameters.store(domain, number, value, change)
    elif number in _STORED or number in _PROPRIETARY:
        change.write(domain.name(data_name(number)), value or None)
    else:
        raise Refusal(SW.INCORRECT_DATA)


def _collected(channel: Channel, command: Command) -> BlockChain | None:
    """The sequence with this block in it, None while more blocks are to come."""
    kind = command.p1 & ~(StoreData.LAST | StoreData.CASE_4)
    structure, encryption = kind & StoreData.STRUCTURE, kind & StoreData.ENCRYPTION
    if kind != structure | encryption or encryption == StoreData.APPLICATION_ENCRYPTED:
        raise Refusal(SW.INCORRECT_P1P2)
    if structure not in (0, StoreData.DGI, StoreData.BER_TLV) or encryption not in (0, StoreData.ENCRYPTED):
        raise Refusal(SW.INCORRECT_P1P2)
    blocks = channel.blocks if command.p2 else BlockChain(kind)
    channel.blocks = None
    if blocks is None or blocks.expected != command.p2 or blocks.kind != kind:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    if len(blocks.data) + len(command.data) > _MAX_STORED:
        raise Refusal(SW.NOT_ENOUGH_MEMORY)
    blocks.data += command.data
    blocks.expected += 1
    if command.p1 & StoreData.LAST:
        return blocks
    channel.blocks = blocks
    return None


def _objects(structure: int, data: bytes) -> list[tuple[int, bytes]]:
    try:
        return list(parse_dgi(data) if structure == StoreData.DGI else items(data))
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None


def _decrypted(session: CardSession, value: bytes, padding: Padding) -> bytes:
    """A value in clear. Zeros stay where they fill the last block: whoever reads the value knows its length."""
    try:
        plain = session.decrypt_sensitive(value)
        return unpad80(plain) if padding == "80" else plain
    except ValueError:
        raise Refusal(SW.INCORRECT_DATA) from None


def _card_data(card: Card, channel: Channel) -> bytes:
    del card
    return card_data(tuple(channel.domain.offers().items())).build()


def _capabilities(card: Card, channel: Channel) -> bytes:
    """Secure channels with their options and key sizes, privileges, hashes and curves (GPCS H.4).

    The cipher suites of 84 to 87 are left out: their coding was not at hand.
    """
    del card
    channels = b"".join([item(0xA0, _channel_options(scp, i)) for scp, i in channel.domain.offers().items()])
    domain = build_privileges(ALL)
    application = build_privileges(ALL & ~NEEDS_DOMAIN & ~Privilege.SECURITY_DOMAIN)
    lists = ((0x81, domain), (0x82, application), (0x83, bytes(HASHES)), (0x88, bytes(CURVE_REFERENCES)))
    return channels + b"".join([item(number, value) for number, value in lists])


def _channel_options(scp: int, i: int) -> bytes:
    sizes = item(0x82, bytes((_ALL_KEY_SIZES,))) if scp == SCP03 else b""
    return item(0x80, bytes((scp,))) + item(0x81, i.to_bytes(2 if i > 0xFF else 1)) + sizes


def _sequence_counter(card: Card, channel: Channel) -> bytes | None:
    """Sequence counter of the default key set, as last used: 2 bytes of a DES set, 3 of an AES set (GPCS H.5).

    Absent when challenges of SCP03 are random.
    """
    del card
    domain = channel.domain
    kvn = domain.default_kvn()
    if kvn is not None and isinstance(domain.static_keys(kvn), DesKeySet):
        return domain.counter(kvn).sequence.to_bytes(2)
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
    """Every key of the domain; by the profile all in the extended format, or only where it is needed (11.3.3.1.1)."""
    domain, extended = channel.domain, card.profile.extended_key_information
    keys = [(kvn, key) for kvn in domain.kvns() for key in domain.keys(kvn)]
    return build_keys(tuple(_described(kvn, key, extended=extended) for kvn, key in keys))


def _described(kvn: int, key: KeyRecord, *, extended: bool) -> KeyDescription:
    sizes = [(kind, len(value)) for kind, value in components(key).items()]
    if key.type in (ComponentType.EC_PUBLIC, ComponentType.EC_PRIVATE):
        sizes.append((ComponentType.EC_PARAMETERS, 1))
    told = extended or key.usage or key.access
    usage, access = (
        (key.usage.to_bytes(2 if key.usage > _WIDEST else 1), bytes((key.access,))) if told else (None, None)
    )
    return KeyDescription(key.kid, kvn, tuple(sizes), usage, access)


def _confirmation_counter(card: Card, channel: Channel) -> bytes:
    """How many receipts the card has given (GPCS 11.1.6)."""
    del channel
    return card.storage.read(CONFIRMATION) or bytes(2)


def _application_list(card: Card, channel: Channel, data: bytes) -> bytes:
    """Applications that belong to the domain, or all on the card where it has the privilege global registry.

    Each as 61{4F} or 4F; asked for with 5C00 or an empty data field (GPCS 11.3.3.1).
    """
    if data and data != _ALL_TAGS:
        raise Refusal(SW.INCORRECT_DATA)
    registry, domain = card.registry(), channel.domain.aid
    holder = registry.application(domain)
    sees_all = holder is not None and bool(int.from_bytes(holder.privileges) & Privilege.GLOBAL_REGISTRY)
    aids = tuple(
        entry.aid
        for entry in registry
        if entry.kind not in (Kind.LOAD_FILE, Kind.ISSUER_DOMAIN) and (sees_all or entry.domain == domain)
    )
    if not aids:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if not card.profile.application_list_in_templates:
        return ApplicationList(aids=aids).build()
    return ApplicationList(tuple(ListedApplication(aid) for aid in aids)).build()


_MADE: dict[int, Callable[[Card, Channel], bytes | None]] = {
    Tag.CARD_DATA: _card_data,
    Tag.CAPABILITIES: _capabilities,
    Tag.SEQUENCE_COUNTER: _sequence_counter,
    Tag.CONFIRMATION_COUNTER: _confirmation_counter,
    Tag.KDD: _kdd,
    Tag.SECURITY_LEVEL: _security_level,
    Tag.KEY_INFORMATION: _key_information,
    Tag.RESOURCES: lambda card, _: resources(card).build(),
}
"""Objects made when asked for; every other one is a record of its own."""
