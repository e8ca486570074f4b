"""The key schedule of Bluetooth Mesh: derivation functions, and the keys of a provisioning session.

Clauses of the Mesh Protocol 1.1 ("MshPRT"). All values are octets, integers in them big-endian.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from keywright.crypto.aead import CcmKey
from keywright.crypto.aes import AesKey
from keywright.crypto.mac import hmac_tag

_ZERO_KEY: Final = AesKey(bytes(16), "s1")
_MASK_NID: Final = 0x7F
_MASK_AID: Final = 0x3F


def s1(message: bytes) -> bytes:
    """Salt of 16 octets (MshPRT 3.9.2.4)."""
    return _ZERO_KEY.cmac(message)


def s2(message: bytes) -> bytes:
    """Salt of 32 octets (MshPRT 3.9.2.5)."""
    return hmac_tag(bytes(32), message)


def k1(n: bytes, salt: bytes, p: bytes) -> bytes:
    """Key of 16 octets from `n` (any length), `salt` (16) and the purpose `p` (MshPRT 3.9.2.6)."""
    return AesKey(AesKey(salt, "salt").cmac(n), "k1").cmac(p)


class NetworkCredentials(NamedTuple):
    """What k2 gives: NID (7 bits), EncryptionKey and PrivacyKey, 16 octets each."""

    nid: int
    encryption_key: bytes
    privacy_key: bytes

    def __repr__(self) -> str:
        return f"<NetworkCredentials NID {self.nid:02X}>"


def k2(net_key: bytes, p: bytes = b"\x00") -> NetworkCredentials:
    """NID and keys of a network; `p` is 00 for managed flooding, else what a friendship says (MshPRT 3.9.2.7)."""
    key = AesKey(AesKey(s1(b"smk2"), "k2").cmac(net_key), "k2")
    t1 = key.cmac(p + b"\x01")
    t2 = key.cmac(t1 + p + b"\x02")
    t3 = key.cmac(t2 + p + b"\x03")
    return NetworkCredentials(t1[-1] & _MASK_NID, t2, t3)


def k3(net_key: bytes) -> bytes:
    """The Network ID of a NetKey, 8 octets (MshPRT 3.9.2.8)."""
    return AesKey(AesKey(s1(b"smk3"), "k3").cmac(net_key), "k3").cmac(b"id64\x01")[8:]


def k4(app_key: bytes) -> int:
    """The AID of an AppKey, 6 bits (MshPRT 3.9.2.9)."""
    return AesKey(AesKey(s1(b"smk4"), "k4").cmac(app_key), "k4").cmac(b"id6\x01")[-1] & _MASK_AID


def k5(n: bytes, salt: bytes, p: bytes) -> bytes:
    """Key of 32 octets from `n`, `salt` (32) and the purpose `p` (MshPRT 3.9.2.10)."""
    return hmac_tag(hmac_tag(salt, n), p)


class Algorithm(msgspec.Struct, frozen=True):
    """One provisioning algorithm (MshPRT 5.4.1.3)."""

    number: int
    """In Start; in Capabilities it is bit `number`."""
    name: str
    """As the command line has it."""
    title: str
    """As the standard has it."""
    size: int
    """Octets of confirmation, random and AuthValue."""

    @property
    def bit(self) -> int:
        """Its bit in Capabilities."""
        return 1 << self.number

    def confirmation_salt(self, inputs: bytes) -> bytes:
        """ConfirmationSalt over the 145 octets of the confirmation inputs (MshPRT 5.4.2.4.1)."""
        return s2(inputs) if self.number else s1(inputs)

    def confirmation_key(self, secret: bytes, salt: bytes, auth_value: bytes) -> bytes:
        """ConfirmationKey from the ECDH secret (32 octets), the salt and the AuthValue (`size` octets)."""
        if self.number:
            return k5(secret + auth_value, salt, b"prck256")
        return k1(secret, salt, b"prck")

    def confirmation(self, key: bytes, random: bytes, auth_value: bytes) -> bytes:
        """One end's confirmation of its random. With HMAC the AuthValue is in the key already."""
        if self.number:
            return hmac_tag(key, random)
        return AesKey(key, "ConfirmationKey").cmac(random + auth_value)


CMAC: Final = Algorithm(0, "cmac", "BTM_ECDH_P256_CMAC_AES128_AES_CCM", 16)
HMAC: Final = Algorithm(1, "hmac", "BTM_ECDH_P256_HMAC_SHA256_AES_CCM", 32)
ALGORITHMS: Final = (CMAC, HMAC)
"""By their number in Start."""


class SessionKeys(NamedTuple):
    """What seals the provisioning data, and what the new node will be known by."""

    session_key: CcmKey
    session_nonce: bytes
    """13 octets."""
    device_key: AesKey


def session_keys(secret: bytes, confirmation_salt: bytes, random_p: bytes, random_d: bytes) -> SessionKeys:
    """Keys from the ECDH secret and both randoms, the same rule for both algorithms (MshPRT 5.4.2.5)."""
    salt = s1(confirmation_salt + random_p + random_d)
    # Three times k1 over the same secret and salt, whose first half is the same.
    derive = AesKey(AesKey(salt, "salt").cmac(secret), "k1").cmac
    return SessionKeys(CcmKey(derive(b"prsk"), "SessionKey"), derive(b"prsn")[3:], AesKey(derive(b"prdk"), "DevKey"))
