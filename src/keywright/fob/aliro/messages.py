"""How an Aliro applet is personalised. It is ours, not a standard: `docs/aliro-applet.md` is its specification."""

from __future__ import annotations

from typing import Annotated, Final

from keywright.aliro.credential import GroupRecord
from keywright.codec.record import U16, Record, Rest, counted, raw
from keywright.codec.tlv import Template, tag

PACKAGE_AID: Final = bytes.fromhex("F06B657977726967687402")
"""The executable load file: F0 marks a proprietary AID without a registered provider (ISO 7816-4 8.2.1.2)."""
EXPEDITED_MODULE: Final = PACKAGE_AID + b"\0\1"
STEP_UP_MODULE: Final = PACKAGE_AID + b"\0\2"


class Ins:
    """Instruction bytes besides those of Aliro, GET DATA and STORE DATA."""

    GENERATE_KEY_PAIR: Final = 0x46


class Dgi:
    """Data groups of STORE DATA, and at the same time P1 P2 of GET DATA that reads them back.

    The first byte of each value is the number of the credential; GET DATA has it as its data.
    """

    CREDENTIAL: Final = 0xDF10
    """`Credential`."""
    ACCESS_DOCUMENT: Final = 0xDF11
    """As its issuer encoded it; of no length: deleted."""
    REVOCATION_DOCUMENT: Final = 0xDF12
    MAILBOX: Final = 0xDF13
    """The content anew; its length is the size."""
    PUBLIC_KEY: Final = 0x7F49
    """Read only: made by GENERATE KEY PAIR."""

    WRITABLE: Final = (CREDENTIAL, ACCESS_DOCUMENT, REVOCATION_DOCUMENT, MAILBOX)


class Numbered(Record, frozen=True):
    """Value of a data group."""

    number: Annotated[bytes, raw(1)]
    """Of the credential."""
    content: Annotated[bytes, Rest()]


class Credential(Record, frozen=True):
    """Content of DF10: who may use the credential. Writing it forgets every Kpersistent of the credential."""

    signaling: U16
    """Bits of `Signaling` besides those that documents and mailbox give."""
    groups: Annotated[tuple[GroupRecord, ...], counted(1)]
    times: Annotated[bytes, Rest(0, 20, 40)] = b""
    """credential_signed_timestamp, and revocation_signed_timestamp after it."""


class PublicKey(Template, frozen=True):
    """Inside 7F49: a P-256 point, 65 bytes 04 || X || Y (ISO 7816-8 table 4)."""

    point: Annotated[bytes, tag(0x86)]
