"""The credential applet on the wire. It is ours, not a standard: `docs/credential-applet.md` is its specification."""

from __future__ import annotations

from typing import Annotated, Final

from keywright.codec.tlv import Template, tag

CREDENTIAL_AID: Final = bytes.fromhex("F06B6579777269676874010001")
"""Registered to nobody: F0 marks a proprietary AID without a registered provider (ISO 7816-4 8.2.1.2)."""


class Ins:
    """Instruction bytes of the applet."""

    GENERATE_KEY_PAIR: Final = 0x46
    SIGN: Final = 0x2A


class Dgi:
    """Data groups of STORE DATA, and at the same time P1 P2 of GET DATA that reads them back."""

    CERTIFICATE: Final = 0x7F21
    OWNER_GROUP: Final = 0xDF01
    CONFIGURATION: Final = 0xDF02
    PUBLIC_KEY: Final = 0x7F49
    """Read only: made by GENERATE KEY PAIR."""

    WRITABLE: Final = (CERTIFICATE, OWNER_GROUP, CONFIGURATION)


class PublicKey(Template, frozen=True):
    """Inside 7F49: a P-256 point, 65 bytes 04 || X || Y (ISO 7816-8 table 4)."""

    point: Annotated[bytes, tag(0x86)]


SIGN_P1: Final = 0x9E
SIGN_P2: Final = 0x9A
"""PERFORM SECURITY OPERATION, compute digital signature (ISO 7816-8 11.5)."""
CHALLENGE_BYTES: Final = 32
SIGN_PREFIX: Final = b"keywright credential proof v1\0"
"""Goes before every challenge that is signed, so that a signature can never be taken for one of another protocol."""


class Fci(Template, frozen=True):
    """Inside 6F: what SELECT of the applet returns."""

    aid: Annotated[bytes, tag(0x84)]
