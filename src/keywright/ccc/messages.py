"""The commands and answers of owner pairing and of a transaction, for both ends.

Every class is the data field of one command or answer; `Template`s refuse unknown tags and another order, because
most of this travels in the clear and nothing else would notice.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from keywright.ccc.profile import VERSION
from keywright.codec.ber import item
from keywright.codec.record import raw
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError

POINT_BYTES: Final = 65
SIGNATURE_BYTES: Final = 64
VEHICLE_BYTES: Final = 8
"""Bytes of a vehicle_identifier."""
SLOT_BYTES: Final = 8
"""Bytes of a key_slot, the name of a key at the vehicle."""
CRYPTOGRAM_BYTES: Final = 16

NOT_READY: Final = 0x9484
"""Status word: the device is not ready for pairing."""
WRONG_P1P2: Final = 0x6B00


class Ins:
    """Instruction bytes of both the framework and the applet."""

    SELECT: Final = 0xA4
    SPAKE2_REQUEST: Final = 0x30
    SPAKE2_VERIFY: Final = 0x32
    WRITE_DATA: Final = 0xD4
    GET_DATA: Final = 0xCA
    AUTH0: Final = 0x80
    AUTH1: Final = 0x81
    EXCHANGE: Final = 0xC9
    CONTROL_FLOW: Final = 0x3C
    """OP CONTROL FLOW of the framework too."""


CLASSES: Final = {
    Ins.SELECT: 0x00,
    Ins.SPAKE2_REQUEST: 0x80,
    Ins.SPAKE2_VERIFY: 0x80,
    Ins.WRITE_DATA: 0x84,
    Ins.GET_DATA: 0x84,
    Ins.AUTH0: 0x80,
    Ins.AUTH1: 0x80,
    Ins.EXCHANGE: 0x84,
    Ins.CONTROL_FLOW: 0x80,
}
"""The class byte of each command as it travels; 84 means that the channel protects it."""

NAMES: Final = {
    Ins.SELECT: "SELECT",
    Ins.SPAKE2_REQUEST: "SPAKE2+ REQUEST",
    Ins.SPAKE2_VERIFY: "SPAKE2+ VERIFY",
    Ins.WRITE_DATA: "WRITE DATA",
    Ins.GET_DATA: "GET DATA",
    Ins.AUTH0: "AUTH0",
    Ins.AUTH1: "AUTH1",
    Ins.EXCHANGE: "EXCHANGE",
    Ins.CONTROL_FLOW: "CONTROL FLOW",
}


def versions(raw_versions: bytes) -> tuple[int, ...]:
    """Versions of two bytes each. Raises DecodeError unless they are whole and at least one."""
    if not raw_versions or len(raw_versions) % 2:
        raise DecodeError(f"versions are two bytes each, not {len(raw_versions)} bytes")
    return tuple(int.from_bytes(raw_versions[at : at + 2]) for at in range(0, len(raw_versions), 2))


# ---- owner pairing --------------------------------------------------------------------------------------------


class FrameworkSelected(Template, frozen=True):
    """Answer to SELECT of the framework."""

    strict = True
    NOT_PAIRING: ClassVar[int] = 0x00
    PASSWORD_ENTERED: ClassVar[int] = 0x02
    spake2plus: Annotated[bytes, tag(0x5A)]
    """Versions of two bytes each."""
    applet: Annotated[bytes, tag(0x5C)]
    status: Annotated[int, tag(0xD4, size=1)]


class ScryptParameters(Template, frozen=True):
    """Value of 7F50."""

    strict = True
    salt: Annotated[bytes, tag(0xC0), raw(16)]
    cost: Annotated[int, tag(0xC1, size=4)]
    """N."""
    block_size: Annotated[int, tag(0xC2, size=2)]
    """r."""
    parallelization: Annotated[int, tag(0xC3, size=2)]
    """p."""


class SpakeRequest(Template, frozen=True):
    """Data of SPAKE2+ REQUEST."""

    strict = True
    version: Annotated[int, tag(0x5B, size=2)]
    """The one agreed on."""
    applet: Annotated[bytes, tag(0x5C)]
    """All of the vehicle's; the first is to be used."""
    scrypt: Annotated[ScryptParameters, tag(0x7F50)]
    brand: Annotated[int, tag(0xD6, size=2)]

    def version_tlvs(self) -> bytes:
        """TLVs 5B and 5C, which go into the keys of the evidence."""
        return item(0x5B, self.version.to_bytes(2)) + item(0x5C, self.applet)


class SpakeAnswer(Template, frozen=True):
    """Answer to SPAKE2+ REQUEST."""

    strict = True
    x: Annotated[bytes, tag(0x50), raw(POINT_BYTES)]


