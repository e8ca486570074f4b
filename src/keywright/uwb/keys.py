"""The key ladder of CCC and Aliro ranging, from a URSK down to the keys of one round (CCC-TS-101 22.1, 22.2).

    URSK ── mUPSK1                  seals the pre-polls of the session
         ├─ mUPSK2 ── UAD           addresses and key source of the session
         ├─ Salt ── SaltedHash      binds what was negotiated
         └─ mURSK ── URSK_KT        one for each round, from the STS index of its pre-poll
                      ├─ dURSK      makes the STS
                      └─ dUDSK      seals the final data

Integers inside derivation inputs are big-endian. No network has said that these values are right; what has is in
`docs/uwb.md`, "Uncertain".
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple, final

from keywright.codec.record import U8, U16, U32, Record, raw
from keywright.crypto.aead import CcmKey
from keywright.crypto.aes import AesKey
from keywright.crypto.kdf import sp800_108_counter
from keywright.crypto.key import Secret

URSK_BYTES: Final = 32
LAST_STS_INDEX: Final = (1 << 31) - 1
"""The index at which a URSK is used up."""
RANGING_PROTOCOL: Final = 0x0100
"""The protocol version in a RangingConfiguration."""

_NO_CONTEXT: Final = bytes(3)
_WORD: Final = 0xFFFFFFFF
_BITS: Final = tuple(bytes((octet >> bit & 1) for bit in range(7, -1, -1)) for octet in range(256))


class RangingConfiguration(Record, frozen=True):
    """What both ends have negotiated, as it goes into the SaltedHash: 17 octets, big-endian (CCC-TS-101 22.2)."""

    protocol: U16
    config_id: U16
    session_id: U32
    sts_index0: U32
    """STS index of slot 0 of round 0 of block 0."""
    responders: U8
    ran_multiplier: U8
    """Length of a block in units of 96 ms."""
    slots_per_round: U8
    chaps_per_slot: U8
    pulse_shape: U8


class Addresses(Record, frozen=True):
    """UAD: the 16 octets that name a session on the air, before reserved values are avoided."""

    key_source_low: Annotated[bytes, raw(2)]
    key_source_high: Annotated[bytes, raw(2)]
    destination: Annotated[bytes, raw(2)]
    source: Annotated[bytes, raw(8)]
    unused: Annotated[bytes, raw(2)]


class Uad(NamedTuple):
    """How the frames of a session are addressed: in clear on the air, so no secret."""

    key_source: bytes
    """4 octets, in the order of the UAD."""
    destination: int
    """Short address, 16 bits."""
    source: bytes
    """Extended address, 8 octets: part of the CCM* nonce, never sent."""


@final
class RoundKeys(Secret):
    """The keys of one round, and the STS-V of its slots."""

    __slots__ = ("_salted_hash", "base_index", "dudsk", "dursk")

    def __init__(self, base_index: int, dursk: AesKey, dudsk: CcmKey, salted_hash: bytes) -> None:
        """base_index: the STS index of the round's pre-poll. salted_hash: 16 octets."""
        self.base_index = base_index
        self.dursk = dursk
        self.dudsk = dudsk
        self._salted_hash = salted_hash

    def sts_v(self, sts_index: int) -> bytes:
        """STS-V of one slot, 16 octets."""
        return sts_v(self._salted_hash, sts_index)

    def __repr__(self) -> str:
        return f"<RoundKeys of STS index {self.base_index}>"


@final
class SessionKeys(Secret):
    """What one URSK and one ranging configuration give. Keeps mURSK, not the URSK."""

    __slots__ = ("_mursk", "_salted_hash", "mupsk1", "uad")

    def __init__(self, ursk: AesKey, configuration: RangingConfiguration) -> None:
        """ursk: 32 octets. Raises ValueError for another size."""
        self.mupsk1, mupsk2 = mupsks(ursk)
        self.uad = uad(mupsk2, configuration.sts_index0)
        self._mursk = mursk(ursk)
        self._salted_hash = salted_hash(ursk, configuration.build())

    def round_keys(self, base_index: int) -> RoundKeys:
        """Keys of the round whose pre-poll has this STS index."""
        cascade = ursk_kt(self._mursk, base_index)
        return RoundKeys(
            base_index, dursk(cascade, self._salted_hash), dudsk(cascade, self._salted_hash), self._salted_hash
        )

    def __repr__(self) -> str:
        return "<SessionKeys>"


