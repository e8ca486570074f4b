"""Keys of SCP80 and what is done with them: ciphering and the checksums (TS 102 225 5.1.2, 5.1.3). IVs are zero."""

from __future__ import annotations

import zlib
from typing import Final, Protocol, Self

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.single_des import DesKey
from keywright.errors import PolicyError
from keywright.scp.scp80.messages import CheckAlgorithm, CipherAlgorithm
from keywright.scp.scp80.profile import STRICT, Profile

OtaKey = AesKey | TripleDesKey | DesKey

_POLYNOMIAL: Final = 0x8408
"""x^16 + x^12 + x^5 + 1, reflected."""


def _crc16_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        remainder = value
        for _ in range(8):
            remainder = remainder >> 1 ^ _POLYNOMIAL * (remainder & 1)
        table.append(remainder)
    return tuple(table)


_CRC16: Final = _crc16_table()


def crc16(data: bytes) -> bytes:
    """CRC16 of TS 102 225 5.1.3.2: reflected, from FFFF, complemented, most significant byte first."""
    remainder = 0xFFFF
    for byte in data:
        remainder = remainder >> 8 ^ _CRC16[(remainder ^ byte) & 0xFF]
    return (remainder ^ 0xFFFF).to_bytes(2)


def crc32(data: bytes) -> bytes:
    """CRC32 of TS 102 225 5.1.3.2: that of ZIP, most significant byte first."""
    return zlib.crc32(data).to_bytes(4)


def _xor(data: bytes, size: int) -> bytes:
    total = 0
    for start in range(0, len(data), size):
        total ^= int.from_bytes(data[start : start + size].ljust(size, b"\0"))
    return total.to_bytes(size)


class KeySet(msgspec.Struct, frozen=True):
    """The keys of one key version number (01 to 0F): KIc (01), KID (02) and KIK (03), which encrypts keys.

    `mac_length`: bytes of an AES CC, 8 or 4; it belongs to the key, no packet tells it. `cipher` and `checksum`: what
    both sides know where KIc or KID leave it open.
    """

    kic: OtaKey | None = None
    kid: OtaKey | None = None
    kik: OtaKey | None = None
    mac_length: int = 8
    cipher: CipherAlgorithm | None = None
    checksum: CheckAlgorithm | None = None

    @classmethod
    def aes(cls, kic: bytes, kid: bytes, kik: bytes | None = None, *, mac_length: int = 8) -> Self:
        """Raw AES keys of 16, 24 or 32 bytes. Raises ValueError for other sizes, or a MAC that is not 8 or 4 bytes."""
        if mac_length not in (4, 8):
            raise ValueError(f"an AES CC has 8 or 4 bytes, not {mac_length}")
        return cls(AesKey(kic, "KIc"), AesKey(kid, "KID"), AesKey(kik, "KIK") if kik else None, mac_length)

    @classmethod
    def des(cls, kic: bytes, kid: bytes, kik: bytes | None = None) -> Self:
        """Raw DES keys: 8 bytes single, 16 and 24 triple DES. Raises ValueError for other sizes."""
        return cls(des_key(kic, "KIc"), des_key(kid, "KID"), des_key(kik, "KIK") if kik else None)


def des_key(raw_key: bytes, label: str) -> DesKey | TripleDesKey:
    """A key of 8 bytes (single DES), 16 or 24 (triple DES). Raises ValueError for another size."""
    return DesKey(raw_key, label) if len(raw_key) == 8 else TripleDesKey(raw_key, label)


class KeySets(Protocol):
    """Where an entity finds the key set of a packet."""

    def key_set(self, kvn: int, tar: bytes, /) -> KeySet | None:
        """The set with this key version number, 0 for the one that both sides know; None if there is none."""
        ...


_CIPHER_KEYS: Final[dict[CipherAlgorithm, tuple[type[OtaKey], int]]] = {
    CipherAlgorithm.DES_CBC: (DesKey, 8),
    CipherAlgorithm.DES_ECB: (DesKey, 8),
    CipherAlgorithm.TDES2_CBC: (TripleDesKey, 16),
    CipherAlgorithm.TDES3_CBC: (TripleDesKey, 24),
    CipherAlgorithm.TDES_ECB: (TripleDesKey, 0),
    CipherAlgorithm.AES_CBC: (AesKey, 0),
}
"""The class and size of the key for each algorithm; 0: any size."""
_CHECK_KEYS: Final[dict[CheckAlgorithm, tuple[type[OtaKey], int]]] = {
    CheckAlgorithm.DES_MAC: (DesKey, 8),
    CheckAlgorithm.TDES2_MAC: (TripleDesKey, 16),
    CheckAlgorithm.TDES3_MAC: (TripleDesKey, 24),
    CheckAlgorithm.CMAC: (AesKey, 0),
}
_SINGLE_DES: Final = (CipherAlgorithm.DES_CBC, CipherAlgorithm.DES_ECB, CheckAlgorithm.DES_MAC)
_CHECK_SIZES: Final = {
    CheckAlgorithm.CRC16: 2,
    CheckAlgorithm.CRC32: 4,
    CheckAlgorithm.XOR4: 4,
    CheckAlgorithm.XOR8: 8,
    CheckAlgorithm.DES_MAC: 8,
    CheckAlgorithm.TDES2_MAC: 8,
    CheckAlgorithm.TDES3_MAC: 8,
}


