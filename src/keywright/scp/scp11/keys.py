"""The SCP11 key schedule: from two key agreements to receipt and session keys (Amd F 3.1.2)."""

from __future__ import annotations

import hashlib
from typing import Protocol, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.kdf import x963
from keywright.crypto.key import Secret
from keywright.errors import AuthenticationError
from keywright.scp.scp03.keys import SessionKeys
from keywright.scp.scp03.messages import NO_IV
from keywright.scp.scp11.messages import AES, Variant
from keywright.scp.scp11.profile import Ecka, Profile

RECEIPT_LENGTH = 16


class AgreementKey(Protocol):
    """A private key that agrees, wherever it lives."""

    @property
    def public(self) -> EcPublicKey:
        """Its public key."""
        ...

    def agree(self, peer: EcPublicKey, /) -> bytes:
        """X coordinate of the shared point, as wide as the curve. Raises KeywrightError for a point that won't do."""
        ...


@final
class KeptAgreement(Secret):
    """A static key that remembers what it has agreed with the last peers, for a host that meets the same ones again.

    In SCP11a and c the agreement of the two static keys is the same in every session with a card, and with every card
    of a group. What is kept is as secret as the key; it lives as long as this object.
    """

    __slots__ = ("_kept", "_key", "_limit")

    def __init__(self, key: AgreementKey, limit: int = 64) -> None:
        """`limit`: how many peers are remembered; the oldest goes first."""
        self._key = key
        self._kept: dict[bytes, bytes] = {}
        self._limit = limit

    @property
    def public(self) -> EcPublicKey:
        """Public key of the key behind it."""
        return self._key.public

    def agree(self, peer: EcPublicKey, /) -> bytes:
        """X coordinate of the shared point. Raises as the key behind it does."""
        if peer.curve != self.public.curve:
            return self._key.agree(peer)
        found = self._kept.get(peer.point)
        if found is None:
            if len(self._kept) >= self._limit:
                del self._kept[next(iter(self._kept))]
            found = self._kept[peer.point] = self._key.agree(peer)
        return found


class Identifiers(msgspec.Struct, frozen=True):
    """What goes into the derivation beside the keys when the host asks for it (bit 04 of the parameter).

    `sin` and `sdin`: GET DATA 42 and 45 of the security domain, for a and b. `group`: subject identifier of
    CERT.SD.ECKA, for c. Each at most 255 bytes.
    """

    host: bytes
    sin: bytes = b""
    sdin: bytes = b""
    group: bytes = b""


class Secrets(msgspec.Struct, frozen=True):
    """What one handshake gives. The receipt key is not kept after it."""

    receipt: AesKey
    session: SessionKeys
    dek: SessionDek


class SessionDek(msgspec.Struct, frozen=True):
    """S-DEK of a session: a `Dek`."""

    key: AesKey

    @property
    def sensitive_block(self) -> int:
        """16."""
        return len(NO_IV)

    def encrypt_sensitive(self, data: bytes) -> bytes:
        """Whole blocks: AES-CBC, ICV 0 (Amd D 6.2.8). Raises ValueError for a rest."""
        return self.key.encrypt_cbc(NO_IV, data)

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Inverse of `encrypt_sensitive`."""
        return self.key.decrypt_cbc(NO_IV, data)


def shared_info(
    variant: Variant, usage: int, key_length: int, identifiers: Identifiers | None, profile: Profile
) -> bytes:
    """SharedInfo of the derivation. Raises ValueError for an identifier above 255 bytes."""
    info = bytes((usage, AES, key_length))
    if identifiers is None:
        return info
    info += _lv(identifiers.host)
    if variant.is_static:
        return info + (identifiers.group if profile.group_id == "raw" else _lv(identifiers.group))
    return info + _lv(identifiers.sin) + _lv(identifiers.sdin)


def derive(ephemeral: bytes, static: bytes, info: bytes, key_length: int, profile: Profile) -> Secrets:
    """All keys of a session from ShSe and ShSs, the results of both agreements, 16, 24 or 32 bytes each.

    Raises AuthenticationError for a shared secret of zeros.
    """
    z = _agreed(ephemeral, profile.ecka) + _agreed(static, profile.ecka)
    block = x963(z, info, 5 * key_length, profile.kdf_hash)
    receipt, enc, mac, rmac, dek = (block[at : at + key_length] for at in range(0, 5 * key_length, key_length))
    return Secrets(
        AesKey(receipt, "receipt key"),
        SessionKeys(AesKey(enc, "S-ENC"), AesKey(mac, "S-MAC"), AesKey(rmac, "S-RMAC")),
        SessionDek(AesKey(dek, "S-DEK")),
    )


def make_receipt(key: AesKey, command_data: bytes, public_key: bytes) -> bytes:
    """Receipt over the data of the command and the TLV 5F49 of the answer: 16 bytes, in S8 mode too."""
    return key.cmac(command_data + public_key)


def _agreed(x: bytes, ecka: Ecka) -> bytes:
    if not any(x):
        raise AuthenticationError("key agreement gave nothing")
    return hashlib.sha1(x, usedforsecurity=False).digest() if ecka == "sha1" else x


def _lv(value: bytes) -> bytes:
    if len(value) > 0xFF:
        raise ValueError("an identifier in the derivation has at most 255 bytes")
    return bytes((len(value),)) + value
