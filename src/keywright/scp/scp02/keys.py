"""The SCP02 key schedule and its MACs (GPCS E.4): from a static key set to session keys, cryptograms and ICVs.

Everything here is a function of its arguments; the two ends keep their own chains.
"""

from __future__ import annotations

from typing import Final, Self

import msgspec

from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.errors import UsageError
from keywright.iso7816.apdu import Command, Response
from keywright.scp.padding import pad80
from keywright.scp.scp02.messages import CARD_CHALLENGE_BYTES, I, answered, covered

BLOCK: Final = 8
NO_IV: Final = bytes(BLOCK)

C_MAC: Final = 0x0101
R_MAC: Final = 0x0102
DEK: Final = 0x0181
ENC: Final = 0x0182

GP_TEST_KEY: Final = bytes(range(0x40, 0x50))
"""The well-known test key 40..4F of GlobalPlatform cards; protects nothing."""


class KeySet(msgspec.Struct, frozen=True):
    """Static keys of one key version number: K-ENC, K-MAC and K-DEK, or three times the one base key."""

    enc: TripleDesKey
    mac: TripleDesKey
    dek: TripleDesKey

    @classmethod
    def of(cls, enc: bytes, mac: bytes, dek: bytes) -> Self:
        """Key set of raw keys, each 16 bytes. Raises ValueError for other sizes."""
        if not len(enc) == len(mac) == len(dek) == 16:
            raise ValueError("a key of SCP02 has 16 bytes")
        return cls(TripleDesKey(enc, "K-ENC"), TripleDesKey(mac, "K-MAC"), TripleDesKey(dek, "K-DEK"))

    @classmethod
    def base(cls, key: bytes) -> Self:
        """Key set of one base key, 16 bytes ("i" without bit 01). Raises ValueError for another size."""
        return cls.of(key, key, key)

    @classmethod
    def gp_test(cls) -> Self:
        """The test key 40..4F."""
        return cls.base(GP_TEST_KEY)

    def fit(self, i: int) -> Self:
        """The set itself, if it is what "i" asks for. Raises UsageError for three keys where there is one base key."""
        if not i & I.THREE_KEYS and not self.is_base:
            raise UsageError(
                f"SCP02 i={i:02X} has one base key, but three different keys were given",
                hint='check "i" in the card data (GET DATA 66); with three keys it is odd',
            )
        return self

    @property
    def is_base(self) -> bool:
        """Whether the three are one base key."""
        enc = self.enc.reveal()
        return equal(enc, self.mac.reveal()) and equal(enc, self.dek.reveal())

    @property
    def sensitive_block(self) -> int:
        """Bytes of a cipher block of the data encryption key: 8."""
        return BLOCK

    @property
    def kcvs(self) -> bytes:
        """The three key check values joined, 9 bytes: ENC, MAC, DEK."""
        return self.enc.kcv() + self.mac.kcv() + self.dek.kcv()


class SessionKeys(msgspec.Struct, frozen=True):
    """S-ENC, the C-MAC and R-MAC session keys, and the session DEK."""

    enc: TripleDesKey
    mac: TripleDesKey
    rmac: TripleDesKey
    dek: TripleDesKey


def derive(key: TripleDesKey, constant: int, counter: int, label: str = "session key") -> TripleDesKey:
    """One session key (GPCS E.4.1): CBC of constant (2), counter (2) and zeros."""
    return TripleDesKey(key.encrypt_cbc(NO_IV, constant.to_bytes(2) + counter.to_bytes(2) + bytes(12)), label)


def derive_session(keys: KeySet, counter: int, after: int | None = None) -> SessionKeys:
    """Session keys for a sequence counter.

    `after`: the counter for R-MAC and DEK, where it has gone on before they are made: in an implicit session
    (GPCS E.1.2.2). S-ENC does not exist there; it is made from `counter` and never used.
    """
    later = counter if after is None else after
    return SessionKeys(
        derive(keys.enc, ENC, counter, "S-ENC"),
        derive(keys.mac, C_MAC, counter, "S-MAC"),
        derive(keys.mac, R_MAC, later, "S-RMAC"),
        derive(keys.dek, DEK, later, "S-DEK"),
    )


def card_cryptogram(enc: TripleDesKey, host_challenge: bytes, counter: int, card_challenge: bytes) -> bytes:
    """What the card proves itself with, 8 bytes (GPCS E.4.2.1)."""
    return enc.cbc_mac(NO_IV, pad80(host_challenge + counter.to_bytes(2) + card_challenge, BLOCK))


def host_cryptogram(enc: TripleDesKey, host_challenge: bytes, counter: int, card_challenge: bytes) -> bytes:
    """What the host proves itself with, 8 bytes (GPCS E.4.2.2)."""
    return enc.cbc_mac(NO_IV, pad80(counter.to_bytes(2) + card_challenge + host_challenge, BLOCK))


def mac_of_aid(key: TripleDesKey, aid: bytes) -> bytes:
    """Retail MAC over the AID of the selected application: a first ICV (GPCS E.3.3)."""
    return key.retail_mac(NO_IV, pad80(aid, BLOCK))


def pseudo_random_challenge(mac: TripleDesKey, aid: bytes) -> bytes:
    """The well-known card challenge, 6 bytes: of the C-MAC session key and the AID ("i" bit 40, GPCS E.4.2.3)."""
    return mac_of_aid(mac, aid)[:CARD_CHALLENGE_BYTES]


def first_icv(mac: TripleDesKey, i: int, aid: bytes) -> bytes:
    """What the first C-MAC of a session starts from; never encrypted (GPCS E.3.2, E.3.3)."""
    return mac_of_aid(mac, aid) if i & I.ICV_OF_AID else NO_IV


def next_icv(mac: TripleDesKey, i: int, last: bytes) -> bytes:
    """What the next C-MAC starts from: the last one, encrypted by single DES where "i" says so (GPCS E.3.4)."""
    return mac.encrypt_single(last) if i & I.ICV_ENCRYPTED else last


def command_mac(mac: TripleDesKey, icv: bytes, i: int, command: Command) -> bytes:
    """C-MAC of a plain command, 8 bytes (GPCS E.4.4)."""
    return mac.retail_mac(icv, pad80(covered(command, i), BLOCK))


def response_mac(rmac: TripleDesKey, icv: bytes, command: Command, response: Response) -> bytes:
    """R-MAC of the plain answer to a plain command, 8 bytes (GPCS E.4.5). Its ICV is never encrypted."""
    return rmac.retail_mac(icv, pad80(answered(command, response), BLOCK))
