"""The commands and answers of the access protocol, for both ends (Aliro 1.0 chapter 8, by its public implementations).

Every class is the data field of one command or answer. APDU headers and status words are the constants here; how long
data travel (chaining, extended length) is `keywright.iso7816`'s business.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from keywright.codec.ber import item, spans
from keywright.codec.record import Rest, raw
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError

EXPEDITED_AID: Final = bytes.fromhex("A000000909ACCE5501")
STEP_UP_AID: Final = bytes.fromhex("A000000909ACCE5502")

POINT_BYTES: Final = 65
"""04 || X || Y of P-256; every public key here is one."""
SIGNATURE_BYTES: Final = 64
"""r || s of ECDSA with SHA-256."""
CRYPTOGRAM_BYTES: Final = 64
VENDOR_BYTES: Final = 127
"""The longest vendor field (tags B1, B2, B3)."""
LONGEST_DATA: Final = 2000
"""Bytes of a command's data before they are chained."""


class Ins:
    """Instruction bytes; the class is 80, or 00 for ENVELOPE and SELECT."""

    SELECT: Final = 0xA4
    AUTH0: Final = 0x80
    AUTH1: Final = 0x81
    LOAD_CERT: Final = 0xD1
    EXCHANGE: Final = 0xC9
    CONTROL_FLOW: Final = 0x3C
    ENVELOPE: Final = 0xC3


CLASSES: Final = {
    Ins.SELECT: 0x00,
    Ins.AUTH0: 0x80,
    Ins.AUTH1: 0x80,
    Ins.LOAD_CERT: 0x80,
    Ins.EXCHANGE: 0x80,
    Ins.CONTROL_FLOW: 0x80,
    Ins.ENVELOPE: 0x00,
}
"""The class byte of each command."""

NAMES: Final = {
    Ins.SELECT: "SELECT",
    Ins.AUTH0: "AUTH0",
    Ins.AUTH1: "AUTH1",
    Ins.LOAD_CERT: "LOAD CERT",
    Ins.EXCHANGE: "EXCHANGE",
    Ins.CONTROL_FLOW: "CONTROL FLOW",
    Ins.ENVELOPE: "ENVELOPE",
}
"""What each command is called."""


class ReaderStatus:
    """Values of tag 97, with which a reader ends a transaction; a high byte of 01 is success."""

    PUBLIC_KEY_NOT_FOUND: Final = 0x0001
    PUBLIC_KEY_EXPIRED: Final = 0x0002
    PUBLIC_KEY_NOT_TRUSTED: Final = 0x0003
    WRONG_SIGNATURE: Final = 0x0004
    WRONG_FORMAT: Final = 0x0006
    WRONG_CONTENT: Final = 0x0007
    STATUS_WORD: Final = 0x0020
    NO_KEY_SLOT: Final = 0x0021
    NO_PUBLIC_KEY: Final = 0x0022
    NO_SIGNATURE: Final = 0x0023
    ACCESS_RIGHTS: Final = 0x0025
    HARDWARE: Final = 0x0026
    PROTOCOL_VERSION: Final = 0x0027
    SECURED: Final = 0x0100
    UNSECURED: Final = 0x0101
    OBSTRUCTED: Final = 0x0102
    ENTERING_SECURED: Final = 0x0180
    ENTERING_UNSECURED: Final = 0x0181
    UNKNOWN_STATE: Final = 0x0182


READER_STATUSES: Final = {
    ReaderStatus.PUBLIC_KEY_NOT_FOUND: "public key not found",
    ReaderStatus.PUBLIC_KEY_EXPIRED: "public key expired",
    ReaderStatus.PUBLIC_KEY_NOT_TRUSTED: "public key not trusted",
    ReaderStatus.WRONG_SIGNATURE: "wrong signature of the device",
    ReaderStatus.WRONG_FORMAT: "wrong format",
    ReaderStatus.WRONG_CONTENT: "wrong content",
    ReaderStatus.STATUS_WORD: "unexpected status word",
    ReaderStatus.NO_KEY_SLOT: "no key slot in the answer",
    ReaderStatus.NO_PUBLIC_KEY: "no public key in the answer",
    ReaderStatus.NO_SIGNATURE: "no signature in the answer",
    ReaderStatus.ACCESS_RIGHTS: "no access right",
    ReaderStatus.HARDWARE: "hardware fault of the reader",
    ReaderStatus.PROTOCOL_VERSION: "no common protocol version",
    ReaderStatus.SECURED: "secured",
    ReaderStatus.UNSECURED: "unsecured",
    ReaderStatus.OBSTRUCTED: "obstructed or jammed",
    ReaderStatus.ENTERING_SECURED: "entering secured state",
    ReaderStatus.ENTERING_UNSECURED: "entering unsecured state",
    ReaderStatus.UNKNOWN_STATE: "state unknown",
}
"""What each value of `ReaderStatus` is called."""


