"""What each kind of key object may do, as data: the table that objects are made by and that `keystore audit` checks.

An object has the rights of its row and no other, all written out, because a library or a token that is told nothing
gives more. Every object is SENSITIVE, PRIVATE and not MODIFIABLE: with the default, whoever is logged in turns a right
on afterwards.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import msgspec

Right: TypeAlias = Literal["encrypt", "decrypt", "sign", "verify", "wrap", "unwrap", "derive"]
RIGHTS: Final[tuple[Right, ...]] = ("encrypt", "decrypt", "sign", "verify", "wrap", "unwrap", "derive")

Zone: TypeAlias = Literal["offline", "line", "session"]


class Kind(msgspec.Struct, frozen=True):
    """One row: what the objects are, where they live, and all they may do."""

    name: str
    what: str
    key: Literal["secret", "private"]
    zones: tuple[Zone, ...]
    rights: tuple[Right, ...]
    extractable: bool = False

    def may(self, right: Right) -> bool:
        """Whether objects of this kind have the right."""
        return right in self.rights


_ROWS: Final = (
    Kind("root-ca", "root CA", "private", ("offline",), ("sign",)),
    Kind("ca", "intermediate CA", "private", ("line",), ("sign",)),
    Kind("identity", "HSM identity, signs unit records", "private", ("line",), ("sign",)),
    Kind("issuer", "Credential Issuer, signs Access Documents", "private", ("line",), ("sign",)),
    Kind("line-wrap", "line wrap key (RSA or EC)", "private", ("line",), ("unwrap", "decrypt")),
    Kind("sku-wrap-offline", "SKU wrapping key", "secret", ("offline",), ("wrap", "unwrap"), extractable=True),
    Kind("sku-wrap", "SKU wrapping key", "secret", ("line",), ("unwrap",)),
    Kind("master-offline", "KMC or seed", "secret", ("offline",), ("derive",), extractable=True),
    Kind("master", "KMC or seed", "secret", ("line",), ("derive",)),
    Kind("static", "SCP03 static K-ENC, K-MAC", "secret", ("line", "session"), ("derive",)),
    Kind("static-encrypt", "the same key for masks, check value and S16", "secret", ("line", "session"), ("encrypt",)),
    Kind("static-sign", "the same key where session keys are exported", "secret", ("line", "session"), ("sign",)),
    Kind("s-enc", "S-ENC", "secret", ("session",), ("encrypt", "decrypt")),
    Kind("s-mac", "S-MAC, S-RMAC", "secret", ("session",), ("sign",)),
    Kind("k-dek", "K-DEK", "secret", ("line", "session"), ("wrap", "encrypt")),
    Kind("new-key", "new card key, for PUT KEY", "secret", ("session",), (), extractable=True),
    Kind("new-key-check", "new card key, for its check value", "secret", ("session",), ("encrypt",)),
    Kind("transport", "transport KEK", "secret", ("offline", "line"), ("wrap", "unwrap")),
    Kind("record-mac", "MAC of the registry's records", "secret", ("offline", "line"), ("sign",)),
)

KINDS: Final = MappingProxyType({kind.name: kind for kind in _ROWS})
"""The table by name."""

NEVER_TOGETHER: Final[tuple[tuple[Right, Right], ...]] = (("wrap", "decrypt"), ("derive", "encrypt"))
"""Wrap and decrypt on one key take out any extractable key; encrypting what is derived from shows the derived key."""
