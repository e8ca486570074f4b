"""The SCP03 key schedule (Amd D 4.1.5, 6.2): from a static key set to session keys and cryptograms."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from keywright.crypto.aes import AesKey
from keywright.scp.scp03.messages import NO_IV

CARD_CRYPTOGRAM: Final = 0x00
HOST_CRYPTOGRAM: Final = 0x01
CARD_CHALLENGE: Final = 0x02
S_ENC: Final = 0x04
S_MAC: Final = 0x06
S_RMAC: Final = 0x07
_CONSTANTS: Final = (CARD_CRYPTOGRAM, HOST_CRYPTOGRAM, CARD_CHALLENGE, S_ENC, S_MAC, S_RMAC)

GP_TEST_KEY: Final = bytes(range(0x40, 0x50))
"""The well-known test key 40..4F of GlobalPlatform cards; protects nothing."""


class Prf(Protocol):
    """A key that can CMAC, wherever it lives."""

    @property
    def size(self) -> int:
        """Key length in bytes."""
        ...

    def cmac(self, message: bytes) -> bytes:
        """AES-CMAC, 16 bytes."""
        ...


class Cipher(Protocol):
    """A key that encrypts and decrypts in CBC, wherever it lives."""

    def encrypt_cbc(self, iv: bytes, data: bytes, /) -> bytes:
        """CBC without padding; `iv` 16 bytes, `data` n*16 bytes."""
        ...

    def decrypt_cbc(self, iv: bytes, data: bytes, /) -> bytes:
        """Inverse of `encrypt_cbc`; padding is left in place."""
        ...


class HostKeys(Protocol):
    """The keys of one session as the host end uses them: `SessionKeys`, or objects of a token."""

    @property
    def enc(self) -> Cipher:
        """S-ENC."""
        ...

    @property
    def mac(self) -> Prf:
        """S-MAC."""
        ...

    @property
    def rmac(self) -> Prf:
        """S-RMAC."""
        ...


class KeySet(msgspec.Struct, frozen=True):
    """Static keys of one key version number: K-ENC, K-MAC and K-DEK, all of one size."""

    enc: AesKey
    mac: AesKey
    dek: AesKey

    @classmethod
    def of(cls, enc: bytes, mac: bytes, dek: bytes) -> KeySet:
        """Key set of raw keys, each 16, 24 or 32 bytes. Raises ValueError for other or unequal sizes."""
        if not len(enc) == len(mac) == len(dek):
            raise ValueError("the three keys of a set have one size")
        return cls(AesKey(enc, "K-ENC"), AesKey(mac, "K-MAC"), AesKey(dek, "K-DEK"))

    @classmethod
    def gp_test(cls) -> KeySet:
        """The three test keys 40..4F."""
        return cls.of(GP_TEST_KEY, GP_TEST_KEY, GP_TEST_KEY)

    @property
    def sensitive_block(self) -> int:
        """Bytes of a cipher block of the data encryption key: 16."""
        return len(NO_IV)

    def encrypt_sensitive(self, data: bytes) -> bytes:
        """Whole blocks under the static K-DEK: AES-CBC, ICV 0 (Amd D 6.2.8). Raises ValueError for a rest."""
        return self.dek.encrypt_cbc(NO_IV, data)

    @property
    def kcvs(self) -> bytes:
        """The three key check values joined, 9 bytes: ENC, MAC, DEK."""
        return self.enc.kcv() + self.mac.kcv() + self.dek.kcv()


class SessionKeys(msgspec.Struct, frozen=True):
    """S-ENC, S-MAC and S-RMAC of one session."""

    enc: AesKey
    mac: AesKey
    rmac: AesKey


def derivation_block(constant: int, size: int, number: int) -> bytes:
    """What stands before the context, 16 bytes: for the first sixteen bytes of a key (`number` 1) or what follows (2).

    `size`: bytes of the result.
    """
    return _prefix(constant, size * 8, number)


def _prefix(constant: int, bits: int, number: int) -> bytes:
    return bytes(11) + bytes((constant, 0)) + bits.to_bytes(2) + bytes((number,))


_FIRST, _SECOND = (
    {size: {constant: _prefix(constant, size * 8, number) for constant in _CONSTANTS} for size in (8, 16, 24, 32)}
    for number in (1, 2)
)
"""What stands before the context, by size and constant: for the first sixteen bytes, and for what follows."""


def derive(key: Prf, constant: int, context: bytes, size: int) -> bytes:
    """KDF in counter mode with CMAC (Amd D 4.1.5); `size` is the output length, 8, 16, 24 or 32 bytes."""
    first = key.cmac(_FIRST[size][constant] + context)
    if size <= 16:
        return first[:size]
    return (first + key.cmac(_SECOND[size][constant] + context))[:size]


def derive_session(keys: KeySet, context: bytes) -> SessionKeys:
    """Session keys (Amd D 6.2.1). `context`: host challenge then card challenge, 16 or 32 bytes."""
    size = keys.enc.size
    return SessionKeys(
        AesKey(derive(keys.enc, S_ENC, context, size), "S-ENC"),
        AesKey(derive(keys.mac, S_MAC, context, size), "S-MAC"),
        AesKey(derive(keys.mac, S_RMAC, context, size), "S-RMAC"),
    )


def derive_card_challenge(enc: Prf, sequence_counter: bytes, aid: bytes, size: int) -> bytes:
    """Pseudo-random card challenge (Amd D 6.2.2.1); counter 3 bytes, AID of the application that was asked."""
    return derive(enc, CARD_CHALLENGE, sequence_counter + aid, size)
