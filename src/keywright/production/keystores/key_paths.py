"""How close a unit's keys stay to where they live while a channel is open, and what that guarantees.

A recipe chooses how far session keys may go; what the keystore did is recorded with each unit.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

SessionKeys: TypeAlias = Literal["inside", "encrypt", "export"]
"""What a recipe allows. inside: neither static nor session keys leave the keystore. encrypt: the same, and for S16 the
static keys may have the right to encrypt. export: session keys may be in the line's memory, static keys not."""


class KeyPath(StrEnum):
    """Where static and session keys were while a unit's channels were open."""

    MEMORY = "memory"
    """Both in the memory of the line's process: a software keystore."""
    MASKS = "inside-masks"
    """Both in the token; session keys come from constant masks and AES_ECB_ENCRYPT_DATA (S8)."""
    KDF = "inside-kdf"
    """Both in the token; session keys come from SP800_108_COUNTER_KDF (S8 and S16)."""
    ENCRYPT = "inside-encrypt"
    """Both in the token; the static keys may encrypt, which S16 needs on a token without the derivation of `KDF`."""
    EXPORTED = "exported"
    """Static keys in the token, session keys in the line's memory."""

    @property
    def guarantees(self) -> str:
        """What nobody can take away while the keystore's client behaves."""
        return _GUARANTEES[self][0]

    @property
    def does_not_guarantee(self) -> str:
        """What remains possible, and for whom."""
        return _GUARANTEES[self][1]


_WHILE_IT_BEHAVES: Final = "no static and no session key outside the token while its client behaves"
_PIN_HOLDER: Final = (
    "who has the token's PIN can recompute session keys, also of recorded sessions, unless the token enforces derive "
    "templates; SCP03 has no forward secrecy"
)

_GUARANTEES: Final = MappingProxyType(
    {
        KeyPath.MEMORY: (
            "keys are sealed at rest",
            "masters, static and session keys are in this process's memory: for trying out only",
        ),
        KeyPath.MASKS: (_WHILE_IT_BEHAVES, _PIN_HOLDER),
        KeyPath.KDF: (_WHILE_IT_BEHAVES, _PIN_HOLDER),
        KeyPath.ENCRYPT: (
            _WHILE_IT_BEHAVES,
            f"{_PIN_HOLDER}; the right to encrypt is one more way to do so, for the life of the key object",
        ),
        KeyPath.EXPORTED: (
            "no static key outside the token while its client behaves",
            "session keys are in the line's memory: who reads it reads and forges that session",
        ),
    }
)
