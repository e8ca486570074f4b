"""Privileges: three bytes of named bits, and which of them go together (GPCS 6.6, 11.1.2).

The rules are data: the card refuses by them, and the host asks them before it sends a command that would be refused.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final, NamedTuple

from keywright.errors import DecodeError


class Privilege(IntFlag):
    """One bit each; the first byte stands highest."""

    SECURITY_DOMAIN = 0x800000
    DAP_VERIFICATION = 0x400000
    DELEGATED_MANAGEMENT = 0x200000
    CARD_LOCK = 0x100000
    CARD_TERMINATE = 0x080000
    CARD_RESET = 0x040000
    """Also "default selected"."""
    CVM_MANAGEMENT = 0x020000
    MANDATED_DAP = 0x010000
    """Written with DAP verification: C1 in the first byte of a security domain, 81 | 40."""
    TRUSTED_PATH = 0x008000
    AUTHORIZED_MANAGEMENT = 0x004000
    TOKEN_VERIFICATION = 0x002000
    GLOBAL_DELETE = 0x001000
    GLOBAL_LOCK = 0x000800
    GLOBAL_REGISTRY = 0x000400
    FINAL_APPLICATION = 0x000200
    GLOBAL_SERVICE = 0x000100
    RECEIPT_GENERATION = 0x000080
    CIPHERED_LOAD_FILE = 0x000040
    CONTACTLESS_ACTIVATION = 0x000020
    CONTACTLESS_SELF_ACTIVATION = 0x000010


P: Final = Privilege

WORDS: Final = {
    P.SECURITY_DOMAIN: "security domain",
    P.DAP_VERIFICATION: "DAP verification",
    P.DELEGATED_MANAGEMENT: "delegated management",
    P.CARD_LOCK: "card lock",
    P.CARD_TERMINATE: "card terminate",
    P.CARD_RESET: "default selected",
    P.CVM_MANAGEMENT: "CVM management",
    P.MANDATED_DAP: "mandated DAP",
    P.TRUSTED_PATH: "trusted path",
    P.AUTHORIZED_MANAGEMENT: "authorised management",
    P.TOKEN_VERIFICATION: "token verification",
    P.GLOBAL_DELETE: "global delete",
    P.GLOBAL_LOCK: "global lock",
    P.GLOBAL_REGISTRY: "global registry",
    P.FINAL_APPLICATION: "final application",
    P.GLOBAL_SERVICE: "global service",
    P.RECEIPT_GENERATION: "receipt generation",
    P.CIPHERED_LOAD_FILE: "ciphered load files",
    P.CONTACTLESS_ACTIVATION: "contactless activation",
    P.CONTACTLESS_SELF_ACTIVATION: "contactless self-activation",
}
"""Each privilege as a person reads it, in the order of its bits."""

ALL: Final = Privilege(sum(Privilege))
ISSUER_DOMAIN: Final = (
    P.SECURITY_DOMAIN
    | P.CARD_LOCK
    | P.CARD_TERMINATE
    | P.CARD_RESET
    | P.CVM_MANAGEMENT
    | P.TRUSTED_PATH
    | P.AUTHORIZED_MANAGEMENT
    | P.TOKEN_VERIFICATION
    | P.GLOBAL_DELETE
    | P.GLOBAL_LOCK
    | P.GLOBAL_REGISTRY
    | P.FINAL_APPLICATION
    | P.RECEIPT_GENERATION
)
"""What the issuer security domain holds on a card that has given nothing away (9EFE80)."""

SINGLE: Final = P.CARD_RESET | P.FINAL_APPLICATION
"""At most one application of the card holds these; giving one to another takes it from its holder."""

NEEDS_DOMAIN: Final = (
    P.DAP_VERIFICATION
    | P.DELEGATED_MANAGEMENT
    | P.MANDATED_DAP
    | P.AUTHORIZED_MANAGEMENT
    | P.TOKEN_VERIFICATION
    | P.RECEIPT_GENERATION
    | P.CIPHERED_LOAD_FILE
)
"""Only a security domain may hold these (GPCS 6.6.2)."""


class Requirement(NamedTuple):
    """Who holds `privilege` must hold all of `needs` as well."""

    privilege: Privilege
    needs: Privilege


class Conflict(NamedTuple):
    """No application holds both."""

    one: Privilege
    other: Privilege


REQUIREMENTS: Final = (
    *(Requirement(bit, P.SECURITY_DOMAIN) for bit in Privilege if bit & NEEDS_DOMAIN),
    Requirement(P.MANDATED_DAP, P.DAP_VERIFICATION),
)
CONFLICTS: Final = (Conflict(P.DELEGATED_MANAGEMENT, P.AUTHORIZED_MANAGEMENT),)
"""A domain manages content in its own right or with tokens, not both (GPCS 6.6.2)."""


def parse_privileges(data: bytes) -> Privilege:
    """Privileges of one byte, as old hosts send them, or of three. Raises DecodeError for another size or RFU bits.

    81 in the first byte is mandated DAP as the oldest specification wrote it: with its DAP verification bit clear it
    fails the rules, as it should.
    """
    if len(data) not in (1, 3):
        raise DecodeError(f"privileges have 1 or 3 bytes, not {len(data)}")
    value = int.from_bytes(data.ljust(3, b"\0"))
    if value & ~ALL:
        raise DecodeError(f"privileges {data.hex().upper()} have bits that are reserved")
    return Privilege(value)


def build_privileges(privileges: Privilege, *, short: bool = False) -> bytes:
    """Three bytes, or one if `short`. Raises ValueError when one byte cannot say it."""
    data = int(privileges).to_bytes(3)
    if not short:
        return data
    if any(data[1:]):
        raise ValueError("these privileges need three bytes")
    return data[:1]


def conflicts(privileges: Privilege) -> tuple[str, ...]:
    """Why one application cannot hold all of these; empty when it can."""
    found = [
        f"{WORDS[rule.privilege]} needs {WORDS[rule.needs]}"
        for rule in REQUIREMENTS
        if rule.privilege in privileges and rule.needs not in privileges
    ]
    found += [
        f"{WORDS[rule.one]} excludes {WORDS[rule.other]}"
        for rule in CONFLICTS
        if rule.one in privileges and rule.other in privileges
    ]
    return tuple(found)


def in_words(privileges: Privilege) -> tuple[str, ...]:
    """Every privilege that is held, in words."""
    return tuple(word for bit, word in WORDS.items() if bit in privileges)
