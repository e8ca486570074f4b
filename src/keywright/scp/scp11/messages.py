"""What SCP11 puts on the wire, for both ends (GlobalPlatform Card Specification, Amendment F, "Amd F").

The handshake, the data objects that go with it (certificate store, CA identifiers, allow-list) and the certificates of
GlobalPlatform's own format. Numbers of clauses are missing where no copy of the text was at hand.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias

import msgspec

from keywright.codec.record import U8, Record, raw
from keywright.codec.tlv import Template, item, items, tag
from keywright.errors import DecodeError
from keywright.scp.level import Level

SCP11: Final = 0x11

PERFORM_SECURITY_OPERATION: Final = 0x2A
MUTUAL_AUTHENTICATE: Final = 0x82
INTERNAL_AUTHENTICATE: Final = 0x88
GET_DATA: Final = 0xCA
STORE_DATA: Final = 0xE2
GENERATE_EC_KEY: Final = 0xF1
"""Yubico's own instruction."""

MORE: Final = 0x80
"""P1 of PERFORM SECURITY OPERATION: more of this certificate follows. P2: more certificates follow."""


class Kid:
    """Key identifiers. Those of SK.SD.ECKA are followed by that of an optional static key-DEK."""

    CA_KLOC: Final = 0x10
    SCP11A: Final = 0x11
    SCP11B: Final = 0x13
    SCP11C: Final = 0x15


class Parameter:
    """Bits of the second byte of tag 90."""

    HOST_ID: Final = 0x04
    """HostID and the card's identifiers go into the derivation."""


class Variant(msgspec.Struct, frozen=True):
    """What tells SCP11a, b and c apart on the wire."""

    letter: str
    ins: int
    parameter: int
    """b2 b1 of the second byte of tag 90."""
    kid: int
    """Of SK.SD.ECKA; the next one is that of the static key-DEK."""

    @property
    def authenticates_host(self) -> bool:
        """Whether the off-card entity shows a certificate."""
        return self.ins == MUTUAL_AUTHENTICATE

    @property
    def is_static(self) -> bool:
        """Whether the card has no ephemeral key, so that a script for a group of cards can be made beforehand."""
        return self.letter == "c"


SCP11A: Final = Variant("a", MUTUAL_AUTHENTICATE, 1, Kid.SCP11A)
SCP11B: Final = Variant("b", INTERNAL_AUTHENTICATE, 0, Kid.SCP11B)
SCP11C: Final = Variant("c", MUTUAL_AUTHENTICATE, 3, Kid.SCP11C)
VARIANTS: Final = (SCP11A, SCP11B, SCP11C)

AES: Final = 0x88
"""Key type in tag 80."""
KEY_LENGTHS: Final = (16, 24, 32)

LEVELS_OF_USAGE: Final = {
    0x34: Level.C_MAC | Level.R_MAC,
    0x3C: Level.C_MAC | Level.C_DEC | Level.R_MAC | Level.R_ENC,
    0x1C: Level.C_MAC | Level.C_DEC,
    0x74: Level.C_MAC | Level.C_DEC | Level.R_MAC,
}
"""Security level by key usage qualifier (tag 95). 34 and 3C are certain; the others were seen at one card only [?]."""
USAGE_OF_LEVEL: Final = {level: usage for usage, level in LEVELS_OF_USAGE.items()}


class I:  # noqa: E742 - the standard's own name
    """Bits of the "i" parameter. One byte, or two joined when the first has `SECOND`: taken raw from the OID."""

    A: Final = 0x01
    B: Final = 0x02
    PERSISTENT_PK: Final = 0x04
    CHAINS: Final = 0x08
    C: Final = 0x10
    AUTHORISATION_IN_C: Final = 0x20
    S16: Final = 0x40
    SECOND: Final = 0x80
    AUTHORISATION_IN_A: Final = 0x01
    X509: Final = 0x02
    NO_GP_CERTIFICATES: Final = 0x04


def i_bytes(i: int) -> tuple[int, int]:
    """Both bytes of "i"; the second is 0 where there is none."""
    return (i >> 8, i & 0xFF) if i > 0xFF else (i, 0)


CURVE_PARAMETERS: Final = {
    0x00: "P-256",
    0x01: "P-384",
    0x02: "P-521",
    0x03: "brainpoolP256r1",
    0x05: "brainpoolP384r1",
    0x07: "brainpoolP512r1",
}
"""Curve by key parameter reference (tag F0)."""
PARAMETER_OF_CURVE: Final = {curve: number for number, curve in CURVE_PARAMETERS.items()}


