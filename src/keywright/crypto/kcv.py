"""Key check values: a few bytes that tell keys apart, worthless without the rule they were made by.

========= ========================================= ======= ====================================================
rule      value                                     bytes   used by
========= ========================================= ======= ====================================================
tdes-zero TDES of eight 00                          3       GlobalPlatform TDES, key blocks (KC, KP)
aes-ones  AES of sixteen 01                         3       GlobalPlatform SCP03 and PUT KEY (GPCS B.6)
aes-zero  AES of sixteen 00                         3       PKCS#11 CKA_CHECK_VALUE
aes-cmac  AES-CMAC of sixteen 00                    5       ANSI X9.24-1:2017, X9.143: AES keys; ceremonies
sha256-id SHA-256 of a label and what it identifies 8       ours: asymmetric keys
========= ========================================= ======= ====================================================

PKCS#11's value for AES is not GlobalPlatform's: two values of different rules say nothing about each other.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final, Self

import msgspec

from keywright.codec.hexa import tohex, unhex
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.errors import DecodeError, PolicyError


class Rule(StrEnum):
    """How a check value is made."""

    TDES_ZERO = "tdes-zero"
    AES_ONES = "aes-ones"
    AES_ZERO = "aes-zero"
    AES_CMAC = "aes-cmac"
    SHA256_ID = "sha256-id"


VALUE_BYTES: Final = {
    Rule.TDES_ZERO: 3,
    Rule.AES_ONES: 3,
    Rule.AES_ZERO: 3,
    Rule.AES_CMAC: 5,
    Rule.SHA256_ID: 8,
}
"""Never more: each byte lets somebody who guesses a key be surer."""


class Kcv(msgspec.Struct, frozen=True, eq=False):
    """A check value with its rule. Comparing values of two rules, also with `==`, is a PolicyError, not an answer."""

    rule: Rule
    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != VALUE_BYTES[self.rule]:
            raise ValueError(f"a check value by {self.rule} has {VALUE_BYTES[self.rule]} bytes, not {len(self.value)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`: `aes-cmac 6F2F9BE174`. Raises DecodeError."""
        name, _, digits = text.strip().partition(" ")
        try:
            return cls(Rule(name), unhex(digits, "check value"))
        except DecodeError:
            raise
        except ValueError as error:
            raise DecodeError(
                f"{text!r} is no check value with its rule",
                hint=f"as in: aes-cmac 6F2F9BE174; rules: {', '.join(Rule)}",
            ) from error

    def is_same(self, other: Kcv) -> bool:
        """Whether both are of one key as far as they tell. Raises PolicyError for values of different rules."""
        if self.rule is not other.rule:
            raise PolicyError(
                f"check values by {self.rule} and {other.rule} cannot be compared",
                hint="have both made by one rule",
            )
        return equal(self.value, other.value)

    def __str__(self) -> str:
        return f"{self.rule} {tohex(self.value)}"

    def __eq__(self, other: object) -> bool:
        return self.is_same(other) if isinstance(other, Kcv) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self.is_same(other) if isinstance(other, Kcv) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.rule, self.value))


def key_check_value(key: AesKey | TripleDesKey, rule: Rule) -> Kcv:
    """The check value of a key. Raises PolicyError for a rule of another algorithm."""
    if isinstance(key, TripleDesKey) and rule is Rule.TDES_ZERO:
        return Kcv(rule, key.kcv())
    if isinstance(key, AesKey):
        if rule is Rule.AES_CMAC:
            return Kcv(rule, key.cmac(bytes(16))[: VALUE_BYTES[rule]])
        if rule in (Rule.AES_ONES, Rule.AES_ZERO):
            return Kcv(rule, key.kcv("ones" if rule is Rule.AES_ONES else "zeros"))
    raise PolicyError(f"{rule} is not a rule for {key!r}")


def ceremony_check_value(key: AesKey | TripleDesKey) -> Kcv:
    """By the rule that ceremonies and registries use: aes-cmac for AES, tdes-zero for TDES."""
    return key_check_value(key, Rule.TDES_ZERO if isinstance(key, TripleDesKey) else Rule.AES_CMAC)


def identifier(label: bytes, identified: bytes) -> Kcv:
    """The sha256-id of what is no symmetric key: `identified` is a SubjectPublicKeyInfo, or whatever names the key."""
    digest = hashlib.sha256(label + identified).digest()
    return Kcv(Rule.SHA256_ID, digest[: VALUE_BYTES[Rule.SHA256_ID]])
