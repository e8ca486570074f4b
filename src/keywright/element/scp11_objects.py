"""What a security domain stores for SCP11 beside its keys: certificates, allow-lists, CA identifiers (Amd F).

Records of the domain: `certificates/KVNKID` the value of BF21 for an SK.SD.ECKA, leaf last; `allow/KVNKID` the
`AllowList` of a CA-KLOC key as it came; `identifiers/host` and `identifiers/card` the values of FF33 and FF34. What
belongs to a key goes with it.
"""

from __future__ import annotations

from typing import Final, final

from keywright.element.domain import Domain
from keywright.element.state import Transaction
from keywright.errors import DecodeError
from keywright.globalplatform.key_data import ComponentType
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp11.certificates import Side, parse_certificate_stores
from keywright.scp.scp11.data import accept_allow_list
from keywright.scp.scp11.messages import (
    AllowList,
    CaIdentifierStore,
    CertificateStore,
    KeyReference,
    build_ca_identifiers,
    parse_ca_identifiers,
    parse_store_object,
)

CERTIFICATES: Final = "certificates"
ALLOW_LIST: Final = "allow"
TRIES: Final = "tries"
REMEMBERED: Final = "oce"
OF_A_KEY: Final = (CERTIFICATES, ALLOW_LIST, TRIES)

IDENTIFIERS: Final[dict[Side, str]] = {"host": "identifiers/host", "card": "identifiers/card"}
_SIDES: Final[dict[int | None, Side]] = {0: "host", 1: "card"}


def key_record_name(what: str, kvn: int, kid: int) -> str:
    """Name, in its domain, of a record that belongs to one key; `what` is one of `OF_A_KEY`."""
    return f"{what}/{kvn:02X}{kid:02X}"


@final
class StoredObjects:
    """`scp11.data.DataStore` over the records of a domain."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain

    def certificates(self, kvn: int, kid: int, /) -> bytes | None:
        """Value of BF21 for a key."""
        return self._domain.read(key_record_name(CERTIFICATES, kvn, kid))

    def certificates_by_issuer(self, identifier: bytes, /) -> bytes | None:
        """Value of BF21 for the first key whose CA-KLCC has this identifier."""
        for known, key in self.ca_identifiers("card"):
            found = self.certificates(key.kvn, key.kid) if known == identifier else None
            if found is not None:
                return found
        return None

    def ca_identifiers(self, side: Side, /) -> tuple[tuple[bytes, KeyReference], ...]:
        """Identifiers of CA-KLOC ("host") or CA-KLCC ("card") keys, as long as the keys are there."""
        stored = parse_ca_identifiers(self._domain.read(IDENTIFIERS[side]) or b"")
        return tuple((name, key) for name, key in stored if self._domain.key(key.kvn, key.kid) is not None)


def store(domain: Domain, data: bytes, change: Transaction) -> None:
    """Take what STORE DATA brings with a control reference template A6; see `parse_store_object`.

    Refuses with 6A80 (no such object, certificates that do not parse), 6A88 (no such key), 6985 (rollback).
    """
    try:
        stored = parse_store_object(data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    match stored:
        case CaIdentifierStore():
            _store_identifier(domain, stored, change)
        case CertificateStore():
            _check_certificates(stored.certificates)
            key = _present(domain, stored.target.key)
            name = key_record_name(CERTIFICATES, key.kvn, key.kid)
            change.write(domain.name(name), stored.certificates or None)
        case AllowList():
            key = _present(domain, stored.target.key)
            name = domain.name(key_record_name(ALLOW_LIST, key.kvn, key.kid))
            raw = change.read(name)
            before = None if raw is None else AllowList.parse(raw)
            change.write(name, accept_allow_list(before, stored).build())
            if change.read(domain.name(REMEMBERED)) is not None:
                # The host was accepted by the rules before; it has to show its certificates once more.
                change.write(domain.name(REMEMBERED), None)


def forget_key(domain: Domain, kvn: int, kid: int, change: Transaction) -> None:
    """Drop what is stored for a key that goes."""
    for what in OF_A_KEY:
        name = domain.name(key_record_name(what, kvn, kid))
        if change.read(name) is not None:
            change.write(name, None)


def _store_identifier(domain: Domain, stored: CaIdentifierStore, change: Transaction) -> None:
    """An identifier for a key, in place of the one before; which side it is of is told, or seen from the key."""
    entry = stored.entry
    key = _present(domain, entry.key)
    held = domain.key(key.kvn, key.kid)
    private = held is not None and held.type == ComponentType.EC_PRIVATE
    side: Side = _SIDES.get(entry.side) or ("card" if private else "host")
    name = domain.name(IDENTIFIERS[side])
    others = [pair for pair in parse_ca_identifiers(change.read(name) or b"") if pair[1] != key]
    change.write(name, build_ca_identifiers((*others, (entry.identifier, key))))


def _present(domain: Domain, key: KeyReference) -> KeyReference:
    if domain.key(key.kvn, key.kid) is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    return key


def _check_certificates(data: bytes) -> None:
    try:
        parse_certificate_stores(data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