class Signaling:
    """Bits of the signaling bitmap (tag 5E), as one public implementation reads them."""

    ACCESS_DOCUMENT: Final = 1 << 0
    REVOCATION_DOCUMENT: Final = 1 << 1
    SELECT_STEP_UP: Final = 1 << 2
    """The step-up AID must be selected before a document can be asked for."""
    MAILBOX_NOT_EMPTY: Final = 1 << 3
    MAILBOX_READ: Final = 1 << 4
    MAILBOX_WRITE: Final = 1 << 5
    NOTIFY_ISSUER: Final = 1 << 6
    NOTIFY_APPLICATION: Final = 1 << 7
    UPDATE_DOCUMENT: Final = 1 << 9
    MAILBOX_IN_STEP_UP: Final = 1 << 10
    NOTIFY_IN_STEP_UP: Final = 1 << 11
    UPDATE_DOCUMENT_IN_STEP_UP: Final = 1 << 12


class Policy:
    """Values of authentication_policy (tag 42): how the holder of the device must have shown to be there."""

    USER_DEVICE_SETTING: Final = 0x01
    USER_DEVICE_SETTING_SECURE_ACTION: Final = 0x02
    FORCE_USER_AUTHENTICATION: Final = 0x03


POLICIES: Final = frozenset(
    (Policy.USER_DEVICE_SETTING, Policy.USER_DEVICE_SETTING_SECURE_ACTION, Policy.FORCE_USER_AUTHENTICATION)
)


# ---- SELECT ---------------------------------------------------------------------------------------------------


class ExtendedLength(Template, frozen=True):
    """Value of 7F66: the longest command and answer APDU that are taken (ISO 7816-4 12.8.1), bytes."""

    limits: Annotated[tuple[bytes, ...], tag(0x02)]


class Proprietary(Template, frozen=True):
    """Value of A5 in the answer to SELECT. The TLV as received goes into every salt, so keep it beside this."""

    TAG: ClassVar[int] = 0xA5
    kind: Annotated[int, tag(0x80, size=2)]
    versions: Annotated[bytes, tag(0x5C)]
    """Protocol versions of two bytes each, the highest first."""
    extended: Annotated[ExtendedLength | None, tag(0x7F66)] = None
    vendor: Annotated[bytes | None, tag(0xB3)] = None

    def version_numbers(self) -> tuple[int, ...]:
        """The versions as numbers (0100: 1.0). Raises DecodeError unless they are whole and at least one."""
        return versions(self.versions)


def versions(raw_versions: bytes) -> tuple[int, ...]:
    """Versions of two bytes each. Raises DecodeError unless they are whole and at least one."""
    if not raw_versions or len(raw_versions) % 2:
        raise DecodeError(f"protocol versions are two bytes each, not {len(raw_versions)} bytes")
    return tuple(int.from_bytes(raw_versions[at : at + 2]) for at in range(0, len(raw_versions), 2))


class Selected(Template, frozen=True):
    """Value of 6F, the answer to SELECT."""

    TAG: ClassVar[int] = 0x6F
    aid: Annotated[bytes, tag(0x84)]
    proprietary: Annotated[bytes | None, tag(Proprietary.TAG)] = None
    """Value of A5; with the expedited AID it is there."""


def selected(aid: bytes, proprietary: bytes | None = None) -> bytes:
    """Answer to SELECT: 6F with the AID, and with the value of A5 if given."""
    return item(Selected.TAG, Selected(aid, proprietary).build())


def parse_selected(data: bytes) -> tuple[Selected, bytes]:
    """Read an answer to SELECT: what it says, and its TLV A5 as received (empty: none). Raises DecodeError."""
    found = spans(data, 0, len(data))
    if [number for number, _, _ in found] != [Selected.TAG]:
        raise DecodeError("the answer to SELECT is not one TLV 6F")
    _, at, end = found[0]
    proprietary = b""
    for number, _, stop in spans(data, at, end):
        if number == Proprietary.TAG:
            proprietary = data[at:stop]
        at = stop
    return Selected.parse(data[found[0][1] : end]), proprietary


# ---- AUTH0 ----------------------------------------------------------------------------------------------------


