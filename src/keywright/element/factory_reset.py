"""The way back of a YubiKey: whoever blocks every key gets the security domain as it left the factory.

An element that is made with `resets` keeps its first key set in the record `factory` (`FactoryRecord`), and counts an
INITIALIZE UPDATE as a failure until its session is open. A key that is asked for and found blocked goes, with what is
stored for it; when the last one has gone, the first set is there again. The failures of a key are those of its
protocol: 64 where the element was made without a `try_limit`.
"""

from __future__ import annotations

from typing import Final

from keywright.element.card import Card
from keywright.element.domain import CHANNEL_KIDS, Domain
from keywright.element.scp11_objects import IDENTIFIERS, forget_key
from keywright.element.state import FACTORY, KEYS, FactoryRecord, KeySetRecord, Transaction, counter_name, key_set_name
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command

_MORE: Final = 0x80


def resets(card: Card) -> bool:
    """Whether the element was made so."""
    return card.storage.read(FACTORY) is not None


def give_up_blocked(card: Card, domain: Domain, command: Command) -> None:
    """The key of a handshake's command has just been refused as blocked: it goes, and the last one brings all back."""
    raw = card.storage.read(FACTORY)
    if raw is None or not domain.is_issuer:
        return
    change = Transaction(card.storage)
    kvn, kids = _meant(domain, command)
    left = tuple(key for key in domain.keys(kvn) if key.kid not in kids)
    change.write(domain.name(key_set_name(kvn)), KeySetRecord(left).build() if left else None)
    if kids == CHANNEL_KIDS:
        change.write(domain.name(counter_name(kvn)), None)
    for kid in kids:
        forget_key(domain, kvn, kid, change)
    others = [other for other in domain.kvns() if other != kvn]
    change.write(domain.name(KEYS), bytes([*others, kvn] if left else others))
    if not left and not others:
        _bring_back(domain, change, FactoryRecord.parse(raw))
    change.commit()


def _meant(domain: Domain, command: Command) -> tuple[int, tuple[int, ...]]:
    if command.ins == Ins.INITIALIZE_UPDATE:
        return command.p1 or domain.default_kvn() or 0, CHANNEL_KIDS
    return command.p1 & ~_MORE, (command.p2 & ~_MORE,)


def _bring_back(domain: Domain, change: Transaction, factory: FactoryRecord) -> None:
    change.write(domain.name(key_set_name(factory.kvn)), factory.keys)
    change.write(domain.name(counter_name(factory.kvn)), None)
    change.write(domain.name(KEYS), bytes((factory.kvn,)))
    for name in IDENTIFIERS.values():
        change.write(domain.name(name), None)
