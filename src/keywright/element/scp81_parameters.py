"""Parameters of administration sessions (SCP81) that a security domain keeps, so that a trigger may leave them out.

Two sets of objects (Amd B 3.8): those of the session, written by the tags 85 (the whole set) and A5 (only what is
present, an empty one deleted), and those of name resolution, by F4 and F5. Records of the domain: `data/0085` and
`data/00F4`, the objects of each set one after the other. Every set that is to be kept must parse as a whole.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from keywright.codec.tlv import Template, item, items
from keywright.element.domain import Domain
from keywright.element.state import PROTOCOLS, ProtocolRecord, ProtocolsRecord, Transaction, data_name
from keywright.errors import DecodeError, PolicyError
from keywright.globalplatform.card_objects import TagList
from keywright.globalplatform.messages import build_dgi
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp81.parameters import (
    DNS_ALL,
    DNS_PART,
    SCP81,
    STORED_ALL,
    STORED_PART,
    DnsParameters,
    StoredParameters,
    read_options_dgi,
)

OPTIONS_GROUP: Final = 0xC981
"""Data group that changes "i"."""
_EXCLUSIVE: Final = {0x85: 0xA5, 0xA5: 0x85}
"""Security parameters of one kind take the place of the other (Amd B 3.7.2)."""


class Kept(NamedTuple):
    """One set: the tag that replaces it, whose number is its record's; what its objects make; their tags."""

    whole: int
    kind: type[Template]
    tags: frozenset[int]


_SESSION: Final = Kept(STORED_ALL, StoredParameters, frozenset((0x84, 0x85, 0xA5, 0x86, 0x89, 0x8A, 0x8B)))
_NAMES: Final = Kept(DNS_ALL, DnsParameters, frozenset((0xD0, 0xD1, 0xD2, 0xD6, 0xF7, 0xF9, 0xFA, 0xFB, 0xFC)))

SETS: Final[dict[int, Kept]] = {
    STORED_ALL: _SESSION,
    STORED_PART: _SESSION,
    DNS_ALL: _NAMES,
    DNS_PART: _NAMES,
}
"""By the tag of STORE DATA and GET DATA."""


def store(domain: Domain, number: int, value: bytes, change: Transaction) -> None:
    """Take one of `SETS` of STORE DATA. Refuses with 6A80 what makes no set."""
    kept = SETS[number]
    name = domain.name(data_name(kept.whole))
    try:
        new = items(value)
        if any(tag not in kept.tags for tag, _ in new):
            raise Refusal(SW.INCORRECT_DATA)
        if number != kept.whole:
            there = dict(items(change.read(name) or b""))
            for tag, content in new:
                there.pop(_EXCLUSIVE.get(tag, tag), None)
                there[tag] = content
            new = [(tag, content) for tag, content in there.items() if content]
        whole = b"".join([item(tag, content) for tag, content in new])
        kept.kind.parse(whole)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    change.write(name, whole or None)


def read(domain: Domain, number: int, asked: bytes) -> bytes | None:
    """Value of GET DATA: the whole set, or for the other tag the one object that the tag list 5C names.

    None when there is none. Refuses with 6A80 for a tag list where none is due, or none where one is.
    """
    kept = SETS[number]
    whole = domain.data(kept.whole)
    if number == kept.whole:
        if asked:
            raise Refusal(SW.INCORRECT_DATA)
        return whole
    try:
        tags = TagList.parse(asked).tags
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    found = [item(tag, value) for tag, value in items(whole or b"") if tag.to_bytes(1) == tags]
    return found[0] if found else None


def change_options(domain: Domain, value: bytes, change: Transaction) -> None:
    """Data group C981 of STORE DATA: the TLS versions that the domain offers, "i" of SCP81 (Amd B 3.2.2).

    Refuses with 6A80 (no such options, or SCP81 is not offered), 6985 [?] when the lowest or highest version would
    drop.
    """
    offers = ProtocolsRecord.parse(change.read(domain.name(PROTOCOLS)) or b"").offers
    current = next((offer.i for offer in offers if offer.scp == SCP81), None)
    if current is None:
        raise Refusal(SW.INCORRECT_DATA)
    try:
        new = read_options_dgi(build_dgi(((OPTIONS_GROUP, value),)), current)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    except PolicyError:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED) from None
    changed = tuple(ProtocolRecord(offer.scp, new if offer.scp == SCP81 else offer.i) for offer in offers)
    change.write(domain.name(PROTOCOLS), ProtocolsRecord(changed).build())


def parameters(domain: Domain) -> tuple[StoredParameters, DnsParameters]:
    """What the domain keeps, empty where it keeps nothing."""
    return (
        StoredParameters.parse(domain.data(STORED_ALL) or b""),
        DnsParameters.parse(domain.data(DNS_ALL) or b""),
    )