class Auth0(Template, frozen=True):
    """Data of AUTH0, in this order."""

    strict = True
    FAST: ClassVar[int] = 0x01
    """Bit of `parameters`: the expedited-fast phase is asked for."""
    parameters: Annotated[int, tag(0x41, size=1)]
    policy: Annotated[int, tag(0x42, size=1)]
    version: Annotated[int, tag(0x5C, size=2)]
    ephemeral: Annotated[bytes, tag(0x87), raw(POINT_BYTES)]
    """reader_ePubK."""
    transaction_identifier: Annotated[bytes, tag(0x4C), raw(16)]
    reader_identifier: Annotated[bytes, tag(0x4D), raw(32)]
    """reader_group_identifier || reader_group_sub_identifier, 16 bytes each."""
    vendor: Annotated[bytes | None, tag(0xB1)] = None


class Auth0Answer(Template, frozen=True):
    """Answer to AUTH0."""

    strict = True
    ephemeral: Annotated[bytes, tag(0x86), raw(POINT_BYTES)]
    """credential_ePubK."""
    cryptogram: Annotated[bytes | None, tag(0x9D), raw(CRYPTOGRAM_BYTES)] = None
    """There exactly when the fast phase was asked for."""
    vendor: Annotated[bytes | None, tag(0xB2)] = None


def vendor_info(command: Auth0, answer: Auth0Answer) -> bytes:
    """The vendor TLVs of AUTH0, B1 then B2, each as far as it is there: the tail of the HKDF info."""
    parts = [
        item(number, value) for number, value in ((0xB1, command.vendor), (0xB2, answer.vendor)) if value is not None
    ]
    return b"".join(parts)


class FastStatus(Template, frozen=True):
    """What the cryptogram of the fast phase seals: 48 bytes."""

    strict = True
    signaling: Annotated[int, tag(0x5E, size=2)]
    credential_signed: Annotated[bytes, tag(0x91), raw(20)]
    """credential_signed_timestamp, ASCII; zeros for none."""
    revocation_signed: Annotated[bytes, tag(0x92), raw(20)]


# ---- AUTH1 ----------------------------------------------------------------------------------------------------


class Auth1(Template, frozen=True, kw_only=True):
    """Data of AUTH1."""

    strict = True
    PUBLIC_KEY: ClassVar[int] = 0x01
    """Bit of `parameters`: answer with the public key of the credential, not with its key slot."""
    parameters: Annotated[int, tag(0x41, size=1)]
    certificate: Annotated[bytes | None, tag(0x90)] = None
    """The compressed reader certificate, if LOAD CERT did not bring it."""
    signature: Annotated[bytes, tag(0x9E), raw(SIGNATURE_BYTES)]


class Auth1Answer(Template, frozen=True, kw_only=True):
    """Answer to AUTH1, its channel opened."""

    strict = True
    key_slot: Annotated[bytes | None, tag(0x4E), raw(8)] = None
    public_key: Annotated[bytes | None, tag(0x5A), raw(POINT_BYTES)] = None
    signature: Annotated[bytes | None, tag(0x9E), raw(SIGNATURE_BYTES)] = None
    mailbox: Annotated[bytes | None, tag(0x4B)] = None
    """What of its mailbox the device gives unasked."""
    signaling: Annotated[bytes, tag(0x5E), Rest(1, 2)]
    """Bits of `Signaling`; one byte in the draft whose worked example is published."""
    credential_signed: Annotated[bytes | None, tag(0x91), raw(20)] = None
    revocation_signed: Annotated[bytes | None, tag(0x92), raw(20)] = None


class Usage:
    """Last field of what is signed: whose signature it is."""

    READER: Final = bytes.fromhex("415D9569")
    DEVICE: Final = bytes.fromhex("4E887B4C")


class Signed(Template, frozen=True):
    """What both sides sign in AUTH1; X coordinates of 32 bytes."""

    strict = True
    reader_identifier: Annotated[bytes, tag(0x4D), raw(32)]
    credential_ephemeral_x: Annotated[bytes, tag(0x86), raw(32)]
    reader_ephemeral_x: Annotated[bytes, tag(0x87), raw(32)]
    transaction_identifier: Annotated[bytes, tag(0x4C), raw(16)]
    usage: Annotated[bytes, tag(0x93), raw(4)]
    """A value of `Usage`."""


# ---- CONTROL FLOW ---------------------------------------------------------------------------------------------


class ControlFlow(Template, frozen=True):
    """Data of CONTROL FLOW: the reader gives up while there is no secure channel to say so."""

    strict = True
    FAILURE: ClassVar[int] = 0x00
    NO_INFORMATION: ClassVar[int] = 0x00
    NO_VERSION: ClassVar[int] = 0x27
    s1: Annotated[int, tag(0x41, size=1)]
    s2: Annotated[int, tag(0x42, size=1)]
    domain: Annotated[bytes | None, tag(0x43)] = None