def mupsks(ursk: AesKey) -> tuple[CcmKey, AesKey]:
    """mUPSK1 (128 bit) and mUPSK2 (256 bit): one derivation of 384 bits, its first block and the rest."""
    both = _kdf(_checked(ursk), b"UPSK", _NO_CONTEXT, 48)
    return CcmKey(both[:16], "mUPSK1"), AesKey(both[16:], "mUPSK2")


def mursk(ursk: AesKey) -> AesKey:
    """mURSK, 256 bit."""
    return AesKey(_kdf(_checked(ursk), b"URSK", _NO_CONTEXT, 32), "mURSK")


def salted_hash(ursk: AesKey, configuration: bytes) -> bytes:
    """SaltedHash of a built RangingConfiguration, 16 octets: keyed with 16 octets of 00 and the Salt of the URSK."""
    salt = _kdf(_checked(ursk), b"SALT", _NO_CONTEXT, 16)
    return AesKey(bytes(16) + salt, "Salt").cmac(configuration)


def ursk_kt(master: AesKey, sts_index: int) -> AesKey:
    """URSK_KT of a round, 256 bit, from mURSK and the STS index of its pre-poll.

    Every bit of the index, the highest first, is one octet 00 or 01 of the input. Raises OverflowError beyond 32 bits.
    """
    spread = b"".join(map(_BITS.__getitem__, sts_index.to_bytes(4)))
    return AesKey(_kdf(master, b"URSK_KT", spread, 32), "URSK_KT")


def dursk(cascade: AesKey, salted: bytes) -> AesKey:
    """The dURSK of a round, 128 bit, from its URSK_KT and the SaltedHash."""
    return AesKey(_kdf(cascade, b"URSK", salted + _NO_CONTEXT, 16), "dURSK")


def dudsk(cascade: AesKey, salted: bytes) -> CcmKey:
    """The dUDSK of a round, 128 bit, from its URSK_KT and the SaltedHash."""
    return CcmKey(_kdf(cascade, b"UDSK", salted + _NO_CONTEXT, 16), "dUDSK")


def sts_v(salted: bytes, sts_index: int) -> bytes:
    """STS-V of one slot, 16 octets: the SaltedHash with its third word advanced by the STS index, modulo 2^32."""
    word = int.from_bytes(salted[8:12]) + sts_index & _WORD
    return salted[:8] + word.to_bytes(4) + salted[12:]


def uad(mupsk2: AesKey, sts_index0: int) -> Uad:
    """Addresses of a session. Raises OverflowError beyond 32 bits."""
    made = Addresses.parse(_kdf(mupsk2, b"UAD", sts_index0.to_bytes(4), 16))
    key_source = _usable(made.key_source_high + made.key_source_low)
    return Uad(key_source, int.from_bytes(_usable(made.destination)), _usable(made.source))


def _usable(address: bytes) -> bytes:
    """Reserved values lose their top bit: all ones, and of two octets FFFE too."""
    is_reserved = address == b"\xff\xfe" or not address.strip(b"\xff")
    return bytes((address[0] & 0x7F,)) + address[1:] if is_reserved else address


def _kdf(key: AesKey, label: bytes, context: bytes, length_bytes: int) -> bytes:
    """SP 800-108 in counter mode over AES-CMAC, counter and length of four octets each."""
    return sp800_108_counter(
        key.cmac, label=label, context=context, length_bytes=length_bytes, counter_bytes=4, length_field_bytes=4
    )


def _checked(ursk: AesKey) -> AesKey:
    if ursk.size != URSK_BYTES:
        raise ValueError(f"a URSK has {URSK_BYTES} octets, not {ursk.size}")
    return ursk
