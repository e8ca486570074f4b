"""Keys of SCP81: the PSK, its identity and check values, and how it travels (Amd B 3.3.2, 3.9; SGP.02 for eUICCs)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Final, final

from keywright.codec.ber import length, read_length
from keywright.codec.hexa import tohex, unhex
from keywright.codec.tlv import Template, tag
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.key import Key
from keywright.errors import AuthenticationError, DecodeError
from keywright.scp.session import Dek

PSK_TYPE: Final = 0x85
"""Key type: pre-shared key for TLS (GPCS 11.1.8)."""
KEY_VERSIONS: Final = range(0x40, 0x50)
"""Key version numbers of SCP81 by convention; no card is held to them here."""
SHA1_KCV: Final = 0x10
AES_KCV: Final = 0x11
"""Algorithms of key check values; PUT KEY knows the first only."""
_USAGE: Final = 0x3C


@final
class Psk(Key):
    """A pre-shared key."""

    __slots__ = ()

    def __init__(self, raw_key: bytes, label: str = "PSK") -> None:
        """Take at least 16 bytes. Raises ValueError for fewer, or more than 64."""
        if not 16 <= len(raw_key) <= 64:
            raise ValueError(f"{label}: a PSK has 16 to 64 bytes here, not {len(raw_key)}")
        super().__init__(raw_key, label)

    def kcv(self, algorithm: int = SHA1_KCV) -> bytes:
        """Key check value, 3 bytes. Algorithm 11: that of the AES key of SHA-256(PSK)'s first half."""
        if algorithm == SHA1_KCV:
            return hashlib.sha1(self._raw, usedforsecurity=False).digest()[:3]
        if algorithm == AES_KCV:
            return AesKey(hashlib.sha256(self._raw).digest()[:16], "KCV").kcv()
        raise ValueError(f"no key check value of algorithm {algorithm:02X}")

    def premaster(self) -> bytes:
        """Premaster secret of plain PSK suites up to TLS 1.2 (RFC 4279 2)."""
        size = len(self._raw).to_bytes(2)
        return size + bytes(len(self._raw)) + size + self._raw


def put_key_block(psk: Psk, dek: Dek, rng: Callable[[int], bytes]) -> bytes:
    """The PSK in PUT KEY data: padded with random bytes, encrypted under the channel's DEK (Amd B 3.9.1)."""
    raw = psk.reveal()
    padded = raw + rng(-len(raw) % dek.sensitive_block)
    inner = length(len(raw)) + dek.encrypt_sensitive(padded)
    kcv = psk.kcv()
    return bytes((PSK_TYPE,)) + length(len(inner)) + inner + bytes((len(kcv),)) + kcv


def read_put_key_block(data: bytes, decrypt: Callable[[bytes], bytes]) -> tuple[Psk, bytes]:
    """The PSK of such a block, card end, and what follows it. Raises DecodeError, AuthenticationError (check value)."""
    end = len(data)
    if not data or data[0] != PSK_TYPE:
        raise DecodeError("no PSK")
    size, start = read_length(data, 1, end)
    stop = start + size
    if stop >= end:
        raise DecodeError("PSK cut short", end)
    key_length, start = read_length(data, start, stop)
    checked = stop + 1 + data[stop]
    if key_length > stop - start or checked > end or data[stop] not in (0, 3):
        raise DecodeError("PSK or its check value cut short", stop)
    try:
        psk = Psk(decrypt(data[start:stop])[:key_length])
    except ValueError as error:
        raise DecodeError(str(error), start) from None
    kcv = data[stop + 1 : checked]
    if kcv and not equal(kcv, psk.kcv()):
        raise AuthenticationError("the PSK does not have its check value")
    return psk, data[checked:]


class KeyAttributes(Template, frozen=True):
    """Value of B9 in DGI 00B9, by which STORE DATA announces a PSK; DGI 8113 with the key follows at once."""

    usage: Annotated[int, tag(0x95, size=1)]
    access: Annotated[bytes | None, tag(0x96)] = None
    key_type: Annotated[int, tag(0x80, size=1)] = PSK_TYPE
    length: Annotated[int, tag(0x81)] = 16
    kid: Annotated[int, tag(0x82, size=1)] = 1
    kvn: Annotated[int, tag(0x83, size=1)] = 0x40
    kcv: Annotated[bytes | None, tag(0x84)] = None
    kcv_algorithm: Annotated[int | None, tag(0x85, size=1)] = None


def attributes_of(psk: Psk, kvn: int, kid: int, algorithm: int = SHA1_KCV) -> KeyAttributes:
    """What to announce for a PSK."""
    return KeyAttributes(
        _USAGE, None, PSK_TYPE, psk.size, kid, kvn, psk.kcv(algorithm), None if algorithm == SHA1_KCV else algorithm
    )


class EuiccIdentity(Template, frozen=True):
    """PSK identity of an eUICC (SGP.02); it is sent as upper-case hex text."""

    version: Annotated[bytes, tag(0x80)]
    eid: Annotated[bytes, tag(0x81)]
    aid: Annotated[bytes, tag(0x4F)]
    kid: Annotated[int, tag(0x82, size=1)]
    kvn: Annotated[int, tag(0x83, size=1)]


def euicc_identity(eid: bytes, aid: bytes, kid: int = 1, kvn: int = 0x40) -> str:
    """The text an eUICC sends in its ClientKeyExchange. Raises ValueError for an EID that has not 16 bytes."""
    if len(eid) != 16:
        raise ValueError(f"an EID has 16 bytes, not {len(eid)}")
    return tohex(EuiccIdentity(b"\x02", eid, aid, kid, kvn).build())


def read_euicc_identity(text: str) -> EuiccIdentity:
    """Inverse of `euicc_identity`. Raises DecodeError; other cards may send any text."""
    return EuiccIdentity.parse(unhex(text, "PSK identity"))
