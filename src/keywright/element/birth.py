"""How a fresh memory becomes an element, in one commit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from keywright.element.applet import Applet
from keywright.element.profile_record import PROFILE, build_profile
from keywright.element.registry import Registry
from keywright.element.state import (
    ATTEMPTS,
    CONFIRMATION,
    ELEMENT,
    FACTORY,
    FORMAT,
    KEYS,
    LIFE,
    PROTOCOLS,
    REGISTRY,
    CounterRecord,
    ElementRecord,
    FactoryRecord,
    KeyRecord,
    KeySetRecord,
    Kind,
    ProtocolRecord,
    ProtocolsRecord,
    RegistryEntry,
    Storage,
    counter_name,
    data_name,
    key_set_name,
)
from keywright.globalplatform.life_cycle import ApplicationState, CardState
from keywright.globalplatform.messages import Cplc, KeyType, Tag
from keywright.globalplatform.profile import CardProfile
from keywright.iso7816.atr import Atr
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import SCP03, I

PRIVILEGES = bytes.fromhex("9C4E00")
"""Security domain, card lock, card terminate, card reset; authorised management, global lock, global registry, final
application (GPCS tables 11-7 to 11-9)."""

MAX_SEQUENCE = 0xFF_FFFF
_MAX_TRIES = 0xFFFF
RESETTING_TRY_LIMIT = 64
"""Failures that block a key of an element that can be reset, where nothing else is said."""
_MOST_MEMORY = 0xFFFF_FFFF
_OPTIONS = I.S16 | I.PSEUDO_RANDOM | I.R_MAC | I.R_ENC
_FURTHER_PROTOCOLS = (0x02, 0x10, 0x11, 0x80, 0x81)


class Personality(msgspec.Struct, frozen=True):
    """What makes one element differ from the next; the parameters of `SecureElement`."""

    isd_aid: bytes
    kvn: int
    keys: KeySet | None
    i: int
    protocols: tuple[tuple[int, int], ...]
    initial_keys_stay: bool
    resets: bool
    sequence_counter: int
    kdd: bytes
    cplc: Cplc
    iin: bytes
    cin: bytes
    life_cycle: int
    try_limit: int | None
    max_data: int
    page: int
    volatile: int
    persistent: int
    privileges: bytes
    atr: bytes

    def check(self) -> None:
        """Raises ValueError naming the parameter that cannot be."""
        for is_wrong, what in self._doubts():
            if is_wrong:
                raise ValueError(what)
        Atr.parse(self.atr)

    def _doubts(self) -> tuple[tuple[bool, str], ...]:
        return (
            (not 5 <= len(self.isd_aid) <= 16, "isd_aid: an AID has 5 to 16 bytes"),
            (not 1 <= self.kvn <= 0xFF, "kvn: a key version number is 01 to FF"),
            (
                bool(self.i & ~_OPTIONS or (self.i & I.R_ENC and not self.i & I.R_MAC)),
                f"i: {self.i:02X} is no SCP03 option set (bits 01, 10, 20, and 40 only with 20)",
            ),
            (
                any(scp not in _FURTHER_PROTOCOLS or not 0 <= i <= 0xFFFF for scp, i in self.protocols),
                'protocols: pairs of 02, 10, 11, 80 or 81 and "i" of at most two bytes; SCP03 is told by i',
            ),
            (not 0 <= self.sequence_counter <= MAX_SEQUENCE, "sequence_counter: 3 bytes"),
            (len(self.kdd) != 10, "kdd: 10 bytes"),
            (self.life_cycle not in tuple(CardState), f"life_cycle: {self.life_cycle:02X} is no card state"),
            (
                self.try_limit is not None and not 1 <= self.try_limit <= _MAX_TRIES,
                f"try_limit: None or 1 to {_MAX_TRIES}",
            ),
            (not 0x7F <= self.max_data <= 0xFFFF, "max_data: 127 to 65535"),
            (not 0 <= self.page <= 0xFFFF, "page: 0 to 65535 entries"),
            (
                not (0 <= self.volatile <= _MOST_MEMORY and 0 <= self.persistent <= _MOST_MEMORY),
                f"volatile, persistent: 0 to {_MOST_MEMORY} bytes",
            ),
            (
                len(self.privileges) != 3 or not self.privileges[0] & 0x80,
                "privileges: 3 bytes, among them that of a security domain",
            ),
        )


def give_birth(
    storage: Storage, personality: Personality, applets: Sequence[Applet], profile: CardProfile | None = None
) -> None:
    """Write every record of a new element. Raises StoreError with nothing changed."""
    p = personality
    keys = p.keys or KeySet.gp_test()
    tries = p.try_limit or p.resets * RESETTING_TRY_LIMIT
    record = ElementRecord(
        FORMAT,
        p.initial_keys_stay,
        tries,
        p.max_data,
        p.page,
        p.volatile,
        p.persistent,
        p.kdd,
        p.atr,
    )
    offers = tuple(ProtocolRecord(scp, i) for scp, i in ((SCP03, p.i), *p.protocols))
    key_records = tuple(
        KeyRecord(kid, KeyType.AES, key.reveal()) for kid, key in enumerate((keys.enc, keys.mac, keys.dek), 1)
    )
    issuer = RegistryEntry(Kind.ISSUER_DOMAIN, p.isd_aid, 0, p.privileges)
    key_set = KeySetRecord(key_records).build()
    storage.commit(
        {
            **({FACTORY: FactoryRecord(p.kvn, key_set).build()} if p.resets else {}),
            **({PROFILE: build_profile(profile)} if profile is not None else {}),
            ELEMENT: record.build(),
            LIFE: bytes((p.life_cycle,)),
            ATTEMPTS: bytes(4),
            CONFIRMATION: bytes(2),
            PROTOCOLS: ProtocolsRecord(offers).build(),
            KEYS: bytes((p.kvn,)),
            key_set_name(p.kvn): key_set,
            counter_name(p.kvn): CounterRecord(p.sequence_counter).build(),
            data_name(Tag.CPLC): p.cplc.build(),
            data_name(Tag.IIN): p.iin,
            data_name(Tag.CIN): p.cin,
            REGISTRY: _joined(Registry((issuer,)), applets).build(),
        }
    )


def register(storage: Storage, applets: Sequence[Applet]) -> None:
    """Enter applets that the element does not know yet. Raises StoreError with nothing changed."""
    known = Registry.parse(storage.read(REGISTRY) or b"")
    joined = _joined(known, applets)
    if len(joined.entries) > len(known.entries):
        storage.commit({REGISTRY: joined.build()})


def _joined(known: Registry, applets: Sequence[Applet]) -> Registry:
    issuer = known.issuer.aid
    for applet in applets:
        if known.application(applet.aid) is None:
            entry = RegistryEntry(Kind.APPLICATION, applet.aid, ApplicationState.SELECTABLE, domain=issuer)
            known = known.with_entry(entry)
    return known
