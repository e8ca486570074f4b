"""Data of PUT KEY for every kind of key, basic and extended format (GPCS 11.8.2.3), and key load by STORE DATA.

A key is one component or several (modulus and exponent; point and curve), then its check value. Component types have
bit b8 set and the length of a check value has not: that is how a reader knows where the components end.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from keywright.codec.ber import length, read_length
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError
from keywright.scp.scp11.messages import CURVE_PARAMETERS

EXTENDED: Final = 0xFF
"""Key type byte that says: the type follows, and usage and access come after the check value."""
_TYPE: Final = 0x80
Padding: TypeAlias = Literal["80", "zeros"]
"""How a value is filled to cipher blocks before it is encrypted: 80 and zeros always, or zeros where it needs any."""
MAX_KVN: Final = 0x7F
MAX_KID: Final = 0x7F


class ComponentType:
    """Key type coding (GPCS 11.1.8); those of `messages.KeyType` and the rest."""

    DES: Final = 0x80
    DES_ECB: Final = 0x83
    DES_CBC: Final = 0x84
    PSK_TLS: Final = 0x85
    AES: Final = 0x88
    HMAC_SHA1: Final = 0x90
    HMAC_SHA1_160: Final = 0x91
    RSA_PUBLIC_EXPONENT: Final = 0xA0
    RSA_PUBLIC_MODULUS: Final = 0xA1
    RSA_PRIVATE_MODULUS: Final = 0xA2
    RSA_PRIVATE_EXPONENT: Final = 0xA3
    RSA_CRT_P: Final = 0xA4
    RSA_CRT_Q: Final = 0xA5
    RSA_CRT_PQ: Final = 0xA6
    RSA_CRT_DP1: Final = 0xA7
    RSA_CRT_DQ1: Final = 0xA8
    EC_PUBLIC: Final = 0xB0
    EC_PRIVATE: Final = 0xB1
    EC_FIELD: Final = 0xB2
    EC_A: Final = 0xB3
    EC_B: Final = 0xB4
    EC_GENERATOR: Final = 0xB5
    EC_ORDER: Final = 0xB6
    EC_COFACTOR: Final = 0xB7
    EC_PARAMETERS: Final = 0xF0


ENCRYPTED: Final = frozenset(
    {
        *range(ComponentType.DES, ComponentType.HMAC_SHA1_160 + 1),
        *range(ComponentType.RSA_PRIVATE_EXPONENT, ComponentType.RSA_CRT_DQ1 + 1),
        ComponentType.EC_PRIVATE,
    }
)
"""Types whose value is secret and travels under the data encryption key; all others travel in clear."""

CURVE_REFERENCES: Final = CURVE_PARAMETERS
"""Values of an F0 component: curves by number (GPCS B.4.3); the twisted Brainpool curves are not used here."""


class KeyUsage:
    """Key usage qualifier (GPCS 11.1.9): what a key is for."""

    C_MAC: Final = 0x14
    R_MAC: Final = 0x24
    C_MAC_R_MAC: Final = 0x34
    C_ENC: Final = 0x18
    R_ENC: Final = 0x28
    C_ENC_R_ENC: Final = 0x38
    C_DEK: Final = 0x48
    R_DEK: Final = 0x88
    C_DEK_R_DEK: Final = 0xC8
    PSK_TLS: Final = 0x3C
    TOKEN_VERIFICATION: Final = 0x81
    RECEIPT_GENERATION: Final = 0x44
    DAP_VERIFICATION: Final = 0x84


class KeyAccess:
    """Who may use a key (GPCS 11.1.10)."""

    DOMAIN_AND_APPLICATIONS: Final = 0x00
    DOMAIN_ONLY: Final = 0x01
    APPLICATIONS_ONLY: Final = 0x02
    NOT_AVAILABLE: Final = 0xFF


class KeyPart(msgspec.Struct, frozen=True):
    """One component: its type and what is sent for it, ciphertext where the type is one of `ENCRYPTED`."""

    type: int
    value: bytes

    def opened_size(self, cipher_block: int = 16) -> tuple[int, bytes]:
        """Length of the secret in bytes and its ciphertext; see `split_secret`."""
        return split_secret(self.value, cipher_block)


class KeyField(msgspec.Struct, frozen=True):
    """One key of PUT KEY. `kcv` is empty where there is none; `usage` and `access` only in the extended format."""

    parts: tuple[KeyPart, ...]
    kcv: bytes = b""
    extended: bool = False
    usage: bytes = b""
    access: bytes = b""

    def build(self) -> bytes:
        """Its bytes. Raises ValueError without a component, for a type below 80 or a check value of 128 bytes."""
        if not self.parts or any(not _TYPE <= part.type < EXTENDED for part in self.parts):
            raise ValueError("a key has components whose types are 80 to FE")
        if (self.usage or self.access) and not self.extended:
            raise ValueError("usage and access of a key need the extended format")
        mark = bytes((EXTENDED,)) if self.extended else b""
        parts = b"".join(mark + bytes((part.type,)) + length(len(part.value)) + part.value for part in self.parts)
        tail = (self.kcv, self.usage, self.access) if self.extended else (self.kcv,)
        return parts + b"".join(_short(value) for value in tail)


class NewKeys(msgspec.Struct, frozen=True):
    """Data of PUT KEY: the new key version number and its keys, with identifiers from P2 upwards."""

    kvn: int
    keys: tuple[KeyField, ...]

    def build(self) -> bytes:
        """Its bytes. Raises ValueError for a key version number that is none or a key that cannot be built."""
        return bytes((self.kvn,)) + b"".join(key.build() for key in self.keys)


def parse_put_key(data: bytes) -> NewKeys:
    """Data of PUT KEY, each key basic or extended. Raises DecodeError for what is cut short or has no component."""
    if not data:
        raise DecodeError("PUT KEY without data")
    keys, at = [], 1
    while at < len(data):
        key, at = _take_key(data, at)
        keys.append(key)
    return NewKeys(data[0], tuple(keys))


def _take_key(data: bytes, at: int) -> tuple[KeyField, int]:
    parts, extended = [], data[at] == EXTENDED
    while at < len(data) and data[at] >= _TYPE:
        if (data[at] == EXTENDED) != extended:
            raise DecodeError("a key mixes the basic and the extended format", at)
        at += extended
        if at >= len(data) or not _TYPE <= data[at] < EXTENDED:
            raise DecodeError("key type missing", min(at, len(data)))
        value, end = _take_value(data, at + 1)
        parts.append(KeyPart(data[at], value))
        at = end
    if not parts:
        raise DecodeError(f"{data[at]:02X} is no key type", at)
    kcv, at = _take_short(data, at)
    if not extended:
        return KeyField(tuple(parts), kcv), at
    usage, at = _take_short(data, at)
    access, at = _take_short(data, at)
    return KeyField(tuple(parts), kcv, extended=True, usage=usage, access=access), at


def _take_value(data: bytes, at: int) -> tuple[bytes, int]:
    """A value after its length, 80 read as 128 (GPCS 11.8.2.3)."""
    if data[at : at + 1] == b"\x80":
        size, start = 0x80, at + 1
    else:
        size, start = read_length(data, at, len(data))
    if start + size > len(data):
        raise DecodeError(f"{size} bytes announced, {len(data) - start} there", start)
    return data[start : start + size], start + size


def _take_short(data: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(data):
        raise DecodeError("length missing", len(data))
    if data[at] >= _TYPE:
        raise DecodeError(f"length {data[at]:02X} of a check value, usage or access", at)
    end = at + 1 + data[at]
    if end > len(data):
        raise DecodeError(f"{data[at]} bytes announced, {len(data) - at - 1} there", at)
    return data[at + 1 : end], end


def _short(value: bytes) -> bytes:
    if len(value) >= _TYPE:
        raise ValueError("a check value, usage or access has less than 128 bytes")
    return bytes((len(value),)) + value


def split_secret(value: bytes, cipher_block: int) -> tuple[int, bytes]:
    """Length of a secret in bytes and its ciphertext, from the value of its component.

    Both forms in the field: with the length before the ciphertext (GPCS 11.8.2.3; in one byte, or longer as in TLV) and
    without. The length is there iff the value is no whole number of cipher blocks; without it the secret is as long as
    its ciphertext. Raises DecodeError for a length that the ciphertext cannot have.
    """
    rest = len(value) % cipher_block
    if not rest:
        return len(value), value
    if value[:1] == b"\x80":
        size, at = 0x80, 1
    else:
        size, at = read_length(value, 0, len(value))
    if at != rest or not len(value) - at - cipher_block < size <= len(value) - at:
        raise DecodeError(f"a secret of {size} bytes in {len(value) - at} bytes of ciphertext")
    return size, value[at:]


def joined_secret(size: int, ciphertext: bytes) -> bytes:
    """Inverse of `split_secret`, with the length: `size` bytes that count, then whole cipher blocks."""
    return length(size) + ciphertext


class KeyLoad(Template, frozen=True):
    """Inside B9 of data group 00B9: what the next data group 8113 brings (GPCS 11.11.3).

    usage: `KeyUsage`; access: `KeyAccess`. kcv_method: how the check value is made, where it is not the usual one.
    """

    usage: Annotated[bytes | None, tag(0x95)] = None
    access: Annotated[bytes | None, tag(0x96)] = None
    type: Annotated[int | None, tag(0x80, size=1)] = None
    length: Annotated[bytes | None, tag(0x81)] = None
    kid: Annotated[int | None, tag(0x82, size=1)] = None
    kvn: Annotated[int | None, tag(0x83, size=1)] = None
    kcv: Annotated[bytes | None, tag(0x84)] = None
    kcv_method: Annotated[bytes | None, tag(0x85)] = None


class KeyLoads(Template, frozen=True):
    """Data group 00B9: one B9 for each key."""

    keys: Annotated[tuple[KeyLoad, ...], tag(0xB9)] = ()


KEY_LOAD_GROUP: Final = 0x00B9
"""Data group that announces keys."""
KEY_VALUE_GROUP: Final = 0x8113
"""Data group with one encrypted key; as many follow 00B9 as it has B9."""
