"""A security domain's own records: key sets and their counters, data objects, the protocols it offers (GPCS 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, final

from keywright.crypto.aes import AesKey
from keywright.element.state import (
    KEYS,
    PROTOCOLS,
    CounterRecord,
    KeyRecord,
    KeySetRecord,
    ProtocolsRecord,
    Storage,
    counter_name,
    data_name,
    domain_prefix,
    key_set_name,
)
from keywright.globalplatform.messages import KeyType
from keywright.scp.scp02.keys import KeySet as DesKeySet
from keywright.scp.scp02.messages import SCP02, I
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import SCP03

INITIAL_KVN = 0xFF
CHANNEL_KIDS = (1, 2, 3)
"""Key identifiers of ENC, MAC and DEK (GPCS E.1, Amd D 6.2)."""
BASE_KID = 1
"""Key identifier of the one base key of SCP02 (GPCS E.1.1)."""
_DES_BYTES = 16

StaticKeys: TypeAlias = KeySet | DesKeySet


@final
class Domain:
    """The records of one security domain, read only: whoever changes them writes `name(...)` in its transaction."""

    __slots__ = ("_kept", "_offers", "_protocols", "_storage", "aid", "is_issuer", "prefix")

    def __init__(self, storage: Storage, aid: bytes, *, issuer: bool) -> None:
        self.aid = aid
        self.is_issuer = issuer
        self.prefix = "" if issuer else domain_prefix(aid)
        self._protocols = self.prefix + PROTOCOLS
        self._storage = storage
        self._offers: tuple[bytes | None, dict[int, int]] = (None, {})
        self._kept: dict[int, tuple[bytes, StaticKeys | None]] = {}

    def name(self, record: str) -> str:
        """Name in the element's memory of one of the domain's records."""
        return self.prefix + record

    def read(self, record: str) -> bytes | None:
        """One of the domain's records as committed."""
        return self._storage.read(self.prefix + record)

    def data(self, number: int) -> bytes | None:
        """Value of a stored data object."""
        return self.read(data_name(number))

    def kvns(self) -> bytes:
        """Key version numbers present, in order of creation."""
        return self.read(KEYS) or b""

    def keys(self, kvn: int) -> tuple[KeyRecord, ...]:
        """The keys of a version number, by ascending key identifier; none when it does not exist."""
        raw = self.read(key_set_name(kvn))
        return () if raw is None else KeySetRecord.parse(raw).keys

    def key(self, kvn: int, kid: int) -> KeyRecord | None:
        """One key."""
        return next((key for key in self.keys(kvn) if key.kid == kid), None)

    def counter(self, kvn: int) -> CounterRecord:
        """Counters of a key set; zero when it has none yet."""
        value = self.read(counter_name(kvn))
        return CounterRecord.parse(value) if value else CounterRecord()

    def offers(self) -> Mapping[int, int]:
        """The "i" of each protocol that the domain offers, in order of preference."""
        raw = self._storage.read(self._protocols)
        if raw is not self._offers[0]:
            offers = ProtocolsRecord.parse(raw or b"").offers
            self._offers = raw, {offer.scp: offer.i for offer in offers}
        return self._offers[1]

    def i_of(self, scp: int) -> int | None:
        """The "i" parameter that the domain offers a protocol with, None if it does not."""
        return self.offers().get(scp)

    def static_keys(self, kvn: int) -> StaticKeys | None:
        """The symmetric keys of a set that INITIALIZE UPDATE can open a session with.

        AES keys are for SCP03, triple DES keys for SCP02. None unless the set exists, has what its protocol needs
        (key identifiers 1 to 3, or 1 alone where "i" of SCP02 says one base key), and the protocol is offered.
        """
        raw = self.read(key_set_name(kvn))
        if raw is None:
            return None
        kept = self._kept.get(kvn)
        if kept is None or kept[0] is not raw:
            kept = self._kept[kvn] = raw, static_keys(KeySetRecord.parse(raw), self.offers())
        return kept[1]

    def default_kvn(self) -> int | None:
        """What key version number 00 means: the oldest set of the owner, else the initial set, else nothing."""
        complete = [kvn for kvn in self.kvns() if self.static_keys(kvn) is not None]
        own = [kvn for kvn in complete if kvn != INITIAL_KVN]
        return next(iter(own or complete), None)


def static_keys(record: KeySetRecord, offers: Mapping[int, int]) -> StaticKeys | None:
    """The static keys in a record for a protocol that is offered, None when one is missing."""
    aes = {key.kid: key.value for key in record.keys if key.type == KeyType.AES}
    if SCP03 in offers and aes.keys() >= set(CHANNEL_KIDS):
        enc, mac, dek = (aes[kid] for kid in CHANNEL_KIDS)
        return KeySet(AesKey(enc, "K-ENC"), AesKey(mac, "K-MAC"), AesKey(dek, "K-DEK"))
    des = {key.kid: key.value for key in record.keys if key.type == KeyType.DES and len(key.value) == _DES_BYTES}
    if SCP02 not in offers:
        return None
    if offers[SCP02] & I.THREE_KEYS:
        return DesKeySet.of(*(des[kid] for kid in CHANNEL_KIDS)) if des.keys() >= set(CHANNEL_KIDS) else None
    return DesKeySet.base(des[BASE_KID]) if BASE_KID in des else None


def protocol_of(keys: StaticKeys) -> int:
    """The protocol that a set of static keys is for."""
    return SCP03 if isinstance(keys, KeySet) else SCP02
