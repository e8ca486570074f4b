"""What makes up the profile: every constant with its provenance, and every choice that is unsure as a field.

`TABLE` is what docs/ccc.md shows; a test compares the two.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

Value_co = TypeVar("Value_co", covariant=True)

NAME: Final = "CCC-public"


class Certainty(StrEnum):
    """How sure a constant is."""

    VECTOR = "published vector"
    IMPLEMENTED = "read from public code or notes"
    ASSUMED = "general knowledge, unchecked"
    UNSURE = "unsure: a field of Profile"
    OURS = "not public: ours"


class Constant(NamedTuple, Generic[Value_co]):
    """One constant: what it is for, its value, where that is from, and how sure it is."""

    what: str
    value: Value_co
    source: str
    certainty: Certainty
    switch: str = ""
    """The field of `Profile` that changes it."""


_NOTES: Final = "youngbug's notes on Release 3"
_CODE: Final = "baka3k/ccc_digital_key"
_SPAKE: Final = "a public SPAKE2+ service in Java (package com.xdman)"
_RFC: Final = "RFC 9383"
_OURS: Final = "keywright"
_ASSUMED: Final = "what is usual"

FRAMEWORK_AID: Final = Constant(
    "AID of the framework", bytes.fromhex("A000000809434343444B467631"), _NOTES, Certainty.IMPLEMENTED
)
APPLET_AID: Final = Constant(
    "AID of the applet", bytes.fromhex("A000000809434343444B417631"), _CODE, Certainty.IMPLEMENTED
)
VERSION: Final = Constant("version of SPAKE2+ and of the applet", 0x0100, _NOTES, Certainty.IMPLEMENTED)
ATTEMPTS: Final = Constant("attempts until a new password", 7, _NOTES, Certainty.IMPLEMENTED)
PASSWORD: Final = Constant("password", "decimal digits as ASCII", _OURS, Certainty.UNSURE, "password_is_packed")
SCRYPT: Final = Constant("scrypt N, r, p", (4096, 8, 1), _SPAKE, Certainty.IMPLEMENTED, "scrypt")
SCRYPT_BYTES: Final = Constant("bytes of scrypt: two halves z0, z1", 80, _SPAKE, Certainty.IMPLEMENTED)
SCALARS: Final = Constant("w0, w1", "(z mod (n - 1)) + 1", _SPAKE, Certainty.IMPLEMENTED)
GROUP: Final = Constant("M, N, X, Y, Z, V", "as RFC 9383, device is prover", _RFC, Certainty.VECTOR)
TRANSCRIPT: Final = Constant(
    "K", "SHA-256 over X, Y, Z, V, w0, each behind 8 bytes of length", _SPAKE, Certainty.IMPLEMENTED
)
CONFIRMATION: Final = Constant("info of K1 and K2", b"ConfirmationKeys", _SPAKE, Certainty.IMPLEMENTED)
CONFIRMATION_VERSIONS: Final = Constant(
    "info of K1 and K2 ends with", "TLVs 5B and 5C of REQUEST", _SPAKE, Certainty.UNSURE, "info_has_versions"
)
EVIDENCE: Final = Constant(
    "evidence", "CMAC over the sender's own point", _SPAKE, Certainty.UNSURE, "evidence_over_own_point"
)
SYSTEM: Final = Constant("info of Kenc, Kmac, Krmac, long-term secret", b"SystemKeys", _SPAKE, Certainty.IMPLEMENTED)
PAIRING_CHANNEL: Final = Constant(
    "channel after VERIFY", "secure messaging of SCP03, level 33", _ASSUMED, Certainty.ASSUMED, "mac_length"
)
KDH: Final = Constant("Kdh", "X9.63 with SHA-256 over ECDH.x and tid", "as Aliro", Certainty.ASSUMED)
INFO: Final = Constant(
    "info of a transaction",
    "vehicle_ePK.x, endpoint_ePK.x, tid, interface, flag, label, 5C 02 version",
    _CODE,
    Certainty.IMPLEMENTED,
)
SALT: Final = Constant("HKDF salt of a transaction", b"", _OURS, Certainty.UNSURE, "salt")
VOLATILE: Final = Constant("label of the standard transaction", b"Volatile", _CODE, Certainty.IMPLEMENTED)
PERSISTENT: Final = Constant("label of Kpersistent", b"Persistent", _CODE, Certainty.IMPLEMENTED)
FAST: Final = Constant("label of the fast transaction", b"VolatileFast", _CODE, Certainty.IMPLEMENTED)
CHANNEL_BYTES: Final = Constant("bytes of Kenc, Kmac, Krmac", 48, _CODE, Certainty.IMPLEMENTED)
CRYPTOGRAM: Final = Constant("label of the cryptogram of the fast transaction", b"Cryptogram", _OURS, Certainty.OURS)
URSK: Final = Constant("label of URSK", b"URSK", _OURS, Certainty.OURS)
FLAG: Final = Constant("P1 of AUTH0 that asks for the fast transaction", 0x01, _ASSUMED, Certainty.ASSUMED, "fast")
VEHICLE_USAGE: Final = Constant(
    "usage in the vehicle's signature", bytes.fromhex("415D9569"), _CODE, Certainty.IMPLEMENTED
)
DEVICE_USAGE: Final = Constant(
    "usage in the device's signature", bytes.fromhex("4E887B4C"), _CODE, Certainty.IMPLEMENTED
)
NFC: Final = Constant("interface byte of NFC", 0x5E, "as Aliro", Certainty.ASSUMED, "interface")
COUNTER: Final = Constant(
    "tag 57 of AUTH1", "transactions of this key so far, 4 bytes", _OURS, Certainty.UNSURE, "counts"
)
ABORT_REASON: Final = Constant("P2 of OP CONTROL FLOW for a bad X", 0x0C, _NOTES, Certainty.IMPLEMENTED)
END_P1: Final = Constant("P1 of OP CONTROL FLOW: pairing done", 0x11, _OURS, Certainty.UNSURE, "end_p1")
ABORT_P1: Final = Constant("P1 of OP CONTROL FLOW: given up", 0x12, _OURS, Certainty.UNSURE, "abort_p1")
KEY_CREATION: Final = Constant("P1 P2 of WRITE DATA: key creation", 0x7F48, _OURS, Certainty.OURS)
KEY_CHAIN: Final = Constant("P1 P2 of GET DATA: chain of the new key", 0x7F24, _OURS, Certainty.OURS)
MAILBOXES: Final = Constant("tags of EXCHANGE: private and confidential mailbox", (0xBA, 0xBB), _OURS, Certainty.OURS)
STATEMENT: Final = Constant("what signed statements begin with", b"CCC-public statement\0", _OURS, Certainty.OURS)
PACKAGE: Final = Constant(
    "a friend's package in the private mailbox", "offset 0: length (2), package", _OURS, Certainty.OURS
)
RECEIPT: Final = Constant("what receipts of key tracking begin with", b"CCC-public receipt\0", _OURS, Certainty.OURS)

TABLE: Final[tuple[Constant[object], ...]] = tuple(
    value for value in tuple(globals().values()) if isinstance(value, Constant)
)
"""All of them, in the order of this module."""


class Scrypt(msgspec.Struct, frozen=True):
    """Cost of scrypt (RFC 7914): N, r, p."""

    n: int = SCRYPT.value[0]
    r: int = SCRYPT.value[1]
    p: int = SCRYPT.value[2]


class Profile(msgspec.Struct, frozen=True):
    """Choices that both ends of one installation share, except where the text says whose they are."""

    scrypt: Scrypt = Scrypt()
    """Vehicle: the cost it asks for."""
    least_scrypt: Scrypt = Scrypt(1024, 8, 1)
    """Device: the least cost it accepts, so that what is derived is not guessed too cheaply."""
    most_scrypt: Scrypt = Scrypt(1 << 16, 16, 4)
    """Device: the most it accepts, so that nobody keeps it busy."""
    attempts: int = ATTEMPTS.value
    """Both: runs of SPAKE2+ with one password. The vehicle's limit is the one that is public."""
    password_is_packed: bool = False
    """The digits of the password go into scrypt two to a byte; False: as ASCII."""
    info_has_versions: bool = True
    """The info of K1 and K2 ends with the TLVs 5B and 5C."""
    evidence_over_own_point: bool = True
    """The vehicle's evidence covers Y and the device's X; False: the other way round, as RFC 9383 has it."""
    mac_length: int = 8
    """Bytes of a MAC of the channel: 8 or 16."""
    salt: bytes = SALT.value
    fast: int = FLAG.value
    interface: int = NFC.value
    counts: bool = True
    """Device: send the counter in AUTH1. A vehicle that has seen one refuses a lower."""
    end_p1: int = END_P1.value
    abort_p1: int = ABORT_P1.value


CCC_PUBLIC: Final = Profile()