# ---- handshake ------------------------------------------------------------------------------------------------


class ProtocolParameter(Record, frozen=True):
    """Value of tag 90: the protocol, 11 in all variants, and its parameters."""

    scp: U8
    parameter: U8


class ControlReference(Template, frozen=True):
    """Inside A6 of MUTUAL and INTERNAL AUTHENTICATE."""

    strict: ClassVar[bool] = True

    protocol: Annotated[ProtocolParameter, tag(0x90)]
    usage: Annotated[int, tag(0x95, size=1)]
    key_type: Annotated[int, tag(0x80, size=1)]
    key_length: Annotated[int, tag(0x81, size=1)]
    host_id: Annotated[bytes | None, tag(0x84)] = None


class Authenticate(Template, frozen=True):
    """Data of MUTUAL and INTERNAL AUTHENTICATE."""

    strict: ClassVar[bool] = True

    control: Annotated[ControlReference, tag(0xA6)]
    public_key: Annotated[bytes, tag(0x5F49)]
    """ePK.OCE.ECKA, an uncompressed point."""


class AuthenticateAnswer(Template, frozen=True):
    """Answer to them. Some SCP11b cards before version 1.4 give no receipt."""

    strict: ClassVar[bool] = True

    public_key: Annotated[bytes, tag(0x5F49)]
    """ePK.SD.ECKA; PK.SD.ECKA with SCP11c."""
    receipt: Annotated[bytes | None, tag(0x86), raw(16)] = None


PUBLIC_KEY: Final = 0x5F49


# ---- data objects ---------------------------------------------------------------------------------------------


class KeyReference(Record, frozen=True):
    """Value of tag 83: key identifier, then key version number."""

    kid: U8
    kvn: U8


class KeyOrIssuer(Template, frozen=True):
    """Inside A6 of GET DATA BF21 and 83: the key asked for, or the identifier of a CA."""

    identifier: Annotated[bytes | None, tag(0x42)] = None
    key: Annotated[KeyReference | None, tag(0x83)] = None


class KeyFound(Template, frozen=True):
    """Answer to GET DATA 83."""

    key: Annotated[KeyReference, tag(0x83)]


class ForKey(Template, frozen=True):
    """Inside A6 of STORE DATA for an allow-list or a certificate store."""

    strict: ClassVar[bool] = True

    key: Annotated[KeyReference, tag(0x83)]


class CaIdentifier(Template, frozen=True, kw_only=True):
    """Inside A6 of STORE DATA that names a CA key. `side`: 0 CA-KLOC, 1 CA-KLCC; some hosts leave it out."""

    strict: ClassVar[bool] = True

    side: Annotated[int | None, tag(0x80, size=1)] = None
    identifier: Annotated[bytes, tag(0x42)]
    key: Annotated[KeyReference, tag(0x83)]


class Serials(Template, frozen=True):
    """Inside 70: serial numbers of certificates that are allowed. X.509 numbers are positive DER integers."""

    strict: ClassVar[bool] = True

    serials: Annotated[tuple[bytes, ...], tag(0x93)] = ()


class AllowList(Template, frozen=True, kw_only=True):
    """STORE DATA of the certificates that a CA-KLOC key accepts. No serial number: the list is removed."""

    strict: ClassVar[bool] = True

    target: Annotated[ForKey, tag(0xA6)]
    counter: Annotated[int | None, tag(0x92, size=2)] = None
    """Against rollback: a list whose counter is not above the stored one is refused."""
    allowed: Annotated[Serials, tag(0x70)]


class CertificateStore(Template, frozen=True):
    """STORE DATA of the certificates of one SK.SD.ECKA, the key's own certificate last."""

    strict: ClassVar[bool] = True

    target: Annotated[ForKey, tag(0xA6)]
    certificates: Annotated[bytes, tag(0xBF21)]


class CaIdentifierStore(Template, frozen=True):
    """STORE DATA of the identifier of one CA key."""

    strict: ClassVar[bool] = True

    entry: Annotated[CaIdentifier, tag(0xA6)]


StoreObject: TypeAlias = AllowList | CertificateStore | CaIdentifierStore

CRT: Final = 0xA6
CERTIFICATE_STORE: Final = 0xBF21
KEY_OF_CA: Final = 0x0083
KLOC_IDENTIFIERS: Final = 0xFF33
KLCC_IDENTIFIERS: Final = 0xFF34
_ALLOWED: Final = 0x70