class SpakeVerify(Template, frozen=True):
    """Data of SPAKE2+ VERIFY."""

    strict = True
    y: Annotated[bytes, tag(0x52), raw(POINT_BYTES)]
    evidence: Annotated[bytes, tag(0x57), raw(16)]
    """M1."""


class SpakeEvidence(Template, frozen=True):
    """Answer to SPAKE2+ VERIFY."""

    strict = True
    evidence: Annotated[bytes, tag(0x58), raw(16)]
    """M2."""


class KeyCreation(Template, frozen=True):
    """What WRITE DATA brings: the key that is to be made. The tags are ours."""

    strict = True
    vehicle: Annotated[bytes, tag(0x4D), raw(VEHICLE_BYTES)]
    vehicle_key: Annotated[bytes, tag(0x87), raw(POINT_BYTES)]
    """The vehicle's public key; the device trusts it because it came over the channel that the password opened."""
    slot: Annotated[bytes, tag(0x4E), raw(SLOT_BYTES)]
    brand: Annotated[int, tag(0xD6, size=2)]
    """Again, because in SPAKE2+ REQUEST nothing protects it."""
    private_size: Annotated[int, tag(0xC4, size=2)]
    """Bytes of the private mailbox."""
    confidential_size: Annotated[int, tag(0xC5, size=2)]


# ---- transaction ----------------------------------------------------------------------------------------------


class AppletSelected(Template, frozen=True):
    """Answer to SELECT of the applet."""

    strict = True
    versions: Annotated[bytes, tag(0x5C)]


class Auth0(Template, frozen=True):
    """Data of AUTH0."""

    strict = True
    version: Annotated[int, tag(0x5C, size=2)]
    ephemeral: Annotated[bytes, tag(0x87), raw(POINT_BYTES)]
    """vehicle_ePK."""
    transaction_identifier: Annotated[bytes, tag(0x4C), raw(16)]
    vehicle: Annotated[bytes, tag(0x4D), raw(VEHICLE_BYTES)]


class Auth0Answer(Template, frozen=True):
    """Answer to AUTH0."""

    strict = True
    ephemeral: Annotated[bytes, tag(0x86), raw(POINT_BYTES)]
    """endpoint_ePK."""
    cryptogram: Annotated[bytes | None, tag(0x9D), raw(CRYPTOGRAM_BYTES)] = None
    """There exactly when the fast transaction was asked for."""


class Auth1(Template, frozen=True):
    """Data of AUTH1."""

    strict = True
    signature: Annotated[bytes, tag(0x9E), raw(SIGNATURE_BYTES)]


class Auth1Answer(Template, frozen=True):
    """Answer to AUTH1, its channel opened."""

    strict = True
    slot: Annotated[bytes, tag(0x4E), raw(SLOT_BYTES)]
    signature: Annotated[bytes, tag(0x9E), raw(SIGNATURE_BYTES)]
    counter: Annotated[bytes | None, tag(0x57), raw(4)] = None
    confidential: Annotated[bytes | None, tag(0x4A)] = None
    """What of the confidential mailbox the device gives unasked."""
    private: Annotated[bytes | None, tag(0x4B)] = None


class Signed(Template, frozen=True):
    """What both sides sign in AUTH1; X coordinates of 32 bytes."""

    strict = True
    vehicle: Annotated[bytes, tag(0x4D), raw(VEHICLE_BYTES)]
    endpoint_ephemeral_x: Annotated[bytes, tag(0x86), raw(32)]
    vehicle_ephemeral_x: Annotated[bytes, tag(0x87), raw(32)]
    transaction_identifier: Annotated[bytes, tag(0x4C), raw(16)]
    usage: Annotated[bytes, tag(0x93), raw(4)]


class Exchange(Template, frozen=True):
    """What a vehicle sends in EXCHANGE: any of these. Mailbox requests are those of `aliro.exchange`."""

    strict = True
    private: Annotated[bytes | None, tag(0xBA)] = None
    confidential: Annotated[bytes | None, tag(0xBB)] = None
    status: Annotated[int | None, tag(0x97, size=2)] = None
    """A value of `aliro.messages.ReaderStatus`: the transaction ends."""
    ursk_ready: Annotated[bool, tag(0x98)] = False


class ExchangeAnswer(Template, frozen=True):
    """Answer to EXCHANGE: what each mailbox answered, as `aliro.exchange.ExchangeAnswer` has it."""

    strict = True
    private: Annotated[bytes | None, tag(0xBA)] = None
    confidential: Annotated[bytes | None, tag(0xBB)] = None


DEFAULT_VERSIONS: Final = (VERSION.value,)
