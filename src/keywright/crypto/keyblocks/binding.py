"""How header and key are bound together: the keys of one block, and what they encrypt and authenticate.

======= =================== ============================== ===========================================
version keys                ciphertext                     MAC
======= =================== ============================== ===========================================
A, C    KBPK xor 45, xor 4D TDES-CBC, IV = 8 header chars  CBC-MAC over header || ciphertext, 4 bytes
B       TDES-CMAC           TDES-CBC, IV = MAC             TDES-CMAC over header || payload, 8 bytes
D       AES-CMAC            AES-CBC, IV = MAC              AES-CMAC over header || payload, 16 bytes
E       AES-CMAC            AES-CTR, counter = MAC         AES-CMAC over header || payload, 16 bytes
======= =================== ============================== ===========================================

TR-31:2018 5.3 and A.7, ANSI X9.143:2021, ISO 20038:2017. The payload is the key's length in bits (2 bytes), the key,
and random padding. The header is the ASCII text as it stands in the block, optional blocks included.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey

ProtectionKey: TypeAlias = AesKey | TripleDesKey

MAC_BYTES: Final = {"A": 4, "B": 8, "C": 4, "D": 16, "E": 16}
CIPHER_BYTES: Final = {"A": 8, "B": 8, "C": 8, "D": 16, "E": 1}
"""What the payload is a multiple of."""

_ALGORITHM: Final[dict[tuple[type, int], int]] = {
    (TripleDesKey, 16): 0,
    (TripleDesKey, 24): 1,
    (AesKey, 16): 2,
    (AesKey, 24): 3,
    (AesKey, 32): 4,
}
_ENCRYPT_CBC, _MAC, _ENCRYPT_CTR = 0, 1, 2
_ENCRYPTION_VARIANT, _MAC_VARIANT = 0x45, 0x4D


class BlockKeys(NamedTuple):
    """KBEK and KBAK of one protection key and version."""

    encryption: ProtectionKey
    authentication: ProtectionKey


def block_keys(kbpk: ProtectionKey, version: str) -> BlockKeys:
    """The two keys that `kbpk` gives for blocks of that version. The cipher of both must fit (`policy` checks it)."""
    if version in "AC":
        return BlockKeys(_variant(kbpk, _ENCRYPTION_VARIANT), _variant(kbpk, _MAC_VARIANT))
    encrypt = _ENCRYPT_CTR if version == "E" else _ENCRYPT_CBC
    return BlockKeys(_derived(kbpk, encrypt), _derived(kbpk, _MAC))


def seal(keys: BlockKeys, version: str, header: str, payload: bytes) -> tuple[bytes, bytes]:
    """Ciphertext and MAC of a block of version D or E."""
    mac = _mac(keys, version, header, payload, b"")
    return _crypt(keys, version, mac, payload, decrypt=False), mac


def open_sealed(keys: BlockKeys, version: str, header: str, ciphertext: bytes, mac: bytes) -> tuple[bytes, bool]:
    """The payload, and whether the MAC fits. Both are worked out in any case, so that the time says nothing."""
    iv = header[:8].encode() if version in "AC" else mac
    payload = _crypt(keys, version, iv, ciphertext, decrypt=True)
    return payload, equal(mac, _mac(keys, version, header, payload, ciphertext))


def _crypt(keys: BlockKeys, version: str, iv: bytes, data: bytes, *, decrypt: bool) -> bytes:
    key = keys.encryption
    if version == "E":
        return _counter_mode(key, iv, data)
    return key.decrypt_cbc(iv, data) if decrypt else key.encrypt_cbc(iv, data)


def _mac(keys: BlockKeys, version: str, header: str, payload: bytes, ciphertext: bytes) -> bytes:
    key, text = keys.authentication, header.encode()
    if isinstance(key, AesKey):
        return key.cmac(text + payload)
    if version == "B":
        return tdes_cmac(key, text + payload)
    return key.cbc_mac(bytes(8), text + ciphertext)[: MAC_BYTES[version]]


def _counter_mode(key: ProtectionKey, counter: bytes, data: bytes) -> bytes:
    first, blocks = int.from_bytes(counter), -(-len(data) // 16)
    stream = key.encrypt_blocks(b"".join(((first + n) % (1 << 128)).to_bytes(16) for n in range(blocks)))
    return xor(data, stream[: len(data)])


def tdes_cmac(key: TripleDesKey, message: bytes) -> bytes:
    """CMAC with triple DES, 8 bytes (NIST SP 800-38B); the library has it for AES only."""
    zero = int.from_bytes(key.encrypt_blocks(bytes(8)))
    k1 = _doubled(zero)
    whole = bool(message) and len(message) % 8 == 0
    padded = message if whole else message + b"\x80" + bytes(-(len(message) + 1) % 8)
    last = xor(padded[-8:], (k1 if whole else _doubled(k1)).to_bytes(8))
    return key.cbc_mac(bytes(8), padded[:-8] + last)


def _doubled(number: int) -> int:
    # Neither branches nor indexes on secret bits.
    return (number << 1 & ((1 << 64) - 1)) ^ 0x1B * (number >> 63)


def _derived(kbpk: ProtectionKey, usage: int) -> ProtectionKey:
    """CMAC over counter (1) || usage (2) || 00 || algorithm (2) || bits (2), as often as the key is long."""
    algorithm = _ALGORITHM[type(kbpk), kbpk.size]
    tail = usage.to_bytes(2) + b"\0" + algorithm.to_bytes(2) + (kbpk.size * 8).to_bytes(2)
    block = 16 if isinstance(kbpk, AesKey) else 8
    parts = [_cmac(kbpk, bytes((count,)) + tail) for count in range(1, -(-kbpk.size // block) + 1)]
    raw = b"".join(parts)[: kbpk.size]
    return AesKey(raw, "KBEK/KBAK") if isinstance(kbpk, AesKey) else TripleDesKey(raw, "KBEK/KBAK")


def _cmac(key: ProtectionKey, message: bytes) -> bytes:
    return key.cmac(message) if isinstance(key, AesKey) else tdes_cmac(key, message)


def _variant(kbpk: ProtectionKey, constant: int) -> TripleDesKey:
    return TripleDesKey(xor(kbpk.reveal(), bytes((constant,)) * kbpk.size), "KBEK/KBAK")


def xor(left: bytes, right: bytes) -> bytes:
    """Both, bit by bit; they have one length."""
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))
