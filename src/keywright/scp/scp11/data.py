"""The data objects that go with SCP11, card end: what GET DATA answers, and when an allow-list is taken."""

from __future__ import annotations

from typing import Final, Protocol

from keywright.codec.tlv import find, item
from keywright.errors import DecodeError
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp11.certificates import Certificate, Side, parse_certificate, parse_certificate_stores
from keywright.scp.scp11.messages import (
    CERTIFICATE_STORE,
    CRT,
    KEY_OF_CA,
    KLCC_IDENTIFIERS,
    KLOC_IDENTIFIERS,
    AllowList,
    KeyFound,
    KeyOrIssuer,
    KeyReference,
    build_ca_identifiers,
)

SIDES: Final[dict[int, Side]] = {KLOC_IDENTIFIERS: "host", KLCC_IDENTIFIERS: "card"}
OBJECTS: Final = (CERTIFICATE_STORE, KEY_OF_CA, *SIDES)
"""What `get_data` answers: P1 P2 of GET DATA."""


class DataStore(Protocol):
    """What a security domain has stored beside its keys."""

    def certificates(self, kvn: int, kid: int, /) -> bytes | None:
        """Value of BF21 for an SK.SD.ECKA."""
        ...

    def certificates_by_issuer(self, identifier: bytes, /) -> bytes | None:
        """Value of BF21 for the SK.SD.ECKA whose chain begins below this CA-KLCC."""
        ...

    def ca_identifiers(self, side: Side, /) -> tuple[tuple[bytes, KeyReference], ...]:
        """Identifiers of CA-KLOC ("host") or CA-KLCC keys ("card"), with their keys."""
        ...


def get_data(store: DataStore, number: int, data: bytes, *, gp_class: bool) -> bytes:
    """Data of the answer to GET DATA for one of `OBJECTS`. With class 80 the tag stands around the value.

    Refuses with 6A80 (data field), 6A88 (nothing stored).
    """
    if number in SIDES:
        value = build_ca_identifiers(store.ca_identifiers(SIDES[number])) or None
    elif number == CERTIFICATE_STORE:
        value = _certificates(store, _asked(data))
    else:
        return _key_of_ca(store, _asked(data))
    if value is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    return item(number, value) if gp_class else value


def _asked(data: bytes) -> KeyOrIssuer:
    try:
        asked = KeyOrIssuer.parse(find(data, CRT) or b"")
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    if (asked.key is None) is (asked.identifier is None):
        raise Refusal(SW.INCORRECT_DATA)
    return asked


def _certificates(store: DataStore, asked: KeyOrIssuer) -> bytes | None:
    if asked.key is not None:
        return store.certificates(asked.key.kvn, asked.key.kid)
    return store.certificates_by_issuer(asked.identifier or b"")


def _key_of_ca(store: DataStore, asked: KeyOrIssuer) -> bytes:
    for identifier, key in store.ca_identifiers("host"):
        if identifier == asked.identifier:
            return KeyFound(key).build()
    raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)


def accept_allow_list(stored: AllowList | None, new: AllowList) -> AllowList:
    """What is to be stored when `new` comes. An empty list is kept as well, for its counter.

    Refuses with 6985 [?] when a counter was stored and that of `new` is not above it, or missing.
    """
    if stored is not None and stored.counter is not None and (new.counter or 0) <= stored.counter:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return new


def leaf_of(certificates: bytes) -> Certificate | None:
    """The last certificate of a value of BF21: its subject identifier is the CardGroupID. None if there is none."""
    try:
        chains = parse_certificate_stores(certificates)
        return parse_certificate(chains[0][-1]) if chains[0] else None
    except DecodeError:
        return None