def parse_store_object(data: bytes) -> StoreObject:
    """The object that a STORE DATA (P1 90) with a control reference template A6 sets. Raises DecodeError for others."""
    tags = [number for number, _ in items(data)]
    if tags == [CRT]:
        return CaIdentifierStore.parse(data)
    if tags == [CRT, CERTIFICATE_STORE]:
        return CertificateStore.parse(data)
    if tags[:1] == [CRT] and tags[-1:] == [_ALLOWED]:
        return AllowList.parse(data)
    raise DecodeError("no allow-list, certificate store or CA identifier")


def build_ca_identifiers(entries: tuple[tuple[bytes, KeyReference], ...]) -> bytes:
    """Value of FF33 and FF34: pairs of 42 (identifier) and 83 (key)."""
    return b"".join(item(0x42, identifier) + item(0x83, key.build()) for identifier, key in entries)


def parse_ca_identifiers(data: bytes) -> tuple[tuple[bytes, KeyReference], ...]:
    """Inverse of `build_ca_identifiers`. Raises DecodeError."""
    found = items(data)
    if [number for number, _ in found] != [0x42, 0x83] * (len(found) // 2):
        raise DecodeError("not pairs of CA identifier and key")
    pairs = zip(found[::2], found[1::2], strict=True)
    return tuple((identifier, KeyReference.parse(key)) for (_, identifier), (_, key) in pairs)


class GenerateEcKey(Record, frozen=True):
    """Data of Yubico's GENERATE EC KEY: the new key version number, then F0 with the curve."""

    kvn: U8
    parameter_tag: U8
    parameter_length: U8
    curve: U8


class GeneratedEcKey(Template, frozen=True):
    """Answer to it: the public key."""

    point: Annotated[bytes, tag(0xB0)]


# ---- certificates ---------------------------------------------------------------------------------------------


class CertificateKey(Template, frozen=True):
    """Inside 7F49: public key and curve."""

    strict: ClassVar[bool] = True

    point: Annotated[bytes, tag(0xB0)]
    curve: Annotated[int, tag(0xF0, size=1)]


class CertificateBody(Template, frozen=True, kw_only=True):
    """Inside 7F21: a certificate of GlobalPlatform's own format; all but 5F37 is signed. Dates are BCD YYYYMMDD."""

    strict: ClassVar[bool] = True

    serial: Annotated[bytes, tag(0x93)]
    issuer: Annotated[bytes, tag(0x42)]
    subject: Annotated[bytes, tag(0x5F20)]
    usage: Annotated[bytes, tag(0x95)]
    effective: Annotated[bytes | None, tag(0x5F25), raw(4)] = None
    expires: Annotated[bytes, tag(0x5F24), raw(4)]
    discretionary: Annotated[bytes | None, tag(0x53)] = None
    discretionary_template: Annotated[bytes | None, tag(0x73)] = None
    authorisation: Annotated[bytes | None, tag(0xBF20)] = None
    public_key: Annotated[CertificateKey, tag(0x7F49)]
    signature: Annotated[bytes, tag(0x5F37)]


CERTIFICATE: Final = 0x7F21
SIGNATURE: Final = 0x5F37

USAGE_VERIFY: Final = b"\x82"
"""Tag 95 of a CA's certificate: its key verifies signatures."""
USAGE_AGREE: Final = b"\x00\x80"
"""Tag 95 of the last certificate: its key agrees on keys."""


class CommandPair(Record, frozen=True):
    """Class and instruction that a certificate allows."""

    cla: U8
    ins: U8


class CommandList(Record, frozen=True):
    """Inside 8D."""

    commands: tuple[CommandPair, ...] = ()


class Allowed(Template, frozen=True):
    """Inside EF of an authorisation; what its other objects mean is not known [?], so they allow nothing."""

    commands: Annotated[CommandList | None, tag(0x8D)] = None


class Authorisation(Template, frozen=True):
    """Inside BF20 of a certificate: what its holder may do beside the built-in list."""

    allowed: Annotated[Allowed | None, tag(0xEF)] = None

    @property
    def commands(self) -> frozenset[tuple[int, int]]:
        """Pairs of class and instruction."""
        listed = self.allowed.commands if self.allowed is not None else None
        return frozenset((pair.cla, pair.ins) for pair in listed.commands) if listed is not None else frozenset()
