"""From what a person types or an unlock file holds to a sealing key: argon2id (RFC 9106), its cost beside its salt."""

from __future__ import annotations

from typing import Annotated

import msgspec
from argon2.low_level import Type, hash_secret_raw
from msgspec import Meta

from keywright.crypto.aes import AesKey


class Argon2id(msgspec.Struct, frozen=True):
    """Cost of guessing an unlock key (RFC 9106 3.1): about 0.1 s of one core, which every command pays once."""

    salt: Annotated[bytes, Meta(min_length=16, max_length=64)]
    memory_kib: Annotated[int, Meta(ge=8 * 1024, le=1024 * 1024)] = 32 * 1024
    iterations: Annotated[int, Meta(ge=1, le=64)] = 3
    lanes: Annotated[int, Meta(ge=1, le=16)] = 1

    def key(self, unlock: bytes, label: str = "keystore key") -> AesKey:
        """The sealing key, AES-256; `label` names it in messages."""
        raw = hash_secret_raw(unlock, self.salt, self.iterations, self.memory_kib, self.lanes, 32, Type.ID)
        return AesKey(raw, label)
