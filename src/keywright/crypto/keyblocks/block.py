"""Key blocks as they travel: a key wrapped under a protection key, with what it may be used for bound to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from keywright.codec.hexa import tohex
from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.des_keys import has_odd_parity
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.key import Key, Secret
from keywright.crypto.keyblocks.binding import CIPHER_BYTES, MAC_BYTES, ProtectionKey, block_keys, open_sealed, seal
from keywright.crypto.keyblocks.header import Header, is_printable, length_of
from keywright.crypto.keyblocks.policy import (
    PROTECTION_USAGES,
    Expected,
    check_not_widened,
    check_strength,
    check_writable,
)
from keywright.crypto.rsa import RsaPrivateKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError

REFUSED: Final = "key block not accepted"
"""The one text for a wrong MAC, a length that cannot be, and a key that is none: nobody learns which."""

_UNKNOWN_BITS: Final = 1 << 16
_HEX: Final = frozenset("0123456789ABCDEF")
_KEY_BITS: Final = {"A": (128, 192, 256), "T": (128, 192), "D": (64,)}
_HIDDEN_BYTES: Final = {"A": 32, "T": 24}
"""Length that keys of the algorithm are padded to, so that the block does not tell how long they are (X9.143)."""


@final
class Kbpk(Secret):
    """A key block protection key: nothing but that, and only the directions that its mode allows."""

    __slots__ = ("algorithm", "key", "mode", "usage")

    def __init__(self, key: ProtectionKey, *, usage: str = "K1", mode: str = "B") -> None:
        """Raises PolicyError for a usage that is not K1 or K4, or a mode that is not B, D or E."""
        if usage not in PROTECTION_USAGES or mode not in ("B", "D", "E"):
            raise PolicyError(
                f"a key of usage {usage} and mode {mode} does not protect key blocks",
                hint="a protection key has usage K1 or K4 and mode B, D or E",
            )
        self.key, self.usage, self.mode = key, usage, mode
        self.algorithm = "A" if isinstance(key, AesKey) else "T"

    @property
    def strength(self) -> tuple[str, int]:
        """Algorithm and bits, as the policy takes them."""
        return self.algorithm, self.key.size * 8

    def check(self, version: str, direction: str) -> None:
        """Raise PolicyError unless this key makes (E) or opens (D) blocks of that version."""
        if self.mode not in ("B", direction):
            doing = "makes" if direction == "E" else "opens"
            raise PolicyError(f"a protection key of mode {self.mode} {doing} no key blocks", hint="use mode B")
        wanted = "A" if version in "DE" else "T"
        if self.algorithm != wanted:
            raise PolicyError(
                f"a key block of version {version} takes {'an AES' if wanted == 'A' else 'a TDES'} protection key",
                hint="the first character of the block says which key it is under",
            )

    def __repr__(self) -> str:
        return f"<KBPK {self.usage} {self.mode} {self.algorithm} {self.key.size * 8} bit>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Kbpk) and (self.usage, self.mode) == (other.usage, other.mode) and self.key == other.key
        )

    __hash__ = None  # type: ignore[assignment]  # a key must not become a dictionary key by accident


@final
class BlockKey(Key):
    """A key that came out of a block, with the header that says what it may do."""

    __slots__ = ("header",)

    def __init__(self, raw_key: bytes, header: Header) -> None:
        """`raw_key`: AES, DES, TDES and HMAC keys as they are, private keys as DER."""
        super().__init__(raw_key, f"{header.usage} key")
        self.header = header

    def key(self) -> AesKey | TripleDesKey:
        """As AES or triple DES key. Raises PolicyError for other algorithms."""
        if self.header.algorithm not in "AT":
            raise PolicyError(f"a key of algorithm {self.header.algorithm} is neither AES nor TDES")
        label = f"{self.header.usage} key"
        return AesKey(self._raw, label) if self.header.algorithm == "A" else TripleDesKey(self._raw, label)

    def protection_key(self) -> Kbpk:
        """As key block protection key. Raises PolicyError unless its header makes it one."""
        return Kbpk(self.key(), usage=self.header.usage, mode=self.header.mode)


def wrap(kbpk: Kbpk, header: Header, key: bytes, rng: Callable[[int], bytes], *, hide_length: bool = True) -> str:
    """A block of version D or E around `key` (see `BlockKey`). Raises PolicyError for what our rules forbid.

    hide_length: pad AES keys as if they had 256 bits and TDES keys as if they had 192. Raises ValueError for a header
    that cannot be written or a key that is none of its algorithm.
    """
    check_writable(header)
    kbpk.check(header.version, "E")
    _check_key(header, key)
    check_strength(kbpk.strength, _strength(header.algorithm, key))
    bare = len(key) if not hide_length else max(len(key), _HIDDEN_BYTES.get(header.algorithm, 0))
    size = 2 + bare + -(2 + bare) % CIPHER_BYTES[header.version]
    payload = (len(key) * 8).to_bytes(2) + key
    payload += rng(size - len(payload))
    text = header.build(2 * (size + MAC_BYTES[header.version]))
    ciphertext, mac = seal(block_keys(kbpk.key, header.version), header.version, text, payload)
    return text + tohex(ciphertext + mac)


def rewrap(kbpk: Kbpk, header: Header, held: BlockKey, rng: Callable[[int], bytes]) -> str:
    """A new block around a key that came in one. Raises PolicyError as `wrap`, and if the key would gain anything."""
    check_not_widened(header, held.header)
    return wrap(kbpk, header, held.reveal(), rng)


def parse(block: str) -> tuple[Header, int]:
    """The header of a block and where it ends; the rest is checked for its form. Raises DecodeError."""
    if not is_printable(block):
        raise DecodeError(
            "key block: not printable ASCII", next(at for at, c in enumerate(block) if not " " <= c <= "~")
        )
    header, end = Header.parse(block)
    if length_of(block) != len(block):
        raise DecodeError(f"key block: {len(block)} characters, its length says {length_of(block)}", 1)
    rest, mac = block[end:], 2 * MAC_BYTES[header.version]
    if not _HEX.issuperset(rest):
        raise DecodeError("key block: what follows the header is not upper-case hex", end)
    least = 2 * max(CIPHER_BYTES[header.version], 3)
    if len(rest) < least + mac or (len(rest) - mac) % (2 * CIPHER_BYTES[header.version]):
        raise DecodeError("key block: the encrypted part has a length that it cannot have", end)
    return header, end


def unwrap(kbpk: Kbpk, block: str, expected: Expected) -> BlockKey:
    """The key of a block, if it is what was asked for.

    Raises DecodeError for what is no block, PolicyError before decrypting if it is not `expected` or not for this
    protection key, and after it if the protection key is the weaker one, AuthenticationError for everything that the
    secret part has to do with.
    """
    header, end = parse(block)
    expected.check(header)
    kbpk.check(header.version, "D")
    sealed = bytes.fromhex(block[end:])
    split = len(sealed) - MAC_BYTES[header.version]
    keys = block_keys(kbpk.key, header.version)
    payload, is_authentic = open_sealed(keys, header.version, block[:end], sealed[:split], sealed[split:])
    if not is_authentic:
        raise AuthenticationError(REFUSED, hint="check which protection key it was made with, and ask for it again")
    key = _key_of(header, payload, expected)
    check_strength(kbpk.strength, _strength(header.algorithm, key))
    return BlockKey(key, header)


def _key_of(header: Header, payload: bytes, expected: Expected) -> bytes:
    bits = int.from_bytes(payload[:2])
    size, odd = divmod(bits, 8)
    key = payload[2 : 2 + size]
    wanted = _KEY_BITS.get(header.algorithm)
    if not bits or odd or len(key) != size or (wanted and bits not in wanted):
        raise AuthenticationError(REFUSED)
    if header.algorithm in "DT" and expected.odd_parity and not has_odd_parity(key):
        raise AuthenticationError(REFUSED)
    return key


def _check_key(header: Header, key: bytes) -> None:
    wanted = _KEY_BITS.get(header.algorithm)
    if not key or len(key) > 0xFFFF // 8 or (wanted and len(key) * 8 not in wanted):
        raise ValueError(f"{len(key)} bytes are no key of algorithm {header.algorithm}")
    if header.algorithm == "T" and not has_odd_parity(key):
        raise ValueError("a TDES key is wrapped with odd parity: set it first")


def _strength(algorithm: str, key: bytes) -> tuple[str, int]:
    """Algorithm and bits. A private key whose DER we do not read counts as the strongest: it needs AES-256."""
    try:
        if algorithm == "R":
            return algorithm, RsaPrivateKey.from_pkcs8(key).public.size * 8
        if algorithm == "E":
            return algorithm, EcPrivateKey.from_pkcs8(key).library_key().key_size
    except DecodeError:
        return algorithm, _UNKNOWN_BITS
    return algorithm, _UNKNOWN_BITS if algorithm == "S" else len(key) * 8
