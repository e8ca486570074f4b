"""Who may do what to which content: the security domain that acts, and what its privileges allow (GPCS 6.6, 9.1)."""

from __future__ import annotations

from typing import final

from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.parameters import RESTRICT, values
from keywright.element.registry import Registry, changed
from keywright.element.state import Kind, RegistryEntry, Transaction
from keywright.errors import DecodeError
from keywright.globalplatform.privileges import SINGLE, Privilege, conflicts, parse_privileges
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

MANAGERS = Privilege.AUTHORIZED_MANAGEMENT | Privilege.DELEGATED_MANAGEMENT


def held(entry: RegistryEntry) -> Privilege:
    """The privileges of an entry."""
    return Privilege(int.from_bytes(entry.privileges) & _KNOWN)


def holders(registry: Registry, privilege: Privilege) -> tuple[RegistryEntry, ...]:
    """Every application that holds a privilege."""
    return tuple(entry for entry in registry if privilege in held(entry))


@final
class Actor:
    """The security domain that a session belongs to, about to manage content."""

    __slots__ = ("entry", "privileges", "registry")

    def __init__(self, card: Card, channel: Channel, change: Transaction) -> None:
        """Refuses with 6985 when the domain is no longer in the registry."""
        self.registry = card.registry(change)
        entry = self.registry.domain(channel.domain.aid)
        if entry is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        self.entry = entry
        self.privileges = held(entry)

    @property
    def aid(self) -> bytes:
        """Its AID."""
        return self.entry.aid

    @property
    def is_delegated(self) -> bool:
        """Whether it manages with tokens (GPCS 9.1.3.3)."""
        return Privilege.DELEGATED_MANAGEMENT in self.privileges

    def demand_management(self) -> None:
        """Refuses with 6985 unless the domain manages content, in its own right or with tokens (GPCS 9.1.3)."""
        if not self.privileges & MANAGERS:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)

    def owns(self, aid: bytes) -> bool:
        """Whether an entry's domain, or the entry itself, is this domain or below it (GPCS 7.2)."""
        return self.registry.under(aid, self.aid)

    def demand_own(self, entry: RegistryEntry, otherwise: Privilege) -> None:
        """Refuses with 6985 unless the entry lies in this domain's hierarchy, or the domain holds `otherwise`."""
        if not self.owns(entry.domain or entry.aid) and not self.privileges & otherwise:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)


def asked_privileges(data: bytes) -> Privilege:
    """Privileges of a command, one byte or three. Refuses with 6A80 for reserved bits and conflicts (GPCS 6.6.2)."""
    try:
        privileges = parse_privileges(data) if data else Privilege(0)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    if conflicts(privileges):
        raise Refusal(SW.INCORRECT_DATA)
    return privileges


def demand_unrestricted(entry: RegistryEntry, bit: int) -> None:
    """Refuses with 6985 for what was restricted for good (D9); `bit` is one of `RestrictBits`."""
    if entry.parameters and any(int.from_bytes(value) & bit for value in values(entry.parameters, RESTRICT)):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)


def grant(card: Card, registry: Registry, entry: RegistryEntry, privileges: Privilege) -> Registry:
    """The registry with an entry that holds these privileges.

    Those that only one application can hold are taken from their holder, by the profile only from the issuer security
    domain (else refused with 6985), and given back to that one by whoever loses them.
    """
    lost = held(entry) & ~privileges & SINGLE
    for single in (bit for bit in (Privilege.CARD_RESET, Privilege.FINAL_APPLICATION) if bit & privileges):
        for other in holders(registry, single):
            if other.aid != entry.aid:
                if other.kind != Kind.ISSUER_DOMAIN and not card.profile.single_privileges_move:
                    raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
                registry = registry.with_entry(_with(other, held(other) & ~single))
    registry = registry.with_entry(_with(entry, privileges))
    return give_back(registry, lost) if lost else registry


def give_back(registry: Registry, lost: Privilege) -> Registry:
    """The registry with privileges back at the issuer security domain that nobody holds any more."""
    issuer = registry.issuer
    return registry.with_entry(_with(issuer, held(issuer) | lost))


def _with(entry: RegistryEntry, privileges: Privilege) -> RegistryEntry:
    return changed(entry, privileges=int(privileges).to_bytes(3))


_KNOWN = int(sum(Privilege))