class Cipher(msgspec.Struct, frozen=True):
    """An algorithm with its key."""

    algorithm: CipherAlgorithm
    key: OtaKey

    @classmethod
    def of(cls, algorithm: CipherAlgorithm, key: OtaKey | None, profile: Profile = STRICT) -> Self:
        """Raises PolicyError when the key is missing or of another kind, or when single DES is not allowed."""
        return cls(algorithm, _fitting(algorithm, key, _CIPHER_KEYS[algorithm], profile))

    @property
    def block(self) -> int:
        """Bytes of a cipher block: 8 or 16."""
        return 16 if self.algorithm is CipherAlgorithm.AES_CBC else 8

    def encrypt(self, data: bytes) -> bytes:
        """Whole blocks. Raises ValueError for a rest."""
        if self.algorithm in (CipherAlgorithm.DES_ECB, CipherAlgorithm.TDES_ECB):
            return self.key.encrypt_blocks(data)
        return self.key.encrypt_cbc(bytes(self.block), data)

    def decrypt(self, data: bytes) -> bytes:
        """Inverse of `encrypt`. Raises ValueError for a rest."""
        if self.algorithm in (CipherAlgorithm.DES_ECB, CipherAlgorithm.TDES_ECB):
            return self.key.decrypt_blocks(data)
        return self.key.decrypt_cbc(bytes(self.block), data)


class Checksum(msgspec.Struct, frozen=True):
    """An algorithm of RC or CC with its key, if it has one."""

    algorithm: CheckAlgorithm
    key: OtaKey | None = None
    mac_length: int = 8

    @classmethod
    def of(cls, algorithm: CheckAlgorithm, key: OtaKey | None, mac_length: int = 8, profile: Profile = STRICT) -> Self:
        """Raises PolicyError when the key is missing or of another kind, or when single DES is not allowed."""
        wanted = _CHECK_KEYS.get(algorithm)
        return cls(algorithm, _fitting(algorithm, key, wanted, profile) if wanted else None, mac_length)

    @property
    def size(self) -> int:
        """Bytes it takes in a packet."""
        return _CHECK_SIZES.get(self.algorithm, self.mac_length)

    def compute(self, data: bytes) -> bytes:
        """RC or CC of `data`. A DES MAC is CBC over zero-padded blocks, all of them under the whole key: no retail MAC."""
        match self.algorithm, self.key:
            case CheckAlgorithm.CRC16, _:
                return crc16(data)
            case CheckAlgorithm.CRC32, _:
                return crc32(data)
            case CheckAlgorithm.CMAC, AesKey() as key:
                return key.cmac(data)[: self.mac_length]
            case _, (DesKey() | TripleDesKey()) as key:
                return key.encrypt_cbc(bytes(8), data + bytes(-len(data) % 8))[-8:]
            case _:
                return _xor(data, self.size)


def _fitting(
    algorithm: CipherAlgorithm | CheckAlgorithm, key: OtaKey | None, wanted: tuple[type[OtaKey], int], profile: Profile
) -> OtaKey:
    kind, size = wanted
    if key is None:
        raise PolicyError(f"{algorithm.value}: the key set has no key for it")
    if not isinstance(key, kind) or size not in (0, key.size):
        raise PolicyError(f"{algorithm.value}: the key set has a key of another kind, {key!r}")
    if algorithm in _SINGLE_DES and not profile.single_des:
        raise PolicyError(
            f"{algorithm.value} is refused", hint="current releases reserve it; Profile.single_des allows it"
        )
    return key


class PacketDek(msgspec.Struct, frozen=True):
    """KIK as what encrypts keys inside a packet (TS 102 226 8.2.1.5): AES-CBC, ICV 0, or DES as the profile says."""

    key: OtaKey
    profile: Profile = STRICT

    @property
    def sensitive_block(self) -> int:
        """16 with AES, 8 with DES."""
        return 16 if isinstance(self.key, AesKey) else 8

    def encrypt_sensitive(self, data: bytes, /) -> bytes:
        """Whole blocks. Raises ValueError for a rest: the caller pads."""
        return self.key.encrypt_blocks(data) if self._ecb else self.key.encrypt_cbc(bytes(self.sensitive_block), data)

    def decrypt_sensitive(self, data: bytes, /) -> bytes:
        """Inverse of `encrypt_sensitive`. Raises ValueError for a rest."""
        return self.key.decrypt_blocks(data) if self._ecb else self.key.decrypt_cbc(bytes(self.sensitive_block), data)

    @property
    def _ecb(self) -> bool:
        return not isinstance(self.key, AesKey) and self.profile.des_sensitive == "ECB"
