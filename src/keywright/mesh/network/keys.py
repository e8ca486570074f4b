"""Keys of a network, with what is derived of them kept ready (MshPRT 3.9.6)."""

from __future__ import annotations

from typing import Final, final

from keywright.crypto.aead import CcmKey
from keywright.crypto.aes import AesKey
from keywright.crypto.key import Secret
from keywright.mesh.keys import k1, k2, k3, k4, s1

FLOODING: Final = b"\x00"
"""The input to k2 for the credentials of managed flooding."""


@final
class NetKey(Secret):
    """A network key and everything that follows from it. `p`: what k2 takes besides, for friendships."""

    __slots__ = (
        "_key",
        "beacon_key",
        "encryption_key",
        "identity_key",
        "network_id",
        "nid",
        "privacy_key",
        "private_beacon_key",
    )

    def __init__(self, raw_key: bytes, p: bytes = FLOODING) -> None:
        """Take 16 bytes. Raises ValueError for another size."""
        self._key = AesKey(raw_key, "NetKey")
        nid, encryption, privacy = k2(raw_key, p)
        self.nid = nid
        """7 bits that let a receiver guess which key a PDU is under."""
        self.encryption_key = CcmKey(encryption, "EncryptionKey")
        self.privacy_key = AesKey(privacy, "PrivacyKey")
        self.network_id = k3(raw_key)
        """8 octets that name the network to everyone."""
        self.identity_key = AesKey(_id128(raw_key, b"nkik"), "IdentityKey")
        self.beacon_key = AesKey(_id128(raw_key, b"nkbk"), "BeaconKey")
        self.private_beacon_key = CcmKey(_id128(raw_key, b"nkpk"), "PrivateBeaconKey")

    def reveal(self) -> bytes:
        """The key itself: for provisioning data, Config messages, and the network's own memory."""
        return self._key.reveal()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetKey) and self._key == other._key

    __hash__ = None  # type: ignore[assignment]  # as for every key

    def __repr__(self) -> str:
        return f"<NetKey NID {self.nid:02X}>"


@final
class AppKey(Secret):
    """An application key, or with `is_device_key` the device key of one node."""

    __slots__ = ("aid", "ccm", "is_device_key")

    def __init__(self, raw_key: bytes, *, is_device_key: bool = False) -> None:
        """Take 16 bytes. Raises ValueError for another size."""
        self.ccm = CcmKey(raw_key, "DevKey" if is_device_key else "AppKey")
        self.is_device_key = is_device_key
        self.aid = 0 if is_device_key else k4(raw_key)
        """6 bits, 0 for a device key."""

    def reveal(self) -> bytes:
        """The key itself, as for `NetKey.reveal`."""
        return self.ccm.reveal()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AppKey) and self.ccm == other.ccm and self.is_device_key == other.is_device_key

    __hash__ = None  # type: ignore[assignment]  # as for every key

    def __repr__(self) -> str:
        return "<DevKey>" if self.is_device_key else f"<AppKey AID {self.aid:02X}>"


def virtual_address(label_uuid: bytes) -> int:
    """The virtual address of a label UUID of 16 octets (MshPRT 3.4.2.3)."""
    return 0x8000 | int.from_bytes(AesKey(s1(b"vtad"), "vtad").cmac(label_uuid)[-2:]) & 0x3FFF


def _id128(raw_key: bytes, salt: bytes) -> bytes:
    return k1(raw_key, s1(salt), b"id128\x01")
