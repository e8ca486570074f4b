"""How a fresh memory becomes an element, in one commit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from keywright.element.applet import Applet
from keywright.element.security_domain import MAX_SEQUENCE
from keywright.element.state import (
    ATTEMPTS,
    ELEMENT,
    FORMAT,
    KEYS,
    LIFE,
    REGISTRY,
    CounterRecord,
    ElementRecord,
    KeyRecord,
    KeySetRecord,
    RegistryEntry,
    RegistryRecord,
    Storage,
    counter_name,
    data_name,
    key_set_name,
)
from keywright.globalplatform.life_cycle import ApplicationState, CardState
from keywright.globalplatform.messages import Cplc, KeyType, Tag
from keywright.iso7816.atr import Atr
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import I

PRIVILEGES = bytes.fromhex("9C4E00")
"""Security domain, card lock, card terminate, card reset; authorised management, global lock, global registry, final
application (GPCS tables 11-7 to 11-9)."""

_MAX_TRIES = 0xFFFF
_OPTIONS = I.S16 | I.PSEUDO_RANDOM | I.R_MAC | I.R_ENC


class Personality(msgspec.Struct, frozen=True):
    """What makes one element differ from the next; the parameters of `SecureElement`."""

    isd_aid: bytes
    kvn: int
    keys: KeySet | None
    i: int
    initial_keys_stay: bool
    sequence_counter: int
    kdd: bytes
    cplc: Cplc
    iin: bytes
    cin: bytes
    life_cycle: int
    try_limit: int | None
    max_data: int
    atr: bytes

    def check(self) -> None:
        """Raises ValueError naming the parameter that cannot be."""
        if not 5 <= len(self.isd_aid) <= 16:
            raise ValueError("isd_aid: an AID has 5 to 16 bytes")
        if not 1 <= self.kvn <= 0xFF:
            raise ValueError("kvn: a key version number is 01 to FF")
        if self.i & ~_OPTIONS or (self.i & I.R_ENC and not self.i & I.R_MAC):
            raise ValueError(f"i: {self.i:02X} is no SCP03 option set (bits 01, 10, 20, and 40 only with 20)")
        if not 0 <= self.sequence_counter <= MAX_SEQUENCE:
            raise ValueError("sequence_counter: 3 bytes")
        if len(self.kdd) != 10:
            raise ValueError("kdd: 10 bytes")
        if self.life_cycle not in tuple(CardState):
            raise ValueError(f"life_cycle: {self.life_cycle:02X} is no card state")
        if self.try_limit is not None and not 1 <= self.try_limit <= _MAX_TRIES:
            raise ValueError(f"try_limit: None or 1 to {_MAX_TRIES}")
        if not 0x7F <= self.max_data <= 0xFFFF:
            raise ValueError("max_data: 127 to 65535")
        Atr.parse(self.atr)


def give_birth(storage: Storage, personality: Personality, applets: Sequence[Applet]) -> None:
    """Write every record of a new element. Raises StoreError with nothing changed."""
    p = personality
    keys = p.keys or KeySet.gp_test()
    record = ElementRecord(
        FORMAT, p.i, p.initial_keys_stay, p.try_limit or 0, p.max_data, p.kdd, PRIVILEGES, p.isd_aid, p.atr
    )
    key_records = tuple(
        KeyRecord(kid, KeyType.AES, key.reveal()) for kid, key in enumerate((keys.enc, keys.mac, keys.dek), 1)
    )
    storage.commit(
        {
            ELEMENT: record.build(),
            LIFE: bytes((p.life_cycle,)),
            ATTEMPTS: bytes(4),
            KEYS: bytes((p.kvn,)),
            key_set_name(p.kvn): KeySetRecord(key_records).build(),
            counter_name(p.kvn): CounterRecord(p.sequence_counter).build(),
            data_name(Tag.CPLC): p.cplc.build(),
            data_name(Tag.IIN): p.iin,
            data_name(Tag.CIN): p.cin,
            REGISTRY: RegistryRecord(_new_entries((), applets)).build(),
        }
    )


def register(storage: Storage, applets: Sequence[Applet]) -> None:
    """Enter applets that the element does not know yet. Raises StoreError with nothing changed."""
    known = RegistryRecord.parse(storage.read(REGISTRY) or b"").entries
    fresh = _new_entries(known, applets)
    if fresh:
        storage.commit({REGISTRY: RegistryRecord(known + fresh).build()})


def _new_entries(known: tuple[RegistryEntry, ...], applets: Sequence[Applet]) -> tuple[RegistryEntry, ...]:
    aids = {entry.aid for entry in known}
    return tuple(RegistryEntry(a.aid, ApplicationState.SELECTABLE) for a in applets if a.aid not in aids)
